#include "broker/doctor.h"

#include "broker/policy.h"
#include "broker/space.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>
#include <time.h>

/* Whoever has not answered by then stalls: that is a finding, and nobody waits longer. */
#define LIMIT_USEC (60 * UINT64_C(1000000))

typedef struct PoolLook { /* at one pool */
        struct Look *look;
        struct PoolLook *next;
        sd_id128_t pool;
        uint8_t *thin_ids; /* that were given away before the worker looked */
        bool is_out;
        PoolEntry *entry; /* while its catalog is looked at */
} PoolLook;

/* Ends with the last answer; the operation ends earlier when the time is over. */
typedef struct Look {
        Operation *op; /* NULL once ended */
        PoolLook *pools;
        sd_event_source *timer;
        uint64_t began_usec; /* CLOCK_REALTIME */
        unsigned jobs_out;
        bool repairs; /* the second part: what is out now are repairs */
} Look;

static void look_free(Look *look) {
        for (PoolLook *p = look->pools, *next; p; p = next) {
                next = p->next;
                free(p->thin_ids);
                free(p);
        }
        sd_event_source_disable_unref(look->timer);
        free(look);
}

/* --- striking out what belongs to somebody ---------------------------------------------------------------- */

static bool all_pools_are_open(const Registry *registry) {
        for (const PoolEntry *p = registry->pools; p; p = p->next)
                if (p->state != POOL_ACTIVE)
                        return false;
        return true;
}

static bool path_is_of(const char *path, const VolumeEntry *entry) {
        char standard[MOUNT_PATH_MAX];

        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, standard);
        return streq(path, standard);
}

/* MOUNT_ROOT/TENANT/NAME; false for a path that can be of no volume. */
static bool path_split(const char *path, VolumeSpec *ret) {
        const char *tenant = startswith(path, MOUNT_ROOT "/"), *slash = tenant ? strchr(tenant, '/') : NULL;

        *ret = (VolumeSpec) {};
        return slash && buffer_format(ret->tenant, sizeof(ret->tenant), "%.*s", (int) (slash - tenant), tenant) &&
               buffer_format(ret->name, sizeof(ret->name), "%s", slash + 1) && tenant_name_is_valid(ret->tenant) &&
               (volume_name_is_valid(ret->name) || full_name_is_valid(ret->name));
}

/* The mount of a bind volume has nothing of it but its place. */
static bool place_is_of_bind(Registry *registry, const char *path) {
        const VolumeEntry *entry;
        VolumeSpec of;

        entry = path_split(path, &of) ? registry_find_anywhere(registry, of.tenant, of.name) : NULL;
        return entry && entry->volume.spec.kind == KIND_BIND;
}

static bool mount_point_is_stray(Registry *registry, const char *path) {
        VolumeSpec of;

        return all_pools_are_open(registry) &&
               (!path_split(path, &of) || !registry_find_anywhere(registry, of.tenant, of.name));
}

/* A device of a pool whose catalog is not open may belong to anybody. */
static bool device_is_stray(Registry *registry, const Finding *f) {
        const PoolEntry *pool = registry_find_pool_uuid(registry, f->pool);

        if (pool && sd_id128_equal(f->uuid, f->pool))
                return false;
        return !registry_find_uuid(registry, f->uuid) && (!pool || pool->state == POOL_ACTIVE);
}

static bool is_true(const Finding *f, void *userdata) {
        Registry *registry = userdata;
        VolumeEntry *entry = registry_find_uuid(registry, f->uuid);

        switch (f->kind) {
        case FINDING_STRAY_DEVICE:
                return device_is_stray(registry, f);
        /* The description of a volume is written before its device is made and goes behind it, and perhaps the worker
         * looked in between. One that is left is written anew before the volume is opened. */
        case FINDING_STRAY_DESCRIPTION:
        case FINDING_STRAY_MAPPING:
                return !entry && all_pools_are_open(registry);
        case FINDING_STRAY_MOUNT:
                return entry ? !path_is_of(f->object, entry) : !place_is_of_bind(registry, f->object);
        case FINDING_STRAY_MOUNT_POINT:
                return mount_point_is_stray(registry, f->object);
        case FINDING_HOST_KEY:
                return registry_needs_host_key(registry);
        default:
                return true;
        }
}

