#pragma once

/* A volume: its names, its kinds, its rules. Broker, worker and CLI all judge by this code. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/key.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>
#include <systemd/sd-json.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define VOLUME_NAME_MAX 128
#define SNAPSHOT_NAME_MAX 64
#define FULL_NAME_MAX (VOLUME_NAME_MAX + 1 + SNAPSHOT_NAME_MAX) /* NAME@SNAPSHOT */
#define TENANT_NAME_MAX 32
#define POOL_NAME_MAX 32
#define DEFAULT_TENANT "default"
#define DEFAULT_POOL "default"

/* Volumes are whole MiB; a request is rounded up. */
#define VOLUME_SIZE_MIN (1 * MIB)
#define EXT4_SIZE_MIN (16 * MIB)
#define XFS_SIZE_MIN (300 * MIB)             /* mkfs.xfs refuses less */
#define VOLUME_SIZE_MAX (UINT64_C(1) << 50)  /* 1 PiB */

/* What the LUKS2 header takes of the thin device, before the payload that the user asked for. */
#define LUKS_HEADER_SIZE (4 * MIB)

#define LABELS_MAX 64
#define LABEL_KEY_MAX 128
#define LABEL_VALUE_MAX 1024
#define MKFS_OPTIONS_MAX 16
#define SOURCE_ID_MAX 64
#define TMPFS_INODES_MIN UINT64_C(2) /* one is the root directory */
#define TMPFS_INODES_MAX (UINT64_C(1) << 40)

typedef enum Filesystem { FILESYSTEM_EXT4, FILESYSTEM_XFS, FILESYSTEM_NONE, _FILESYSTEM_MAX } Filesystem;
typedef enum KeySource { KEY_SOURCE_NONE, KEY_SOURCE_HOST, KEY_SOURCE_PASSPHRASE, _KEY_SOURCE_MAX } KeySource;
/* Where the files of a volume are. */
typedef enum VolumeKind {
        KIND_BLOCK, /* on a thin device of the pool */
        KIND_BIND,  /* in a directory of the host, the source */
        KIND_TMPFS, /* in memory, while it is mounted */
        _VOLUME_KIND_MAX,
} VolumeKind;
typedef enum VolumeState {
        VOLUME_CREATING, /* row written, worker not done */
        VOLUME_READY,
        VOLUME_REMOVING,
        VOLUME_FREEING,  /* removed for everybody: nobody finds it by name, and its blocks go back to the pool */
        VOLUME_BROKEN,   /* an undo failed: the text of the failure is kept beside it */
        _VOLUME_STATE_MAX,
} VolumeState;

/* All have a UUID and a row of the catalog, and those of KIND_BLOCK a thin device of their own; the two last are. */
typedef enum VolumeRole {
        ROLE_VOLUME,
        ROLE_SNAPSHOT, /* read-only image of a volume, the origin; its name is NAME@SNAPSHOT */
        ROLE_TEMPLATE, /* formatted, what plain volumes begin as; nobody sees it */
        _VOLUME_ROLE_MAX,
} VolumeRole;

/* Enum to word and back; from_string gives -EINVAL for an unknown word. The words are the Varlink enum's. */
const char *filesystem_to_string(Filesystem fs);
int filesystem_from_string(const char *s);
const char *key_source_to_string(KeySource source);
int key_source_from_string(const char *s);
const char *volume_kind_to_string(VolumeKind kind);
int volume_kind_from_string(const char *s);
const char *volume_state_to_string(VolumeState state);
int volume_state_from_string(const char *s);
const char *volume_role_to_string(VolumeRole role);
int volume_role_from_string(const char *s);

/* [A-Za-z0-9][A-Za-z0-9_.-]{0,127}, Docker's rule. */
bool volume_name_is_valid(const char *name);
/* The same, but at most SNAPSHOT_NAME_MAX: the name of a mount point has both. */
bool snapshot_name_is_valid(const char *name);
/* NAME@SNAPSHOT, of both the rules. */
bool full_name_is_valid(const char *name);
/* [a-z][a-z0-9-]{0,31} */
bool tenant_name_is_valid(const char *name);
bool pool_name_is_valid(const char *name);
bool label_key_is_valid(const char *key);
bool label_value_is_valid(const char *value);

/* ERROR_BAD_REQUEST with the rule, for the request's field of this name. */
int volume_name_check(const char *name, const char *field, Error *err);
int snapshot_name_check(const char *name, const char *field, Error *err);
int tenant_name_check(const char *name, const char *field, Error *err);
int pool_name_check(const char *name, const char *field, Error *err);

