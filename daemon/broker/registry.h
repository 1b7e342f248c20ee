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

/* The catalog of a pool was opened, or not. */
typedef void (*PoolOpened)(PoolEntry *pool, const Error *err, void *userdata);

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
        bool used_is_known;
        uint64_t used;      /* bytes in the pool, as last seen */
        Hold *holds;        /* as mountinfo said last */
        size_t n_holds;
        Lane lane;
} VolumeEntry;

struct PoolEntry {
        PoolEntry *next;
        PoolInfo info;
        PoolState state;
        char *failure; /* POOL_UNAVAILABLE: why */
        char *trouble; /* its catalog takes no changes: why; NULL if it does */
        bool is_stalled; /* for its disk does not answer: that passes by itself */
        bool is_reopening;
        bool is_opening; /* somebody is activating it */
        bool may_come_yet; /* its disks were not there, or a worker died: it is tried again from time to time */
        Catalog *catalog;
        sd_event_source *catalog_source;
        void *by_name;     /* tsearch(3) tree of VolumeEntry */
        size_t n_volumes;
        uint64_t provisioned; /* sum of sizes, bytes */
        uint8_t *thin_ids;    /* bitmap of those in use */
        Operation *operation; /* that runs on the whole pool now */
        unsigned n_operations; /* that run on its volumes now */
        bool look_is_out;      /* a worker is reading how full it is, see usage.h */

        /* while its catalog is being opened */
        JobDevice *devices; /* that the kernel has */
        size_t n_devices;
        struct Manager *manager;
        PoolOpened on_opened;
        void *on_opened_userdata;
        void (*on_closed)(void *userdata);
        void *on_closed_userdata;
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
/* Its catalog takes no changes; NULL: it does again. */
void pool_entry_set_trouble(PoolEntry *pool, const char *trouble);
/* The state that people are told, and what is wrong; NULL if nothing is. */
PoolState pool_entry_shown_state(const PoolEntry *pool);
const char *pool_entry_failure(const PoolEntry *pool);
/* ERROR_POOL_UNAVAILABLE unless volumes of the pool can be used. */
int pool_entry_check(const PoolEntry *pool, Error *err);
/* ... and made and removed. */
int pool_entry_check_changes(const PoolEntry *pool, Error *err);

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

/* Gives a volume another thin id, since the pool has a thin device of its own that no volume has: that id is taken
 * until the next start. -ENOSPC. */
int volume_entry_change_thin_id(VolumeEntry *entry);

void volume_entry_set_holds(VolumeEntry *entry, Hold *holds, size_t n); /* takes over */
