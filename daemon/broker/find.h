#pragma once

/* From what a caller typed to the object, as far as the caller may see it. */

#include "broker/manager.h"

/* Whether the pools of this host are known: fails with the reason why they could not be looked for. */
int find_check(const Manager *manager, Error *err);
/* [POOL:][TENANT/]NAME[@SNAPSHOT], or a UUID. */
int find_volume(Manager *manager, const Caller *caller, const char *reference, VolumeEntry **ret, Error *err);
/* For administrators. */
int find_pool(Manager *manager, const Caller *caller, const char *name, PoolEntry **ret, Error *err);
/* For a new volume; an empty name means the default. ERROR_POOL_UNAVAILABLE unless it can be worked with. */
int find_pool_for_volume(Manager *manager, const char *name, PoolEntry **ret, Error *err);
