#include "broker/pool-open.h"

#include "broker/key.h"
#include "broker/operation.h"
#include "broker/schedule.h"
#include "broker/space.h"
#include "broker/template.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <sys/epoll.h>

/* So long a disk may take for opening or closing a catalog. Most take milliseconds; who waits is told by then. */
#define CATALOG_LIMIT_USEC (20 * UINT64_C(1000000))
/* And so long a worker. Longer than the queue leaves a job its place: a pool that had to wait there for those whose
 * disks do not answer is not taken for one of them. */
#define ATTEMPT_LIMIT_SECONDS 25u

static int read_tenants(PoolEntry *pool, Error *err) {
        const Tenant *tenants;
        size_t n;

        tenants = catalog_tenants(pool->catalog, &n);
        for (size_t i = 0; i < n; i++) {
                Tenant copy;

                if (tenant_copy(&tenants[i], &copy) < 0)
                        return error_oom(err);
                if (!registry_put_tenant(pool, &copy, err)) {
                        tenant_done(&copy);
                        return error_code(err);
                }
        }
        return 0;
}

/* Before the first row, and if there is none. */
static int begin_anew(PoolEntry *pool, Error *err) {
        registry_forget_volumes(&pool->turn.manager->registry, pool);
        registry_forget_tenants(pool);
        schedule_read_pool(pool);
        pool->turn.has_rows = true;
        return read_tenants(pool, err);
}

/* What was known from before stays known until there is better. */
static int on_row(Volume *volume, void *userdata, Error *err) {
        PoolEntry *pool = userdata;

        if (!pool->turn.has_rows && begin_anew(pool, err) < 0)
                return error_code(err);
        return registry_add_volume(&pool->turn.manager->registry, pool, volume, err) ? 0 : error_code(err);
}

static int on_catalog(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        PoolEntry *pool = userdata;

        catalog_dispatch(pool->catalog);
        pool_check_catalog(pool);
        return 0;
}

static int let_waiters_go(VolumeEntry *entry, void *userdata) {
        operation_let_go(entry->lane.running, userdata);
        return 0;
}

/* Whoever waits for a disk that does not answer would wait for as long as that lasts. */
static void let_all_go(PoolEntry *pool, const Error *err) {
        Error failure = *err;

        error_hint(&failure, "what was asked for may still be done when it answers; see: quarry pool inspect %s",
                   pool->info.name);
        (void) registry_each_volume(pool, let_waiters_go, &failure);
        operation_let_go(pool->lane.running, &failure);
        operation_let_go(pool->tenant_lane.running, &failure);
}

static void on_touched(const Error *err, void *userdata) {
        /* pool_check_catalog() looks at what came of it */
}

void pool_probe_disk(PoolEntry *pool) {
        Error err = {};

        if (!pool->catalog || pool->state != POOL_ACTIVE || pool->n_operations == 0)
                return;
        if (catalog_touch(pool->catalog, on_touched, NULL, &err) < 0)
                log_failure(pool->info.name, &err, "cannot look whether the disk answers");
}

void pool_check_catalog(PoolEntry *pool) {
        Error err = {};

        if (!pool->catalog || pool->state != POOL_ACTIVE || catalog_health(pool->catalog, &err) >= 0)
                return;
        pool->catalog_in_doubt = true;
        error_prefix(&err, "the disk of pool %s fails", pool->info.name);
        pool_entry_set_failed(pool, &err);
        log_failure(pool->info.name, &err, "the pool is closed to changes until its catalog can be opened anew");
        let_all_go(pool, &err);
}

/* --- devices that the kernel has ------------------------------------------------------------------------ */

/* A device of ours whose volume the catalog does not know is reported, and closed if nobody uses it. */
static void on_stray_closed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        if (err)
                log_warning("reconcile", "cannot close a stray device: %s", err->text);
        else if (result->open)
                log_warning("reconcile", "a stray device is in use and was left alone");
}

static void close_stray(Manager *m, PoolEntry *pool, sd_id128_t uuid) {
        _cleanup_(job_done) Job job = { .verb = JOB_VOLUME_RELEASE, .pool = pool->info.uuid };
        char text[UUID_TEXT_MAX];
        Error err = {};

        log_warning(pool->info.name, "the kernel has a device of volume %s, which the catalog does not know",
                    uuid_format(uuid, text));
        job.volume = (Volume) {
                .uuid = uuid,
                .spec = { .tenant = DEFAULT_TENANT, .size = VOLUME_SIZE_MIN, .fs = FILESYSTEM_NONE, .mode = 0755 }
        };
        buffer_format(job.volume.spec.name, sizeof(job.volume.spec.name), "%s", text);
        if (queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, NULL, on_stray_closed, NULL, &err) < 0)
                log_failure(pool->info.name, &err, "cannot close a stray device");
}

