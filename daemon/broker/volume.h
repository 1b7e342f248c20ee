#pragma once

/* What can be asked about volumes. Each judges the request and either refuses it at once (negative, *err) or
 * begins an operation that the watcher is told about. */

#include "broker/operation.h"

/* Takes over spec's contents and key_fd in every case. Returns 1 with *ret_existing if the volume is there
 * already with the same options and if_absent was given; 0 when begun. For a watcher with on_fill it is a new one, of a
 * kind that can be filled, in any case. */
int volume_create(Manager *manager, const Caller *caller, VolumeSpec *spec, int key_fd, bool if_absent,
                  const Watcher *watcher, VolumeEntry **ret_existing, Error *err);

/* In the background; takes over spec's contents. */
int volume_create_template(Manager *manager, PoolEntry *pool, VolumeSpec *spec, const Watcher *watcher, Error *err);

/* A volume of its own with what a snapshot holds; the snapshot may go then. name has no snapshot; without a pool it
 * is in that of the snapshot, the only one that it can be in. Takes over key_fd in every case. */
int volume_clone(Manager *manager, const Caller *caller, VolumeEntry *snapshot, const Reference *name,
                 char *const *labels, int key_fd, const Watcher *watcher, Error *err);
/* What they share: for a new volume an entry, which takes over spec's contents; from there, row, job and row. */
int volume_create_check_key(const VolumeSpec *spec, int key_fd, Error *err);
int volume_create_entry(Manager *manager, PoolEntry *pool, VolumeSpec *spec, VolumeEntry **ret, Error *err);
int volume_create_run(Operation *operation, Error *err);
/* Of one that was made: its caller fills it first. */
void volume_fill(Operation *operation);
/* Writes the row of one that was made, and ends the operation: with its failure, or if that cannot be written. */
void volume_create_settle(Operation *operation);

/* What its caller writes through transfer_fd, as io.quarry.Stream.Receive has it. */
typedef struct ReceiveRequest {
        VolumeSpec spec; /* of a new volume; of a snapshot only size, 0: that of base, and labels */
        VolumeEntry *origin; /* of a snapshot, the volume, */
        VolumeEntry *base; /* the snapshot that it begins as, */
        const char *snapshot; /* and its name */
        bool foreign; /* the filesystem is somebody else's, see JOB_VOLUME_ACCEPT */
        bool image; /* a snapshot will be made of it: whether its tenant may have that is seen before all is there */
} ReceiveRequest;

/* Takes over the spec's contents and transfer_fd in every case. */
int volume_receive(Manager *manager, const Caller *caller, ReceiveRequest *request, int transfer_fd,
                   const Watcher *watcher, Error *err);

typedef struct RollbackRequest {
        VolumeEntry *snapshot;
        bool discard; /* nothing of what the volume is now is kept, */
        VolumeEntry *const *known; /* if that is what one of these is, snapshots of the same volume */
        size_t n_known;            /* 0: whatever it is */
        bool dry_run; /* only judged */
} RollbackRequest;

/* A volume becomes what its snapshot is. Unless discard, what it was is kept as another one: the operation ends with
 * that in volumes. ERROR_NOT_SUPPORTED (ESTALE) if it is none of those known. */
int volume_rollback(Manager *manager, const Caller *caller, const RollbackRequest *request, const Watcher *watcher,
                    Error *err);

/* lazy: a volume that is in use is taken from its standard place, and goes behind its last user; who that is are the
 * operation's users. snapshots: those of the volume go first; if one of them is held none does. */
int volume_remove(Manager *manager, const Caller *caller, VolumeEntry *entry, bool lazy, bool snapshots,
                  const Watcher *watcher, Error *err);

/* The turn of an operation that removes a volume; and ERROR_VOLUME_BUSY if it has snapshots, or is to stay. */
int volume_remove_start(Operation *operation, Error *err);
int volume_check_removal(const VolumeEntry *entry, Error *err);

