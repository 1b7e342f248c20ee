#include "broker/registry.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <search.h>
#include <time.h>

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
        pool->audit = registry->audit;
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

/* Whether it is found by its name: what is being freed is not, and another may be called so by now. */
static bool has_name(const VolumeEntry *entry) {
        return entry->volume.state != VOLUME_FREEING;
}

/* What a volume takes or may come to take, of the pool or of memory; what is in a source is not ours to promise. */
static void count_promised(PoolEntry *pool, const VolumeEntry *entry, uint64_t promised, bool more) {
        VolumeKind kind = entry->volume.spec.kind;
        TenantEntry *tenant = entry->tenant;
        uint64_t change = more ? promised : -promised;

        if (kind == KIND_BLOCK)
                pool->provisioned += change;
        if (tenant && kind == KIND_BLOCK)
                tenant->provisioned += change;
        if (tenant && kind == KIND_TMPFS)
                tenant->tmpfs += change;
}

static void count(PoolEntry *pool, const VolumeEntry *entry, bool more) {
        const Volume *v = &entry->volume;
        uint64_t promised = v->pending_size > v->spec.size ? v->pending_size : v->spec.size;
        TenantEntry *tenant = entry->tenant;
        size_t one = more ? 1 : (size_t) -1;

        if (v->spec.role == ROLE_SNAPSHOT) {
                pool->n_snapshots += one;
                if (tenant && has_name(entry))
                        tenant->n_snapshots += one;
        }
        if (v->spec.role != ROLE_VOLUME || !has_name(entry))
                return;
        if (entry->expected_size > promised)
                promised = entry->expected_size;
        pool->n_volumes += one;
        count_promised(pool, entry, promised, more);
        if (tenant) {
                tenant->n_volumes += one;
                tenant->n_snapshots += entry->expects_snapshot ? one : 0;
        }
}

static bool has_thin_id(const Volume *volume) {
        return volume->spec.kind == KIND_BLOCK;
}

static void thin_id_mark(PoolEntry *pool, uint32_t id, bool used) {
        if (used)
                pool->thin_ids[id / 8] |= (uint8_t) (1u << id % 8);
        else
                pool->thin_ids[id / 8] &= (uint8_t) ~(1u << id % 8);
}

static void origin_link(VolumeEntry *entry, VolumeEntry *origin) {
        VolumeEntry **at = &origin->snapshots;

        while (*at && (*at)->volume.created_usec > entry->volume.created_usec)
                at = &(*at)->next_snapshot;
        entry->origin = origin;
        entry->next_snapshot = *at;
        *at = entry;
        origin->n_snapshots++;
}

static void origin_unlink(VolumeEntry *entry) {
        VolumeEntry **at = entry->origin ? &entry->origin->snapshots : NULL;

        while (at && *at && *at != entry)
                at = &(*at)->next_snapshot;
        if (!at || !*at)
                return;
        *at = entry->next_snapshot;
        entry->origin->n_snapshots--;
}

static void freeing_link(VolumeEntry *entry) {
        VolumeEntry *last = entry->pool->freeing;

        entry->next_freeing = NULL;
        while (last && last->next_freeing)
                last = last->next_freeing;
        if (last)
                last->next_freeing = entry;
        else
                entry->pool->freeing = entry;
}

static void freeing_unlink(VolumeEntry *entry) {
        VolumeEntry **at = &entry->pool->freeing;

        while (*at && *at != entry)
                at = &(*at)->next_freeing;
        if (*at)
                *at = entry->next_freeing;
}

static void renamed_link(Registry *registry, VolumeEntry *entry) {
        if (!entry->volume.old_name)
                return;
        entry->next_renamed = registry->renamed;
        registry->renamed = entry;
}

static void renamed_unlink(Registry *registry, VolumeEntry *entry) {
        for (VolumeEntry **at = &registry->renamed; *at; at = &(*at)->next_renamed)
                if (*at == entry) {
                        *at = entry->next_renamed;
                        return;
                }
}

