/* Pools that leave this host: destroyed, or exported. */

#include "broker/pool-open.h"
#include "broker/pool.h"
#include "broker/watch.h"

#include <quarry/log.h>

static void on_catalog_reopened(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                log_failure(pool->info.name, err, "cannot open the catalog again");
        operation_finish(op, &op->failure);
}

static void on_reopened(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_POOL_OPEN, on_reopened, &failure) >= 0)
                return;
        if (err) {
                pool_entry_set_failed(op->pool, err);
                operation_finish(op, &op->failure);
        } else
                pool_open_catalog(op->manager, op->pool, result, on_catalog_reopened, op);
}

static void on_taken_away(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        PoolEntry *pool = op->pool;
        Error failure = {};

        bool again = op->failure.kind != ERROR_NONE, removes = op->job.verb == JOB_POOL_REMOVE;

        if (!err || (again && removes && err->kind == ERROR_NO_SUCH_POOL)) {
                Manager *m = op->manager;

                operation_finish(op, NULL);
                registry_remove_pool(&m->registry, pool);
                return;
        }
        /* A removal that has begun is gone on with. */
        if (removes && operation_outlives_worker(op, err)) {
                op->failure = *err;
                if (operation_run_job(op, JOB_POOL_REMOVE, on_taken_away, &failure) >= 0)
                        return;
        }
        /* It stays: bring it back as far as it goes. */
        op->failure = *err;
        pool_entry_set_state(pool, POOL_ACTIVATING, NULL);
        if (operation_run_job(op, JOB_POOL_OPEN, on_reopened, &failure) < 0) {
                pool_entry_set_state(pool, POOL_UNAVAILABLE, failure.text);
                operation_finish(op, &op->failure);
        }
}

static void on_catalog_closed(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_run_job(op, op->job.verb, on_taken_away, &failure) >= 0)
                return;
        pool_entry_set_state(op->pool, POOL_UNAVAILABLE, failure.text);
        operation_finish(op, &failure);
}

static int take_away_start(Operation *op, Error *err) {
        operation_close_catalog(op, on_catalog_closed);
        return 0;
}

int pool_remove(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = pool->info.unfinished && !pool->operation ? 0 : pool_entry_check(pool, err);
        if (r < 0)
                return r;
        if (pool->n_volumes > 0) {
                r = error_set(err, ERROR_POOL_BUSY, EBUSY, "pool %s holds %zu volume%s", pool->info.name,
                              pool->n_volumes, pool->n_volumes == 1 ? "" : "s");
                error_hint(err, "see them with quarry ls --pool %s, remove them with quarry rm", pool->info.name);
                return r;
        }
        r = operation_new(m, "pool rm", caller, watcher, take_away_start, &op, err);
        if (r < 0)
                return r;
        op->job.verb = JOB_POOL_REMOVE;
        return operation_begin_on_pool(op, pool, err);
}

static int find_mounted(VolumeEntry *entry, void *userdata) {
        VolumeEntry **ret = userdata;

        if (entry->n_holds == 0)
                return 0;
        *ret = entry;
        return 1;
}

int pool_export(Manager *m, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err) {
        VolumeEntry *mounted = NULL;
        Operation *op;
        int r;

        r = pool_entry_check(pool, err);
        if (r < 0)
                return r;
        watch_look(m->watch);
        if (registry_each_volume(pool, find_mounted, &mounted) > 0) {
                r = error_set(err, ERROR_POOL_BUSY, EBUSY, "volume %s of pool %s is mounted at %s",
                              mounted->volume.spec.name, pool->info.name, mounted->holds[0].path);
                error_hint(err, "quarry umount %s", mounted->volume.spec.name);
                return r;
        }
        r = operation_new(m, "pool export", caller, watcher, take_away_start, &op, err);
        if (r < 0)
                return r;
        op->job.verb = JOB_POOL_EXPORT;
        return operation_begin_on_pool(op, pool, err);
}
