/* New pools on this host: made, or imported. */

#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/pool.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* --- create --------------------------------------------------------------------------------------------- */

static void on_cleaned(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_POOL_REMOVE, on_cleaned, &failure) >= 0)
                return;
        op->failure.undo_failed = err && err->kind != ERROR_NO_SUCH_POOL;
        if (op->failure.undo_failed) {
                log_error(op->job.pool_spec.name, "cannot clean up behind a failed create: %s", err->text);
                error_hint(&op->failure, "what is left of it goes with: systemctl restart quarryd");
        }
        if (op->pool)
                operation_finish_pool_removed(op, &op->failure);
        else
                operation_finish(op, &op->failure);
}

static void clean_up(Operation *op, const Error *err) {
        Error failure = {};

        op->failure = *err;
        if (operation_run_job(op, JOB_POOL_REMOVE, on_cleaned, &failure) < 0)
                operation_finish(op, &op->failure);
}

static void on_taken_in(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                operation_finish(op, NULL);
                return;
        }
        /* Its catalog is calling back, and looks at the pool afterwards: it goes when it is cleaned up, and nobody else
         * has it until then. */
        op->pool = pool;
        pool->operation = op;
        clean_up(op, err);
}

static void on_created(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Manager *m = op->manager;
        Error failure = {};
        PoolEntry *pool;

        if (err) {
                /* The worker undoes what it did, unless it died or could not. */
                if (err->kind == ERROR_WORKER_DIED || err->undo_failed)
                        clean_up(op, err);
                else
                        operation_finish(op, err);
                return;
        }
        if (result->n_pools != 1 || !(pool = registry_add_pool(&m->registry, &result->pools[0]))) {
                error_set(&failure, ERROR_FAILED, EPROTO, "the pool was made, but cannot be taken in; restart quarryd");
                operation_finish(op, &failure);
                return;
        }
        op->pools = malloc(sizeof(*op->pools));
        if (op->pools) {
                op->pools[0] = pool->info.uuid;
                op->n_pools = 1;
        }
        result->n_pools = 0; /* taken over */
        pool_open_catalog(m, pool, result, on_taken_in, op);
}

static int create_start(Operation *op, Error *err) {
        const char *name = op->job.pool_spec.name;

        if (registry_find_pool(&op->manager->registry, name))
                return error_set(err, ERROR_POOL_EXISTS, EEXIST, "pool %s exists already", name);
        return operation_run_job(op, JOB_POOL_CREATE, on_created, err);
}

int pool_create(Manager *m, const Caller *caller, PoolSpec *spec, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = pool_spec_validate(spec, err);
        if (r >= 0)
                r = operation_new(m, "pool create", caller, watcher, create_start, &op, err);
        if (r < 0) {
                pool_spec_done(spec);
                return r;
        }
        op->job.pool_spec = *spec;
        *spec = (PoolSpec) {};
        r = sd_id128_randomize(&op->job.pool);
        if (r < 0) {
                operation_free(op);
                return error_errno(err, r, "cannot make a UUID");
        }
        operation_begin(op, &m->pool_lane);
        return 0;
}

/* --- import --------------------------------------------------------------------------------------------- */

static void import_next(Operation *op);

static void on_catalog_opened(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err && op->failure.kind == ERROR_NONE)
                op->failure = *err; /* the first; the others are opened all the same */
        import_next(op);
}

static void on_opened(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&op->manager->registry, op->job.pool);
        Error failure = {};

        if (!pool) { /* gone meanwhile */
                import_next(op);
                return;
        }
        if (operation_outlives_worker(op, err) && pool_attempt_by(op, pool, op->job.verb, on_opened, &failure) >= 0)
                return;
        if (!err) {
                pool_open_catalog(op->manager, pool, result, on_catalog_opened, op);
                return;
        }
        pool_entry_set_failed(pool, err);
        on_catalog_opened(pool, err, op);
}

static void open_or_recover(PoolEntry *pool, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && pool_attempt_by(op, pool, pool->catalog_in_doubt ? JOB_POOL_RECOVER : JOB_POOL_OPEN, on_opened,
                                    &failure) >= 0)
                return;
        if (!err)
                pool_entry_set_failed(pool, &failure);
        on_catalog_opened(pool, err ?: &failure, op);
}

/* Opens the first of the imported pools that was not tried yet. */
static void import_next(Operation *op) {
        for (size_t i = 0; i < op->n_pools; i++) {
                PoolEntry *pool = registry_find_pool_uuid(&op->manager->registry, op->pools[i]);

                if (!pool || pool->operation || pool->state != POOL_ACTIVATING)
                        continue;
                op->job.pool = op->pools[i];
                pool_close_catalog(op->manager, pool, open_or_recover, op);
                return;
        }
        operation_finish(op, op->failure.kind == ERROR_NONE ? NULL : &op->failure);
}

/* Whether it is worth a look; while a worker is at it, another would only wait for that one. */
static bool may_come_now(const PoolEntry *pool) {
        return pool->state == POOL_UNAVAILABLE && pool->may_come_yet && !pool->attempt;
}