/* --- thin devices and rows -------------------------------------------------------------------------------- */

static bool bit_is_set(const uint8_t *bits, uint32_t n) {
        return bits[n / 8] & (1u << n % 8);
}

static void compare_ids(Look *look, const PoolLook *p, const PoolEntry *pool, const JobResult *result) {
        for (size_t i = 0; i < result->n_thin_ids; i++) {
                uint32_t id = result->thin_ids[i];
                char object[POOL_NAME_MAX + 16];
                Finding *f;

                /* Of a volume that was made or removed while the worker looked: one of the two knows it. */
                if (bit_is_set(p->thin_ids, id) || bit_is_set(pool->thin_ids, id))
                        continue;
                buffer_format(object, sizeof(object), "%s:%u", pool->info.name, id);
                f = finding_add(&look->op->findings, FINDING_THIN_WITHOUT_VOLUME, object,
                                "thin device %u of pool %s belongs to no volume, and takes space", id, pool->info.name);
                finding_hint(f, "if its contents are not wanted: dmsetup message quarry-%s 0 'delete %u'",
                             uuid_format(pool->info.uuid, (char[UUID_TEXT_MAX]) {}), id);
        }
}

typedef struct Rows {
        Look *look;
        uint8_t *seen; /* thin ids in the pool's metadata */
} Rows;

static int compare_row(VolumeEntry *entry, void *userdata) {
        const Volume *v = &entry->volume;
        Rows *rows = userdata;
        Finding *f;

        if (v->spec.kind != KIND_BLOCK || v->state != VOLUME_READY || entry->lane.running ||
            v->created_usec >= rows->look->began_usec || entry->made_usec >= rows->look->began_usec ||
            bit_is_set(rows->seen, v->thin_id))
                return 0;
        f = finding_add(&rows->look->op->findings, FINDING_VOLUME_WITHOUT_THIN, VOLUME_REFERENCE(&v->spec),
                        "the catalog of pool %s has this volume, and the pool has no thin device %u: its contents are "
                        "lost",
                        entry->pool->info.name, v->thin_id);
        finding_hint(f, "quarry rm %s, and restore it from a backup", VOLUME_REFERENCE(&v->spec));
        return 0;
}

static void compare_pool(Look *look, const PoolLook *p, PoolEntry *pool, const JobResult *result) {
        Rows rows = { .look = look };

        if (!result->thin_ids_are_known)
                return;
        rows.seen = calloc(1, THIN_ID_MAX / 8 + 1);
        if (!rows.seen)
                return;
        for (size_t i = 0; i < result->n_thin_ids; i++)
                rows.seen[result->thin_ids[i] / 8] |= (uint8_t) (1u << result->thin_ids[i] % 8);
        compare_ids(look, p, pool, result);
        registry_each_volume(pool, compare_row, &rows);
        free(rows.seen);
}

/* --- what the broker itself knows -------------------------------------------------------------------------- */

/* Pools that come from elsewhere may bring a name that is there: of the two only the first is found by it. */
static void audit_name(Look *look, VolumeEntry *entry) {
        const VolumeSpec *spec = &entry->volume.spec;

        if (spec->role != ROLE_VOLUME)
                return;
        for (PoolEntry *p = entry->pool->next; p; p = p->next) {
                Finding *f;

                if (!registry_find_in_pool(p, spec->tenant, spec->name))
                        continue;
                f = finding_add(&look->op->findings, FINDING_NAME_TWICE, VOLUME_REFERENCE(spec),
                                "there is a volume of this name in pool %s, and another one in pool %s",
                                entry->pool->info.name, p->info.name);
                finding_hint(f, "quarry rename %s:%s NEW", p->info.name, VOLUME_REFERENCE(spec));
        }
}

