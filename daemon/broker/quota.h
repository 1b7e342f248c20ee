#pragma once

/* Limits on what is promised. Judged before anything is touched. */

#include "broker/manager.h"

/* Most bytes that a pool may promise: its data size times MaxOverprovision=. */
uint64_t quota_provisioned_max(const Manager *manager, const PoolEntry *pool);

/* Whether so many bytes more may be promised, n more volumes made, or n more snapshots. tenant: who is to own them,
 * NULL: nobody who has limits. ERROR_QUOTA_EXCEEDED for the tenant's limits, ERROR_NO_SPACE for the pool's: with limit,
 * use and request. */
int quota_check_size(const Manager *manager, const PoolEntry *pool, const TenantEntry *tenant, uint64_t size,
                     Error *err);
int quota_check_volumes(const TenantEntry *tenant, size_t n, Error *err);
int quota_check_tmpfs(const TenantEntry *tenant, uint64_t size, Error *err);
int quota_check_snapshots(const TenantEntry *tenant, size_t n, Error *err);

/* What the tenant has of what is limited. */
uint64_t quota_use(const TenantEntry *tenant, TenantLimit limit);
/* Whether new limits leave room for what is there. ERROR_BAD_REQUEST for the limit's field. */
int quota_check_limits(const TenantEntry *tenant, const Tenant *wanted, Error *err);