static int forget_open(VolumeEntry *entry, void *userdata) {
        if (!entry->lane.running && entry->volume.spec.kind == KIND_BLOCK) /* of others mounts tell */
                entry->open = false;
        return 0;
}

void pool_take_numbers(PoolEntry *pool, const JobResult *result) {
        const PoolInfo *now = result->pools;

        if (result->n_pools == 0 || now->data_size == 0) /* the kernel has none of a pool that failed */
                return;
        pool->info.data_size = now->data_size;
        pool->info.data_used = now->data_used;
        pool->info.metadata_size = now->metadata_size;
        pool->info.metadata_used = now->metadata_used;
}

void pool_take_usage(Manager *m, PoolEntry *pool, JobResult *result, VolumeEntry *entry) {
        pool_take_numbers(pool, result);
        if (entry)
                (void) forget_open(entry, NULL);
        else
                registry_each_volume(pool, forget_open, NULL);
        for (size_t i = 0; i < result->n_devices; i++) {
                VolumeEntry *found = registry_find_uuid(&m->registry, result->devices[i].uuid);

                if (!found)
                        continue;
                found->open = found->open || found->volume.spec.kind == KIND_BLOCK;
                found->used = result->devices[i].used;
                found->used_is_known = true;
                found->stopped = result->devices[i].stopped;
        }
}

/* --- what was cut short --------------------------------------------------------------------------------- */

typedef struct Unfinished {
        VolumeEntry **list;
        size_t n;
} Unfinished;

/* Of what was cut short, or behind what was done: the row says which of the two it is that the volume has. */
static bool has_idle_spare(const VolumeEntry *entry) {
        return entry->volume.state == VOLUME_READY && entry->volume.has_spare && entry->volume.pending_size == 0;
}

static bool is_unfinished(const VolumeEntry *entry) {
        const Volume *v = &entry->volume;

        return v->state == VOLUME_CREATING || v->state == VOLUME_REMOVING || has_idle_spare(entry) ||
               (v->state == VOLUME_READY && (v->pending_size > 0 || v->old_name));
}