static int audit_volume(VolumeEntry *entry, void *userdata) {
        const Volume *v = &entry->volume;
        Look *look = userdata;
        Finding *f = NULL;

        if (entry->lane.running)
                return 0;
        audit_name(look, entry);
        if (v->state == VOLUME_BROKEN) {
                f = finding_add(&look->op->findings, FINDING_VOLUME_BROKEN, VOLUME_REFERENCE(&v->spec),
                                "this volume is broken: %s", v->failure ?: "it is not known why");
                finding_hint(f, "quarry rm %s", VOLUME_REFERENCE(&v->spec));
        } else if (v->state == VOLUME_REMOVING && !entry->removal_waits)
                f = finding_add(&look->op->findings, FINDING_REMOVAL_UNFINISHED, VOLUME_REFERENCE(&v->spec),
                                "the removal of this volume did not come to its end: %s",
                                v->failure ?: "it was cut short");
        if (f)
                f->uuid = v->uuid;
        return 0;
}

static void audit_space(Look *look, const PoolEntry *p) {
        const char *space = space_state(p);
        char advice[SPACE_ADVICE_MAX];

        if (!streq(space, "ok"))
                finding_hint(finding_add(&look->op->findings, FINDING_POOL_FULL, p->info.name, "its space is %s: %s",
                                         space, pool_space_meaning(space)),
                             "make space: %s", pool_space_advice(p->info.name, p->info.origin, advice));
}

/* Also while it is tried again: nobody knows what will come of that. */
static bool is_not_active(const PoolEntry *pool) {
        return pool->state == POOL_UNAVAILABLE || (pool->state == POOL_ACTIVATING && pool->failure);
}

static void audit_pools(Look *look) {
        for (PoolEntry *p = look->op->manager->registry.pools; p; p = p->next) {
                if (is_not_active(p)) {
                        Finding *f = finding_add(&look->op->findings, FINDING_POOL_UNAVAILABLE, p->info.name,
                                                 "the pool is not active: %s", p->failure ?: "it is not known why");

                        if (p->advice)
                                finding_hint(f, "%s", p->advice);
                        else
                                finding_hint(f, p->may_come_yet ? "bring its disks back; it is activated when they come"
                                                                : "systemctl restart quarryd, once that is mended");
                }
                if (p->state == POOL_ACTIVE)
                        audit_space(look, p);
                registry_each_volume(p, audit_volume, look);
        }
}

/* --- repair ------------------------------------------------------------------------------------------------ */

static void look_advance(Look *look, bool limit_is_over);

typedef struct Repair {
        Look *look;
        size_t index; /* of the finding */
} Repair;

/* why: NULL if it is repaired. */
static void repair_end(Repair *repair, const char *why) {
        Look *look = repair->look;

        look->jobs_out--;
        if (look->op) {
                Finding *f = &look->op->findings.items[repair->index];

                f->fixed = !why;
                if (why)
                        finding_hint(f, "%s", why);
        }
        free(repair);
        look_advance(look, false);
}

static void on_swept(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        repair_end(userdata, err            ? err->text
                             : result->open ? "it is in use: end who uses it, then: quarry doctor --fix"
                                            : NULL);
}

static void on_removed(Operation *op, const Error *err, void *userdata) {
        repair_end(userdata, err ? err->text : NULL);
}

/* One more thing is out. */
static Repair *repair_new(Look *look, size_t index) {
        Repair *repair = malloc(sizeof(*repair));

        if (!repair)
                return NULL;
        *repair = (Repair) { .look = look, .index = index };
        look->jobs_out++;
        return repair;
}

