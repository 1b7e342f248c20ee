#include "broker/template.h"

#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <time.h>

#define TEMPLATES_MAX 8u
/* One may take at most this part of what the pool has left: both clear a journal of 64 MiB. */
#define ROOM_PART 16u
#define XFS_TAKES (96 * MIB)
#define EXT4_TAKES (80 * MIB)

/* FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: only tells names apart, and what is found is compared. */
static uint64_t hash_add(uint64_t hash, const char *s) {
        for (; *s; s++)
                hash = (hash ^ (uint8_t) *s) * UINT64_C(0x100000001b3);
        return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static void name_format(const VolumeSpec *spec, char buf[static FULL_NAME_MAX + 1]) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (char **option = spec->mkfs_options; option && *option; option++)
                hash = hash_add(hash, *option);
        buffer_format(buf, FULL_NAME_MAX + 1, "%s-%" PRIu64 "-%016" PRIx64, filesystem_to_string(spec->fs),
                      spec->size / MIB, hash);
}

static bool can_have_one(const VolumeSpec *spec) {
        return spec->role == ROLE_VOLUME && spec->fs != FILESYSTEM_NONE && spec->key_source == KEY_SOURCE_NONE;
}

VolumeEntry *template_take(PoolEntry *pool, const VolumeSpec *spec) {
        char name[FULL_NAME_MAX + 1];
        VolumeEntry *entry;

        if (!can_have_one(spec))
                return NULL;
        name_format(spec, name);
        entry = registry_find_in_pool(pool, TEMPLATE_TENANT, name);
        if (!entry || entry->volume.state != VOLUME_READY || entry->lane.running || entry->discarded ||
            !strv_equal(entry->volume.spec.mkfs_options, spec->mkfs_options))
                return NULL;
        entry->used_at = clock_usec(CLOCK_MONOTONIC);
        entry->n_copies++;
        return entry;
}

void template_give_back(Manager *m, sd_id128_t uuid) {
        VolumeEntry *entry = registry_find_uuid(&m->registry, uuid);

        if (!entry || entry->n_copies == 0)
                return;
        entry->n_copies--;
        if (entry->n_copies == 0 && entry->discarded)
                template_discard(m, entry);
}

/* Not under a worker that is to copy it: its thin id would be another volume's by then. */
void template_discard(Manager *m, VolumeEntry *entry) {
        entry->discarded = entry->n_copies > 0;
        if (!entry->discarded && !entry->lane.running)
                volume_resume_remove(m, entry);
}

typedef struct Templates {
        VolumeEntry *list[TEMPLATES_MAX + 1]; /* as many as are discarded at a time */
        size_t n;
} Templates;

static int note_template(VolumeEntry *entry, void *userdata) {
        Templates *t = userdata;

        if (entry->volume.spec.role == ROLE_TEMPLATE && t->n < ELEMENTSOF(t->list))
                t->list[t->n++] = entry;
        return 0;
}

/* All of a pool's tree is gone through; so only where templates come and go. */
static Templates templates_of(PoolEntry *pool) {
        Templates t = {};

        registry_each_volume(pool, note_template, &t);
        return t;
}

void template_discard_all(Manager *m, PoolEntry *pool) {
        Templates t = templates_of(pool);

        for (size_t i = 0; i < t.n; i++)
                template_discard(m, t.list[i]);
}

/* --- making one ------------------------------------------------------------------------------------------- */

static bool has_room(const PoolEntry *pool, const VolumeSpec *spec) {
        uint64_t takes = spec->fs == FILESYSTEM_XFS ? XFS_TAKES : EXT4_TAKES;

        return space_check_create(pool, NULL) >= 0 && pool->info.data_size - pool->info.data_used > takes * ROOM_PART;
}

/* The one that was used longest ago makes room. */
static bool make_room(Manager *m, PoolEntry *pool) {
        Templates t = templates_of(pool);
        VolumeEntry *oldest = NULL;

        if (t.n < TEMPLATES_MAX)
                return true;
        for (size_t i = 0; i < t.n; i++)
                if (!oldest || t.list[i]->used_at < oldest->used_at)
                        oldest = t.list[i];
        template_discard(m, oldest);
        return false; /* the next demand finds it gone */
}

static TemplateDemand *demand_find(PoolEntry *pool, const char *name) {
        TemplateDemand *oldest = pool->template_demand;

        for (size_t i = 0; i < TEMPLATE_DEMANDS; i++) {
                TemplateDemand *d = &pool->template_demand[i];

                if (streq(d->name, name))
                        return d;
                if (d->at < oldest->at)
                        oldest = d;
        }
        *oldest = (TemplateDemand) {};
        buffer_format(oldest->name, sizeof(oldest->name), "%s", name);
        return oldest;
}

static int spec_make(const VolumeSpec *like, VolumeSpec *ret) {
        *ret = (VolumeSpec) {
                .tenant = TEMPLATE_TENANT, .role = ROLE_TEMPLATE, .size = like->size, .fs = like->fs, .mode = 0755
        };
        name_format(like, ret->name);
        return strv_copy(like->mkfs_options, &ret->mkfs_options);
}

static void on_made(Operation *op, const Error *err, void *userdata) {
        if (!err)
                op->volume->used_at = clock_usec(CLOCK_MONOTONIC);
        else /* as long as this quarryd runs it is not tried again */
                demand_find(op->pool, op->volume->volume.spec.name)->failed = true;
}

void template_note_demand(Manager *m, PoolEntry *pool, const VolumeSpec *spec) {
        Watcher watcher = { .on_done = on_made };
        char name[FULL_NAME_MAX + 1];
        TemplateDemand *demand;
        VolumeSpec template;
        Error err = {};

        if (!can_have_one(spec))
                return;
        name_format(spec, name);
        demand = demand_find(pool, name);
        demand->at = clock_usec(CLOCK_MONOTONIC);
        if (demand->n++ == 0 || demand->failed || registry_find_in_pool(pool, TEMPLATE_TENANT, name) ||
            pool_entry_check_changes(pool, NULL) < 0 || !has_room(pool, spec) || !make_room(m, pool))
                return;
        if (spec_make(spec, &template) < 0 || volume_create_template(m, pool, &template, &watcher, &err) < 0)
                log_failure(pool->info.name, &err, "cannot make a template");
}
