#include "broker/usage.h"

#include "broker/pool-open.h"
#include "broker/watch.h"

#include <quarry/log.h>

#define LOOK_LIMIT_USEC (500 * UINT64_C(1000))

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
        r = queue_submit(look->manager->queue, &job, -EBADF, NULL, on_looked, userdata, err);
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
        for (PoolEntry *pool = registry->pools; pool && r >= 0 && op->caller.admin; pool = pool->next)
                if (!only || pool == only)
                        r = look_at(look, pool, entry, err);
        if (r >= 0)
                look->operation = op; /* else the caller ends it with the error */
        look_advance(look, false);
        return r;
}

static int begin(Manager *m, const Caller *caller, sd_id128_t pool, sd_id128_t volume, const Watcher *watcher,
                 Error *err) {
        Operation *op;
        int r;

        watch_look(m->watch);
        r = operation_new(m, NULL, caller, watcher, look_start, &op, err);
        if (r < 0)
                return r;
        op->job.pool = pool;
        op->job.volume.uuid = volume;
        operation_begin(op, NULL);
        return 0;
}

int usage_look_at_volume(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        return begin(m, caller, entry->pool->info.uuid, entry->volume.uuid, watcher, err);
}

int usage_look_at_pools(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        return begin(m, caller, pool ? pool->info.uuid : SD_ID128_NULL, SD_ID128_NULL, watcher, err);
}