static int note_unfinished(VolumeEntry *entry, void *userdata) {
        Unfinished *u = userdata;
        VolumeEntry **list;

        if (!is_unfinished(entry))
                return 0;
        list = reallocarray(u->list, u->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        u->list = list;
        list[u->n++] = entry;
        return 0;
}

static void go_on(Manager *m, VolumeEntry *entry) {
        if (has_idle_spare(entry))
                volume_spare_resume(m, entry);
        if (entry->volume.old_name)
                volume_rename_resume(m, entry);
        if (entry->volume.pending_size > 0)
                volume_grow_resume(m, entry);
}

/* Not while somebody has the pool for itself. */
static void finish_unfinished(Manager *m, PoolEntry *pool) {
        Unfinished u = {};

        if (pool->operation || pool->state != POOL_ACTIVE)
                return;

        registry_each_volume(pool, note_unfinished, &u);
        for (size_t i = 0; i < u.n; i++) {
                if (u.list[i]->volume.state == VOLUME_READY) {
                        go_on(m, u.list[i]);
                        continue;
                }
                log_info(u.list[i]->volume.spec.name, "was being %s when quarryd ended: cleaning up",
                         u.list[i]->volume.state == VOLUME_CREATING ? "created" : "removed");
                if (u.list[i]->volume.state == VOLUME_CREATING)
                        volume_undo_create(m, u.list[i]);
                else
                        volume_resume_remove(m, u.list[i]);
        }
        free(u.list);
        volume_free_go_on(m, pool);
}

/* --- a catalog comes and goes --------------------------------------------------------------------------- */

/* Never waits: what the disk still keeps the catalog's thread from doing, it does when it can. */
static void let_go(PoolEntry *pool) {
        Catalog *catalog = TAKE_PTR(pool->catalog);

        pool->catalog_source = sd_event_source_disable_unref(pool->catalog_source);
        if (catalog)
                catalog_close(catalog, NULL, NULL);
        catalog_free(catalog);
}

static void turn_end(PoolEntry *pool, const Error *err) {
        CatalogTurn turn = pool->turn;

        pool->turn = (CatalogTurn) {};
        sd_event_source_disable_unref(turn.limit);
        job_result_done(&turn.result);
        if (err) {
                let_go(pool);
                pool_entry_set_failed(pool, err);
        }
        if (turn.on_done)
                turn.on_done(pool, err, turn.userdata);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *userdata) {
        PoolEntry *pool = userdata;
        Error err = {};

        error_set(&err, ERROR_POOL_UNAVAILABLE, ETIMEDOUT, "the disk of pool %s does not answer", pool->info.name);
        error_hint(&err, "it is tried again from time to time; see the kernel's messages: journalctl -k");
        turn_end(pool, &err);
        return 0;
}

static int turn_begin(Manager *m, PoolEntry *pool, PoolTurned on_done, void *userdata, Error *err) {
        int r;

        pool->turn = (CatalogTurn) { .manager = m, .on_done = on_done, .userdata = userdata };
        r = sd_event_add_time_relative(m->event, &pool->turn.limit, CLOCK_MONOTONIC, CATALOG_LIMIT_USEC, 0, on_limit,
                                       pool);
        return r < 0 ? error_errno(err, r, "cannot set a time limit") : 0;
}

static void on_opened(const Error *err, void *userdata) {
        PoolEntry *pool = userdata;
        Manager *m = pool->turn.manager;
        JobResult *result = &pool->turn.result;
        Error failure = {};

        if (err)
                failure = *err; /* it is the catalog's, which goes */
        else if (!pool->turn.has_rows)
                (void) begin_anew(pool, &failure);
        if (failure.kind != ERROR_NONE) {
                turn_end(pool, &failure);
                return;
        }
        schedule_read_runs(m, pool);
        pool->catalog_in_doubt = pool->read_only = pool->metadata_failed = false;
        pool_entry_set_state(pool, POOL_ACTIVE, NULL);
        pool_take_usage(m, pool, result, NULL);
        for (size_t i = 0; i < result->n_devices; i++)
                if (!registry_find_uuid(&m->registry, result->devices[i].uuid))
                        close_stray(m, pool, result->devices[i].uuid);
        watch_look(m->watch);
        watch_volume_opened(m->watch);
        space_begin(m, pool);
        finish_unfinished(m, pool);
        host_key_resume(m);
        turn_end(pool, NULL);
}

static int open_begin(Manager *m, PoolEntry *pool, JobResult *result, PoolTurned on_done, void *userdata, Error *err) {
        char folder[CATALOG_PATH_MAX];
        int r;

        r = turn_begin(m, pool, on_done, userdata, err);
        if (r < 0)
                return r;
        pool->turn.result = *result;
        *result = (JobResult) {};
        pool_catalog_path(pool->info.uuid, folder);
        r = catalog_open(folder, on_row, on_opened, pool, &pool->catalog, err);
        if (r < 0)
                return r;
        r = sd_event_add_io(m->event, &pool->catalog_source, catalog_fd(pool->catalog), EPOLLIN, on_catalog, pool);
        return r < 0 ? error_errno(err, r, "cannot follow the catalog") : 0;
}

void pool_open_catalog(Manager *m, PoolEntry *pool, JobResult *result, PoolTurned on_done, void *userdata) {
        Error err = {};

        if (result->n_pools > 0) {
                pool_info_done(&pool->info);
                pool->info = result->pools[0];
                /* The strings are taken over; the numbers stay for pool_take_usage(). */
                result->pools[0].vg = result->pools[0].file = NULL;
                result->pools[0].devices = NULL;
        }
        if (open_begin(m, pool, result, on_done, userdata, &err) < 0)
                turn_end(pool, &err);
}

static void on_closed(void *userdata) {
        PoolEntry *pool = userdata;

        let_go(pool);
        turn_end(pool, NULL);
}

void pool_close_catalog(Manager *m, PoolEntry *pool, PoolTurned on_done, void *userdata) {
        Error err = {};

        if (turn_begin(m, pool, on_done, userdata, &err) < 0)
                turn_end(pool, &err);
        else if (pool->catalog)
                catalog_close(pool->catalog, on_closed, pool);
        else
                on_closed(pool);
}

/* --- a worker is at a pool -------------------------------------------------------------------------------- */

struct PoolAttempt {
        Manager *manager;
        sd_id128_t pool; /* which may be gone when it ends */
        char name[POOL_NAME_MAX + 1];
        JobVerb verb;
        sd_event_source *limit; /* NULL: nobody waits any more, and userdata may be gone */
        JobProgress on_progress;
        JobDone on_done;
        void *userdata;
};

static void on_opened_late(PoolEntry *pool, const Error *err, void *userdata) {
        if (err)
                log_failure(pool->info.name, err, "cannot open the catalog");
}

/* What does not fit any more is left to the next look for missing disks. */
static void take_late(PoolAttempt *a, PoolEntry *pool, JobResult *result, const Error *err) {
        bool is_gone = err ? err->kind == ERROR_NO_SUCH_POOL : a->verb == JOB_POOL_REMOVE || a->verb == JOB_POOL_FORGET;

        if (err)
                log_failure(pool->info.name, err, "what a worker was asked for failed at last");
        if (pool->operation || pool->n_operations > 0 || pool->state != POOL_UNAVAILABLE)
                return;
        if (is_gone)
                registry_remove_pool(&a->manager->registry, pool);
        else if (!err) {
                pool_entry_set_state(pool, POOL_ACTIVATING, pool->failure); /* true until it is active */
                pool_open_catalog(a->manager, pool, result, on_opened_late, NULL);
        } else if (a->verb != JOB_POOL_FORGET) /* which says nothing about its disks */
                pool_entry_set_failed(pool, err);
}

static void on_attempted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        _cleanup_free_ PoolAttempt *a = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&a->manager->registry, a->pool);
        bool is_last = pool && pool->attempt == a;

        if (is_last)
                pool->attempt = NULL;
        if (a->limit) {
                sd_event_source_disable_unref(a->limit);
                a->on_done(result, mount_fd, err, a->userdata);
        } else if (is_last)
                take_late(a, pool, result, err);
}

