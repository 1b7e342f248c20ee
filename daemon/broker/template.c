#include "broker/template.h"

#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define TEMPLATES_MAX 8u /* of either sort */
/* When so many of a kind were asked for, a template is made, and a volume ahead. */
#define TEMPLATE_FROM 2u
#define AHEAD_FROM 3u
#define AHEAD_DELAY_USEC UINT64_C(1000000)
#define AHEAD_PREFIX "ready-"
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

static bool is_ahead(const VolumeSpec *spec) {
        return spec->role == ROLE_TEMPLATE && startswith(spec->name, AHEAD_PREFIX);
}

static void name_format(const VolumeSpec *spec, bool ahead, char buf[static FULL_NAME_MAX + 1]) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        char owner[64];

        for (char **option = spec->mkfs_options; option && *option; option++)
                hash = hash_add(hash, *option);
        if (ahead) {
                buffer_format(owner, sizeof(owner), "%u:%u:%o", (unsigned) spec->uid, (unsigned) spec->gid,
                              (unsigned) spec->mode);
                hash = hash_add(hash_add(hash, owner), key_source_to_string(spec->key_source));
        }
        buffer_format(buf, FULL_NAME_MAX + 1, "%s%s-%" PRIu64 "-%016" PRIx64, ahead ? AHEAD_PREFIX : "",
                      filesystem_to_string(spec->fs), spec->size / MIB, hash);
}

/* Also one that is made ahead begins as a copy. */
static bool can_be_copy(const VolumeSpec *spec) {
        return (spec->role == ROLE_VOLUME || is_ahead(spec)) && spec->fs != FILESYSTEM_NONE &&
               spec->key_source == KEY_SOURCE_NONE;
}

/* One with a passphrase is made when somebody gives it. */
static bool can_be_ahead(const VolumeSpec *spec) {
        return spec->role == ROLE_VOLUME && spec->fs != FILESYSTEM_NONE && spec->key_source != KEY_SOURCE_PASSPHRASE;
}

/* Discarded while it is copied, or while somebody who looks at devices has it open: what is taken of it then, or made
 * of it, would go with it. */
static bool is_going(const VolumeEntry *entry) {
        return entry->discarded || entry->removal_waits;
}

static VolumeEntry *find(PoolEntry *pool, const VolumeSpec *spec, bool ahead) {
        char name[FULL_NAME_MAX + 1];
        VolumeEntry *entry;

        name_format(spec, ahead, name);
        entry = registry_find_in_pool(pool, TEMPLATE_TENANT, name);
        if (!entry || entry->volume.state != VOLUME_READY || entry->lane.running || is_going(entry) ||
            !strv_equal(entry->volume.spec.mkfs_options, spec->mkfs_options))
                return NULL;
        return entry;
}

VolumeEntry *template_take(PoolEntry *pool, const VolumeSpec *spec) {
        VolumeEntry *entry = can_be_copy(spec) ? find(pool, spec, false) : NULL;

        if (!entry)
                return NULL;
        entry->used_at = clock_usec(CLOCK_MONOTONIC);
        entry->n_copies++;
        return entry;
}