/* Takes up the pools that are unavailable, all or those that may come now. Returns whether there is any, or -ENOMEM. */
static int take_up_unavailable(Operation *op, bool all) {
        size_t n = 0;

        for (PoolEntry *p = op->manager->registry.pools; p; p = p->next)
                n++;
        op->pools = calloc(n + 1, sizeof(*op->pools));
        if (!op->pools)
                return -ENOMEM;
        for (PoolEntry *p = op->manager->registry.pools; p; p = p->next)
                if (p->state == POOL_UNAVAILABLE && (all || may_come_now(p)) && !p->operation && p->n_operations == 0) {
                        op->pools[op->n_pools++] = p->info.uuid;
                        pool_entry_set_state(p, POOL_ACTIVATING, p->failure); /* true until it is active */
                }
        return op->n_pools > 0;
}

static void on_imported(JobResult *result, int *mount_fd, const Error *err, void *userdata);

/* What a worker that died or failed had noted before is imported. */
static void on_noted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        bool is_new = false;

        for (size_t i = 0; !err && i < result->n_pools; i++)
                is_new |= !registry_find_pool_uuid(&op->manager->registry, result->pools[i].uuid);
        if (err || !is_new) {
                operation_finish(op, err ?: &op->failure);
                return;
        }
        if (op->failure.kind == ERROR_NO_SUCH_POOL) /* there was none any more for the next worker */
                op->failure = (Error) {};
        on_imported(result, mount_fd, NULL, op);
}

static bool import_goes_on(Operation *op, const Error *err) {
        Error failure = {};

        if (operation_outlives_worker(op, err))
                return operation_run_job(op, JOB_POOL_IMPORT, on_imported, &failure) >= 0;
        if (!err || (err->kind == ERROR_NO_SUCH_POOL && op->deaths == 0))
                return false;
        op->failure = *err;
        return operation_run_job(op, JOB_POOL_SCAN, on_noted, &failure) >= 0;
}

static void on_imported(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Registry *registry = &op->manager->registry;
        Error oom = {};

        if (import_goes_on(op, err))
                return;
        if (err && err->kind == ERROR_NO_SUCH_POOL && take_up_unavailable(op, true) > 0) {
                import_next(op);
                return;
        }
        if (!err) {
                op->pools = calloc(result->n_pools, sizeof(*op->pools));
                if (!op->pools) {
                        error_oom(&oom);
                        err = &oom;
                }
        }
        for (size_t i = 0; !err && i < result->n_pools; i++) {
                sd_id128_t uuid = result->pools[i].uuid;
                PoolEntry *pool = registry_find_pool_uuid(registry, uuid);

                op->pools[op->n_pools++] = uuid;
                if (pool && pool->state == POOL_UNAVAILABLE)
                        pool_entry_set_state(pool, POOL_ACTIVATING, NULL);
                if (!pool && !registry_add_pool(registry, &result->pools[i])) {
                        error_oom(&oom);
                        err = &oom;
                }
        }
        if (err)
                operation_finish(op, err);
        else
                import_next(op);
}

static int import_start(Operation *op, Error *err) {
        return operation_run_job(op, JOB_POOL_IMPORT, on_imported, err);
}

int pool_import(Manager *m, const Caller *caller, char *const *devices, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = operation_new(m, "pool import", caller, watcher, import_start, &op, err);
        if (r < 0)
                return r;
        if (devices && strv_copy(devices, &op->job.pool_spec.devices) < 0) {
                operation_free(op);
                return error_oom(err);
        }
        operation_begin(op, &m->pool_lane);
        return 0;
}

/* --- disks that come late ------------------------------------------------------------------------------- */

static int try_missing_start(Operation *op, Error *err) {
        if (take_up_unavailable(op, false) < 0)
                return error_oom(err);
        import_next(op);
        return 0;
}

static int find_open(VolumeEntry *entry, void *userdata) {
        return entry->open;
}

/* The kernel does not make the device of a pool well whose metadata failed: once nothing uses it, it is closed,
 * checked and made anew. */
static void close_failed(PoolEntry *pool) {
        Error err = {};

        if (pool->state != POOL_ACTIVE || pool->operation || pool->n_operations > 0 || !pool_entry_failure(pool) ||
            registry_each_volume(pool, find_open, NULL) != 0)
                return;
        error_set(&err, ERROR_POOL_UNAVAILABLE, EIO, "its metadata could not be written, and is to be checked");
        pool->catalog_in_doubt = true;
        pool_entry_set_failed(pool, &err);
}

void pool_try_missing(Manager *m) {
        Caller self = { .admin = true };
        bool missing = false;
        Operation *op;
        Error err = {};

        for (PoolEntry *p = m->registry.pools; p; p = p->next) {
                pool_check_catalog(p);
                pool_probe_disk(p);
                close_failed(p);
        }
        for (PoolEntry *p = m->registry.pools; p; p = p->next)
                missing |= may_come_now(p);
        if (!missing)
                return;
        if (operation_new(m, NULL, &self, NULL, try_missing_start, &op, &err) < 0)
                log_failure("quarryd", &err, "cannot look for missing disks");
        else
                operation_begin(op, &m->pool_lane);
}