/* A volume that never was, of which only that exists which is to go. */
static void sweep(Look *look, size_t index, PoolEntry *pool) {
        const Finding *f = &look->op->findings.items[index];
        _cleanup_(job_done) Job job = { .verb = JOB_VOLUME_SWEEP, .pool = pool->info.uuid };
        Repair *repair = repair_new(look, index);
        char text[UUID_TEXT_MAX];
        VolumeSpec of = {};
        Error err = {};

        if (!repair)
                return;
        job.volume = (Volume) {
                .uuid = f->uuid,
                .spec = { .tenant = DEFAULT_TENANT, .size = VOLUME_SIZE_MIN, .fs = FILESYSTEM_NONE, .mode = 0755 }
        };
        if (sd_id128_is_null(f->uuid))
                (void) sd_id128_randomize(&job.volume.uuid);
        uuid_format(job.volume.uuid, text);
        if (f->kind == FINDING_STRAY_MOUNT_POINT && path_split(f->object, &of))
                buffer_format(job.volume.spec.tenant, sizeof(job.volume.spec.tenant), "%s", of.tenant);
        buffer_format(job.volume.spec.name, sizeof(job.volume.spec.name), "%s", *of.name ? of.name : text);
        if (snapshot_name_of(of.name)) {
                job.volume.spec.role = ROLE_SNAPSHOT;
                job.volume.spec.origin = job.volume.uuid;
        }
        if (queue_submit(look->op->manager->queue, NULL, &job, -EBADF, -EBADF, NULL, on_swept, repair, &err) < 0)
                repair_end(repair, err.text);
}

static void resume_removal(Look *look, size_t index, VolumeEntry *entry) {
        Repair *repair = repair_new(look, index);
        Watcher watcher = { .on_done = on_removed, .userdata = repair };
        Error err = {};

        if (repair && volume_remove(look->op->manager, &look->op->caller, entry, false, false, &watcher, &err) < 0)
                repair_end(repair, err.text);
}

static void repair_one(Look *look, size_t index) {
        Finding *f = &look->op->findings.items[index];
        Manager *m = look->op->manager;
        PoolEntry *pool = registry_find_pool_uuid(&m->registry, f->pool) ?: m->registry.pools;
        VolumeEntry *entry;
        VolumeSpec of;

        if (f->fixed || !finding_kind_is_fixable(f->kind))
                return;
        if (f->kind == FINDING_REMOVAL_UNFINISHED) {
                entry = registry_find_uuid(&m->registry, f->uuid);
                if (entry)
                        resume_removal(look, index, entry);
        } else if (pool && (f->kind != FINDING_STRAY_MOUNT_POINT || path_split(f->object, &of)))
                sweep(look, index, pool);
}

static void repair_all(Look *look) {
        look->repairs = true;
        look->jobs_out++; /* ours: an answer that is there at once does not end the look */
        for (size_t i = 0; i < look->op->findings.n; i++)
                repair_one(look, i);
        look->jobs_out--;
}

/* --- the look ---------------------------------------------------------------------------------------------- */

static void note_silent(Look *look) {
        for (PoolLook *p = look->pools; p; p = p->next) {
                const PoolEntry *pool = registry_find_pool_uuid(&look->op->manager->registry, p->pool);

                if (pool && p->is_out)
                        finding_hint(finding_add(&look->op->findings, FINDING_POOL_SILENT, pool->info.name,
                                                 "the pool has not answered for a minute: its disks may stall"),
                                     "journalctl -k");
        }
}

static void look_advance(Look *look, bool limit_is_over) {
        if (look->op && (look->jobs_out == 0 || limit_is_over)) {
                if (!look->repairs) {
                        finding_filter(&look->op->findings, is_true, &look->op->manager->registry);
                        audit_pools(look);
                        note_silent(look);
                        if (look->op->job.fix && !limit_is_over)
                                repair_all(look);
                }
                if (look->jobs_out == 0 || limit_is_over)
                        operation_finish(TAKE_PTR(look->op), NULL);
        }
        if (look->jobs_out == 0)
                look_free(look);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *userdata) {
        look_advance(userdata, true);
        return 0;
}

static void on_host(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Look *look = userdata;

        look->jobs_out--;
        if (look->op && err)
                (void) finding_add(&look->op->findings, FINDING_POOL_SILENT, "host", "the host cannot be looked at: %s",
                                   err->text);
        else if (look->op)
                (void) finding_join(&look->op->findings, &result->findings);
        look_advance(look, false);
}