/* Takes over key_fd and userns_fd, that of spec's user namespace, in every case. The operation ends with path, or with
 * mount_fd when detached: then options suid and dev are allowed to administrators, and left to who attaches it. */
int volume_mount(Manager *manager, const Caller *caller, VolumeEntry *entry, const MountSpec *spec, bool detached,
                 int key_fd, int userns_fd, const Watcher *watcher, Error *err);
/* The same at its standard place for a container engine, which gave this ID, see mount-id.h. Takes over process_fd in
 * every case: the pidfd of one whose containers have ids of their own, or -EBADF. */
int volume_mount_for(Manager *manager, const Caller *caller, VolumeEntry *entry, const char *id, int process_fd,
                     const Watcher *watcher, Error *err);
/* The operation's users are those who keep its devices open. lazy: who uses it under the mount that goes keeps it. */
int volume_unmount(Manager *manager, const Caller *caller, VolumeEntry *entry, bool lazy, const Watcher *watcher,
                   Error *err);

/* The worker unmounted the operation's volume. */
void volume_take_closed(Operation *operation, JobResult *result);
/* The operation ends with its device, open, as mount_fd. It is closed behind the last who has it. */
int volume_check_device_of(const Caller *caller, Filesystem fs, const char *name, Error *err); /* may they? */
int volume_give_device(Manager *manager, const Caller *caller, VolumeEntry *entry, bool read_only,
                       const Watcher *watcher, Error *err);
/* The same of a snapshot as the pool has it: of an encrypted volume header and ciphertext; only to be read. */
int volume_give_stored(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err);

typedef struct SnapshotRequest {
        VolumeEntry *volume;
        const char *name; /* of the snapshot; NULL or empty: made of the time, the same for all that have none */
        char *const *labels; /* beside the volume's; or NULL */
        sd_id128_t unless; /* only if the volume holds something else than what was named so, see JobDevice.content */
} SnapshotRequest;

/* Snapshots of several volumes of one pool at one instant. rule: of a schedule, or NULL; then what each volume holds
 * is noted. The operation ends with volumes; with the content of one that was asked for alone, and, if it is unchanged,
 * without a snapshot. */
int volume_snapshot(Manager *manager, const Caller *caller, const SnapshotRequest *requests, size_t n, const char *rule,
                    const Watcher *watcher, Error *err);
/* prefix and the time, UTC. */
void snapshot_name_by_time(uint64_t usec, const char *prefix, char buf[static SNAPSHOT_NAME_MAX + 1]);

/* A snapshot is not removed while it is held. */
int volume_hold(Manager *manager, const Caller *caller, VolumeEntry *entry, bool hold, const Watcher *watcher,
                Error *err);

/* The operation ends with freed. */
/* That nobody uses it, and its filesystem is sound: ERROR_VOLUME_BROKEN with what is not. Nothing is mended but by the
 * journal. */
int volume_check_filesystem(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher,
                            Error *err);
int volume_trim(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err);

/* Gives a volume another name in its tenant and pool, also while it is mounted. */
int volume_rename(Manager *manager, const Caller *caller, VolumeEntry *entry, const char *name, const Watcher *watcher,
                  Error *err);
/* After a start: goes on with a rename that was cut short. */
void volume_rename_resume(Manager *manager, VolumeEntry *entry);

/* One of the three, in bytes, is not 0. dry_run: only judged. Takes over key_fd. */
int volume_resize(Manager *manager, const Caller *caller, VolumeEntry *entry, uint64_t size, uint64_t add,
                  uint64_t subtract, bool dry_run, int key_fd, const Watcher *watcher, Error *err);
/* After a start: goes on with a growth that was cut short, unless that takes a passphrase. */
void volume_grow_resume(Manager *manager, VolumeEntry *entry);
/* The same for an operation that has opened the volume: then calls back, also with an error; the volume can be used in
 * either case. */
void volume_grow_go_on(Operation *operation, void (*then)(Operation *operation, const Error *err));

