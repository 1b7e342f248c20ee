#include "broker/pool-trouble.h"

#include "broker/operation.h"
#include "broker/pool-open.h"

#include <quarry/log.h>
#include <quarry/text.h>

#define FIRST_TRY_USEC (1 * UINT64_C(1000000))
#define LOOK_USEC (2 * UINT64_C(1000000))
#define STALL_USEC (10 * UINT64_C(1000000)) /* a disk that takes longer for a commit does not answer */

void pool_trouble_begins(Manager *m, PoolEntry *pool, const Error *err) {
        if (pool->is_reopening || (pool->trouble && !pool->is_stalled))
                return;
        log_failure(pool->info.name, err, "takes no changes until its catalog can be opened again");
        pool_entry_set_trouble(pool, err->text);
        (void) sd_event_source_set_time_relative(m->missing_source, FIRST_TRY_USEC);
        (void) sd_event_source_set_enabled(m->missing_source, SD_EVENT_ONESHOT);
}

/* --- opening it again ----------------------------------------------------------------------------------- */

typedef struct Reopening {
        Manager *manager;
        sd_id128_t pool;
} Reopening;

static void reopening_failed(PoolEntry *pool, const Error *err) {
        pool->is_reopening = false;
        pool_entry_set_trouble(pool, err->text);
        log_failure(pool->info.name, err, "its catalog cannot be opened again");
}

static void on_opened(PoolEntry *pool, const Error *err, void *userdata) {
        if (err)
                reopening_failed(pool, err);
}

static void on_activated(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        _cleanup_free_ Reopening *r = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&r->manager->registry, r->pool);

        if (!pool)
                return;
        if (err)
                reopening_failed(pool, err);
        else
                pool_open_catalog(r->manager, pool, result, on_opened, NULL);
}

/* A worker looks whether the catalog's filesystem can be written, and mounts it anew if it cannot. */
static void on_closed(void *userdata) {
        Reopening *r = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&r->manager->registry, r->pool);
        Job job = { .verb = JOB_POOL_OPEN, .pool = r->pool };
        Error err = {};

        if (queue_submit(r->manager->queue, &job, -EBADF, NULL, on_activated, r, &err) >= 0)
                return;
        reopening_failed(pool, &err);
        free(r);
}

static void reopen(Manager *m, PoolEntry *pool) {
        Reopening *r = malloc(sizeof(*r));

        if (!r)
                return; /* the next try may have more luck */
        *r = (Reopening) { .manager = m, .pool = pool->info.uuid };
        pool->is_reopening = true;
        pool_close_catalog(pool, on_closed, r);
}

static int find_open(VolumeEntry *entry, void *userdata) {
        return entry->open;
}

/* The thin-pool device is made anew only while nothing uses it. */
static bool needs_reopening(PoolEntry *pool) {
        if (pool->state != POOL_ACTIVE || pool->is_stalled || pool->is_reopening || pool->operation)
                return false;
        return pool->trouble || (pool->info.health > POOL_FULL && registry_each_volume(pool, find_open, NULL) == 0);
}

void pool_trouble_try(Manager *m) {
        for (PoolEntry *p = m->registry.pools; p; p = p->next)
                if (needs_reopening(p))
                        reopen(m, p);
}

/* --- disks that do not answer --------------------------------------------------------------------------- */

static int let_go(VolumeEntry *entry, void *userdata) {
        const Error *err = userdata;

        if (entry->lane.running && entry->lane.running->waits_for_catalog)
                operation_let_go(entry->lane.running, err);
        return 0;
}

static void stall(PoolEntry *pool, uint64_t usec) {
        char text[160];
        Error err = {};

        buffer_format(text, sizeof(text), "the disk of its catalog has not answered for more than %u seconds",
                      (unsigned) (usec / 1000000));
        error_set(&err, ERROR_POOL_UNAVAILABLE, ETIMEDOUT, "pool %s: %s; what was asked for may still be done",
                  pool->info.name, text);
        error_hint(&err, "journalctl -k; quarry pool inspect %s", pool->info.name);
        if (!pool->trouble)
                log_failure(pool->info.name, &err, "takes no changes while that lasts");
        if (pool->state == POOL_ACTIVATING)
                pool_entry_set_state(pool, POOL_ACTIVATING, text);
        pool_entry_set_trouble(pool, text);
        pool->is_stalled = true;
        (void) registry_each_volume(pool, let_go, &err);
        if (pool->operation && pool->operation->waits_for_catalog)
                operation_let_go(pool->operation, &err);
}

static int on_look(sd_event_source *source, uint64_t now, void *userdata) {
        Manager *m = userdata;

        for (PoolEntry *p = m->registry.pools; p; p = p->next) {
                uint64_t since = p->catalog ? catalog_busy_since(p->catalog) : 0;

                if (since > 0 && since + STALL_USEC < now)
                        stall(p, now - since);
                else if (p->is_stalled) {
                        log_info(p->info.name, "the disk of its catalog answers again");
                        pool_entry_set_trouble(p, NULL);
                }
        }
        (void) sd_event_source_set_time_relative(source, LOOK_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int pool_trouble_watch(Manager *m, Error *err) {
        int r;

        r = sd_event_add_time_relative(m->event, &m->stall_source, CLOCK_MONOTONIC, LOOK_USEC, 0, on_look, m);
        return r < 0 ? error_errno(err, r, "cannot set a timer") : 0;
}
