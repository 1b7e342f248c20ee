#pragma once

/* What the broker knows, in memory: pools, their volumes, who uses them. Every answer comes from here. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/job.h>
#include <quarry/pool.h>
#include <quarry/tenant.h>
#include <quarry/volume.h>

#include "broker/schedule-plan.h"
#include "broker/space-link.h"
#include "store/catalog.h"

#include <systemd/sd-event.h>

typedef struct Operation Operation;
typedef struct PoolEntry PoolEntry;
typedef struct PoolAttempt PoolAttempt;

/* What must happen one after the other. */
typedef struct Lane {
        Operation *running;
        Operation *waiting; /* in order */
} Lane;

typedef struct Hold { /* a mount in the host's mount namespace */
        char *path;
        bool read_only;
} Hold;

/* What the volumes and snapshots of a tenant take of their pool together, what they share once; see tenant-used.h. */
typedef struct TenantUse {
        uint64_t bytes, at;   /* as counted then: CLOCK_MONOTONIC, microseconds; 0: never */
        uint64_t pool_used;   /* when so many bytes of the pool were, */
        size_t n_owned;       /* it had so many volumes and snapshots, */
        uint64_t mapped_then; /* and these mapped so much, as last seen */
        uint64_t mapped;      /* bytes that each of them maps, as last seen: not less than they take, */
        bool mapped_is_known; /* if that is known of all */
        bool over;            /* its limit */
        bool stopped;         /* for that reason its filesystems get no new space */
        bool failed;          /* to be counted, the last time */
} TenantUse;

typedef struct TenantEntry {
        Tenant tenant; /* first: the tree compares by it */
        PoolEntry *pool;
        size_t n_volumes, n_snapshots; /* that it owns, */
        uint64_t provisioned;          /* and the sum of the volumes' sizes, bytes, */
        uint64_t tmpfs;                /* of those in memory apart */
        TenantUse use;
        bool goes; /* it is being removed: nothing more is made for it */
} TenantEntry;

