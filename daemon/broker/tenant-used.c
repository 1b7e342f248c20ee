#include "broker/tenant-used.h"

#include "broker/audit.h"
#include "broker/operation.h"
#include "broker/space-rule.h"
#include "broker/space.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#define FAILED_PAUSE_USEC (3 * UINT64_C(1000000))

static uint64_t limit_of(const TenantEntry *tenant) {
        return tenant->tenant.limits[TENANT_LIMIT_USED];
}

static bool is_limited(const TenantEntry *tenant) {
        return limit_of(tenant) != TENANT_UNLIMITED;
}

/* --- what follows ----------------------------------------------------------------------------------------- */

static void say(const Manager *m, const TenantEntry *tenant) {
        const char *name = tenant->tenant.name, *pool = tenant->pool->info.name;
        char max[SIZE_TEXT_MAX], use[SIZE_TEXT_MAX];

        if (tenant->use.over)
                audit_tenant(m->audit, tenant, EVENT_SPACE, LOG_WARNING,
                             "the tenant uses %s of pool %s, and may use %s: it gets nothing new%s; its volumes: quarry"
                             " ls --type all --tenant %s --sort -used",
                             size_format(tenant->use.bytes, use), pool, size_format(limit_of(tenant), max),
                             m->config.used_limit_stops ? ", and its filesystems no new space" : "", name);
        else
                audit_tenant(m->audit, tenant, EVENT_SPACE, LOG_INFO, "the tenant uses no more of pool %s than it may",
                             pool);
}

static void judge(Manager *m, TenantEntry *tenant) {
        TenantUse *use = &tenant->use;
        bool was_over = use->over, was_stopped = use->stopped;

        if (!is_limited(tenant))
                *use = (TenantUse) {};
        else if (use->at > 0) {
                use->over = use->bytes > limit_of(tenant);
                use->stopped = use->over && m->config.used_limit_stops;
        }
        if (was_over != use->over)
                say(m, tenant);
        if (was_stopped || use->stopped) /* what was opened meanwhile, too */
                space_apply_tenant(m, tenant);
}

void tenant_used_changed(Manager *m, TenantEntry *tenant) {
        judge(m, tenant);
}

bool tenant_used_adopt(TenantEntry *tenant) {
        if (!tenant || !is_limited(tenant))
                return false;
        tenant->use.stopped = true;
        return true;
}

/* --- counting --------------------------------------------------------------------------------------------- */

static size_t owned(const TenantEntry *tenant) {
        return tenant->n_volumes + tenant->n_snapshots;
}

static void take_count(Operation *op, uint64_t bytes) {
        PoolEntry *pool = op->pool;
        TenantEntry *tenant = registry_find_tenant(pool, op->name);

        if (!tenant || tenant->tenant.created_usec != pool->count.tenant_since || !is_limited(tenant))
                return;
        tenant->use.bytes = bytes;
        tenant->use.at = pool->count.began;
        tenant->use.pool_used = pool->count.pool_used;
        tenant->use.n_owned = pool->count.n_owned;
        tenant->use.mapped_then = pool->count.mapped;
        tenant->use.failed = false;
        judge(op->manager, tenant);
}

static void count_failed(Operation *op, const Error *err) {
        TenantEntry *tenant = registry_find_tenant(op->pool, op->name);

        if (!tenant || tenant->use.failed || err->kind == ERROR_POOL_BUSY)
                return;
        tenant->use.failed = true; /* said once; it is tried again */
        log_failure(op->name, err, "cannot count what the tenant uses");
}

static void on_counted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        PoolCount *count = &op->pool->count;
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        count->is_out = false;
        count->again = now + (err ? FAILED_PAUSE_USEC : space_count_pause(now - count->began));
        if (err)
                count_failed(op, err);
        else
                take_count(op, result->used);
        operation_finish(op, err);
}

typedef struct Ids {
        const TenantEntry *tenant;
        uint32_t *list;
        size_t n;
} Ids;

static int add_ids(VolumeEntry *entry, void *userdata) {
        Ids *ids = userdata;
        uint32_t *more;

        if (entry->tenant != ids->tenant || entry->volume.spec.kind != KIND_BLOCK)
                return 0;
        more = reallocarray(ids->list, ids->n + 2, sizeof(*more));
        if (!more)
                return -ENOMEM;
        ids->list = more;
        ids->list[ids->n++] = entry->volume.thin_id;
        if (entry->volume.has_spare)
                ids->list[ids->n++] = entry->volume.spare_thin_id;
        return 0;
}