/* [POOL:][TENANT/]NAME[@SNAPSHOT] as typed; an empty pool, tenant or snapshot means "not said". */
typedef struct Reference {
        char pool[POOL_NAME_MAX + 1];
        char tenant[TENANT_NAME_MAX + 1];
        char name[VOLUME_NAME_MAX + 1];
        char snapshot[SNAPSHOT_NAME_MAX + 1];
} Reference;

/* ERROR_BAD_REQUEST with the rule that is broken. field is the name of the request's field. */
int reference_parse(const char *s, const char *field, Reference *ret, Error *err);

/* NAME or, with a snapshot, NAME@SNAPSHOT. */
void full_name_format(const char *name, const char *snapshot, char buf[static FULL_NAME_MAX + 1]);

/* What lies behind the '@' of a full name, or NULL. */
const char *snapshot_name_of(const char *full_name);

/* [TENANT/]NAME[@SNAPSHOT], as it is to be typed: what a hint tells to run must not mean another tenant's volume. */
#define REFERENCE_MAX (TENANT_NAME_MAX + 1 + FULL_NAME_MAX + 1)
const char *reference_format(const char *tenant, const char *full_name, char buf[static REFERENCE_MAX]);
/* Of a VolumeSpec; valid to the end of the block. */
#define VOLUME_REFERENCE(spec) reference_format((spec)->tenant, (spec)->name, (char[REFERENCE_MAX]) {})

/* Everything that is decided at creation. Strings are owned. */
typedef struct VolumeSpec {
        char pool[POOL_NAME_MAX + 1]; /* empty: the default pool */
        char tenant[TENANT_NAME_MAX + 1]; /* of a template: TEMPLATE_TENANT */
        char name[FULL_NAME_MAX + 1]; /* of a snapshot: NAME@SNAPSHOT, as its origin is called now */
        VolumeRole role;
        sd_id128_t origin; /* ROLE_SNAPSHOT: the volume that it is of, also the UUID in its LUKS2 header */
        VolumeKind kind;
        uint64_t size; /* bytes the user can fill, whole MiB; KIND_BIND: 0 if nobody counts */
        Filesystem fs; /* KIND_BLOCK; of others FILESYSTEM_NONE */
        KeySource key_source; /* KEY_SOURCE_NONE: not encrypted */
        uid_t uid;
        gid_t gid;
        mode_t mode;
        char **mkfs_options; /* as typed: "-m 1", "-O ^has_journal" */
        char **labels;       /* "key=value", sorted by key */
        bool protected;      /* it is not removed; of volumes only: a snapshot is held */
        char *source;        /* KIND_BIND: the directory, else NULL */
        char source_id[SOURCE_ID_MAX]; /* what that was when the volume was made, see kernel/source.h; "": not yet */
        bool read_only;      /* KIND_BIND: it is only ever mounted so */
        uint64_t inodes;     /* KIND_TMPFS: how many files it may have, 0: as the kernel thinks fit */
        bool noswap;         /* KIND_TMPFS: it stays in memory */
} VolumeSpec;

/* No tenant can be called that. */
#define TEMPLATE_TENANT "."

#define VOLUME_SPEC_DEFAULT { .tenant = DEFAULT_TENANT, .fs = FILESYSTEM_EXT4, .mode = 0755 }

void volume_spec_done(VolumeSpec *spec);
int volume_spec_copy(const VolumeSpec *from, VolumeSpec *ret);

/* Checks every rule that needs no knowledge of the host, rounds the size up, sorts the labels. */
int volume_spec_normalize(VolumeSpec *spec, Error *err);

/* A received snapshot has this label: the UUID that its contents had where they came from. What is sent since then is
 * written onto it: as long as it has the label nobody changes it, not even the kernel by replaying a journal. */
#define RECEIVED_LABEL "quarry.stream"

/* A snapshot that a backup is made of has this label, with the repository as value: the next backup of that volume is
 * what the repository has of it, and what differs from it. So it stays what it is, too. */
#define BACKUP_MADE_LABEL "quarry.backup.made-for"

/* Whether it has one of both. */
bool volume_spec_is_fixed(const VolumeSpec *spec);

/* Adds "key=value"; refuses a second value for a key. */
int volume_spec_add_label(VolumeSpec *spec, const char *label, Error *err);

/* What is to be changed of a volume that is there. */
typedef struct VolumeUpdate {
        char **labels;        /* "key=value": set, or set anew */
        char **remove_labels; /* keys; one that is not there is fine */
        bool has_uid, has_gid, has_mode;
        uid_t uid;
        gid_t gid;
        mode_t mode;
        bool has_protected, protected;
        char *schedule; /* as schedule_parse() has it, or SCHEDULE_DEFAULT; NULL: stays */
} VolumeUpdate;

