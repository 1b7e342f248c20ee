#pragma once

/* How full things are: asked of the kernel when somebody wants to see it, within a time limit. When the storage
 * stalls, what was last seen stands, and until it answers nobody waits for it again.
 *
 * What volumes and snapshots have for themselves is read from all maps of a pool, which takes the longer the more it
 * has: it is read when what is known is older than a minute, and at most for a tenth of the time. */

#include "broker/operation.h"

/* One volume and its pool's numbers. Waits for its maps, too, within the limit. */
int usage_look_at_volume(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher,
                         Error *err);

/* No worker answers any more: what they were to tell is not waited for. */
void usage_end(Manager *manager);

/* The numbers of one pool, or of all for NULL, and of their open volumes. Does not wait for the maps. */
int usage_look_at_pools(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);
/* Only what the host says without a worker: what is mounted where. */
int usage_take_as_known(Manager *manager, const Caller *caller, const Watcher *watcher, Error *err);
