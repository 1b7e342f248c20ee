#pragma once

/* From what a caller typed to the object, as far as the caller may see it. */

#include "broker/manager.h"

/* Whether the pools of this host are known: fails with the reason why they could not be looked for. */
int find_check(const Manager *manager, Error *err);
/* [POOL:][TENANT/]NAME[@SNAPSHOT], or a UUID. */
int find_volume(Manager *manager, const Caller *caller, const char *reference, VolumeEntry **ret, Error *err);
/* For administrators. */
int find_pool(Manager *manager, const Caller *caller, const char *name, PoolEntry **ret, Error *err);
/* For a new volume of a tenant: the pool of this name, or the one that is meant by "", and who owns it there, NULL: the
 * default tenant. ERROR_POOL_UNAVAILABLE unless the pool can be worked with. */
int find_place(Manager *manager, const Caller *caller, const char *tenant, const char *pool, PoolEntry **ret_pool,
               TenantEntry **ret_tenant, Error *err);
/* Whether there is a tenant of this name, in any pool, as far as the caller may see: else ERROR_NO_SUCH_TENANT. */
int find_tenant_anywhere(const Manager *manager, const Caller *caller, const char *name, Error *err);
/* In the pool of this name; "": the only one that it is in, ERROR_BAD_REQUEST if there are several. */
int find_tenant(Manager *manager, const Caller *caller, const char *name, const char *pool, TenantEntry **ret,
                Error *err);
