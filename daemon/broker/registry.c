#include "broker/registry.h"

#include <quarry/text.h>

#include <search.h>

#define THIN_BITMAP_SIZE ((THIN_ID_MAX + 1) / 8) /* 2 MiB of address space; pages are touched as ids are used */

static int compare_name(const void *a, const void *b) {
        const Volume *x = a, *y = b;
        int r = strcmp(x->spec.tenant, y->spec.tenant);

        return r != 0 ? r : natural_compare(x->spec.name, y->spec.name) ?: strcmp(x->spec.name, y->spec.name);
}

static int compare_uuid(const void *a, const void *b) {
        const Volume *x = a, *y = b;

        return memcmp(&x->uuid, &y->uuid, sizeof(x->uuid));
}

/* --- pools ---------------------------------------------------------------------------------------------- */

PoolEntry *registry_add_pool(Registry *registry, PoolInfo *info) {
        PoolEntry *pool = calloc(1, sizeof(*pool)), **at = &registry->pools;

        if (!pool)
                return NULL;
        pool->thin_ids = calloc(1, THIN_BITMAP_SIZE);
        if (!pool->thin_ids) {
                free(pool);
                return NULL;
        }
        pool->info = *info;
        *info = (PoolInfo) {};
        while (*at && strcmp((*at)->info.name, pool->info.name) < 0)
                at = &(*at)->next;
        pool->next = *at;
        *at = pool;
        return pool;
}

static void holds_free(Hold *holds, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(holds[i].path);
        free(holds);
}

static void drop_volume(Registry *registry, PoolEntry *pool, VolumeEntry *entry) {
        tdelete(entry, &pool->by_name, compare_name);
        tdelete(entry, &registry->by_uuid, compare_uuid);
        pool->thin_ids[entry->volume.thin_id / 8] &= (uint8_t) ~(1u << entry->volume.thin_id % 8);
        pool->n_volumes--;
        pool->provisioned -= entry->volume.spec.size;
        volume_done(&entry->volume);
        holds_free(entry->holds, entry->n_holds);
        free(entry);
}

void registry_remove_pool(Registry *registry, PoolEntry *pool) {
        for (PoolEntry **at = &registry->pools; *at; at = &(*at)->next)
                if (*at == pool) {
                        *at = pool->next;
                        break;
                }
        while (pool->by_name)
                drop_volume(registry, pool, *(VolumeEntry **) pool->by_name);
        sd_event_source_disable_unref(pool->catalog_source);
        sd_event_source_disable_unref(pool->turn.limit);
        space_link_free(pool->space_link);
        job_result_done(&pool->turn.result);
        catalog_free(pool->catalog);
        pool_info_done(&pool->info);
        free(pool->failure);
        free(pool->advice);
        free(pool->thin_ids);
        free(pool);
}

PoolEntry *registry_find_pool(Registry *registry, const char *name) {
        for (PoolEntry *p = registry->pools; p; p = p->next)
                if (streq(p->info.name, name))
                        return p;
        return NULL;
}

PoolEntry *registry_find_pool_uuid(Registry *registry, sd_id128_t uuid) {
        for (PoolEntry *p = registry->pools; p; p = p->next)
                if (sd_id128_equal(p->info.uuid, uuid))
                        return p;
        return NULL;
}

void pool_entry_set_state(PoolEntry *pool, PoolState state, const char *failure) {
        char *copy = failure ? strdup(failure) : NULL; /* it may be the one that was there */

        pool->state = state;
        free(pool->failure);
        pool->failure = copy;
        free(TAKE_PTR(pool->advice));
}

void pool_entry_set_failed(PoolEntry *pool, const Error *err) {
        pool_entry_set_state(pool, POOL_UNAVAILABLE, err->text);
        pool->advice = err->hint[0] ? strdup(err->hint) : NULL;
        pool->may_come_yet = err->number == ENODEV || err->number == ENOENT || err->number == ETIMEDOUT ||
                             err->number == EIO || err->number == ENOTUNIQ || err->kind == ERROR_WORKER_DIED ||
                             pool->catalog_in_doubt;
}

PoolState pool_entry_shown_state(const PoolEntry *pool) {
        return pool->state == POOL_ACTIVE && pool_entry_failure(pool) ? POOL_DEGRADED : pool->state;
}

const char *pool_entry_failure(const PoolEntry *pool) {
        if (pool->state != POOL_ACTIVE)
                return pool->failure;
        if (pool->metadata_failed)
                return "its metadata can neither be read nor written, nor can its volumes; unmount them: then it is "
                       "checked and comes back by itself, once its disks work";
        if (pool->read_only)
                return "its metadata could not be written: its volumes can be read, and get no new space; unmount "
                       "them: then it is checked and comes back by itself, once its disks work";
        return NULL;
}

int pool_entry_check_changes(const PoolEntry *pool, Error *err) {
        const char *failure = pool_entry_failure(pool);
        int r;

        r = pool_entry_check(pool, err);
        if (r < 0 || !failure)
                return r;
        r = error_set(err, ERROR_POOL_UNAVAILABLE, EROFS, "pool %s takes no changes: %s", pool->info.name, failure);
        error_hint(err, "quarry ls --pool %s; quarry umount", pool->info.name);
        return r;
}

