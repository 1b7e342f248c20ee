/* The metadata of a pool: checked beside what runs on it, or repaired while nothing does. */

#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/pool.h"

#include <quarry/log.h>

static void take_result(Operation *op, JobResult *result) {
        free(op->damage);
        op->damage = TAKE_PTR(result->damage);
        op->kept = op->kept ?: TAKE_PTR(result->kept);
}

static void on_checked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_POOL_CHECK, on_checked, &failure) >= 0)
                return;
        if (!err)
                take_result(op, result);
        operation_finish(op, err);
}

static int check_start(Operation *op, Error *err) {
        return operation_run_job(op, JOB_POOL_CHECK, on_checked, err);
}

static void on_repaired(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        PoolEntry *pool = op->pool;
        Error failure = {};

        /* What has begun is gone on with. */
        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_POOL_REPAIR, on_repaired, &failure) >= 0)
                return;
        if (err)
                op->failure = *err;
        else
                take_result(op, result);
        if (op->kept)
                log_warning(pool->info.name, "its metadata was repaired; as it was it lies in %s", op->kept);
        pool_open_again(op);
}

static void on_catalog_closed(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && operation_run_job(op, JOB_POOL_REPAIR, on_repaired, &failure) >= 0)
                return;
        op->failure = err ? *err : failure;
        if (err)
                operation_finish(op, &op->failure);
        else
                pool_open_again(op);
}

static int repair_start(Operation *op, Error *err) {
        pool_close_catalog(op->manager, op->pool, on_catalog_closed, op);
        return 0;
}

/* One that is unavailable is what this is for. */
static int may_be_looked_at(const PoolEntry *pool, Error *err) {
        return pool->state == POOL_UNAVAILABLE && !pool->operation ? 0 : pool_entry_check(pool, err);
}

int pool_check(Manager *m, const Caller *caller, PoolEntry *pool, bool repair, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = may_be_looked_at(pool, err);
        if (r >= 0 && repair)
                r = pool_check_unmounted(m, pool, err);
        if (r >= 0)
                r = operation_new(m, repair ? "pool check --repair" : NULL, caller, watcher,
                                  repair ? repair_start : check_start, &op, err);
        if (r < 0)
                return r;
        if (repair)
                return operation_begin_on_pool(op, pool, err);
        operation_begin_with_pool(op, pool);
        return 0;
}