static void drop_volume(Registry *registry, PoolEntry *pool, VolumeEntry *entry) {
        renamed_unlink(registry, entry);
        if (has_name(entry))
                tdelete(entry, &pool->by_name, compare_name);
        else
                freeing_unlink(entry);
        tdelete(entry, &registry->by_uuid, compare_uuid);
        if (has_thin_id(&entry->volume))
                thin_id_mark(pool, entry->volume.thin_id, false);
        if (entry->volume.has_spare)
                thin_id_mark(pool, entry->volume.spare_thin_id, false);
        count(pool, entry, false);
        registry_count_key_less(registry, &entry->volume);
        origin_unlink(entry);
        for (VolumeEntry *s = entry->snapshots; s; s = s->next_snapshot)
                s->origin = NULL;
        volume_plan_free(entry->plan);
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
        registry_forget_volumes(registry, pool);
        registry_forget_tenants(pool);
        sd_event_source_disable_unref(pool->catalog_source);
        sd_event_source_disable_unref(pool->turn.limit);
        sd_event_source_disable_unref(pool->freeing_pause);
        space_link_free(pool->space_link);
        job_result_done(&pool->turn.result);
        catalog_free(pool->catalog);
        pool_info_done(&pool->info);
        free(pool->schedule);
        free(pool->failure);
        free(pool->advice);
        free(pool->told_failure);
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

/* --- volumes -------------------------------------------------------------------------------------------- */

void volume_entry_set_holds(VolumeEntry *entry, Hold *holds, size_t n) {
        holds_free(entry->holds, entry->n_holds);
        entry->holds = holds;
        entry->n_holds = n;
}

static bool thin_id_is_used(const PoolEntry *pool, uint32_t id) {
        return pool->thin_ids[id / 8] & (1u << id % 8);
}

static bool is_taken(Registry *registry, const PoolEntry *pool, const Volume *volume) {
        return (has_thin_id(volume) && (volume->thin_id > THIN_ID_MAX || thin_id_is_used(pool, volume->thin_id))) ||
               (volume->has_spare &&
                (volume->spare_thin_id > THIN_ID_MAX || thin_id_is_used(pool, volume->spare_thin_id))) ||
               (volume->state != VOLUME_FREEING &&
                registry_find_in_pool((PoolEntry *) pool, volume->spec.tenant, volume->spec.name)) ||
               registry_find_uuid(registry, volume->uuid);
}

/* The origin of a snapshot gives it its name and tenant. One that is being freed may have outlived its origin. */
static int snapshot_place(Registry *registry, Volume *volume, VolumeEntry **ret, Error *err) {
        VolumeEntry *origin = registry_find_uuid(registry, volume->spec.origin);
        char snapshot[SNAPSHOT_NAME_MAX + 1];

        *ret = NULL;
        if (volume->spec.role != ROLE_SNAPSHOT || volume->state == VOLUME_FREEING)
                return 0;
        if (!origin)
                return error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the volume of snapshot %s is not there",
                                 volume->spec.name);
        buffer_format(snapshot, sizeof(snapshot), "%s", snapshot_name_of(volume->spec.name) ?: "");
        full_name_format(origin->volume.spec.name, snapshot, volume->spec.name);
        buffer_format(volume->spec.tenant, sizeof(volume->spec.tenant), "%s", origin->volume.spec.tenant);
        *ret = origin;
        return 0;
}

VolumeEntry *registry_add_volume(Registry *registry, PoolEntry *pool, Volume *volume, Error *err) {
        VolumeEntry *entry, *origin;
        TenantEntry *tenant;

        if (snapshot_place(registry, volume, &origin, err) < 0)
                return NULL;
        if (is_taken(registry, pool, volume)) {
                error_set(err, ERROR_POOL_UNAVAILABLE, EEXIST,
                          "volume %s/%s has the name, the UUID or the thin id of another", volume->spec.tenant,
                          volume->spec.name);
                return NULL;
        }
        if (registry_tenant_of(pool, volume, &tenant, err) < 0)
                return NULL;
        entry = calloc(1, sizeof(*entry));
        if (!entry || registry_count_key_more(registry, volume) < 0) {
                free(entry);
                error_oom(err);
                return NULL;
        }
        entry->tenant = tenant;
        entry->volume = *volume;
        if ((has_name(entry) && !tsearch(entry, &pool->by_name, compare_name)) ||
            !tsearch(entry, &registry->by_uuid, compare_uuid)) {
                if (has_name(entry))
                        tdelete(entry, &pool->by_name, compare_name);
                registry_count_key_less(registry, volume);
                free(entry);
                error_oom(err);
                return NULL;
        }
        *volume = (Volume) {};
        renamed_link(registry, entry);
        entry->pool = pool;
        if (!has_name(entry))
                freeing_link(entry);
        buffer_format(entry->volume.spec.pool, sizeof(entry->volume.spec.pool), "%s", pool->info.name);
        if (has_thin_id(&entry->volume))
                thin_id_mark(pool, entry->volume.thin_id, true);
        if (entry->volume.has_spare)
                thin_id_mark(pool, entry->volume.spare_thin_id, true);
        count(pool, entry, true);
        if (origin)
                origin_link(entry, origin);
        registry_plan_volume(registry, entry);
        return entry;
}

