#include "broker/usage.h"

#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/watch.h"

#include <quarry/clock.h>
#include <quarry/log.h>

#include <time.h>

#define LOOK_LIMIT_USEC (500 * UINT64_C(1000))
#define MAPS_AGE_USEC (60 * UINT64_C(1000000))
#define MAPS_PART 10u /* of the time they may be read */

/* The answers and the time limit race: the operation ends with the first of "all are in" and the limit; the last
 * of all frees the look. */
typedef struct Look {
        Manager *manager;
        Operation *operation; /* NULL once ended */
        sd_event_source *timer;
        unsigned jobs_out;
} Look;

typedef struct LookJob {
        Look *look;
        sd_id128_t pool, volume;
} LookJob;

static void look_advance(Look *look, bool limit_is_over) {
        if (look->operation && (look->jobs_out == 0 || limit_is_over))
                operation_finish(TAKE_PTR(look->operation), NULL);
        if (look->jobs_out > 0)
                return;
        sd_event_source_disable_unref(look->timer);
        free(look);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *userdata) {
        look_advance(userdata, true);
        return 0;
}

/* --- the maps ------------------------------------------------------------------------------------------- */

typedef struct MapsJob {
        Manager *manager;
        Look *look; /* that waits for it, or NULL */
        sd_id128_t pool;
        uint64_t began_usec; /* CLOCK_REALTIME */
} MapsJob;

typedef struct MapsResult {
        JobResult *result;
        const MapsJob *job;
        uint64_t at;
} MapsResult;

static int compare_thin_ids(const void *a, const void *b) {
        const ThinUsage *x = a, *y = b;

        return x->thin_id < y->thin_id ? -1 : x->thin_id > y->thin_id;
}

/* The thin id of one that was made since may have been another's then. */
static int take_exclusive(VolumeEntry *entry, void *userdata) {
        const MapsResult *maps = userdata;
        ThinUsage key = { .thin_id = entry->volume.thin_id };
        const ThinUsage *found;

        if (entry->volume.spec.kind != KIND_BLOCK || entry->volume.created_usec >= maps->job->began_usec)
                return 0;
        found = bsearch(&key, maps->result->thins, maps->result->n_thins, sizeof(key), compare_thin_ids);
        if (!found)
                return 0;
        entry->exclusive = found->exclusive;
        entry->exclusive_at = maps->at;
        if (!entry->open || !entry->used_is_known) { /* of an open one the kernel has told since */
                entry->used = found->used;
                entry->used_is_known = true;
        }
        return 0;
}

static void on_maps(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        MapsJob *job = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&job->manager->registry, job->pool);
        Look *look = job->look;

        if (pool) {
                pool->maps_job = NULL;
                pool->maps_took = clock_usec(CLOCK_MONOTONIC) - pool->maps_began;
        }
        if (err)
                log_debug("usage", "%s", err->text);
        else if (pool && pool->state == POOL_ACTIVE && result->n_thins > 0) {
                MapsResult maps = { .result = result, .job = job, .at = pool->maps_began };

                qsort(result->thins, result->n_thins, sizeof(*result->thins), compare_thin_ids);
                registry_each_volume(pool, take_exclusive, &maps);
        }
        free(job);
        if (look) {
                look->jobs_out--;
                look_advance(look, false);
        }
}

/* entry: NULL for all that the pool has. */
static bool maps_are_due(const PoolEntry *pool, const VolumeEntry *entry, uint64_t now) {
        uint64_t at = entry ? entry->exclusive_at : pool->maps_began;

        if (pool->maps_job || pool->space.full || pool->n_volumes + pool->n_snapshots == 0 ||
            pool_entry_check_changes(pool, NULL) < 0)
                return false;
        return (at == 0 || at + MAPS_AGE_USEC <= now) && pool->maps_began + MAPS_PART * pool->maps_took <= now;
}

/* look: NULL for nobody who waits for it. */
static int maps_look_at(Manager *m, Look *look, PoolEntry *pool, const VolumeEntry *entry, Error *err) {
        Job job = { .verb = JOB_POOL_EXCLUSIVE, .pool = pool->info.uuid };
        uint64_t now = clock_usec(CLOCK_MONOTONIC);
        MapsJob *userdata;
        int r;

        if (!maps_are_due(pool, entry, now))
                return 0;
        userdata = malloc(sizeof(*userdata));
        if (!userdata)
                return error_oom(err);
        *userdata = (MapsJob) {
                .manager = m, .look = look, .pool = pool->info.uuid, .began_usec = clock_usec(CLOCK_REALTIME)
        };
        r = queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, NULL, on_maps, userdata, err);
        if (r < 0) {
                free(userdata);
                return r;
        }
        pool->maps_job = userdata;
        pool->maps_began = now;
        if (look)
                look->jobs_out++;
        return 0;
}