/* Deletes the spare thin device of the operation's volume, and has its row lose it: then calls back. Without one it
 * does so at once. On failure it stays in the row: the next start, and who wants one, tries again. */
void volume_spare_drop(Operation *operation, void (*then)(Operation *operation, const Error *err));
/* The same when nothing was made under it: only the row loses it. */
void volume_spare_forget(Operation *operation, void (*then)(Operation *operation, const Error *err));
/* If its thin id is another's, see operation_thin_id_is_anothers(), takes the next one, and calls back when the row has
 * it. False if that cannot be. */
bool volume_spare_take_next(Operation *operation, CatalogDone on_row);
/* Deletes it by itself, behind what runs on the volume; after a start: what an earlier broker left. */
void volume_spare_resume(Manager *manager, VolumeEntry *entry);
/* Takes over update's contents and key_fd in every case. */
int volume_update(Manager *manager, const Caller *caller, VolumeEntry *entry, VolumeUpdate *update, int key_fd,
                  const Watcher *watcher, Error *err);
/* Where two images of a volume differ, or, without from, what there is of one, by the pool's maps. The operation ends
 * with delta, whose offsets are those of the thin device; its job tells which two were compared. */
typedef struct DiffRequest {
        VolumeEntry *from, *to;
        bool total_only; /* no ranges */
        bool join; /* of too many ranges, those that are near become one */
} DiffRequest;

int volume_diff(Manager *manager, const Caller *caller, const DiffRequest *request, const Watcher *watcher, Error *err);

/* What of a new volume somebody said. */
enum { SAID_FS = 1 << 0, SAID_UID = 1 << 1, SAID_GID = 1 << 2, SAID_MODE = 1 << 3 };
/* The rest of it, as its kind and who makes it have it. */
int volume_complete_spec(const Caller *caller, unsigned said, VolumeSpec *spec, Error *err);
/* ERROR_NOT_SUPPORTED for a volume that has no device in the pool. what: "a snapshot". */
int volume_check_block(const VolumeEntry *entry, const char *what, Error *err);
/* With whose rights the source of a bind volume is looked at; of others nobody's are. */
int volume_take_members(Job *job, const Caller *caller, const VolumeSpec *spec, const TenantEntry *tenant, Error *err);
/* The turn of an operation that gives a volume in memory its size. */
int volume_resize_tmpfs(Operation *operation, Error *err);

/* ERROR_VOLUME_BROKEN or ERROR_POOL_UNAVAILABLE unless the volume can be worked with. */
int volume_check_ready(const VolumeEntry *entry, Error *err);

/* ERROR_VOLUME_LOCKED while its key, or that of the volume that a snapshot is of, is not to be in the kernel; or, the
 * second, only if somebody uses it without that, and whoever touches it waits. */
int volume_check_unlocked(const VolumeEntry *entry, Error *err);
int volume_check_not_suspended(const VolumeEntry *entry, Error *err);

/* Whether its space is given back behind the answer to its removal. */
bool volume_is_large(const VolumeEntry *entry);
/* Gives back the space of the pool's removed volumes, unless that is under way. */
void volume_free_go_on(Manager *manager, PoolEntry *pool);

/* A worker died over it: its devices may be open, even unlocked. They are looked at until they are closed. */
void volume_may_be_open(Manager *manager, VolumeEntry *entry);

/* Nobody seems to use it any more: closes its devices if that is so. */
void volume_release(Manager *manager, VolumeEntry *entry);

/* Take away what an operation on it made of a volume or snapshot, or only its row since nothing was made, and end the
 * operation with its failure. What cannot be taken away is broken. */
void volume_clean_up(Operation *operation);
void volume_drop_row(Operation *operation);

/* After a start: what an earlier broker left half done. */
void volume_undo_create(Manager *manager, VolumeEntry *entry);
void volume_resume_remove(Manager *manager, VolumeEntry *entry);
