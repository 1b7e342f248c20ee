#include "broker/quota.h"

#include "broker/operation.h"

#include <quarry/text.h>

#include <inttypes.h>

uint64_t quota_provisioned_max(const Manager *m, const PoolEntry *pool) {
        uint64_t max;

        if (__builtin_mul_overflow(pool->info.data_size, m->config.overprovision_max, &max) || max > INT64_MAX)
                return INT64_MAX;
        return max;
}

uint64_t quota_use(const TenantEntry *tenant, TenantLimit limit) {
        switch (limit) {
        case TENANT_LIMIT_VOLUMES:
                return tenant->n_volumes;
        case TENANT_LIMIT_SNAPSHOTS:
                return tenant->n_snapshots;
        case TENANT_LIMIT_USED:
                return tenant->use.bytes;
        case TENANT_LIMIT_TMPFS:
                return tenant->tmpfs;
        default:
                return tenant->provisioned;
        }
}

static const char *limit_word(TenantLimit limit) {
        static const char *const words[_TENANT_LIMIT_MAX] = {
#define LIMIT_WORD(limit, member, word, option) [TENANT_LIMIT_##limit] = (word),
                TENANT_LIMITS(LIMIT_WORD)
#undef LIMIT_WORD
        };
        return words[limit];
}

static const char *limit_option(TenantLimit limit) {
        static const char *const options[_TENANT_LIMIT_MAX] = {
#define LIMIT_OPTION(limit, member, word, option) [TENANT_LIMIT_##limit] = (option),
                TENANT_LIMITS(LIMIT_OPTION)
#undef LIMIT_OPTION
        };
        return options[limit];
}

static bool is_number(TenantLimit limit) {
        return limit == TENANT_LIMIT_VOLUMES || limit == TENANT_LIMIT_SNAPSHOTS;
}

static const char *amount_format(TenantLimit limit, uint64_t amount, char buf[static SIZE_TEXT_MAX]) {
        if (!is_number(limit))
                return size_format(amount, buf);
        buffer_format(buf, SIZE_TEXT_MAX, "%" PRIu64, amount);
        return buf;
}

/* "3 volumes", "1 volume", "2G in volumes" */
#define AMOUNT_TEXT_MAX (SIZE_TEXT_MAX + 16)
static const char *amount_of(TenantLimit limit, uint64_t amount, char buf[static AMOUNT_TEXT_MAX]) {
        const char *word = limit_word(limit);
        int n = (int) strlen(word) - (is_number(limit) && amount == 1);
        char number[SIZE_TEXT_MAX];

        buffer_format(buf, AMOUNT_TEXT_MAX, "%s %.*s", amount_format(limit, amount, number), n, word);
        return buf;
}

/* A limit that is being lowered holds from the moment on at which it was judged. */
static uint64_t limit_now(const TenantEntry *tenant, TenantLimit limit) {
        const Operation *change = tenant->pool ? tenant->pool->tenant_lane.running : NULL;
        uint64_t max = tenant->tenant.limits[limit];

        if (!change || !streq_ptr(change->name, tenant->tenant.name) || !change->tenant_update.has_limit[limit])
                return max;
        return change->tenant_update.limits[limit] < max ? change->tenant_update.limits[limit] : max;
}

/* What of it is in use is only seen once it is: who is above that limit gets nothing. */
static int check_used(const TenantEntry *tenant, Error *err) {
        char max_text[SIZE_TEXT_MAX], use_text[SIZE_TEXT_MAX];
        int r;

        if (!tenant->use.over)
                return 0;
        r = error_set(err, ERROR_QUOTA_EXCEEDED, EDQUOT, "tenant %s may use %s of pool %s, and uses %s",
                      tenant->tenant.name, size_format(tenant->tenant.limits[TENANT_LIMIT_USED], max_text),
                      tenant->pool->info.name, size_format(tenant->use.bytes, use_text));
        error_hint(err,
                   "remove volumes, snapshots or files, or have an administrator raise the limit: "
                   "quarry tenant update %s %s",
                   tenant->tenant.name, limit_option(TENANT_LIMIT_USED));
        return r;
}

static int check(const TenantEntry *tenant, TenantLimit limit, uint64_t more, Error *err) {
        char max_text[AMOUNT_TEXT_MAX], use_text[SIZE_TEXT_MAX], more_text[SIZE_TEXT_MAX];
        uint64_t max = tenant ? limit_now(tenant, limit) : TENANT_UNLIMITED, use;
        int r;

        r = tenant ? check_used(tenant, err) : 0;
        if (r < 0 || max == TENANT_UNLIMITED || more == 0)
                return r;
        use = quota_use(tenant, limit);
        if (use <= max && more <= max - use)
                return 0;
        r = error_set(err, ERROR_QUOTA_EXCEEDED, EDQUOT, "tenant %s may have %s, has %s, and %s more %s asked for",
                      tenant->tenant.name, amount_of(limit, max, max_text), amount_format(limit, use, use_text),
                      amount_format(limit, more, more_text), is_number(limit) && more == 1 ? "is" : "are");
        error_hint(err, "remove some, or have an administrator raise the limit: quarry tenant update %s %s",
                   tenant->tenant.name, limit_option(limit));
        return r;
}

int quota_check_volumes(const TenantEntry *tenant, size_t n, Error *err) {
        return check(tenant, TENANT_LIMIT_VOLUMES, n, err);
}

int quota_check_snapshots(const TenantEntry *tenant, size_t n, Error *err) {
        return check(tenant, TENANT_LIMIT_SNAPSHOTS, n, err);
}

int quota_check_tmpfs(const TenantEntry *tenant, uint64_t size, Error *err) {
        return check(tenant, TENANT_LIMIT_TMPFS, size, err);
}

int quota_check_size(const Manager *m, const PoolEntry *pool, const TenantEntry *tenant, uint64_t size, Error *err) {
        char limit[SIZE_TEXT_MAX], use[SIZE_TEXT_MAX], request[SIZE_TEXT_MAX];
        uint64_t max = quota_provisioned_max(m, pool);
        int r;

        r = check(tenant, TENANT_LIMIT_SIZE, size, err);
        if (r < 0)
                return r;
        if (pool->provisioned <= max && size <= max - pool->provisioned)
                return 0;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s may promise %s, has promised %s, and %s more are asked for",
                      pool->info.name, size_format(max, limit), size_format(pool->provisioned, use),
                      size_format(size, request));
        error_hint(err, "ask for less, remove volumes, or see MaxOverprovision= in quarry.conf(5)");
        return r;
}

int quota_check_limits(const TenantEntry *tenant, const Tenant *wanted, Error *err) {
        char max_text[SIZE_TEXT_MAX], use_text[AMOUNT_TEXT_MAX];

        for (int i = 0; i < _TENANT_LIMIT_MAX; i++) {
                uint64_t use = quota_use(tenant, (TenantLimit) i);

                if (wanted->limits[i] == tenant->tenant.limits[i] || wanted->limits[i] >= use)
                        continue;
                return error_field(err, tenant_limit_to_string((TenantLimit) i),
                                   "tenant %s has %s already: a limit of %s is below that", wanted->name,
                                   amount_of((TenantLimit) i, use, use_text),
                                   amount_format((TenantLimit) i, wanted->limits[i], max_text));
        }
        return 0;
}
