/* What is told of a pool, and whether it can be worked with. */

#include "broker/audit.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* A disk that is missing is looked for time and again: that is told once. */
static void tell_state(PoolEntry *pool) {
        if (pool->state == POOL_ACTIVE) {
                free(TAKE_PTR(pool->told_failure));
                audit_pool(pool->audit, pool, EVENT_POOL, LOG_INFO, "active with %zu volumes", pool->n_volumes);
        } else if (pool->state == POOL_UNAVAILABLE && !streq_ptr(pool->told_failure, pool->failure)) {
                free(pool->told_failure);
                pool->told_failure = pool->failure ? strdup(pool->failure) : NULL;
                audit_pool(pool->audit, pool, EVENT_POOL, LOG_ERR, "not active: %s",
                           pool->failure ?: "it could not be activated");
        }
}

void pool_entry_set_state(PoolEntry *pool, PoolState state, const char *failure) {
        if (!failure || failure != pool->failure) { /* what was there stays true, and so does what to do about it */
                free(TAKE_PTR(pool->failure));
                free(TAKE_PTR(pool->advice));
                pool->failure = failure ? strdup(failure) : NULL;
        }
        pool->state = state;
        tell_state(pool);
}

void pool_entry_set_failed(PoolEntry *pool, const Error *err) {
        pool_entry_set_state(pool, POOL_UNAVAILABLE, err->text);
        pool->advice = err->hint[0] ? strdup(err->hint) : NULL;
        pool->may_come_yet = err->number == ENODEV || err->number == ENOENT || err->number == ETIMEDOUT ||
                             err->number == EIO || err->number == ENOTUNIQ || err->kind == ERROR_WORKER_DIED ||
                             pool->catalog_in_doubt;
}

PoolState pool_entry_shown_state(const PoolEntry *pool) {
        return pool->state == POOL_ACTIVE && pool_entry_failure(pool) ? POOL_DEGRADED : pool->state;
}

const char *pool_entry_failure(const PoolEntry *pool) {
        if (pool->state != POOL_ACTIVE)
                return pool->failure;
        if (pool->metadata_failed)
                return "its metadata can neither be read nor written, nor can its volumes; unmount them: then it is "
                       "checked and comes back by itself, once its disks work";
        if (pool->read_only)
                return "its metadata could not be written: its volumes can be read, and get no new space; unmount "
                       "them: then it is checked and comes back by itself, once its disks work";
        return NULL;
}

int pool_entry_check_changes(const PoolEntry *pool, Error *err) {
        const char *failure = pool_entry_failure(pool);
        int r;

        r = pool_entry_check(pool, err);
        if (r < 0 || !failure)
                return r;
        r = error_set(err, ERROR_POOL_UNAVAILABLE, EROFS, "pool %s takes no changes: %s", pool->info.name, failure);
        error_hint(err, "quarry ls --pool %s; quarry umount", pool->info.name);
        return r;
}

int pool_entry_check(const PoolEntry *pool, Error *err) {
        int r;

        if (pool->operation)
                return error_set(err, ERROR_POOL_BUSY, EBUSY, "pool %s is being taken away or repaired",
                                 pool->info.name);
        switch (pool->state) {
        case POOL_ACTIVE:
                return 0;
        case POOL_ACTIVATING:
                return error_set(err, ERROR_POOL_UNAVAILABLE, EAGAIN, "pool %s is still being activated%s%s",
                                 pool->info.name, pool->failure ? ": " : "", pool->failure ?: "");
        default:
                r = error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV, "pool %s is not active: %s", pool->info.name,
                              pool->failure ?: "it could not be activated");
                if (pool->advice)
                        error_hint(err, "%s", pool->advice);
                else
                        error_hint(err, "quarry pool inspect %s", pool->info.name);
                return r;
        }
}
