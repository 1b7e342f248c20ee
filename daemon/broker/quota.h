#pragma once

/* Limits on what is promised. Judged before anything is touched. */

#include "broker/manager.h"

/* Most bytes that a pool may promise: its data size times MaxOverprovision=. */
uint64_t quota_provisioned_max(const Manager *manager, const PoolEntry *pool);

/* ERROR_NO_SPACE with limit, use and request. */
int quota_check_provisioned(const Manager *manager, const PoolEntry *pool, uint64_t size, Error *err);