/* A volume, a snapshot or a template. */
typedef struct VolumeEntry {
        Volume volume; /* first: the trees compare by it */
        PoolEntry *pool;
        TenantEntry *tenant; /* NULL: the default tenant, or none: of a template, or of what is being freed */
        struct VolumeEntry *origin;         /* of a snapshot: what it is of */
        struct VolumeEntry *snapshots;      /* of a volume: the first of its snapshots, */
        struct VolumeEntry *next_snapshot;  /* and the next one; the newest first */
        size_t n_snapshots;
        struct VolumeEntry *next_renamed;   /* among those that have an old name, too */
        struct VolumeEntry *next_freeing;   /* in PoolEntry.freeing */
        bool open;          /* its devices exist, as the last job or the start said; the kernel knows better */
        dev_t lent;         /* the one that somebody was given, as long as it was seen; 0: none */
        uint64_t freed_to;  /* VOLUME_FREEING: so far its space is given back, bytes */
        bool removal_waits; /* it goes when nobody uses it any more */
        bool used_is_known;
        uint64_t used;      /* bytes in the pool, as last seen */
        uint64_t exclusive; /* bytes of these that nobody else has, */
        uint64_t exclusive_at; /* as seen then: CLOCK_MONOTONIC, microseconds; 0: never */
        VolumePlan *plan;   /* when snapshots of it are due; NULL: never */
        Hold *holds;        /* as mountinfo said last */
        size_t n_holds;
        Lane lane;
        bool unlocked;      /* somebody gave its passphrase ahead of a mount: it stays open until then */
        bool key_goes;      /* it is being locked: nobody opens a snapshot of it meanwhile */
        unsigned wrap_failed; /* in that rotation its key could not be wrapped by the present host key; 0: none */
        bool stopped;       /* its filesystem gets no new space, see space.h */
        bool limit_is_out;  /* a worker is changing that, */
        uint64_t limit_failed; /* or failed to, when: CLOCK_MONOTONIC, microseconds */
        uint64_t made_usec; /* when it became ready, if this quarryd made it: CLOCK_REALTIME, microseconds */
        uint64_t used_at;   /* a template, for the last time: CLOCK_MONOTONIC, microseconds; */
        uint64_t expected_size; /* that it may have when what runs on it ends, 0 for none; */
        bool expects_snapshot;  /* and that it will have one more then: both count already */
        unsigned n_copies;  /* so many are being made of it, */
        bool discarded;     /* and it goes with the last of them */
        uint64_t growth;    /* bytes by which it grew in the last minutes */
        uint64_t looked_at; /* when: CLOCK_MONOTONIC, microseconds */
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

/* Who asked for volumes that a template would serve, see template.h. */
typedef struct TemplateDemand {
        char name[FULL_NAME_MAX + 1];
        unsigned n;
        uint64_t at; /* CLOCK_MONOTONIC, microseconds */
        bool failed;
} TemplateDemand;

#define TEMPLATE_DEMANDS 16

typedef struct SpaceSample {
        uint64_t at, used; /* microseconds, bytes */
} SpaceSample;

#define SPACE_SAMPLES 25

/* How full a pool is and what is done about it, see space.h. */
typedef struct PoolSpace {
        uint64_t at;           /* when it was looked at: CLOCK_MONOTONIC, microseconds; 0: never */
        uint64_t rate;         /* bytes a second by which it fills, */
        uint64_t rated_at, rated_used; /* as seen then */
        uint64_t dirty;        /* bytes that are yet to be written back */
        bool low, full, relieved;
        bool stopped;          /* some writers are, or with stopped_all everybody */
        bool stopped_all;
        bool release_failed;   /* some could not be let go */
        bool was_full;         /* since they were let go last: filesystems may have stopped themselves */
        bool extend_is_out;    /* it is being extended, */
        bool growing;          /* with room for it */
        bool relief_is_out;    /* it is being given its reserve */
        uint64_t left_at_stop; /* bytes */
        uint64_t used_at_look; /* bytes, when its open volumes were looked at */
        uint64_t tried;        /* to extend it, when */
        SpaceSample samples[SPACE_SAMPLES];
        size_t n_samples, next_sample;
} PoolSpace;

/* The counting of what a tenant takes: of one at a time. */
typedef struct PoolCount {
        bool is_out;
        uint64_t tenant_since; /* which: Tenant.created_usec */
        uint64_t began, again; /* when, and when the next one may: CLOCK_MONOTONIC, microseconds */
        uint64_t pool_used, mapped; /* as of its beginning, as in TenantUse */
        size_t n_owned;
} PoolCount;

struct PoolEntry {
        PoolEntry *next;
        PoolInfo info;
        PoolState state;
        struct Audit *audit; /* hears of it; NULL: nobody does */
        char *failure; /* POOL_UNAVAILABLE: why */
        char *advice;  /* what to do about that, or NULL */
        char *told_failure; /* of which the audit heard; NULL: since then it was active */
        bool may_come_yet; /* its disks were not there, or a worker died: it is tried again from time to time */
        char *schedule;          /* of its volumes that have none of their own, or NULL */
        bool schedule_runs;      /* a snapshot by schedule is made in it now */
        uint64_t schedule_since; /* when it was set: CLOCK_REALTIME, microseconds */
        Catalog *catalog;
        sd_event_source *catalog_source;
        CatalogTurn turn;
        PoolAttempt *attempt;  /* that a worker is at, perhaps longer than anybody waits; see pool-open.h */
        bool catalog_in_doubt; /* it failed: JOB_POOL_RECOVER brings the pool back */
        bool read_only, metadata_failed; /* as the kernel says: see JobSpace */
        void *by_name;     /* tsearch(3) tree of VolumeEntry */
        VolumeEntry *freeing; /* what nobody finds by name any more, in order: VOLUME_FREEING, see volume-free.c */
        struct Manager *freeing_manager;
        sd_event_source *freeing_pause;
        void *tenants;     /* tree of TenantEntry */
        Lane tenant_lane;  /* of changes to them */
        size_t n_volumes, n_snapshots;
        uint64_t provisioned; /* sum of the volumes' sizes, bytes */
        uint8_t *thin_ids;    /* bitmap of those in use */
        Lane lane;            /* of what runs beside the operations on its volumes: it is extended */
        Lane diff_lane;       /* of what reads the maps of its volumes: a worker does one at a time */
        Operation *operation; /* that runs on the whole pool now */
        unsigned n_operations; /* that run on its volumes or beside them now; */
        unsigned n_background; /* so many of them in the background */
        PoolSpace space;
        PoolCount count;
        TemplateDemand template_demand[TEMPLATE_DEMANDS];
        SpaceLink *space_link; /* of the worker that looks at it */
        bool look_is_out;      /* a worker is reading how full it is, see usage.h */
        struct MapsJob *maps_job; /* and one, what each of its volumes has for itself; NULL: none */
        uint64_t maps_began, maps_took; /* when that was begun last, and how long it took; microseconds */
};

/* How many volumes and snapshots have their key wrapped by a host key; by "" if that is not known. */
typedef struct KeyCount {
        char id[HOST_KEY_ID_MAX];
        size_t n;
} KeyCount;

typedef struct Registry {
        PoolEntry *pools; /* by name */
        void *by_uuid;    /* tree of VolumeEntry, over all pools */
        VolumeEntry *renamed; /* whose rename has not come to its end: few */
        Plan *plan;       /* of their schedules; NULL: not followed */
        KeyCount *key_counts; /* few */
        size_t n_key_counts;
        struct Audit *audit; /* which hears of their pools; NULL: nobody does */
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
/* The same, and unless its metadata can be written. */
int pool_entry_check_changes(const PoolEntry *pool, Error *err);

/* What is told of it, and why it is not active, or NULL. */
PoolState pool_entry_shown_state(const PoolEntry *pool);
const char *pool_entry_failure(const PoolEntry *pool);

TenantEntry *registry_find_tenant(const PoolEntry *pool, const char *name);
/* Takes over the tenant; one that is there of that name is as this one from then on. NULL with *err set: out of
 * memory. */
TenantEntry *registry_put_tenant(PoolEntry *pool, Tenant *tenant, Error *err);
/* Of no volume. */
void registry_remove_tenant(TenantEntry *entry);
void registry_forget_tenants(PoolEntry *pool); /* all of it */
/* Who owns a volume; *ret is NULL for the default tenant and for a template. A catalog from before there were rows of
 * tenants has none of it: then it is made, without members. */
int registry_tenant_of(PoolEntry *pool, const Volume *volume, TenantEntry **ret, Error *err);
/* In the order of their names, as registry_each_volume(). */
int registry_each_tenant(const PoolEntry *pool, int (*on_tenant)(TenantEntry *entry, void *userdata), void *userdata);

/* Takes over the volume. The origin of a snapshot must be there, and gives it its name. NULL with *err set: out of
 * memory, or the name or thin id is taken. */
VolumeEntry *registry_add_volume(Registry *registry, PoolEntry *pool, Volume *volume, Error *err);
void registry_remove_volume(Registry *registry, VolumeEntry *entry);
void registry_forget_volumes(Registry *registry, PoolEntry *pool); /* all of it */
void volume_entry_set_broken(VolumeEntry *entry, const char *failure);
/* It is removed as far as anybody can see: its name is free. */
void volume_entry_set_freeing(VolumeEntry *entry);
/* Its turn comes behind the others that are being freed. */
void volume_entry_free_last(VolumeEntry *entry);
VolumeEntry *registry_find_uuid(Registry *registry, sd_id128_t uuid);
VolumeEntry *registry_find_in_pool(PoolEntry *pool, const char *tenant, const char *name);
/* In any pool: the first. */
VolumeEntry *registry_find_anywhere(Registry *registry, const char *tenant, const char *name);

/* Takes over the name under which a volume may still be mounted; NULL: there is none any more. */
void registry_set_old_name(Registry *registry, VolumeEntry *entry, char *old_name);
/* ERROR_VOLUME_EXISTS for a name that a volume is losing: it may have to be given back. except: that volume, or NULL */
int registry_check_old_names(const Registry *registry, const char *tenant, const char *name, const VolumeEntry *except,
                             Error *err);

/* NAME@SNAPSHOT of a volume; NULL if there is none. */
VolumeEntry *volume_entry_find_snapshot(const VolumeEntry *volume, const char *snapshot);

/* Calls back in the order of tenant and name, snapshots and templates too, until it returns non-zero, which is
 * returned. The callback must not add or remove. */
int registry_each_volume(PoolEntry *pool, int (*on_volume)(VolumeEntry *entry, void *userdata), void *userdata);

/* Whether a volume that is not just being made is encrypted with the host key. O(volumes). */
bool registry_needs_host_key(Registry *registry);

/* How many have their key wrapped by this one, and by any. */
size_t registry_count_key(const Registry *registry, const char *id);
size_t registry_count_keys(const Registry *registry);
int registry_count_key_more(Registry *registry, const Volume *volume); /* -ENOMEM */
void registry_count_key_less(Registry *registry, const Volume *volume);
/* What opens a volume has changed. */
void registry_set_key(Registry *registry, VolumeEntry *entry, KeySource source, const char *host_key);

/* The lowest thin id that no volume has; -ENOSPC. */
int pool_entry_new_thin_id(const PoolEntry *pool, uint32_t *ret);

/* Gives a volume another thin id: the pool's metadata has a device of the old one, which stays taken. -ENOSPC. */
int volume_entry_renumber(VolumeEntry *entry);
/* Gives a volume a second thin id (Volume.spare_thin_id), or gives that back. If it has one that stays taken. */
int volume_entry_take_spare(VolumeEntry *entry); /* -ENOSPC */
void volume_entry_drop_spare(VolumeEntry *entry);
/* Lets the two change places. */
void volume_entry_swap_spare(VolumeEntry *entry);
/* Makes the spare one that of a snapshot, which is taken over. NULL as above. */
VolumeEntry *registry_give_spare(Registry *registry, VolumeEntry *entry, Volume *snapshot, Error *err);
/* Gives it this one, which nobody has. */
void volume_entry_set_spare(VolumeEntry *entry, uint32_t thin_id);
/* Gives a volume another name, and with it its snapshots. ERROR_VOLUME_EXISTS. */
int registry_rename_volume(Registry *registry, VolumeEntry *entry, const char *name, Error *err);
/* A template becomes the volume that spec, which it takes over, tells of: its device is what such a one has. */
int registry_turn_template(Registry *registry, VolumeEntry *entry, VolumeSpec *spec, Error *err);
/* Plans a volume by its schedule, or its pool's, as they are now. Done when it is added, too. */
void registry_plan_volume(Registry *registry, VolumeEntry *entry);
/* Gives a volume another size; or notes to which it grows, 0 for none, which is promised to it from then on. */
void volume_entry_resize(VolumeEntry *entry, uint64_t size);
void volume_entry_set_pending(VolumeEntry *entry, uint64_t size);
/* Counts what it may come to have before it does, so that nobody else is promised that meanwhile. */
void volume_entry_expect(VolumeEntry *entry, uint64_t size, bool snapshot);

void volume_entry_set_holds(VolumeEntry *entry, Hold *holds, size_t n); /* takes over */
