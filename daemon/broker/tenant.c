#include "broker/tenant.h"

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/quota.h"
#include "broker/schedule.h"
#include "broker/tenant-used.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

/* --- writing ---------------------------------------------------------------------------------------------- */

static void on_row_back(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                log_failure(op->tenant.name, err, "cannot write the tenant's row as it was");
        operation_finish(op, &op->failure);
}

/* A commit that is said to have failed may have reached the disk, unless the disk is full. */
static void take_back(Operation *op, const TenantEntry *before, const Error *err) {
        const Tenant *tenant = before ? &before->tenant : &op->tenant;
        Error failure = {};

        op->failure = *err;
        if (err->kind == ERROR_NO_SPACE)
                operation_finish(op, &op->failure);
        else if (catalog_put_tenant(op->pool->catalog, tenant, !before, on_row_back, op, &failure) < 0)
                on_row_back(&failure, op);
}

static void on_written(const Error *err, void *userdata) {
        Operation *op = userdata;
        TenantEntry *entry = registry_find_tenant(op->pool, op->tenant.name);
        Error failure = {};

        if (err) {
                take_back(op, entry, err);
                return;
        }
        entry = registry_put_tenant(op->pool, &op->tenant, &failure);
        if (entry && op->schedule)
                schedule_tenant_changed(op->manager, entry);
        if (entry)
                tenant_used_changed(op->manager, entry);
        operation_finish(op, entry ? NULL : &failure);
}

static int row_write(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        return r < 0 ? r : catalog_put_tenant(op->pool->catalog, &op->tenant, false, on_written, op, err);
}

static void on_schedule_checked(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err || row_write(op, &failure) < 0)
                operation_finish(op, err ?: &failure);
}

/* Without a schedule of its own its volumes are treated as the pool has it. */
static int schedule_start(Operation *op, Error *err) {
        Schedule schedule;
        int r;

        free(TAKE_PTR(op->tenant.schedule));
        op->tenant.schedule_since = clock_usec(CLOCK_REALTIME);
        if (streq(op->schedule, SCHEDULE_DEFAULT))
                return row_write(op, err);
        r = schedule_parse(op->schedule, "snapshotSchedule", &schedule, err);
        if (r < 0)
                return r;
        op->tenant.schedule = schedule_format(&schedule);
        if (!op->tenant.schedule)
                return error_oom(err);
        return schedule.n > 0 ? schedule_check(op->manager, &schedule, on_schedule_checked, op, err)
                              : row_write(op, err);
}

/* entry: what is there, or NULL */
static int change(Operation *op, const TenantEntry *entry, Error *err) {
        int r;

        r = tenant_apply(&op->tenant, &op->tenant_update, err);
        if (r >= 0 && entry)
                r = quota_check_limits(entry, &op->tenant, err);
        if (r < 0)
                return r;
        return op->schedule ? schedule_start(op, err) : row_write(op, err);
}

/* --- create ----------------------------------------------------------------------------------------------- */

/* op->tenant is what was asked for, but for the schedule. */
static int judge_existing(Operation *op, const TenantEntry *have, Error *err) {
        const char *difference;
        Schedule schedule;
        int r = 0;

        if (op->schedule && !streq(op->schedule, SCHEDULE_DEFAULT)) {
                r = schedule_parse(op->schedule, "snapshotSchedule", &schedule, err);
                op->tenant.schedule = r >= 0 ? schedule_format(&schedule) : NULL;
                if (r >= 0 && !op->tenant.schedule)
                        r = error_oom(err);
        }
        if (r < 0)
                return r;
        difference = tenant_difference(&have->tenant, &op->tenant);
        if (!difference) {
                operation_finish(op, NULL);
                return 0;
        }
        r = error_set(err, ERROR_TENANT_EXISTS, EEXIST, "tenant %s exists in pool %s with different %s", op->name,
                      op->pool->info.name, difference);
        error_hint(err, "quarry tenant inspect %s --pool %s", op->name, op->pool->info.name);
        return r;
}

static int create_start(Operation *op, Error *err) {
        const TenantEntry *have = registry_find_tenant(op->pool, op->name);
        int r;

        tenant_init(op->name, &op->tenant);
        if (!have) {
                op->tenant.created_usec = clock_usec(CLOCK_REALTIME);
                return change(op, NULL, err);
        }
        if (op->tenant_update.if_absent && !have->goes) {
                r = tenant_apply(&op->tenant, &op->tenant_update, err);
                return r < 0 ? r : judge_existing(op, have, err);
        }
        r = error_set(err, ERROR_TENANT_EXISTS, EEXIST, "tenant %s exists already in pool %s", op->name,
                      op->pool->info.name);
        error_hint(err, "quarry tenant update %s", op->name);
        return r;
}

