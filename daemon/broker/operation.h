#pragma once

/* One thing that a caller asked for, from the moment it was judged to its answer. Clients only watch it: one
 * that goes away does not end it, and one that asks for the same joins it. */

#include "broker/manager.h"

/* A worker that somebody killed says nothing about its job; a job that kills its worker would do so for ever. */
#define WORKER_DEATHS_MAX 3u
/* Each costs a row and a look; who asks again goes on behind them. */
#define THIN_IDS_TAKEN_MAX 32u

typedef struct SnapshotGroup SnapshotGroup;

typedef struct Watcher {
        struct Watcher *next;
        /* Either may be called from the event loop only; done exactly once. A client that is gone
         * just cannot be told. */
        void (*on_progress)(const char *step, unsigned position, unsigned total, void *userdata);
        void (*on_done)(Operation *operation, const Error *err, void *userdata);
        /* Of who fills a volume: a mount of it, and where they say that they are done; takes over both. Else NULL. */
        void (*on_fill)(int mount_fd, int done_fd, void *userdata);
        void *userdata;
} Watcher;

struct Operation {
        Manager *manager;
        Lane *lane; /* that it runs or waits in; NULL for none */
        Operation *next; /* in Lane.waiting */
        Operation *all_next, **all_at; /* in Manager.operations */
        const char *verb; /* for the audit; NULL: it changes nothing, and is not told */
        uint64_t began_usec; /* when it was asked for: CLOCK_MONOTONIC */
        Caller caller;
        VolumeEntry *volume; /* may be NULL; valid until the operation is finished */
        PoolEntry *pool;
        int (*start)(Operation *operation, Error *err);
        Watcher *watchers;

        /* asked for */
        Job job;
        int key_fd, second_fd;

        /* answered */
        char *path;
        int mount_fd;
        uint64_t freed; /* bytes that a trim gave back */
        char *users; /* who keeps the volume open, or NULL */
        FindingList findings;
        char *damage, *kept; /* of a pool's metadata, as in JobResult */
        sd_id128_t *pools; /* UUIDs of pools that were imported */
        size_t n_pools;
        sd_id128_t *volumes; /* UUIDs of snapshots that were made, in the order that they were asked for */
        size_t n_volumes;
        sd_id128_t *origins; /* UUIDs of the volumes of which they were asked for */
        size_t n_origins;
        ThinDelta delta;
        sd_id128_t content; /* of a volume of which a snapshot was made, as in JobDevice */
        bool unchanged; /* none was, for that reason */
        VolumeKeys keys;
        HostKey *host_keys; /* the present one first */
        size_t n_host_keys;
        size_t n_wrapped; /* volumes whose keys were wrapped anew */

        SnapshotGroup *group; /* see volume-snapshot.c */
        Operation *guards, *next_guard; /* see operation_guard() */
        void (*then)(Operation *operation, const Error *err); /* behind what it waits for */
        bool discard; /* a rollback keeps nothing of what was before, */
        sd_id128_t *known; /* if that is as one of these snapshots, compared with the last first; */
        size_t n_known; /* 0: whatever it is */
        sd_id128_t target; /* the snapshot that is gone back to */
        bool dry_run; /* a rollback or resize is only judged */
        uint64_t size_before; /* of a volume that is rolled back, or resized */
        bool is_next; /* it is begun before the others that wait in its lane */
        bool in_background; /* who takes the pool for itself waits for its end */
        unsigned n_out; /* others that it waits for */
        Operation *leader; /* of one that only keeps others out of its lane: for whom */
        char *rule; /* of the schedule by which a snapshot is made, or NULL */
        char *schedule; /* that a volume, pool or tenant is to have, or NULL */
        uint64_t schedule_since; /* CLOCK_REALTIME, microseconds */
        bool hold; /* a snapshot, or no longer */
        VolumeUpdate update; /* of a volume */
        TenantUpdate tenant_update; /* of a tenant, whose schedule is that of above, */
        Tenant tenant; /* and as it is to be */
        char *old_name; /* that a volume had, */
        char *name; /* and is to have, */
        bool moving; /* is being moved to, and so are those of its snapshots: */
        Operation *moved; /* the guard of the one that is its turn */
        uint64_t size, add, subtract; /* bytes of a volume, or more, or less; one of them is not 0 */
        bool growth_is_new; /* it was this operation that made it pending */