int pool_entry_check(const PoolEntry *pool, Error *err) {
        int r;

        if (pool->operation)
                return error_set(err, ERROR_POOL_BUSY, EBUSY, "pool %s is being taken away or repaired",
                                 pool->info.name);
        switch (pool->state) {
        case POOL_ACTIVE:
                return 0;
        case POOL_ACTIVATING:
                return error_set(err, ERROR_POOL_UNAVAILABLE, EAGAIN, "pool %s is still being activated%s%s",
                                 pool->info.name, pool->failure ? ": " : "", pool->failure ?: "");
        default:
                r = error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV, "pool %s is not active: %s", pool->info.name,
                              pool->failure ?: "it could not be activated");
                if (pool->advice)
                        error_hint(err, "%s", pool->advice);
                else
                        error_hint(err, "quarry pool inspect %s", pool->info.name);
                return r;
        }
}

/* --- volumes -------------------------------------------------------------------------------------------- */

void volume_entry_set_holds(VolumeEntry *entry, Hold *holds, size_t n) {
        holds_free(entry->holds, entry->n_holds);
        entry->holds = holds;
        entry->n_holds = n;
}

static bool thin_id_is_used(const PoolEntry *pool, uint32_t id) {
        return pool->thin_ids[id / 8] & (1u << id % 8);
}

VolumeEntry *registry_add_volume(Registry *registry, PoolEntry *pool, Volume *volume, Error *err) {
        VolumeEntry *entry;

        if (volume->thin_id > THIN_ID_MAX || thin_id_is_used(pool, volume->thin_id) ||
            registry_find_in_pool(pool, volume->spec.tenant, volume->spec.name) ||
            registry_find_uuid(registry, volume->uuid)) {
                error_set(err, ERROR_POOL_UNAVAILABLE, EEXIST,
                          "volume %s/%s has the name, the UUID or the thin id of another", volume->spec.tenant,
                          volume->spec.name);
                return NULL;
        }
        entry = calloc(1, sizeof(*entry));
        if (!entry) {
                error_oom(err);
                return NULL;
        }
        entry->volume = *volume;
        if (!tsearch(entry, &pool->by_name, compare_name) || !tsearch(entry, &registry->by_uuid, compare_uuid)) {
                tdelete(entry, &pool->by_name, compare_name);
                free(entry);
                error_oom(err);
                return NULL;
        }
        *volume = (Volume) {};
        entry->pool = pool;
        buffer_format(entry->volume.spec.pool, sizeof(entry->volume.spec.pool), "%s", pool->info.name);
        pool->thin_ids[entry->volume.thin_id / 8] |= (uint8_t) (1u << entry->volume.thin_id % 8);
        pool->n_volumes++;
        pool->provisioned += entry->volume.spec.size;
        return entry;
}

void registry_remove_volume(Registry *registry, VolumeEntry *entry) {
        drop_volume(registry, entry->pool, entry);
}

VolumeEntry *registry_find_uuid(Registry *registry, sd_id128_t uuid) {
        Volume key = { .uuid = uuid };
        VolumeEntry **found = tfind(&key, &registry->by_uuid, compare_uuid);

        return found ? *found : NULL;
}

VolumeEntry *registry_find_in_pool(PoolEntry *pool, const char *tenant, const char *name) {
        Volume key = {};
        VolumeEntry **found;

        if (!buffer_format(key.spec.tenant, sizeof(key.spec.tenant), "%s", tenant) ||
            !buffer_format(key.spec.name, sizeof(key.spec.name), "%s", name))
                return NULL;
        found = tfind(&key, &pool->by_name, compare_name);
        return found ? *found : NULL;
}

VolumeEntry *registry_find_anywhere(Registry *registry, const char *tenant, const char *name) {
        VolumeEntry *entry = NULL;

        for (PoolEntry *p = registry->pools; p && !entry; p = p->next)
                entry = registry_find_in_pool(p, tenant, name);
        return entry;
}

typedef struct Walk {
        int (*on_volume)(VolumeEntry *entry, void *userdata);
        void *userdata;
        int r;
} Walk;

static void on_node(const void *node, VISIT visit, void *userdata) {
        Walk *walk = userdata;

        if ((visit == postorder || visit == leaf) && walk->r == 0)
                walk->r = walk->on_volume(*(VolumeEntry *const *) node, walk->userdata);
}

int registry_each_volume(PoolEntry *pool, int (*on_volume)(VolumeEntry *entry, void *userdata), void *userdata) {
        Walk walk = { .on_volume = on_volume, .userdata = userdata };

        twalk_r(pool->by_name, on_node, &walk);
        return walk.r;
}

int pool_entry_new_thin_id(const PoolEntry *pool, uint32_t *ret) {
        for (uint32_t byte = 0; byte < THIN_BITMAP_SIZE; byte++) {
                if (pool->thin_ids[byte] == 0xff)
                        continue;
                for (uint32_t id = byte * 8; id < byte * 8 + 8; id++)
                        if (!thin_id_is_used(pool, id)) {
                                *ret = id;
                                return 0;
                        }
        }
        return -ENOSPC;
}

int volume_entry_renumber(VolumeEntry *entry) {
        uint32_t id;
        int r;

        r = pool_entry_new_thin_id(entry->pool, &id);
        if (r < 0)
                return r;
        entry->volume.thin_id = id;
        entry->pool->thin_ids[id / 8] |= (uint8_t) (1u << id % 8);
        return 0;
}

void registry_done(Registry *registry) {
        while (registry->pools)
                registry_remove_pool(registry, registry->pools);
}