static int begin(Manager *m, const Caller *caller, const char *verb, PoolEntry *pool, const char *name,
                 TenantUpdate *update, int (*start)(Operation *op, Error *err), const Watcher *watcher, Error *err) {
        Schedule parsed;
        Operation *op;
        int r = 0;

        if (update && update->schedule && !streq(update->schedule, SCHEDULE_DEFAULT))
                r = schedule_parse(update->schedule, "snapshotSchedule", &parsed, err);
        if (r >= 0)
                r = operation_new(m, verb, caller, watcher, start, &op, err);
        if (r < 0)
                return r;
        op->name = strdup(name);
        op->schedule = update && update->schedule ? strdup(update->schedule) : NULL;
        if (!op->name || (update && update->schedule && !op->schedule)) {
                operation_free(op);
                return error_oom(err);
        }
        if (update) {
                op->tenant_update = *update;
                *update = (TenantUpdate) {};
        }
        op->pool = pool;
        operation_begin(op, &pool->tenant_lane);
        return 0;
}

static int create(Manager *m, const Caller *caller, const char *name, const char *pool_name, TenantUpdate *update,
                  const Watcher *watcher, Error *err) {
        TenantEntry *nobody;
        PoolEntry *pool;
        int r;

        r = policy_may_administer_tenants(caller, err);
        if (r >= 0)
                r = tenant_name_check(name, "name", err);
        if (r >= 0 && *pool_name)
                r = pool_name_check(pool_name, "pool", err);
        if (r >= 0 && streq(name, DEFAULT_TENANT))
                r = error_field(err, "name", "tenant " DEFAULT_TENANT " is root's, and always there");
        if (r >= 0)
                r = find_place(m, caller, DEFAULT_TENANT, pool_name, &pool, &nobody, err);
        return r < 0 ? r : begin(m, caller, "tenant create", pool, name, update, create_start, watcher, err);
}

int tenant_create(Manager *m, const Caller *caller, const char *name, const char *pool, TenantUpdate *update,
                  const Watcher *watcher, Error *err) {
        int r = create(m, caller, name, pool, update, watcher, err);

        tenant_update_done(update);
        return r;
}

/* --- update ----------------------------------------------------------------------------------------------- */

static int no_tenant(const Operation *op, Error *err) {
        return error_set(err, ERROR_NO_SUCH_TENANT, ESRCH, "there is no tenant %s any more", op->name);
}

/* What is there when it is its turn is changed, not what was there when it was asked for. */
static int update_start(Operation *op, Error *err) {
        const TenantEntry *entry = registry_find_tenant(op->pool, op->name);

        if (!entry)
                return no_tenant(op, err);
        return tenant_copy(&entry->tenant, &op->tenant) < 0 ? error_oom(err) : change(op, entry, err);
}

int tenant_update(Manager *m, const Caller *caller, const TenantEntry *tenant, TenantUpdate *update,
                  const Watcher *watcher, Error *err) {
        int r;

        r = policy_may_administer_tenants(caller, err);
        if (r >= 0)
                r = pool_entry_check_changes(tenant->pool, err);
        if (r >= 0)
                r = begin(m, caller, "tenant update", tenant->pool, tenant->tenant.name, update, update_start, watcher,
                          err);
        tenant_update_done(update);
        return r;
}

/* --- remove ----------------------------------------------------------------------------------------------- */

static void on_row_gone(const Error *err, void *userdata) {
        Operation *op = userdata;
        TenantEntry *entry = registry_find_tenant(op->pool, op->name);

        if (err) {
                entry->goes = false;
                take_back(op, entry, err);
                return;
        }
        registry_remove_tenant(entry);
        operation_finish(op, NULL);
}

static int remove_start(Operation *op, Error *err) {
        TenantEntry *entry = registry_find_tenant(op->pool, op->name);
        int r;

        if (!entry)
                return no_tenant(op, err);
        if (entry->n_volumes + entry->n_snapshots > 0) {
                r = error_set(err, ERROR_TENANT_BUSY, EBUSY, "tenant %s owns %zu volume%s and %zu snapshot%s", op->name,
                              entry->n_volumes, entry->n_volumes == 1 ? "" : "s", entry->n_snapshots,
                              entry->n_snapshots == 1 ? "" : "s");
                error_hint(err, "quarry ls --type all --tenant %s", op->name);
                return r;
        }
        r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                r = catalog_put_tenant(op->pool->catalog, &entry->tenant, true, on_row_gone, op, err);
        entry->goes = r >= 0;
        return r;
}

int tenant_remove(Manager *m, const Caller *caller, const TenantEntry *tenant, const Watcher *watcher, Error *err) {
        int r;

        r = policy_may_administer_tenants(caller, err);
        if (r >= 0)
                r = pool_entry_check_changes(tenant->pool, err);
        return r < 0 ? r
                     : begin(m, caller, "tenant rm", tenant->pool, tenant->tenant.name, NULL, remove_start, watcher,
                             err);
}
