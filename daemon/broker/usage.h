#pragma once

/* How full things are: asked of the kernel when somebody wants to see it, within a time limit. When the storage
 * stalls, what was last seen stands, and until it answers nobody waits for it again. */

#include "broker/operation.h"

/* One volume and its pool's numbers. */
int usage_look_at_volume(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher,
                         Error *err);

/* The numbers of one pool, or of all for NULL, and of their open volumes. */
int usage_look_at_pools(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);