void volume_update_done(VolumeUpdate *update);
/* spec as it is then; normalized. On failure some of it may be changed. */
int volume_spec_update(VolumeSpec *spec, const VolumeUpdate *update, Error *err);

/* Names the first field in which two specs differ ("size", "filesystem", ...) and puts both values in buf
 * ("1G, asked for 2G"), for the sentence "exists with size 1G, asked for 2G"; NULL if they are the same.
 * Names are not compared; both specs are normalized. */
const char *volume_spec_difference(const VolumeSpec *have, const VolumeSpec *want, char *buf, size_t size);

/* Bytes of the thin device: size, plus the header when encrypted. */
uint64_t volume_spec_device_size(const VolumeSpec *spec);

/* "a bind volume", for sentences. */
const char *volume_kind_phrase(VolumeKind kind);
/* What makes one kind of volume and has no meaning for another; and the size, rounded up. */
int volume_spec_normalize_kind(VolumeSpec *spec, Error *err);

/* Splits and checks mkfs options against the list of those that cannot reach outside the filesystem
 * (mke2fs -d copies a host folder, mkfs.xfs -l logdev= takes another device ...). *ret becomes an argv
 * part, to be freed with strv_free(); may be NULL when only checking. */
int mkfs_options_parse(Filesystem fs, char *const *options, char ***ret, Error *err);

/* Whether what mkfs makes may have changed since (CLOCK_REALTIME, microseconds): by an upgrade of its tools, or of this
 * program. */
bool filesystem_tools_are_newer(Filesystem fs, uint64_t since_usec);

/* A volume as the catalog knows it. */
typedef struct Volume {
        sd_id128_t uuid;
        uint32_t thin_id; /* KIND_BLOCK */
        VolumeSpec spec;
        VolumeState state;
        uint64_t created_usec; /* CLOCK_REALTIME, microseconds */
        char *failure; /* VOLUME_BROKEN: why */
        bool held; /* a snapshot that is neither removed nor expires */
        bool copied; /* it began as a copy: its journal shares its blocks until it was written all over */
        char *rule; /* a snapshot: the rule of a schedule that made it, or NULL */
        char *schedule; /* a volume: when snapshots are made of it, or NULL */
        bool locked; /* its key is not to be in the kernel: nobody opens it */
        char host_key[HOST_KEY_ID_MAX]; /* KEY_SOURCE_HOST: by which its key is wrapped; empty: not known */

        /* What is under way, so that a start can go on with it. */
        uint64_t pending_size; /* bytes that it grows to; 0: it does not */
        bool has_spare; /* it has a second thin device: one that is to take the place of the first, or did */
        uint32_t spare_thin_id;
        char *old_name; /* under which it may still be mounted, or NULL */
} Volume;

#define THIN_ID_MAX 16777215u

void volume_set_host_key(Volume *volume, const char *id);

/* The UUID in the LUKS2 header, to which the wrapped key is bound. */
sd_id128_t volume_header_uuid(const Volume *volume);

/* Bytes of the thin device; of one that grows, what it is to have: its filesystem may have that already. */
uint64_t volume_device_size(const Volume *volume);

void volume_done(Volume *volume);

/* Derived names; the only place that makes them. buf sizes are enough for every valid input. */
#define KERNEL_NAME_MAX 64
void volume_thin_name(sd_id128_t volume, char buf[static KERNEL_NAME_MAX]); /* quarry-<uuid> */
void volume_crypt_name(sd_id128_t volume, char buf[static KERNEL_NAME_MAX]); /* quarry-<uuid>-crypt */
/* quarry-<uuid> or quarry-<uuid>-crypt back to the uuid; -EINVAL for any other name. */
int volume_uuid_from_kernel_name(const char *name, sd_id128_t *ret);

#define MOUNT_ROOT "/run/quarry/mnt"
#define MOUNT_PATH_MAX (sizeof(MOUNT_ROOT) + TENANT_NAME_MAX + FULL_NAME_MAX + 3)
void volume_mount_path(const char *tenant, const char *name, char buf[static MOUNT_PATH_MAX]);

/* /dev/quarry/TENANT/NAME, kept by our udev rules while the device is open. */
#define DEVICE_LINK_ROOT "/dev/quarry"
void volume_device_link(const char *tenant, const char *name, char buf[static MOUNT_PATH_MAX]);

#define UUID_TEXT_MAX 37
char *uuid_format(sd_id128_t id, char buf[static UUID_TEXT_MAX]); /* 8-4-4-4-12 */
