/* What can be changed of a pool: when snapshots are made of its volumes. */

#include "broker/policy.h"
#include "broker/pool.h"
#include "broker/schedule.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <time.h>

static void on_written(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                free(op->pool->schedule);
                op->pool->schedule = TAKE_PTR(op->schedule);
                op->pool->schedule_since = op->schedule_since;
                schedule_pool_changed(op->manager, op->pool);
        }
        operation_finish(op, err);
}

static void on_since_written(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err || catalog_put_setting(op->pool->catalog, SETTING_SCHEDULE, op->schedule, on_written, op, &failure) < 0)
                operation_finish(op, err ?: &failure);
}

/* The time before the schedule: one that is there without its time would count from nothing. */
static void on_checked(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};
        struct timespec ts;
        char since[32];
        int r;

        if (err) {
                operation_finish(op, err);
                return;
        }
        clock_gettime(CLOCK_REALTIME, &ts);
        op->schedule_since = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        buffer_format(since, sizeof(since), "%" PRIu64, op->schedule_since);
        r = pool_entry_check_changes(op->pool, &failure);
        if (r >= 0)
                r = catalog_put_setting(op->pool->catalog, SETTING_SCHEDULE_SINCE, since, on_since_written, op,
                                        &failure);
        if (r < 0)
                operation_finish(op, &failure);
}

static int update_start(Operation *op, Error *err) {
        Schedule schedule;
        int r;

        r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                r = schedule_parse(op->schedule, "snapshotSchedule", &schedule, err);
        if (r < 0)
                return r;
        if (schedule.n > 0)
                return schedule_check(op->manager, &schedule, on_checked, op, err);
        free(TAKE_PTR(op->schedule));
        on_checked(NULL, op);
        return 0;
}

int pool_update(Manager *m, const Caller *caller, PoolEntry *pool, const char *schedule, const Watcher *watcher,
                Error *err) {
        Schedule parsed;
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = schedule_parse(schedule, "snapshotSchedule", &parsed, err);
        if (r >= 0)
                r = operation_new(m, "pool update", caller, watcher, update_start, &op, err);
        if (r < 0)
                return r;
        op->schedule = schedule_format(&parsed);
        if (!op->schedule) {
                operation_free(op);
                return error_oom(err);
        }
        operation_begin_with_pool(op, pool);
        return 0;
}
