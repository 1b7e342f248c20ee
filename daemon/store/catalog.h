#pragma once

/* The catalog: what a pool knows of its volumes, as an SQLite database on the pool's own disks.
 *
 * Everything that touches the disk happens in a thread of the catalog's own, so that a disk that stalls never
 * stalls the broker: the opening, which ends with all volumes read, then changes, several in one transaction
 * when they come fast, then the closing. From the opening on the broker answers from memory. A change is
 * durable when its callback is called. All callbacks are called by catalog_dispatch(). */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/schedule.h>
#include <quarry/tenant.h>
#include <quarry/volume.h>

typedef struct Catalog Catalog;

/* The callback takes over the volume's contents, or fails. */
typedef int (*CatalogVolume)(Volume *volume, void *userdata, Error *err);
/* After the last volume, with NULL; or why the catalog cannot be used: then nothing but catalog_free() may
 * follow, also from this callback. */
typedef void (*CatalogOpened)(const Error *err, void *userdata);

/* Begins to open or make the database in a folder: checks its integrity, brings its schema up to date, reads
 * the volumes. */
int catalog_open(const char *folder, CatalogVolume on_volume, CatalogOpened on_opened, void *userdata, Catalog **ret,
                 Error *err);

/* Begins to close: writes what is queued, and calls back when the disk may be taken away. Callbacks of changes
 * that are still due come before. */
void catalog_close(Catalog *catalog, void (*on_closed)(void *userdata), void *userdata);

/* No callback is called any more. Without catalog_close() before, closes, and waits a second for that: what a
 * program does at its end. If the thread hangs in the kernel, the memory is the thread's until it comes back.
 * NULL is fine. */
void catalog_free(Catalog *catalog);
DEFINE_CLEANUP(Catalog *, catalog_free)

/* NULL when the change is durable. */
typedef void (*CatalogDone)(const Error *err, void *userdata);

/* Inserts or replaces the rows of volumes, all or none, in this order; copies what it needs. Only once opened. */
int catalog_put_volumes(Catalog *catalog, const Volume *const *volumes, size_t n, CatalogDone done, void *userdata,
                        Error *err);
int catalog_put_volume(Catalog *catalog, const Volume *volume, CatalogDone done, void *userdata, Error *err);
int catalog_delete_volume(Catalog *catalog, sd_id128_t uuid, CatalogDone done, void *userdata, Error *err);

/* Inserts or replaces what is kept of a rule of a volume's schedule, or lets it go. It goes with the volume, too. */
int catalog_put_run(Catalog *catalog, const ScheduleRun *run, bool goes, CatalogDone done, void *userdata, Error *err);
/* What was read when it was opened, as long as CatalogVolume and CatalogOpened run. */
const ScheduleRun *catalog_runs(const Catalog *catalog, size_t *ret_n);

/* A setting of the pool; value: NULL to drop it. */
int catalog_put_setting(Catalog *catalog, const char *name, const char *value, CatalogDone done, void *userdata,
                        Error *err);
/* As it was when the catalog was opened, or NULL. */
const char *catalog_setting(const Catalog *catalog, const char *name);

/* Inserts or replaces a tenant's row, which it copies, or lets it go. */
int catalog_put_tenant(Catalog *catalog, const Tenant *tenant, bool goes, CatalogDone done, void *userdata, Error *err);
/* As they were when the catalog was opened, as long as CatalogVolume and CatalogOpened run. */
const Tenant *catalog_tenants(const Catalog *catalog, size_t *ret_n);

/* Has the catalog's thread look whether the database is whole, behind the changes that are queued. */
int catalog_check(Catalog *catalog, CatalogDone done, void *userdata, Error *err);

/* Has it write something that means nothing: afterwards catalog_health() tells whether the disk works. */
int catalog_touch(Catalog *catalog, CatalogDone done, void *userdata, Error *err);

/* Whether the disk failed a change, or keeps one for longer than CATALOG_PATIENCE_USEC. What was answered as durable
 * is so, but the database must be closed, and its filesystem mounted anew: its pages in memory are not to be
 * trusted. */
#define CATALOG_PATIENCE_USEC (20 * UINT64_C(1000000))
int catalog_health(Catalog *catalog, Error *err);

/* Becomes readable when there is something to call back for; then call catalog_dispatch(). Owned by the catalog. */
int catalog_fd(const Catalog *catalog);
void catalog_dispatch(Catalog *catalog);
