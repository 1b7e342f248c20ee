#pragma once

/* Who owns volumes. Each change is durable in the pool's catalog before it counts. */

#include "broker/operation.h"

/* The update is taken over by all of these, and freed. pool: name, "" for the default one. */
int tenant_create(Manager *manager, const Caller *caller, const char *name, const char *pool, TenantUpdate *update,
                  const Watcher *watcher, Error *err);
int tenant_update(Manager *manager, const Caller *caller, const TenantEntry *tenant, TenantUpdate *update,
                  const Watcher *watcher, Error *err);
/* ERROR_TENANT_BUSY while it owns anything. */
int tenant_remove(Manager *manager, const Caller *caller, const TenantEntry *tenant, const Watcher *watcher,
                  Error *err);
