#pragma once

/* The catalog: what a pool knows of its volumes, as an SQLite database on the pool's own disks.
 *
 * Reading happens once, when the pool comes; from then on the broker answers from memory. A thread of the
 * catalog's own opens, reads, writes and closes it, so that a disk that stalls never stalls the broker. Changes
 * are queued; several become one transaction when they come fast. A change is durable when its callback is called. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/volume.h>

typedef struct Catalog Catalog;

/* What it holds when it is opened. */
typedef struct CatalogVolumes {
        Volume *list;
        size_t n;
} CatalogVolumes;

void catalog_volumes_done(CatalogVolumes *volumes);

/* These are called by catalog_dispatch(). err NULL: it could be opened, the change is durable, it is closed. */
typedef void (*CatalogOpened)(CatalogVolumes *volumes, const Error *err, void *userdata);
typedef void (*CatalogDone)(const Error *err, void *userdata);

/* Starts the writer, which opens or makes the database in a folder, checks its integrity, brings its schema up
 * to date and reads it. Returns at once: whatever touches the disk is done by the writer. on_opened may take
 * over volumes; on failure it must free the catalog. */
int catalog_open(const char *folder, CatalogOpened on_opened, void *userdata, Catalog **ret, Error *err);

/* Has what is queued written, and the database closed. Returns at once; on_closed may free the catalog. */
void catalog_close(Catalog *catalog, CatalogDone on_closed, void *userdata);

/* The same, and waits for it, but no longer than two seconds: a disk that hangs keeps only the writer. Callbacks
 * that are still due are not called. NULL is fine. Does not wait if the catalog is closed or was never open. */
void catalog_free(Catalog *catalog);
DEFINE_CLEANUP(Catalog *, catalog_free)

/* Since when the writer waits for the disk, as CLOCK_MONOTONIC in microseconds; 0: it does not. */
uint64_t catalog_busy_since(Catalog *catalog);

/* Inserts or replaces the row of a volume; copies what it needs. */
int catalog_put_volume(Catalog *catalog, const Volume *volume, CatalogDone done, void *userdata, Error *err);
int catalog_delete_volume(Catalog *catalog, sd_id128_t uuid, CatalogDone done, void *userdata, Error *err);

/* Becomes readable when changes are done; then call catalog_dispatch(). Owned by the catalog. */
int catalog_fd(const Catalog *catalog);
void catalog_dispatch(Catalog *catalog);
