#include "broker/space.h"

#include "broker/audit.h"
#include "broker/pool.h"
#include "broker/space-link.h"
#include "broker/space-rule.h"
#include "broker/template.h"
#include "broker/tenant-used.h"
#include "broker/transfer.h"
#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#define USEC_PER_SEC UINT64_C(1000000)
#define EXTEND_USEC_MAX (15 * USEC_PER_SEC) /* full, it is not waited for any longer */
#define LIMIT_AGAIN_USEC (10 * USEC_PER_SEC)
#define RATE_USEC_MIN (100 * UINT64_C(1000)) /* over less a rate says nothing */
#define TRY_AGAIN_USEC (300 * USEC_PER_SEC) /* a volume group that had no room is looked at again */
#define METADATA_EXTEND_PART 4              /* maps are extended when a 4th is left, */
#define JOURNAL_PART 32                     /* of a volume its journal is so much, */
#define JOURNAL_MAX (64 * MIB)              /* or this */
#define JOURNALS_PART 4                     /* of a pool more is not kept for them */
#define METADATA_STOP_PART 16               /* and writers stopped when a 16th is: full maps end the pool */

static uint64_t now(const Manager *m) {
        uint64_t usec = 0;

        (void) sd_event_now(m->event, CLOCK_MONOTONIC, &usec);
        return usec;
}

static uint64_t left_of(const PoolEntry *pool) {
        return pool->info.data_size - pool->info.data_used;
}

/* --- what can be seen ----------------------------------------------------------------------------------- */

bool space_stops(const VolumeEntry *entry) {
        return entry->pool->space.stopped_all || (entry->tenant && entry->tenant->use.stopped);
}

int space_check_create(const PoolEntry *pool, Error *err) {
        const PoolSpace *s = &pool->space;
        char advice[SPACE_ADVICE_MAX];
        int r;

        if (!s->low && !s->stopped && !s->full)
                return 0;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s is nearly full", pool->info.name);
        error_hint(err, "make space: %s", pool_space_advice(pool->info.name, pool->info.origin, advice));
        return r;
}

const char *space_state(const PoolEntry *pool) {
        const PoolSpace *s = &pool->space;

        if (s->full)
                return "full";
        if (s->stopped)
                return "stopped";
        return s->low ? "low" : "ok";
}

uint64_t space_forecast(const PoolEntry *pool) {
        const PoolSpace *s = &pool->space;
        const SpaceSample *first = &s->samples[s->n_samples == SPACE_SAMPLES ? s->next_sample : 0];

        if (s->n_samples == 0 || pool->info.data_used < first->used)
                return UINT64_MAX;
        return space_lasts(left_of(pool), pool->info.data_used - first->used, s->at - first->at);
}

/* One an hour for a day. */
static void sample(PoolSpace *s, uint64_t used) {
        const SpaceSample *last = &s->samples[(s->next_sample + SPACE_SAMPLES - 1) % SPACE_SAMPLES];

        if (s->n_samples > 0 && s->at - last->at < 3600 * USEC_PER_SEC)
                return;
        s->samples[s->next_sample] = (SpaceSample) { .at = s->at, .used = used };
        s->next_sample = (s->next_sample + 1) % SPACE_SAMPLES;
        if (s->n_samples < SPACE_SAMPLES)
                s->n_samples++;
}

static void say(const PoolEntry *pool, const char *what) {
        uint64_t seconds = space_forecast(pool);
        char left[SIZE_TEXT_MAX], lasts[64] = "", advice[SPACE_ADVICE_MAX];

        if (seconds < UINT64_MAX)
                buffer_format(lasts, sizeof(lasts), ", which lasts about %s%.1f hours at today's rate",
                              seconds < 360 ? "less than " : "", seconds < 360 ? 0.1 : (double) seconds / 3600);
        audit_pool(pool->audit, pool, EVENT_SPACE, LOG_WARNING, "%s: %s of its data is left%s; make space: %s", what,
                   size_format(left_of(pool), left), lasts,
                   pool_space_advice(pool->info.name, pool->info.origin, advice));
}

/* --- stopping and letting go ---------------------------------------------------------------------------- */

static void on_limited(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        VolumeEntry *entry = op->volume;

        entry->limit_is_out = false;
        if (err) { /* tried again as long as it matters; said once */
                if (entry->limit_failed == 0)
                        log_failure(entry->volume.spec.name, err, "cannot change whether it gets space");
                entry->limit_failed = now(op->manager);
                entry->pool->space.release_failed |= !op->job.stopped;
        } else {
                entry->limit_failed = 0;
                entry->stopped = op->job.stopped;
                entry->open = entry->open || result->open;
        }
        operation_finish(op, err);
}