static int count_start(Operation *op, Error *err) {
        PoolEntry *pool = op->pool;
        const TenantEntry *tenant = registry_find_tenant(pool, op->name);
        Ids ids = { .tenant = tenant };
        int r;

        pool->count.began = clock_usec(CLOCK_MONOTONIC);
        pool->count.pool_used = pool->info.data_used;
        if (!tenant)
                r = error_set(err, ERROR_NO_SUCH_TENANT, ESRCH, "there is no tenant %s any more", op->name);
        else if (registry_each_volume(pool, add_ids, &ids) < 0)
                r = error_oom(err);
        else
                r = pool_entry_check_changes(pool, err);
        op->job.thin_ids = ids.list;
        op->job.n_thin_ids = ids.n;
        if (r >= 0 && tenant) {
                pool->count.tenant_since = tenant->tenant.created_usec;
                pool->count.n_owned = owned(tenant);
                pool->count.mapped = tenant->use.mapped;
                r = operation_run_job(op, JOB_POOL_UNION, on_counted, err);
        }
        if (r < 0) {
                pool->count.is_out = false;
                pool->count.again = pool->count.began + FAILED_PAUSE_USEC;
        }
        return r;
}

/* Behind the comparison that runs, which reads the maps, too, so that no worker waits for another; but before those
 * that wait: with many of them a tenant could put it off. */
static void count(Manager *m, TenantEntry *tenant) {
        Caller self = { .admin = true };
        PoolEntry *pool = tenant->pool;
        Operation *op;
        Error err = {};

        if (operation_new(m, NULL, &self, NULL, count_start, &op, &err) < 0)
                return; /* at the next look */
        op->name = strdup(tenant->tenant.name);
        if (!op->name) {
                operation_free(op);
                return;
        }
        pool->count.is_out = true;
        op->pool = pool;
        op->in_background = op->is_next = true;
        operation_begin(op, &pool->diff_lane);
}

/* --- looking ---------------------------------------------------------------------------------------------- */

typedef struct Looking {
        Manager *manager;
        bool any; /* has a limit */
        TenantEntry *next; /* to be counted, */
        SpaceUrgency urgency; /* and how much that matters */
} Looking;

static int begin_look(TenantEntry *tenant, void *userdata) {
        Looking *looking = userdata;

        looking->any = looking->any || is_limited(tenant) || tenant->use.stopped;
        tenant->use.mapped = 0;
        tenant->use.mapped_is_known = true;
        return 0;
}

static int add_mapped(VolumeEntry *entry, void *userdata) {
        TenantEntry *tenant = entry->tenant;

        if (!tenant)
                return 0;
        tenant->use.mapped += entry->used;
        tenant->use.mapped_is_known = tenant->use.mapped_is_known && entry->used_is_known && !entry->volume.has_spare;
        return 0;
}

static uint64_t grown(const PoolEntry *pool, uint64_t since) {
        return pool->info.data_used > since ? pool->info.data_used - since : 0;
}

static SpaceUrgency urgency_of(const TenantEntry *tenant, uint64_t now) {
        const TenantUse *use = &tenant->use;
        const PoolEntry *pool = tenant->pool;
        SpaceCount c = {
                .limit = limit_of(tenant),
                .is_counted = use->at > 0,
                .bytes = use->bytes,
                .grown = grown(pool, use->pool_used),
                .age = now - use->at,
                .changed = pool->info.data_used != use->pool_used,
                .own_changed = owned(tenant) != use->n_owned || use->mapped != use->mapped_then,
                .mapped_max = use->mapped_is_known ? use->mapped + grown(pool, pool->space.used_at_look) : UINT64_MAX,
        };

        return is_limited(tenant) && owned(tenant) > 0 ? space_count_urgency(&c) : SPACE_COUNT_NOT;
}

static int look(TenantEntry *tenant, void *userdata) {
        Looking *looking = userdata;
        SpaceUrgency urgency;

        if (is_limited(tenant) && owned(tenant) == 0) { /* for that no worker is needed */
                tenant->use.bytes = tenant->use.n_owned = tenant->use.mapped_then = 0;
                tenant->use.at = clock_usec(CLOCK_MONOTONIC);
                tenant->use.pool_used = tenant->pool->info.data_used;
        }
        judge(looking->manager, tenant);
        urgency = urgency_of(tenant, clock_usec(CLOCK_MONOTONIC));
        if (urgency > looking->urgency ||
            (urgency == looking->urgency && urgency > SPACE_COUNT_NOT && tenant->use.at < looking->next->use.at)) {
                looking->next = tenant;
                looking->urgency = urgency;
        }
        return 0;
}

void tenant_used_judge(Manager *m, PoolEntry *pool) {
        Looking looking = { .manager = m };

        registry_each_tenant(pool, begin_look, &looking);
        if (!looking.any)
                return;
        registry_each_volume(pool, add_mapped, NULL);
        registry_each_tenant(pool, look, &looking);
        if (looking.next && !pool->count.is_out && !pool->space.full &&
            clock_usec(CLOCK_MONOTONIC) >= pool->count.again && pool_entry_check_changes(pool, NULL) >= 0)
                count(m, looking.next);
}
