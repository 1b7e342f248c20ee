/* More space for a pool, while its volumes are in use. */

#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/pool.h"

#include <quarry/text.h>

static void on_extended(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err && result->n_pools > 0) {
                strv_free(op->pool->info.devices);
                op->pool->info.devices = TAKE_PTR(result->pools[0].devices);
        }
        if (!err) {
                pool_take_numbers(op->pool, result);
                op->pool->info.room = result->n_pools > 0 ? result->pools[0].room : 0;
        }
        operation_finish(op, err);
}

static int extend_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        return r < 0 ? r : operation_run_job(op, JOB_POOL_EXTEND, on_extended, err);
}

int pool_extend(Manager *m, const Caller *caller, PoolEntry *pool, PoolGrowth *growth, const Watcher *watcher,
                Error *err) {
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = pool_growth_validate(growth, err);
        if (r >= 0)
                r = pool_entry_check_changes(pool, err);
        if (r >= 0)
                r = operation_new(m, "pool extend", caller, watcher, extend_start, &op, err);
        if (r < 0) {
                pool_growth_done(growth);
                return r;
        }
        op->job.growth = *growth;
        *growth = (PoolGrowth) {};
        operation_begin_with_pool(op, pool);
        return 0;
}
