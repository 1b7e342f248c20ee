#pragma once

/* A volume by its name, made if need be, as a directory or as a device: what systemd's clients of storage ask for. */

#include "broker/operation.h"

typedef enum AcquireMode { ACQUIRE_ANY, ACQUIRE_NEW, ACQUIRE_OPEN, _ACQUIRE_MODE_MAX } AcquireMode;
/* What it is had as. Whoever does not say gets a device of a volume without filesystem, and else a directory. */
typedef enum AcquireType {
        ACQUIRE_DEVICE,
        ACQUIRE_FILE, /* which no volume is */
        ACQUIRE_FOLDER,
        _ACQUIRE_TYPE_MAX,
        ACQUIRE_EITHER = _ACQUIRE_TYPE_MAX,
} AcquireType;
typedef enum AcquireAccess { ACQUIRE_AS_CAN_BE, ACQUIRE_WRITABLE, ACQUIRE_READ_ONLY } AcquireAccess;

#define ACQUIRE_SIZE_UNSET UINT64_MAX

typedef struct AcquireRequest {
        const char *name;     /* a reference */
        const char *template; /* NULL or "": that of the type */
        AcquireMode mode;
        AcquireType type;
        AcquireAccess access;
        uint64_t size; /* bytes, of one that is made */
} AcquireRequest;

/* Why it was refused, where no kind of error says so. */
typedef enum AcquireRefusal {
        ACQUIRE_REFUSED_OTHERWISE,
        ACQUIRE_NO_SUCH_TEMPLATE,
        ACQUIRE_TYPE_NOT_SUPPORTED,
        ACQUIRE_WRONG_TYPE,
        ACQUIRE_SIZE_REQUIRED,
        ACQUIRE_READ_ONLY_VOLUME,
        ACQUIRE_BAD_TEMPLATE,
        _ACQUIRE_REFUSAL_MAX,
} AcquireRefusal;

/* What a volume can be made like. */
typedef struct AcquireTemplate {
        const char *name;
        Filesystem fs;
        KeySource key_source;
} AcquireTemplate;

extern const AcquireTemplate acquire_templates[];
extern const size_t n_acquire_templates;

/* What a volume of this filesystem is had as, unless somebody says otherwise. */
AcquireType acquire_type_of(VolumeKind kind, Filesystem fs);
/* Whether it is only ever had so. */
bool acquire_is_read_only(const VolumeSpec *spec);

/* The operation that the watcher is told of ends with mount_fd: a detached mount, or an open device. */
int acquire(Manager *manager, const Caller *caller, const AcquireRequest *request, const Watcher *watcher,
            AcquireRefusal *ret_refusal, Error *err);