static int limit_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check(op->pool, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err); /* it may have been locked before its turn */
        if (r >= 0)
                r = operation_run_job(op, JOB_VOLUME_LIMIT, on_limited, err);
        if (r < 0)
                op->volume->limit_is_out = false;
        return r;
}

static bool takes_space(const VolumeEntry *entry) {
        return entry->volume.spec.fs != FILESYSTEM_NONE && entry->volume.spec.role != ROLE_SNAPSHOT;
}

static void limit(Manager *m, VolumeEntry *entry, bool stopped) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (entry->limit_is_out || !takes_space(entry) || entry->volume.locked ||
            (entry->limit_failed > 0 && now(m) < entry->limit_failed + LIMIT_AGAIN_USEC))
                return;
        if (operation_new(m, stopped ? "stop of its writers" : "release of its writers", &self, NULL, limit_start, &op,
                          &err) < 0) {
                log_failure(entry->volume.spec.name, &err, "cannot change whether it gets space");
                return;
        }
        op->job.stopped = stopped;
        entry->limit_is_out = true;
        operation_begin_on_volume(op, entry);
}

void space_apply(Manager *m, VolumeEntry *entry) {
        if (entry->stopped != space_stops(entry))
                limit(m, entry, space_stops(entry));
}

static bool is_used(const VolumeEntry *entry) {
        return entry->open && (entry->volume.state == VOLUME_READY ||
                               (entry->volume.state == VOLUME_REMOVING && entry->removal_waits));
}

typedef struct Owned {
        Manager *manager;
        const TenantEntry *tenant;
} Owned;

static int apply_owned(VolumeEntry *entry, void *userdata) {
        const Owned *owned = userdata;

        if (entry->tenant == owned->tenant && is_used(entry))
                space_apply(owned->manager, entry);
        return 0;
}

void space_apply_tenant(Manager *m, TenantEntry *tenant) {
        registry_each_volume(tenant->pool, apply_owned, &(Owned) { .manager = m, .tenant = tenant });
}

typedef struct Writers {
        VolumeEntry **list;
        uint64_t *growth;
        size_t n;
} Writers;

static int note_writer(VolumeEntry *entry, void *userdata) {
        Writers *w = userdata;
        VolumeEntry **list;
        uint64_t *growth;

        if (entry->stopped || entry->limit_is_out || !takes_space(entry) || !is_used(entry))
                return 0;
        list = reallocarray(w->list, w->n + 1, sizeof(*list));
        if (list)
                w->list = list;
        growth = list ? reallocarray(w->growth, w->n + 1, sizeof(*growth)) : NULL;
        if (!growth)
                return 0; /* the next look finds it again */
        w->growth = growth;
        list[w->n] = entry;
        growth[w->n++] = entry->growth;
        return 0;
}

/* Everybody, or the fewest that matter. */
static void stop(Manager *m, PoolEntry *pool, bool all) {
        Writers w = {};
        bool *chosen;

        registry_each_volume(pool, note_writer, &w);
        chosen = calloc(w.n + 1, sizeof(*chosen));
        if (chosen && !all)
                space_choose(w.growth, w.n, chosen);
        for (size_t i = 0; i < w.n && chosen; i++)
                if (all || chosen[i])
                        limit(m, w.list[i], true);
        free(chosen);
        free(w.list);
        free(w.growth);
}

static int release_one(VolumeEntry *entry, void *userdata) {
        PoolSpace *s = &entry->pool->space;

        if (entry->limit_failed > 0)
                s->release_failed = true; /* it may not be its time yet */
        if (entry->open && !space_stops(entry) && (entry->stopped || s->was_full || entry->limit_failed > 0))
                limit(userdata, entry, false);
        return 0;
}

static void begin_stop(Manager *m, PoolEntry *pool, bool all) {
        PoolSpace *s = &pool->space;

        if (!s->stopped || (all && !s->stopped_all))
                say(pool, all ? "the pool is nearly full: its filesystems get no new space"
                              : "the pool is filling up: its largest growers get no new space");
        if (!s->stopped || left_of(pool) < s->left_at_stop)
                s->left_at_stop = left_of(pool);
        s->stopped = true;
        s->stopped_all = s->stopped_all || all;
        stop(m, pool, s->stopped_all);
        transfer_stop(pool);
}

static void end_stop(Manager *m, PoolEntry *pool) {
        PoolSpace *s = &pool->space;

        if (s->stopped)
                audit_pool(pool->audit, pool, EVENT_SPACE, LOG_INFO,
                           "there is space: its filesystems get new space again");
        s->stopped_all = s->stopped = s->release_failed = false;
        registry_each_volume(pool, release_one, m);
        s->was_full = false;
}

/* --- more space ----------------------------------------------------------------------------------------- */

static void judge(Manager *m, PoolEntry *pool);