static void on_attempt_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        PoolAttempt *a = userdata;

        if (a->limit && a->on_progress)
                a->on_progress(step, position, total, a->userdata);
}

static int on_attempt_limit(sd_event_source *source, uint64_t usec, void *userdata) {
        PoolAttempt *a = userdata;
        Error err = {};

        a->limit = sd_event_source_disable_unref(a->limit);
        error_set(&err, ERROR_POOL_UNAVAILABLE, ETIMEDOUT,
                  "a worker is not through with pool %s after %u seconds: its disks do not answer, or are slow",
                  a->name, ATTEMPT_LIMIT_SECONDS);
        error_hint(&err, "it goes on, and what comes of it is taken over; see the kernel's messages: journalctl -k");
        a->on_done(NULL, NULL, &err, a->userdata);
        return 0;
}

int pool_attempt(Manager *m, PoolEntry *pool, JobVerb verb, JobProgress on_progress, JobDone on_done, void *userdata,
                 Error *err) {
        Job job = { .verb = verb, .pool = pool->info.uuid };
        PoolAttempt *a = malloc(sizeof(*a));
        int r;

        if (!a)
                return error_oom(err);
        *a = (PoolAttempt) { .manager = m,
                             .pool = pool->info.uuid,
                             .verb = verb,
                             .on_progress = on_progress,
                             .on_done = on_done,
                             .userdata = userdata };
        buffer_format(a->name, sizeof(a->name), "%s", pool->info.name);
        r = sd_event_add_time_relative(m->event, &a->limit, CLOCK_MONOTONIC, ATTEMPT_LIMIT_SECONDS * UINT64_C(1000000),
                                       0, on_attempt_limit, a);
        if (r < 0)
                (void) error_errno(err, r, "cannot set a time limit");
        else
                r = queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, on_progress ? on_attempt_progress : NULL,
                                 on_attempted, a, err);
        if (r < 0) {
                sd_event_source_disable_unref(a->limit);
                free(a);
                return r;
        }
        pool->attempt = a;
        return 0;
}

int pool_attempt_by(Operation *op, PoolEntry *pool, JobVerb verb, JobDone on_done, Error *err) {
        op->job.verb = verb;
        return pool_attempt(op->manager, pool, verb, operation_progress(op), on_done, op, err);
}

/* --- opened again ----------------------------------------------------------------------------------------- */

static void opened_again(Operation *op, const Error *err) {
        Manager *m = op->manager;
        PoolEntry *pool = op->pool;

        if (op->failure.kind != ERROR_NONE)
                err = &op->failure;
        operation_finish(op, err);
        finish_unfinished(m, pool);
}

static void on_catalog_opened_again(PoolEntry *pool, const Error *err, void *userdata) {
        if (err)
                log_failure(pool->info.name, err, "cannot open the catalog again");
        opened_again(userdata, err);
}

static void on_opened_again(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) &&
            pool_attempt_by(op, op->pool, JOB_POOL_OPEN, on_opened_again, &failure) >= 0)
                return;
        if (err && err->kind == ERROR_NO_SUCH_POOL) { /* what failed came behind all that was to be done */
                operation_finish_pool_removed(op, op->failure.kind != ERROR_NONE ? &op->failure : err);
                return;
        }
        if (!err) {
                pool_open_catalog(op->manager, op->pool, result, on_catalog_opened_again, op);
                return;
        }
        pool_entry_set_failed(op->pool, err);
        opened_again(op, err);
}

void pool_open_again(Operation *op) {
        Error failure = {};

        pool_entry_set_state(op->pool, POOL_ACTIVATING, NULL);
        if (pool_attempt_by(op, op->pool, JOB_POOL_OPEN, on_opened_again, &failure) >= 0)
                return;
        pool_entry_set_state(op->pool, POOL_UNAVAILABLE, failure.text);
        opened_again(op, &failure);
}