VolumeEntry *template_find_ahead(Manager *m, PoolEntry *pool, const VolumeSpec *spec) {
        VolumeEntry *entry = can_be_ahead(spec) ? find(pool, spec, true) : NULL;
        const VolumeSpec *have = entry ? &entry->volume.spec : NULL;

        if (!entry || have->key_source != spec->key_source || have->uid != spec->uid || have->gid != spec->gid ||
            have->mode != spec->mode)
                return NULL;
        if (filesystem_tools_are_newer(spec->fs, entry->volume.created_usec)) {
                template_discard(m, entry);
                return NULL;
        }
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
        VolumeEntry *list[2 * TEMPLATES_MAX + 2]; /* as many as are discarded at a time */
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

/* The one of its sort that was used longest ago makes room. */
static bool make_room(Manager *m, PoolEntry *pool, bool ahead) {
        Templates t = templates_of(pool);
        VolumeEntry *oldest = NULL;
        size_t n = 0;

        for (size_t i = 0; i < t.n; i++) {
                if (is_ahead(&t.list[i]->volume.spec) != ahead)
                        continue;
                n++;
                if (!oldest || t.list[i]->used_at < oldest->used_at)
                        oldest = t.list[i];
        }
        if (n < TEMPLATES_MAX)
                return true;
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

static int spec_make(const VolumeSpec *like, bool ahead, VolumeSpec *ret) {
        *ret = (VolumeSpec) {
                .tenant = TEMPLATE_TENANT, .role = ROLE_TEMPLATE, .size = like->size, .fs = like->fs, .mode = 0755
        };
        name_format(like, ahead, ret->name);
        if (ahead) {
                ret->key_source = like->key_source;
                ret->uid = like->uid;
                ret->gid = like->gid;
                ret->mode = like->mode;
        }
        return strv_copy(like->mkfs_options, &ret->mkfs_options);
}

/* One that cannot be made is not tried again as long as this quarryd runs. */
static void on_made(Operation *op, const Error *err, void *userdata) {
        if (err) {
                demand_find(op->pool, op->volume->volume.spec.name)->failed = true;
                log_failure(op->pool->info.name, err, "cannot make a template");
        } else if (op->pool->n_volumes == 0)
                template_discard(op->manager, op->volume);
        else
                op->volume->used_at = clock_usec(CLOCK_MONOTONIC);
}

static void make(Manager *m, PoolEntry *pool, const VolumeSpec *like, bool ahead) {
        Watcher watcher = { .on_done = on_made };
        VolumeSpec spec;
        Error err = {};

        if (pool_entry_check_changes(pool, NULL) < 0 || !has_room(pool, like) || !make_room(m, pool, ahead))
                return;
        if (spec_make(like, ahead, &spec) < 0 || volume_create_template(m, pool, &spec, &watcher, &err) < 0)
                log_failure(pool->info.name, &err, ahead ? "cannot make a volume ahead" : "cannot make a template");
}

/* Whether so many of a kind were asked for, and there is none of them yet. */
static bool is_wanted(PoolEntry *pool, const VolumeSpec *spec, bool ahead, unsigned from) {
        char name[FULL_NAME_MAX + 1];
        TemplateDemand *demand;

        name_format(spec, ahead, name);
        demand = demand_find(pool, name);
        demand->at = clock_usec(CLOCK_MONOTONIC);
        return ++demand->n >= from && !demand->failed && !registry_find_in_pool(pool, TEMPLATE_TENANT, name);
}

/* --- one made ahead --------------------------------------------------------------------------------------- */

typedef struct Later {
        Manager *manager;
        sd_id128_t pool;
        VolumeSpec spec;
} Later;

static void later_free(void *userdata) {
        Later *later = userdata;

        volume_spec_done(&later->spec);
        free(later);
}

static int on_later(sd_event_source *source, uint64_t usec, void *userdata) {
        Later *later = userdata;
        PoolEntry *pool = registry_find_pool_uuid(&later->manager->registry, later->pool);
        char name[FULL_NAME_MAX + 1];

        name_format(&later->spec, true, name);
        /* Of a plain one that is worth it only as a copy. */
        if (pool && pool->n_volumes > 0 && !registry_find_in_pool(pool, TEMPLATE_TENANT, name) &&
            (!can_be_copy(&later->spec) || find(pool, &later->spec, false)))
                make(later->manager, pool, &later->spec, true);
        return sd_event_source_set_floating(source, false); /* nobody else has it: it goes, and later with it */
}

/* What has just been made is about to be mounted: the workers are left to that, and to others who come with it. */
static int make_ahead_later(Manager *m, PoolEntry *pool, const VolumeSpec *spec) {
        sd_event_source *source;
        Later *later;
        int r;

        later = calloc(1, sizeof(*later));
        if (!later || volume_spec_copy(spec, &later->spec) < 0) {
                free(later);
                return -ENOMEM;
        }
        later->manager = m;
        later->pool = pool->info.uuid;
        r = sd_event_add_time_relative(m->event, &source, CLOCK_MONOTONIC, AHEAD_DELAY_USEC, 0, on_later, later);
        if (r < 0) {
                later_free(later);
                return r;
        }
        (void) sd_event_source_set_destroy_callback(source, later_free);
        r = sd_event_source_set_floating(source, true);
        if (r < 0)
                sd_event_source_disable_unref(source);
        else
                sd_event_source_unref(source);
        return r;
}

void template_note_demand(Manager *m, PoolEntry *pool, const VolumeSpec *spec) {
        int r;

        if (spec->role != ROLE_VOLUME)
                return;
        if (can_be_copy(spec) && is_wanted(pool, spec, false, TEMPLATE_FROM))
                make(m, pool, spec, false);
        if (!can_be_ahead(spec) || !is_wanted(pool, spec, true, AHEAD_FROM))
                return;
        r = make_ahead_later(m, pool, spec);
        if (r < 0)
                log_warning(pool->info.name, "no volume is made ahead: %s", strerror(-r));
}
