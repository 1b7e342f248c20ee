#pragma once

/* What can be asked about pools; for administrators. */

#include "broker/operation.h"

/* Takes over the spec's contents in every case. */
int pool_create(Manager *manager, const Caller *caller, PoolSpec *spec, const Watcher *watcher, Error *err);
/* devices: NULL to look everywhere; copied. The operation ends with the UUIDs of the pools that came. */
int pool_import(Manager *manager, const Caller *caller, char *const *devices, const Watcher *watcher, Error *err);
/* Tries again to activate the pools whose disks were not there. */
void pool_try_missing(Manager *manager);
/* Takes over the growth's contents in every case. */
int pool_extend(Manager *manager, const Caller *caller, PoolEntry *pool, PoolGrowth *growth, const Watcher *watcher,
                Error *err);
/* When snapshots are made of its volumes that have no schedule of their own, as schedule_parse() has it. */
int pool_update(Manager *manager, const Caller *caller, PoolEntry *pool, const char *schedule, const Watcher *watcher,
                Error *err);
/* Looks whether its metadata is sound: the operation ends with the damage, if there is any. With repair a pool that
 * nobody uses is closed, its metadata repaired, and it is opened; repeated after a death this goes on. */
int pool_check(Manager *manager, const Caller *caller, PoolEntry *pool, bool repair, const Watcher *watcher,
               Error *err);
/* ERROR_POOL_BUSY while a volume is mounted. */
int pool_check_unmounted(Manager *manager, PoolEntry *pool, Error *err);
int pool_remove(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);
/* Takes an unavailable pool out of the list of this host, with its volumes; nothing on its disks is changed. */
int pool_forget(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);
int pool_export(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);