/* --- the numbers ---------------------------------------------------------------------------------------- */

static void on_looked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        LookJob *job = userdata;
        Look *look = job->look;
        Registry *registry = &look->manager->registry;
        PoolEntry *pool = registry_find_pool_uuid(registry, job->pool);
        VolumeEntry *entry = sd_id128_is_null(job->volume) ? NULL : registry_find_uuid(registry, job->volume);

        if (pool)
                pool->look_is_out = false;
        if (err)
                log_debug("usage", "%s", err->text);
        else if (pool && pool->state == POOL_ACTIVE)
                pool_take_usage(look->manager, pool, result, entry);
        free(job);
        look->jobs_out--;
        look_advance(look, false);
}

/* One at a time for each pool: a second would queue behind the first, and tell no more. */
static int look_at(Look *look, PoolEntry *pool, VolumeEntry *entry, Error *err) {
        Job job = { .verb = entry ? JOB_VOLUME_USAGE : JOB_POOL_USAGE, .pool = pool->info.uuid };
        LookJob *userdata;
        int r;

        if (pool->look_is_out || pool_entry_check(pool, NULL) < 0)
                return 0;
        userdata = malloc(sizeof(*userdata));
        if (!userdata)
                return error_oom(err);
        *userdata = (LookJob) { .look = look, .pool = pool->info.uuid };
        if (entry) {
                job.volume = entry->volume; /* borrowed while it is encoded */
                userdata->volume = entry->volume.uuid;
        }
        r = queue_submit(look->manager->queue, NULL, &job, -EBADF, -EBADF, NULL, on_looked, userdata, err);
        if (r < 0) {
                free(userdata);
                return r;
        }
        pool->look_is_out = true;
        look->jobs_out++;
        return 0;
}

static int look_start(Operation *op, Error *err) {
        Registry *registry = &op->manager->registry;
        VolumeEntry *entry = registry_find_uuid(registry, op->job.volume.uuid);
        PoolEntry *only = registry_find_pool_uuid(registry, op->job.pool);
        Look *look = calloc(1, sizeof(*look));
        int r;

        if (!look)
                return error_oom(err);
        *look = (Look) { .manager = op->manager };
        r = sd_event_add_time_relative(op->manager->event, &look->timer, CLOCK_MONOTONIC, LOOK_LIMIT_USEC, 0, on_limit,
                                       look);
        if (r < 0)
                error_errno(err, r, "cannot set a time limit");
        for (PoolEntry *pool = registry->pools; pool && r >= 0; pool = pool->next) {
                if (only && pool != only)
                        continue;
                r = look_at(look, pool, entry, err);
                if (r >= 0 && (!entry || entry->volume.spec.kind == KIND_BLOCK))
                        r = maps_look_at(op->manager, entry ? look : NULL, pool, entry, err);
        }
        if (r >= 0)
                look->operation = op; /* else the caller ends it with the error */
        look_advance(look, false);
        return r;
}

static int known_start(Operation *op, Error *err) {
        operation_finish(op, NULL);
        return 0;
}

static int begin(Manager *m, const Caller *caller, int (*start)(Operation *op, Error *err), sd_id128_t pool,
                 sd_id128_t volume, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        watch_look(m->watch);
        r = operation_new(m, NULL, caller, watcher, start, &op, err);
        if (r < 0)
                return r;
        op->job.pool = pool;
        op->job.volume.uuid = volume;
        operation_begin(op, NULL);
        return 0;
}

int usage_take_as_known(Manager *m, const Caller *caller, const Watcher *watcher, Error *err) {
        return begin(m, caller, known_start, SD_ID128_NULL, SD_ID128_NULL, watcher, err);
}

int usage_look_at_volume(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        return begin(m, caller, look_start, entry->pool->info.uuid, entry->volume.uuid, watcher, err);
}

int usage_look_at_pools(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        if (!caller->admin && !policy_has_tenant(m, caller)) /* who sees nothing costs nothing */
                return usage_take_as_known(m, caller, watcher, err);
        return begin(m, caller, look_start, pool ? pool->info.uuid : SD_ID128_NULL, SD_ID128_NULL, watcher, err);
}

void usage_end(Manager *m) {
        for (PoolEntry *pool = m->registry.pools; pool; pool = pool->next)
                free(TAKE_PTR(pool->maps_job));
}
