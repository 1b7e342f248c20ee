#pragma once

/* From an active pool in the kernel to a pool in memory. */

#include "broker/manager.h"

/* Opens the catalog of a pool that a worker has activated, loads its volumes, takes over the devices that are
 * open, and goes on with what was cut short. Takes the result's contents. on_opened comes when that is done, perhaps
 * at once; on failure the pool is POOL_UNAVAILABLE, unless it was being opened again. */
void pool_open_catalog(Manager *manager, PoolEntry *pool, JobResult *result, PoolOpened on_opened, void *userdata);

/* Takes the pool's numbers from a worker's answer, and its devices; with entry only those of that volume. */
void pool_take_usage(Manager *manager, PoolEntry *pool, JobResult *result, VolumeEntry *entry);

/* Has the catalog closed, so that a worker can take the pool away; the volumes stay in memory. on_closed may come at
 * once. */
void pool_close_catalog(PoolEntry *pool, void (*on_closed)(void *userdata), void *userdata);
