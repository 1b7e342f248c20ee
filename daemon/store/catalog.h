#pragma once

/* The catalog: what a pool knows of its volumes, as an SQLite database on the pool's own disks.
 *
 * Reading happens once, when the pool comes; from then on the broker answers from memory. Changes are
 * queued and written by a thread of the catalog's own, several in one transaction when they come fast, so
 * that a disk that stalls never stalls the broker. A change is durable when its callback is called. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/volume.h>

typedef struct Catalog Catalog;

/* Opens or makes the database in a folder, checks its integrity, brings its schema up to date, starts the
 * writer. */
int catalog_open(const char *folder, Catalog **ret, Error *err);

/* Writes what is queued, ends the writer, closes. Callbacks that are still due are not called. NULL is fine. */
void catalog_free(Catalog *catalog);
DEFINE_CLEANUP(Catalog *, catalog_free)

/* Calls back with each volume; the callback takes over its contents, or fails. Only before the first change. */
int catalog_load(Catalog *catalog, int (*on_volume)(Volume *volume, void *userdata), void *userdata, Error *err);

/* Called by catalog_dispatch(): NULL when the change is durable. */
typedef void (*CatalogDone)(const Error *err, void *userdata);

/* Inserts or replaces the row of a volume; copies what it needs. */
int catalog_put_volume(Catalog *catalog, const Volume *volume, CatalogDone done, void *userdata, Error *err);
int catalog_delete_volume(Catalog *catalog, sd_id128_t uuid, CatalogDone done, void *userdata, Error *err);

/* Becomes readable when changes are done; then call catalog_dispatch(). Owned by the catalog. */
int catalog_fd(const Catalog *catalog);
void catalog_dispatch(Catalog *catalog);
