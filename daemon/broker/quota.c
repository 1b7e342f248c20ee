#include "broker/quota.h"

#include <quarry/text.h>

uint64_t quota_provisioned_max(const Manager *m, const PoolEntry *pool) {
        uint64_t max;

        if (__builtin_mul_overflow(pool->info.data_size, m->config.overprovision_max, &max) || max > INT64_MAX)
                return INT64_MAX;
        return max;
}

int quota_check_provisioned(const Manager *m, const PoolEntry *pool, uint64_t size, Error *err) {
        char limit[SIZE_TEXT_MAX], use[SIZE_TEXT_MAX], request[SIZE_TEXT_MAX];
        uint64_t max = quota_provisioned_max(m, pool);
        int r;

        if (pool->provisioned <= max && size <= max - pool->provisioned)
                return 0;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s may promise %s, has promised %s, and %s more are asked for",
                      pool->info.name, size_format(max, limit), size_format(pool->provisioned, use),
                      size_format(size, request));
        error_hint(err, "ask for less, remove volumes, or see MaxOverprovision= in quarry.conf(5)");
        return r;
}
