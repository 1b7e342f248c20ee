#pragma once

/* What tenants take of a pool, for those who may take only so much: the blocks of their volumes and snapshots, what
 * these share once. It is counted by a worker, in the background, and the more often the nearer a tenant is to its
 * limit. Who is above it gets nothing new, and, unless UsedLimitAction= says otherwise, its filesystems get no new
 * space until it is below again. */

#include "broker/manager.h"

/* After a look at the pool. */
void tenant_used_judge(Manager *manager, PoolEntry *pool);
/* Its limits are others. */
void tenant_used_changed(Manager *manager, TenantEntry *tenant);
/* An earlier broker stopped a volume of the tenant, NULL for none: whether the tenant's limit may be why. Then it stays
 * so until it is counted. */
bool tenant_used_adopt(TenantEntry *tenant);