void registry_remove_volume(Registry *registry, VolumeEntry *entry) {
        drop_volume(registry, entry->pool, entry);
}

void registry_forget_volumes(Registry *registry, PoolEntry *pool) {
        while (pool->by_name)
                drop_volume(registry, pool, *(VolumeEntry **) pool->by_name);
        while (pool->freeing)
                drop_volume(registry, pool, pool->freeing);
}

void volume_entry_set_broken(VolumeEntry *entry, const char *failure) {
        entry->volume.state = VOLUME_BROKEN;
        free(entry->volume.failure);
        entry->volume.failure = strdup(failure);
}

void volume_entry_set_freeing(VolumeEntry *entry) {
        tdelete(entry, &entry->pool->by_name, compare_name);
        count(entry->pool, entry, false);
        origin_unlink(entry);
        entry->origin = NULL;
        entry->tenant = NULL;
        volume_plan_free(TAKE_PTR(entry->plan));
        entry->volume.state = VOLUME_FREEING;
        count(entry->pool, entry, true);
        freeing_link(entry);
}

void volume_entry_free_last(VolumeEntry *entry) {
        freeing_unlink(entry);
        freeing_link(entry);
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
        thin_id_mark(entry->pool, id, true);
        return 0;
}

void volume_entry_set_spare(VolumeEntry *entry, uint32_t id) {
        entry->volume.has_spare = true;
        entry->volume.spare_thin_id = id;
        thin_id_mark(entry->pool, id, true);
}

int volume_entry_take_spare(VolumeEntry *entry) {
        uint32_t id;
        int r;

        r = pool_entry_new_thin_id(entry->pool, &id);
        if (r >= 0)
                volume_entry_set_spare(entry, id);
        return r;
}

void volume_entry_drop_spare(VolumeEntry *entry) {
        if (entry->volume.has_spare)
                thin_id_mark(entry->pool, entry->volume.spare_thin_id, false);
        entry->volume.has_spare = false;
        entry->volume.spare_thin_id = 0;
}

void volume_entry_swap_spare(VolumeEntry *entry) {
        uint32_t id = entry->volume.thin_id;

        entry->volume.thin_id = entry->volume.spare_thin_id;
        entry->volume.spare_thin_id = id;
}

VolumeEntry *registry_give_spare(Registry *registry, VolumeEntry *entry, Volume *snapshot, Error *err) {
        uint32_t id = entry->volume.spare_thin_id;
        VolumeEntry *added;

        volume_entry_drop_spare(entry);
        snapshot->thin_id = id;
        added = registry_add_volume(registry, entry->pool, snapshot, err);
        if (!added)
                volume_entry_set_spare(entry, id);
        return added;
}

void volume_entry_resize(VolumeEntry *entry, uint64_t size) {
        count(entry->pool, entry, false);
        entry->volume.spec.size = size;
        count(entry->pool, entry, true);
}

void volume_entry_set_pending(VolumeEntry *entry, uint64_t size) {
        count(entry->pool, entry, false);
        entry->volume.pending_size = size;
        count(entry->pool, entry, true);
}

void volume_entry_expect(VolumeEntry *entry, uint64_t size, bool snapshot) {
        count(entry->pool, entry, false);
        entry->expected_size = size;
        entry->expects_snapshot = snapshot;
        count(entry->pool, entry, true);
}

