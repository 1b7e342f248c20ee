/* Pools that leave this host: destroyed, or exported. */

#include "broker/pool-open.h"
#include "broker/pool.h"
#include "broker/watch.h"

static void on_taken_away(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        PoolEntry *pool = op->pool;
        Error failure = {};

        if (!err || (op->failure.kind != ERROR_NONE && err->kind == ERROR_NO_SUCH_POOL)) {
                operation_finish_pool_removed(op, NULL);
                return;
        }
        /* What has begun is gone on with. */
        if (operation_outlives_worker(op, err)) {
                op->failure = *err;
                if (operation_run_job(op, op->job.verb, on_taken_away, &failure) >= 0)
                        return;
        }
        /* It stays: bring it back as far as it goes. One whose removal was noted does not open any more, and can be
         * removed again. */
        op->failure = *err;
        pool->info.unfinished = op->job.verb == JOB_POOL_REMOVE;
        pool_open_again(op);
}

static void on_catalog_closed(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && operation_run_job(op, op->job.verb, on_taken_away, &failure) >= 0)
                return;
        if (!err)
                pool_entry_set_state(pool, POOL_UNAVAILABLE, failure.text);
        operation_finish(op, err ?: &failure);
}

static int take_away(Operation *op, JobVerb verb) {
        op->job.verb = verb;
        pool_close_catalog(op->manager, op->pool, on_catalog_closed, op);
        return 0;
}

static int remove_start(Operation *op, Error *err) {
        return take_away(op, JOB_POOL_REMOVE);
}

static int export_start(Operation *op, Error *err) {
        return take_away(op, JOB_POOL_EXPORT);
}

int pool_remove(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = pool->info.unfinished && pool->state == POOL_UNAVAILABLE && !pool->operation ? 0
                                                                                         : pool_entry_check(pool, err);
        if (r < 0)
                return r;
        if (pool->n_volumes > 0) {
                r = error_set(err, ERROR_POOL_BUSY, EBUSY, "pool %s holds %zu volume%s", pool->info.name,
                              pool->n_volumes, pool->n_volumes == 1 ? "" : "s");
                error_hint(err, "see them with quarry ls --pool %s, remove them with quarry rm", pool->info.name);
                return r;
        }
        r = operation_new(m, "pool rm", caller, watcher, remove_start, &op, err);
        return r < 0 ? r : operation_begin_on_pool(op, pool, err);
}

/* --- disks that are gone for good ------------------------------------------------------------------------- */

static void on_forgotten(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) &&
            pool_attempt_by(op, op->pool, JOB_POOL_FORGET, on_forgotten, &failure) >= 0)
                return;
        if (err && err->kind != ERROR_NO_SUCH_POOL)
                operation_finish(op, err);
        else
                operation_finish_pool_removed(op, NULL);
}

static void on_closed_to_forget(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err || pool_attempt_by(op, pool, JOB_POOL_FORGET, on_forgotten, &failure) < 0)
                operation_finish(op, err ?: &failure);
}

static int check_gone(const PoolEntry *pool, Error *err) {
        int r;

        if (pool->state != POOL_ACTIVE)
                return 0;
        r = error_set(err, ERROR_POOL_BUSY, EBUSY, "pool %s is active: only one whose disks are gone is forgotten",
                      pool->info.name);
        error_hint(err, "to move it to another host: quarry pool export %s", pool->info.name);
        return r;
}

/* Behind the try to bring it back that may have been running. */
static int forget_start(Operation *op, Error *err) {
        PoolEntry *pool = registry_find_pool_uuid(&op->manager->registry, op->job.pool);
        int r;

        if (!pool)
                return error_set(err, ERROR_NO_SUCH_POOL, ENXIO, "the pool went away meanwhile");
        r = check_gone(pool, err);
        if (r < 0)
                return r;
        if (pool->operation || pool->n_operations > 0 || pool->state != POOL_UNAVAILABLE)
                return error_set(err, ERROR_POOL_BUSY, EBUSY, "jobs are running on pool %s", pool->info.name);
        op->pool = pool;
        pool->operation = op;
        pool_close_catalog(op->manager, pool, on_closed_to_forget, op);
        return 0;
}

int pool_forget(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = check_gone(pool, err);
        if (r >= 0)
                r = operation_new(m, "pool forget", caller, watcher, forget_start, &op, err);
        if (r < 0)
                return r;
        op->job.pool = pool->info.uuid;
        operation_begin(op, &m->pool_lane);
        return 0;
}

/* --- moving to another host -------------------------------------------------------------------------------- */

static int find_mounted(VolumeEntry *entry, void *userdata) {
        VolumeEntry **ret = userdata;

        if (entry->n_holds == 0)
                return 0;
        *ret = entry;
        return 1;
}

int pool_check_unmounted(Manager *m, PoolEntry *pool, Error *err) {
        VolumeEntry *mounted = NULL;
        int r;

        watch_look(m->watch);
        if (registry_each_volume(pool, find_mounted, &mounted) == 0)
                return 0;
        r = error_set(err, ERROR_POOL_BUSY, EBUSY, "volume %s of pool %s is mounted at %s", mounted->volume.spec.name,
                      pool->info.name, mounted->holds[0].path);
        error_hint(err, "quarry umount %s", VOLUME_REFERENCE(&mounted->volume.spec));
        return r;
}

int pool_export(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        /* Also one that does not open: an earlier export may have failed half way, or another host is to mend it. */
        r = pool->state == POOL_UNAVAILABLE && !pool->operation ? 0 : pool_entry_check(pool, err);
        if (r >= 0)
                r = pool_check_unmounted(m, pool, err);
        if (r < 0)
                return r;
        r = operation_new(m, "pool export", caller, watcher, export_start, &op, err);
        return r < 0 ? r : operation_begin_on_pool(op, pool, err);
}
