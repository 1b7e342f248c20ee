#pragma once

/* What can be asked about keys: those of a volume, and the host's. As in volume.h. */

#include "broker/operation.h"

/* Who opens a volume or snapshot: the operation ends with keys. */
int key_look(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err);

/* One change of them. */
typedef struct KeyRequest {
        JobVerb verb; /* JOB_VOLUME_KEY_ADD, _REMOVE, _CHANGE, JOB_VOLUME_HEADER_RESTORE */
        KeyChoice choice;
        int key_fd;    /* the present passphrase, or one that stays; -EBADF: the host's key will do */
        int second_fd; /* the one that is to be added, removed, taken in its place; or the header */
} KeyRequest;

/* Takes over the request's descriptors in every case. The operation ends with keys. */
int key_change(Manager *manager, const Caller *caller, VolumeEntry *entry, KeyRequest *request, const Watcher *watcher,
               Error *err);

/* Ends an operation on a volume with what its row is to say of its keys. */
void key_settle(Operation *operation, const VolumeKeys *keys);

/* Takes the key from the kernel, and nobody opens the volume before it is unlocked, also behind a restart. suspend:
 * also while it is in use; who touches it waits. */
int key_lock(Manager *manager, const Caller *caller, VolumeEntry *entry, bool suspend, const Watcher *watcher,
             Error *err);
/* Takes over key_fd in every case. */
int key_unlock(Manager *manager, const Caller *caller, VolumeEntry *entry, int key_fd, const Watcher *watcher,
               Error *err);

/* The operation ends with mount_fd: the header. */
int key_backup(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err);

/* The host's keys, for administrators: the operation ends with host_keys. */
int host_key_look(Manager *manager, const Caller *caller, const Watcher *watcher, Error *err);
/* The operation ends with host_keys, the one of this id alone (NULL: the present one), and mount_fd: a sealed memfd
 * with what of it wraps keys of backup repositories. */
int host_key_derive(Manager *manager, const Caller *caller, const char *id, const Watcher *watcher, Error *err);
/* A new one, by which every volume's key is wrapped then; or goes on with that. The operation ends with host_keys and
 * n_wrapped, and failure, should some not have come to it: those keep the old one. */
int host_key_rotate(Manager *manager, const Caller *caller, const Watcher *watcher, Error *err);
/* When a pool has come: what was cut short, or waited for it, goes on. */
void host_key_resume(Manager *manager);
