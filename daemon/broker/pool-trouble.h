#pragma once

/* A pool that is active, and whose catalog cannot be written: its disk fails, or does not answer. Its volumes can be
 * listed, mounted and used; none is made or removed. The catalog is opened again from time to time. */

#include "broker/manager.h"

/* A change was not written. */
void pool_trouble_begins(Manager *manager, PoolEntry *pool, const Error *err);

/* Opens the catalogs again that could not be written. */
void pool_trouble_try(Manager *manager);

/* Watches for catalogs whose disk does not answer; who waits for one is told. */
int pool_trouble_watch(Manager *manager, Error *err);