void registry_plan_volume(Registry *registry, VolumeEntry *entry) {
        const TenantEntry *tenant = entry->tenant && entry->tenant->tenant.schedule ? entry->tenant : NULL;
        const char *own = entry->volume.schedule;
        const char *schedule = own ?: tenant ? tenant->tenant.schedule : entry->pool->schedule;
        uint64_t since = tenant ? tenant->tenant.schedule_since : entry->pool->schedule_since;
        uint64_t base = entry->volume.created_usec;
        Schedule parsed = {};
        struct timespec ts;
        Error err = {};
        int r = 0;

        if (!registry->plan || entry->volume.spec.role != ROLE_VOLUME || entry->volume.spec.kind != KIND_BLOCK ||
            !has_name(entry) || (!schedule && !entry->plan))
                return;
        clock_gettime(CLOCK_REALTIME, &ts);
        if (own)
                base = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        else if (base < since)
                base = since;
        if (schedule)
                r = schedule_parse(schedule, "schedule", &parsed, &err);
        if (r >= 0 && plan_set(registry->plan, &entry->plan, entry->volume.uuid, &parsed, base) < 0)
                r = error_oom(&err);
        if (r < 0)
                log_failure(entry->volume.spec.name, &err, "no snapshots are made by its schedule");
}

static void snapshot_rename(VolumeEntry *snapshot, const char *name) {
        char rest[SNAPSHOT_NAME_MAX + 1];

        buffer_format(rest, sizeof(rest), "%s", snapshot_name_of(snapshot->volume.spec.name));
        full_name_format(name, rest, snapshot->volume.spec.name);
}

/* Nodes are taken out and put in again one for one: a tree that had room for them has it afterwards. */
int registry_rename_volume(Registry *registry, VolumeEntry *entry, const char *name, Error *err) {
        PoolEntry *pool = entry->pool;
        VolumeEntry *there = registry_find_anywhere(registry, entry->volume.spec.tenant, name);

        if (there && there != entry)
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", name);
        tdelete(entry, &pool->by_name, compare_name);
        for (VolumeEntry *s = entry->snapshots; s; s = s->next_snapshot)
                tdelete(s, &pool->by_name, compare_name);
        buffer_format(entry->volume.spec.name, sizeof(entry->volume.spec.name), "%s", name);
        for (VolumeEntry *s = entry->snapshots; s; s = s->next_snapshot)
                snapshot_rename(s, name);
        if (!tsearch(entry, &pool->by_name, compare_name))
                return error_oom(err);
        for (VolumeEntry *s = entry->snapshots; s; s = s->next_snapshot)
                if (!tsearch(s, &pool->by_name, compare_name))
                        return error_oom(err);
        return 0;
}

int registry_turn_template(Registry *registry, VolumeEntry *entry, VolumeSpec *spec, Error *err) {
        Volume volume = { .spec = *spec };
        PoolEntry *pool = entry->pool;
        TenantEntry *tenant;
        int r;

        r = registry_tenant_of(pool, &volume, &tenant, err);
        if (r < 0)
                return r;
        tdelete(entry, &pool->by_name, compare_name);
        volume_spec_done(&entry->volume.spec);
        entry->volume.spec = *spec;
        *spec = (VolumeSpec) {};
        buffer_format(entry->volume.spec.pool, sizeof(entry->volume.spec.pool), "%s", pool->info.name);
        if (!tsearch(entry, &pool->by_name, compare_name))
                return error_oom(err);
        entry->tenant = tenant;
        count(pool, entry, true);
        registry_plan_volume(registry, entry);
        return 0;
}

void registry_set_old_name(Registry *registry, VolumeEntry *entry, char *old_name) {
        renamed_unlink(registry, entry);
        free(entry->volume.old_name);
        entry->volume.old_name = old_name;
        renamed_link(registry, entry);
}

int registry_check_old_names(const Registry *registry, const char *tenant, const char *name, const VolumeEntry *except,
                             Error *err) {
        for (const VolumeEntry *entry = registry->renamed; entry; entry = entry->next_renamed)
                if (entry != except && streq(entry->volume.old_name, name) && streq(entry->volume.spec.tenant, tenant))
                        return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s is being renamed to %s", name,
                                         entry->volume.spec.name);
        return 0;
}

VolumeEntry *volume_entry_find_snapshot(const VolumeEntry *volume, const char *snapshot) {
        for (VolumeEntry *s = volume->snapshots; s; s = s->next_snapshot)
                if (streq(snapshot_name_of(s->volume.spec.name), snapshot))
                        return s;
        return NULL;
}

void registry_done(Registry *registry) {
        while (registry->pools)
                registry_remove_pool(registry, registry->pools);
        free(registry->key_counts);
}