static void on_relieved(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        op->pool->space.relief_is_out = false;
        operation_finish(op, err);
}

static int relieve_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check(op->pool, err);
        if (r >= 0)
                r = operation_run_job(op, JOB_POOL_RELIEVE, on_relieved, err);
        if (r < 0)
                op->pool->space.relief_is_out = false;
        return r;
}

static void relieve(Manager *m, PoolEntry *pool) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (pool->space.relief_is_out || pool->space.relieved)
                return;
        audit_pool(pool->audit, pool, EVENT_SPACE, LOG_ERR,
                   "the pool ran full: it gets its reserve, so that what was written can be written back");
        if (operation_new(m, "relief", &self, NULL, relieve_start, &op, &err) < 0) {
                log_failure(pool->info.name, &err, "cannot give the reserve");
                return;
        }
        pool->space.relief_is_out = true;
        op->pool = pool;
        operation_begin(op, NULL);
}

static void on_extended(Operation *op, const Error *err, void *userdata) {
        PoolEntry *pool = op->pool;

        pool->space.extend_is_out = pool->space.growing = false;
        if (err) {
                pool->info.room = 0;
                log_failure(pool->info.name, err, "cannot extend the pool");
        }
        if (pool->state == POOL_ACTIVE)
                judge(op->manager, pool);
}

static void begin_extend(Manager *m, PoolEntry *pool, PoolGrowth *growth) {
        Watcher watcher = { .on_done = on_extended };
        Caller self = { .admin = true };
        Error err = {};

        pool->space.extend_is_out = true;
        if (pool_extend(m, &self, pool, growth, &watcher, &err) >= 0)
                return;
        pool->space.extend_is_out = pool->space.growing = false;
        log_failure(pool->info.name, &err, "cannot extend the pool");
}

/* Returns whether it is being extended now, and will have more space soon. A volume group without room is looked
 * at again from time to time: somebody may have given it some. */
static bool extend(Manager *m, PoolEntry *pool, bool data, bool metadata) {
        PoolSpace *s = &pool->space;
        bool room = pool->info.room >= pool->info.chunk_size && pool->info.room > 0;
        PoolGrowth growth = {};
        char size[SIZE_TEXT_MAX];

        if (s->extend_is_out || (!data && !metadata))
                return s->growing;
        if (!room && s->at - s->tried < TRY_AGAIN_USEC)
                return false;
        s->tried = s->at;
        if (data)
                growth.data = space_step(pool->info.data_size, s->rate, m->config.auto_extend_step);
        if (metadata)
                growth.metadata = pool->info.metadata_size;
        if (room)
                audit_pool(pool->audit, pool, EVENT_SPACE, LOG_INFO, "extending the pool by %s",
                           size_format(growth.data + growth.metadata, size));
        s->growing = room;
        begin_extend(m, pool, &growth);
        return s->growing;
}

/* --- judging -------------------------------------------------------------------------------------------- */

/* What was written into a journal that shares its blocks with an image takes space, also when its filesystem gets none
 * for anything else: as much as the journal has. */
static int add_shared_journal(VolumeEntry *entry, void *userdata) {
        const VolumeSpec *spec = &entry->volume.spec;

        if (entry->open && takes_space(entry) && (entry->volume.copied || entry->n_snapshots > 0))
                *(uint64_t *) userdata += spec->size / JOURNAL_PART < JOURNAL_MAX ? spec->size / JOURNAL_PART
                                                                                  : JOURNAL_MAX;
        return 0;
}

static uint64_t shared_journals(PoolEntry *pool) {
        uint64_t sum = 0;

        registry_each_volume(pool, add_shared_journal, &sum);
        return sum < pool->info.data_size / JOURNALS_PART ? sum : pool->info.data_size / JOURNALS_PART;
}

static void judge(Manager *m, PoolEntry *pool) {
        PoolSpace *s = &pool->space;
        uint64_t left = left_of(pool), metadata_left = pool->info.metadata_size - pool->info.metadata_used;
        bool metadata_low = metadata_left < pool->info.metadata_size / METADATA_EXTEND_PART;
        bool metadata_out = metadata_left < pool->info.metadata_size / METADATA_STOP_PART;
        bool may = m->config.auto_extend_threshold < 100;
        SpaceMarks marks;

        space_marks(pool->info.data_size, s->dirty + shared_journals(pool), s->rate, m->config.auto_extend_threshold,
                    &marks);
        /* While it grows nobody is stopped: the kernel lets writers wait for so long. */
        if (may && extend(m, pool, left < marks.extend, metadata_low) &&
            (!s->full || s->at - s->tried < EXTEND_USEC_MAX))
                return;
        if (s->full) {
                s->was_full = true;
                begin_stop(m, pool, true);
                relieve(m, pool);
        } else if (left < marks.hard || metadata_out)
                begin_stop(m, pool, true);
        else if (left < marks.soft)
                begin_stop(m, pool, s->stopped_all);
        else if (s->stopped || s->was_full) {
                if (left < s->left_at_stop)
                        s->left_at_stop = left; /* what was in the caches came behind */
                if (left >= s->left_at_stop + space_made(pool->info.data_size) || left >= marks.plenty)
                        end_stop(m, pool);
                else
                        stop(m, pool, s->stopped_all); /* what was opened meanwhile */
        } else if (s->release_failed)
                end_stop(m, pool);
        bool low = left < marks.low;
        if (low && !s->low && !s->stopped)
                say(pool, "the pool has little space left: no volumes are made in it");
        if (low && !s->low)
                template_discard_all(m, pool);
        s->low = low;
}

