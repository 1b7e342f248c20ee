#pragma once

/* A pool is not to run full: what a worker that stays with it sees is judged here. A pool whose volume group
 * has room is extended ahead of demand; of one that has none, the writers are stopped before it is full, and let
 * go when space was made. */

#include "broker/manager.h"

/* The pool is active: from now on it is watched. */
void space_begin(Manager *manager, PoolEntry *pool);

/* Whether the volume's filesystem, if it is mounted now, gets no new space: its pool has none left, or its tenant uses
 * more than it may. */
bool space_stops(const VolumeEntry *entry);

/* Whether the pool has room for another volume: ERROR_NO_SPACE, before its reserve is touched. */
int space_check_create(const PoolEntry *pool, Error *err);

/* After a mount: the pool may have been stopped or let go meanwhile. */
void space_apply(Manager *manager, VolumeEntry *entry);
/* The same for all that a tenant has open. */
void space_apply_tenant(Manager *manager, TenantEntry *tenant);

/* "ok", "low", "stopped" or "full"; seconds that it lasts, as it filled within the last day, or UINT64_MAX. */
const char *space_state(const PoolEntry *pool);
uint64_t space_forecast(const PoolEntry *pool);
