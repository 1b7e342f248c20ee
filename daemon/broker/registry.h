#pragma once

/* What the broker knows, in memory: pools, their volumes, who uses them. Every answer comes from here. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/job.h>
#include <quarry/pool.h>
#include <quarry/volume.h>

#include "store/catalog.h"

#include <systemd/sd-event.h>

typedef struct Operation Operation;
typedef struct PoolEntry PoolEntry;

/* What must happen one after the other. */
typedef struct Lane {
        Operation *running;
        Operation *waiting; /* in order */
} Lane;

typedef struct Hold { /* a mount in the host's mount namespace */
        char *path;
        bool read_only;
} Hold;

typedef struct VolumeEntry {
        Volume volume; /* first: the trees compare by it */
        PoolEntry *pool;
        bool open;          /* its devices exist, as the last job or the start said; the kernel knows better */
        bool removal_waits; /* it goes when nobody uses it any more */
        bool used_is_known;
        uint64_t used;      /* bytes in the pool, as last seen */
        Hold *holds;        /* as mountinfo said last */
        size_t n_holds;
        Lane lane;
} VolumeEntry;

/* The opening or closing of a pool's catalog, which its disk may keep for ever; see pool-open.h. */
typedef struct CatalogTurn {
        struct Manager *manager;
        JobResult result; /* of the worker that activated the pool: kept until the volumes are known */
        void (*on_done)(PoolEntry *pool, const Error *err, void *userdata);
        void *userdata;
        sd_event_source *limit;
        bool has_rows;
} CatalogTurn;

struct PoolEntry {
        PoolEntry *next;
        PoolInfo info;
        PoolState state;
        char *failure; /* POOL_UNAVAILABLE: why */
        bool may_come_yet; /* its disks were not there, or a worker died: it is tried again from time to time */
        Catalog *catalog;
        sd_event_source *catalog_source;
        CatalogTurn turn;
        bool catalog_in_doubt; /* it failed: JOB_POOL_RECOVER brings the pool back */
        void *by_name;     /* tsearch(3) tree of VolumeEntry */
        size_t n_volumes;
        uint64_t provisioned; /* sum of sizes, bytes */
        uint8_t *thin_ids;    /* bitmap of those in use */
        Lane lane;            /* of what runs beside the operations on its volumes: it is extended */
        Operation *operation; /* that runs on the whole pool now */
        unsigned n_operations; /* that run on its volumes or beside them now */
        bool look_is_out;      /* a worker is reading how full it is, see usage.h */
};

typedef struct Registry {
        PoolEntry *pools; /* by name */
        void *by_uuid;    /* tree of VolumeEntry, over all pools */
} Registry;

void registry_done(Registry *registry);

PoolEntry *registry_add_pool(Registry *registry, PoolInfo *info); /* takes over info; NULL: out of memory */
void registry_remove_pool(Registry *registry, PoolEntry *pool);
PoolEntry *registry_find_pool(Registry *registry, const char *name);
PoolEntry *registry_find_pool_uuid(Registry *registry, sd_id128_t uuid);

/* Sets the state and, for POOL_UNAVAILABLE, the reason. */
void pool_entry_set_state(PoolEntry *pool, PoolState state, const char *failure);
/* It could not be activated. */
void pool_entry_set_failed(PoolEntry *pool, const Error *err);
/* ERROR_POOL_UNAVAILABLE unless the pool can be worked with. */
int pool_entry_check(const PoolEntry *pool, Error *err);

/* Takes over the volume. NULL with *err set: out of memory, or the name or thin id is taken. */
VolumeEntry *registry_add_volume(Registry *registry, PoolEntry *pool, Volume *volume, Error *err);
void registry_remove_volume(Registry *registry, VolumeEntry *entry);
VolumeEntry *registry_find_uuid(Registry *registry, sd_id128_t uuid);
VolumeEntry *registry_find_in_pool(PoolEntry *pool, const char *tenant, const char *name);
/* In any pool: the first. */
VolumeEntry *registry_find_anywhere(Registry *registry, const char *tenant, const char *name);

/* Calls back in the order of tenant and name until it returns non-zero, which is returned. The callback must
 * not add or remove. */
int registry_each_volume(PoolEntry *pool, int (*on_volume)(VolumeEntry *entry, void *userdata), void *userdata);

/* The lowest thin id that no volume has; -ENOSPC. */
int pool_entry_new_thin_id(const PoolEntry *pool, uint32_t *ret);

/* Gives a volume another thin id: the pool's metadata has a device of the old one, which stays taken. -ENOSPC. */
int volume_entry_renumber(VolumeEntry *entry);

void volume_entry_set_holds(VolumeEntry *entry, Hold *holds, size_t n); /* takes over */
