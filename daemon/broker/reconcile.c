#include "broker/reconcile.h"

#include "broker/audit.h"
#include "broker/pool-open.h"
#include "broker/pool.h"

#include <quarry/clock.h>
#include <quarry/log.h>

/* Just after boot disks may still turn up: what is asked meanwhile waits for them. */
#define BOOT_PAUSE_USEC (1 * UINT64_C(1000000))
/* Later they are looked for at this pace, and nobody waits. */
#define MISSING_PAUSE_USEC (15 * UINT64_C(1000000))

typedef struct Start {
        Manager *manager;
        unsigned waiting_for; /* pools that are being activated */
} Start;

typedef struct Opening {
        Start *start;
        sd_id128_t pool;
        sd_event_source *pause;
        unsigned deaths; /* of workers that were to open it */
} Opening;

static void let_go_on(Manager *m) {
        if (m->on_ready)
                m->on_ready(m->on_ready_userdata);
}

static void one_less(Start *start) {
        Manager *m = start->manager;

        if (--start->waiting_for > 0)
                return;
        free(start);
        m->ready = true;
        let_go_on(m);
}

static void opening_end(Opening *opening) {
        one_less(opening->start);
        sd_event_source_disable_unref(opening->pause);
        free(opening);
}

static bool clean_up(Manager *m, PoolEntry *pool, Opening *opening);

static void on_cleaned(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Opening *opening = userdata;
        Manager *m = opening->start->manager;
        PoolEntry *pool = registry_find_pool_uuid(&m->registry, opening->pool);

        if (err && err->kind == ERROR_WORKER_DIED && ++opening->deaths < WORKER_DEATHS_MAX &&
            clean_up(m, pool, opening))
                return;
        if (err) {
                pool_entry_set_state(pool, POOL_UNAVAILABLE, err->text);
                log_failure(pool->info.name, err, "cannot take away what is left of the pool");
        } else {
                audit_pool(m->audit, pool, EVENT_POOL, LOG_INFO,
                           "was being made or removed when that was cut short: taken away");
                registry_remove_pool(&m->registry, pool);
        }
        opening_end(opening);
}

/* Only after it was tried to open it: the worker of an earlier broker may have ended the creation meanwhile. */
static bool clean_up(Manager *m, PoolEntry *pool, Opening *opening) {
        Error err = {};

        return pool->info.unfinished && pool_attempt(m, pool, JOB_POOL_REMOVE, NULL, on_cleaned, opening, &err) >= 0;
}

static int submit_open(Opening *opening, Error *err);

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Opening *opening = userdata;
        Manager *m = opening->start->manager;
        Error err = {};

        if (submit_open(opening, &err) < 0) {
                pool_entry_set_failed(registry_find_pool_uuid(&m->registry, opening->pool), &err);
                opening_end(opening);
        }
        return 0;
}

static bool is_worth_a_wait(Opening *opening, const PoolEntry *pool, const Error *err) {
        if (err->kind == ERROR_WORKER_DIED)
                return ++opening->deaths < WORKER_DEATHS_MAX;
        return pool->may_come_yet && !pool->attempt && clock_host_is_booting();
}

/* Returns whether it will be tried again. */
static bool wait_for_it(Manager *m, PoolEntry *pool, Opening *opening, const Error *err) {
        if (!is_worth_a_wait(opening, pool, err))
                return false;
        opening->pause = sd_event_source_disable_unref(opening->pause);
        if (sd_event_add_time_relative(m->event, &opening->pause, CLOCK_MONOTONIC, BOOT_PAUSE_USEC, 0, on_pause_over,
                                       opening) < 0)
                return false;
        pool_entry_set_state(pool, POOL_ACTIVATING, NULL);
        return true;
}

static void on_catalog_opened(PoolEntry *pool, const Error *err, void *userdata) {
        Opening *opening = userdata;

        if (err)
                log_failure(pool->info.name, err, "cannot open the catalog");
        else
                let_go_on(opening->start->manager);
        opening_end(opening);
}

static void on_opened(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Opening *opening = userdata;
        Manager *m = opening->start->manager;
        PoolEntry *pool = registry_find_pool_uuid(&m->registry, opening->pool);

        if (err) {
                if (err->kind == ERROR_NO_SUCH_POOL) { /* the worker of an earlier broker took it away meanwhile */
                        registry_remove_pool(&m->registry, pool);
                        opening_end(opening);
                        return;
                }
                if (!pool->attempt && clean_up(m, pool, opening))
                        return;
                pool_entry_set_failed(pool, err);
                if (wait_for_it(m, pool, opening, err))
                        return;
                log_failure(pool->info.name, err, "cannot activate the pool");
                opening_end(opening);
        } else
                pool_open_catalog(m, pool, result, on_catalog_opened, opening);
}

static int submit_open(Opening *opening, Error *err) {
        Manager *m = opening->start->manager;
        PoolEntry *pool = registry_find_pool_uuid(&m->registry, opening->pool);

        return pool_attempt(m, pool, JOB_POOL_OPEN, NULL, on_opened, opening, err);
}

static void open_pool(Start *start, PoolEntry *pool) {
        Opening *opening = malloc(sizeof(*opening));
        Error err = {};

        if (opening)
                *opening = (Opening) { .start = start, .pool = pool->info.uuid };
        start->waiting_for++;
        if (opening && submit_open(opening, &err) >= 0)
                return;
        free(opening);
        pool_entry_set_state(pool, POOL_UNAVAILABLE, err.text);
        start->waiting_for--; /* the caller counts for one */
}

static void on_scanned(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Start *start = userdata;
        Manager *m = start->manager;

        if (err) {
                m->failure = *err;
                log_failure("reconcile", err, "cannot look for the pools of this host");
        }
        for (size_t i = 0; !err && i < result->n_pools; i++) {
                PoolEntry *pool = registry_add_pool(&m->registry, &result->pools[i]);

                if (pool)
                        open_pool(start, pool);
                else
                        log_error("reconcile", "out of memory: a pool is missing");
        }
        one_less(start);
}

static int on_look_for_missing(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        if (m->ready)
                pool_try_missing(m);
        (void) sd_event_source_set_time_relative(source, MISSING_PAUSE_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int reconcile_start(Manager *m, Error *err) {
        Job job = { .verb = JOB_POOL_SCAN };
        Start *start = malloc(sizeof(*start));
        int r;

        if (!start)
                return error_oom(err);
        if (!m->missing_source) {
                r = sd_event_add_time_relative(m->event, &m->missing_source, CLOCK_MONOTONIC, MISSING_PAUSE_USEC, 0,
                                               on_look_for_missing, m);
                if (r < 0) {
                        free(start);
                        return error_errno(err, r, "cannot set a timer");
                }
        }
        *start = (Start) { .manager = m, .waiting_for = 1 };
        r = queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, NULL, on_scanned, start, err);
        if (r < 0)
                free(start);
        return r;
}