static void take_volume(VolumeEntry *entry, const JobDevice *device, uint64_t usec) {
        uint64_t grown = entry->used_is_known && device->used > entry->used ? device->used - entry->used : 0;

        if (entry->looked_at > 0)
                entry->growth = space_growth(entry->growth, grown, usec - entry->looked_at);
        entry->looked_at = usec;
        entry->used = device->used;
        entry->used_is_known = true;
        entry->open = true;
        if (!entry->limit_is_out)
                entry->stopped = device->stopped;
}

static void take_health(PoolEntry *pool, const JobSpace *space) {
        if (pool->read_only == space->read_only && pool->metadata_failed == space->failed)
                return;
        pool->read_only = space->read_only;
        pool->metadata_failed = space->failed;
        const char *failure = pool_entry_failure(pool);
        if (failure)
                audit_pool(pool->audit, pool, EVENT_POOL, LOG_ERR, "%s", failure);
        else
                audit_pool(pool->audit, pool, EVENT_POOL, LOG_INFO, "its metadata can be written again");
}

static void take_space(Manager *m, PoolEntry *pool, const JobSpace *space, uint64_t usec) {
        PoolSpace *s = &pool->space;
        PoolInfo *info = &pool->info;

        take_health(pool, space);
        if (space->failed)
                return;
        if (s->at == 0) {
                s->tried = usec; /* LVM was asked when the pool came */
                s->rated_at = usec;
                s->rated_used = space->data_used;
        }
        s->at = usec;
        if (usec >= s->rated_at + RATE_USEC_MIN) {
                s->rate = space_rate(s->rate, space->data_used > s->rated_used ? space->data_used - s->rated_used : 0,
                                     usec - s->rated_at);
                s->rated_at = usec;
                s->rated_used = space->data_used;
        }
        info->data_size = space->data_size;
        info->data_used = space->data_used;
        info->metadata_size = space->metadata_size;
        info->metadata_used = space->metadata_used;
        s->full = space->full;
        s->relieved = space->relieved;
        sample(s, space->data_used);
        s->dirty = space->dirty;
        if (pool->read_only) /* it takes nothing, and cannot be extended */
                return;
        judge(m, pool);
        tenant_used_judge(m, pool);
}

static void on_report(const JobResult *report, void *userdata) {
        Manager *m = userdata;
        uint64_t usec = now(m);

        for (size_t i = 0; i < report->n_devices; i++) {
                VolumeEntry *entry = registry_find_uuid(&m->registry, report->devices[i].uuid);

                if (entry)
                        take_volume(entry, &report->devices[i], usec);
        }
        for (size_t i = 0; i < report->n_spaces; i++) {
                PoolEntry *pool = registry_find_pool_uuid(&m->registry, report->spaces[i].uuid);

                if (pool && report->n_devices > 0)
                        pool->space.used_at_look = report->spaces[i].data_used;
                if (pool && pool_entry_check(pool, NULL) >= 0)
                        take_space(m, pool, &report->spaces[i], usec);
        }
}

/* What an earlier broker stopped: known by the volumes that came with the pool. Who may use only so much of it may be
 * the reason: whether that is so is seen when it is counted, and whether it is the pool at the first look. */
static int adopt(VolumeEntry *entry, void *userdata) {
        if (entry->stopped && !tenant_used_adopt(entry->tenant))
                *(bool *) userdata = true;
        return 0;
}

void space_begin(Manager *m, PoolEntry *pool) {
        bool stopped = false;
        Error err = {};

        pool->space = (PoolSpace) {};
        registry_each_volume(pool, adopt, &stopped);
        if (stopped) {
                pool->space.stopped = pool->space.stopped_all = true;
                pool->space.was_full = true; /* perhaps: looked at when they are let go */
                pool->space.left_at_stop = left_of(pool);
        }
        if (!pool->space_link && space_link_new(m->event, pool->info.uuid, on_report, m, &pool->space_link, &err) < 0)
                log_failure(pool->info.name, &err, "nobody sees when it runs full");
}