        bool is_filled; /* by who makes it, before it is there */
        int transfer_fd; /* where they say at the end that all is there, see transfer.h, */
        sd_event_source *transfer; /* for which it is waited; or until they are gone: */
        unsigned n_pauses; /* so many times */

        char *mount_id; /* for which it is mounted, or no longer; NULL: for who asks; */
        bool mount_id_is_new; /* and no other did that */

        bool again; /* who waited for its end asks anew: a create that joined the undo of an earlier one */
        unsigned deaths; /* of workers, see operation_outlives_worker() */
        unsigned thin_ids_taken; /* that it found in the pool's metadata and nobody has; see THIN_IDS_TAKEN_MAX */
        Error failure; /* kept while the operation cleans up behind itself */
        VolumeState state_before; /* of the volume, should its row not be written */
};

/* The watcher is copied; NULL for none. start is called by operation_begin() when it is its turn. */
int operation_new(Manager *manager, const char *verb, const Caller *caller, const Watcher *watcher,
                  int (*start)(Operation *operation, Error *err), Operation **ret, Error *err);

/* One that was never begun. */
void operation_free(Operation *operation);

/* What its job is to be made from, as that is now. */
int operation_set_source(Operation *operation, const VolumeEntry *source, Error *err);

int operation_add_watcher(Operation *operation, const Watcher *watcher, Error *err);
/* Who writes a volume that is received may take days over it, or stop: nobody waits for that (ERROR_VOLUME_BUSY). */
int operation_check_not_received(const VolumeEntry *volume, Error *err);
/* Queues behind what runs on the volume, or starts; or fails at once, if it is being received. */
void operation_begin_on_volume(Operation *operation, VolumeEntry *volume);
/* Takes the pool for itself: ERROR_POOL_BUSY if anything runs on it but what is in the background, for whose end it
 * waits. Frees the operation on failure. */
int operation_begin_on_pool(Operation *operation, PoolEntry *pool, Error *err);
/* Beside what runs on its volumes, behind what was begun with it before. */
void operation_begin_with_pool(Operation *operation, PoolEntry *pool);
/* On neither; behind the others of the lane, which may be NULL. */
void operation_begin(Operation *operation, Lane *lane);

/* Keeps others off another volume, too, until the operation ends. Calls back when it is its turn there, or with an
 * error if it never will be. Who runs on a snapshot never waits for its volume: so no two wait for each other. */
void operation_guard(Operation *operation, VolumeEntry *volume, void (*then)(Operation *operation, const Error *err));

/* Lets go what it guards, before its end. */
void operation_unguard(Operation *operation);

/* A volume that it guards goes out of the registry: who waits for it is told so. */
void operation_remove_guarded(Operation *operation, VolumeEntry *volume);

/* Sends operation->job to a worker, with its pool and volume filled in. */
int operation_run_job(Operation *operation, JobVerb verb, JobDone on_done, Error *err);

/* Tells those who watch it how a job goes; NULL while nobody does. */
JobProgress operation_progress(const Operation *operation);

/* The next job is of the volume as it is then. */
void operation_forget_job(Operation *operation);

/* Whether a worker that was to make a thin device found one that the catalog does not know: whose it is nobody can say
 * here, so it is left alone. */
bool operation_thin_id_is_anothers(const Operation *operation, const Error *err);
/* Whether a job that may be repeated failed only because its worker died, and is worth another: not when the
 * job itself seems to kill them. */
bool operation_outlives_worker(Operation *operation, const Error *err);

/* Tells those who wait for it, and for what waits behind it, that they are not to; it goes on without them. */
void operation_let_go(Operation *operation, const Error *err);

/* Takes one that waits out of its lane; nobody is told. */
void operation_cancel(Operation *operation);

/* Tells the watchers and ends the operation; starts the next one of its lane. err: NULL for success. */
void operation_finish(Operation *operation, const Error *err);
/* The same, and nobody finds the volume any more: those who waited for it are told that it is gone. */
void operation_finish_gone(Operation *operation, const Error *err);
/* The same, and it goes out of the registry. */
void operation_finish_removed(Operation *operation, const Error *err);
/* The same with the pool, which it has for itself: before the next one of its lane could take it up. */
void operation_finish_pool_removed(Operation *operation, const Error *err);