static void on_pool(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        PoolLook *p = userdata;
        Look *look = p->look;
        PoolEntry *pool = look->op ? registry_find_pool_uuid(&look->op->manager->registry, p->pool) : NULL;

        look->jobs_out--;
        p->is_out = false;
        if (pool && err)
                (void) finding_add(&look->op->findings, FINDING_POOL_UNAVAILABLE, pool->info.name,
                                   "the pool cannot be looked at: %s", err->text);
        else if (pool) {
                (void) finding_join(&look->op->findings, &result->findings);
                if (pool->state == POOL_ACTIVE)
                        compare_pool(look, p, pool, result);
        }
        look_advance(look, false);
}

static void on_catalog(const Error *err, void *userdata) {
        PoolLook *p = userdata;
        PoolEntry *pool = p->entry;
        Look *look = p->look;

        pool->n_operations--;
        look->jobs_out--;
        if (look->op && err)
                finding_hint(
                        finding_add(&look->op->findings, FINDING_CATALOG_DAMAGED, pool->info.name, "%s", err->text),
                        "mount nothing new; see RECOVERY in quarryd(8)");
        look_advance(look, false);
}

/* The pool stays as long as its catalog is looked at: it is counted as an operation. */
static void look_at_catalog(PoolLook *p, PoolEntry *pool) {
        p->entry = pool;
        if (catalog_check(pool->catalog, on_catalog, p, NULL) < 0)
                return;
        pool->n_operations++;
        p->look->jobs_out++;
}

static int look_at_pool(Look *look, PoolEntry *pool, Error *err) {
        Job job = { .verb = JOB_POOL_AUDIT, .pool = pool->info.uuid };
        PoolLook *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return error_oom(err);
        *p = (PoolLook) { .look = look, .pool = pool->info.uuid, .thin_ids = malloc(THIN_ID_MAX / 8 + 1) };
        if (!p->thin_ids) {
                free(p);
                return error_oom(err);
        }
        memcpy(p->thin_ids, pool->thin_ids, THIN_ID_MAX / 8 + 1);
        p->next = look->pools;
        look->pools = p;
        r = queue_submit(look->op->manager->queue, NULL, &job, -EBADF, -EBADF, NULL, on_pool, p, err);
        if (r >= 0) {
                p->is_out = true;
                look->jobs_out++;
        }
        look_at_catalog(p, pool);
        return r;
}

static int examine_start(Operation *op, Error *err) {
        Job job = { .verb = JOB_HOST_AUDIT, .fix = op->job.fix };
        Manager *m = op->manager;
        Look *look = calloc(1, sizeof(*look));
        int r;

        if (!look)
                return error_oom(err);
        *look = (Look) { .op = op, .began_usec = clock_usec(CLOCK_REALTIME) };
        watch_look(m->watch);
        r = sd_event_add_time_relative(m->event, &look->timer, CLOCK_MONOTONIC, LIMIT_USEC, 0, on_limit, look);
        if (r < 0)
                error_errno(err, r, "cannot set a time limit");
        if (r >= 0)
                r = queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, NULL, on_host, look, err);
        if (r < 0) {
                look_free(look);
                return r;
        }
        look->jobs_out++;
        for (PoolEntry *pool = m->registry.pools; pool; pool = pool->next) {
                Error failure = {};

                if (pool_entry_check(pool, NULL) >= 0 && look_at_pool(look, pool, &failure) < 0)
                        log_failure(pool->info.name, &failure, "cannot look at the pool");
        }
        return 0;
}

int doctor_examine(Manager *m, const Caller *caller, bool fix, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r >= 0)
                r = operation_new(m, fix ? "doctor --fix" : NULL, caller, watcher, examine_start, &op, err);
        if (r < 0)
                return r;
        op->job.fix = fix;
        operation_begin(op, NULL);
        return 0;
}
