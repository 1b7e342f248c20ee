/* Snapshots: of one volume, or of several at one instant. The rows are durable before a worker is asked, all of a group
 * at once; they become ready all at once, and what fails is undone before it is answered. */

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>
#include <time.h>

/* A snapshot that is to be made. */
typedef struct Image {
        SnapshotGroup *group;
        VolumeEntry *origin;
        VolumeEntry *snapshot;
        Operation *origin_guard, *snapshot_guard; /* in their lanes; NULL: not yet, or no longer */
        char name[SNAPSHOT_NAME_MAX + 1]; /* empty: made of the time */
        char **labels; /* beside the origin's */
} Image;

/* Its operation is on the pool and in no lane; guards in the lanes of the volumes, and then of their snapshots, keep
 * others off them meanwhile. The guards of a group queue in all lanes at once: of two groups one is behind the other
 * everywhere, so no two wait for each other. */
struct SnapshotGroup {
        Operation *op;
        Image *images;
        size_t n;
        size_t n_out; /* lanes, or undos, that are waited for */
        char *rule;
        sd_id128_t unless; /* of the only one */
        Error failure;
};

static void group_free(SnapshotGroup *group) {
        for (size_t i = 0; i < group->n; i++) {
                if (group->images[i].origin_guard)
                        operation_free(group->images[i].origin_guard);
                strv_free(group->images[i].labels);
        }
        free(group->images);
        free(group->rule);
        free(group);
}

static void guard_finish(Operation *guard) {
        if (guard && guard->lane->running == guard)
                operation_finish(guard, NULL);
        else if (guard)
                operation_cancel(guard);
}

static void group_finish(SnapshotGroup *group) {
        Operation *op = group->op;
        Error failure = group->failure;

        for (size_t i = 0; failure.kind == ERROR_NONE && i < group->n; i++)
                op->volumes[op->n_volumes++] = group->images[i].snapshot->volume.uuid;
        for (size_t i = 0; i < group->n; i++) {
                guard_finish(TAKE_PTR(group->images[i].snapshot_guard));
                guard_finish(TAKE_PTR(group->images[i].origin_guard));
        }
        op->group = NULL;
        group_free(group);
        operation_finish(op, failure.kind == ERROR_NONE || (op->unchanged && !failure.undo_failed) ? NULL : &failure);
}

/* --- what fails is undone ------------------------------------------------------------------------------- */

static void undo_is_over(SnapshotGroup *group) {
        if (--group->n_out == 0)
                group_finish(group);
}

static void on_undone(Operation *guard, const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;

        if (err && err->undo_failed)
                group->failure = *err;
        if (err)
                undo_is_over(group);
}

static void entry_drop(Operation *guard) {
        operation_finish_removed(guard, &guard->failure);
}

/* undo ends the guards of the snapshots, with their failure. */
static void group_undo(SnapshotGroup *group, void (*undo)(Operation *guard), const Error *err) {
        group->failure = *err;
        group->n_out = 1; /* for this loop */
        for (size_t i = 0; i < group->n; i++) {
                Operation *guard = TAKE_PTR(group->images[i].snapshot_guard);

                if (!guard)
                        continue;
                group->n_out++;
                guard->failure = *err;
                undo(guard);
        }
        undo_is_over(group);
}

/* --- the way there -------------------------------------------------------------------------------------- */

static int rows_write(SnapshotGroup *group, CatalogDone done, Error *err) {
        const Volume *volumes[JOB_IMAGES_MAX];

        for (size_t i = 0; i < group->n; i++)
                volumes[i] = &group->images[i].snapshot->volume;
        return catalog_put_volumes(group->op->pool->catalog, volumes, group->n, done, group, err);
}

static void set_states(SnapshotGroup *group, VolumeState state) {
        for (size_t i = 0; i < group->n; i++)
                group->images[i].snapshot->volume.state = state;
}

static void entry_leave(Operation *guard) {
        volume_entry_set_broken(guard->volume, guard->failure.text);
        guard->failure.undo_failed = true;
        operation_finish(guard, &guard->failure);
}

/* Their rows may say that they are ready, and then nothing of them may go: the catalog is read anew. */
static void on_rows_back(const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;
        Error failure = group->failure;
        PoolEntry *pool = group->op->pool;

        group_undo(group, err ? entry_leave : volume_clean_up, &failure);
        if (err)
                pool_check_catalog(pool);
}

/* Made, and that could not be noted: they go again. A commit that is said to have failed may have reached the disk,
 * unless the disk is full: so the rows are written as they were before anything is taken away. */
static void on_rows_settled(const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;
        Error failure = {};

        if (!err) {
                group_finish(group);
                return;
        }
        group->failure = *err;
        set_states(group, VOLUME_CREATING);
        if (err->kind == ERROR_NO_SPACE)
                on_rows_back(NULL, group);
        else if (rows_write(group, on_rows_back, &failure) < 0)
                on_rows_back(&failure, group);
}

static void on_rows_written(const Error *err, void *userdata);

/* As for a create: the metadata has a thin device that the catalog does not know. Which one it was is not said: all of
 * the group take others. */
static bool take_next_thin_ids(SnapshotGroup *group, const Error *err) {
        Operation *op = group->op;
        Error failure = {};

        if (!operation_thin_id_is_anothers(op, err) || op->thin_ids_taken++ >= THIN_IDS_TAKEN_MAX)
                return false;
        for (size_t i = 0; i < group->n; i++)
                if (volume_entry_renumber(group->images[i].snapshot) < 0)
                        return false;
        log_warning(op->pool->info.name, "%s: left alone; see quarry doctor", err->text);
        return rows_write(group, on_rows_written, &failure) >= 0;
}

static void take_usage(SnapshotGroup *group, const JobResult *result) {
        for (size_t i = 0; i < group->n; i++) {
                VolumeEntry *snapshot = group->images[i].snapshot;

                snapshot->used = group->images[i].origin->used;
                snapshot->used_is_known = group->images[i].origin->used_is_known;
        }
        for (size_t i = 0; i < result->n_devices; i++) {
                VolumeEntry *snapshot = registry_find_uuid(&group->op->manager->registry, result->devices[i].uuid);

                if (!snapshot)
                        continue;
                snapshot->used = result->devices[i].used;
                snapshot->used_is_known = true;
        }
}

/* Of a volume that holds what it did none was made: it is undone, and that is no failure. */
static bool is_unchanged(SnapshotGroup *group, const JobResult *result) {
        Error nothing = {};

        if (group->n != 1 || result->n_devices != 1)
                return false;
        group->op->content = result->devices[0].content;
        group->op->unchanged = result->devices[0].unchanged;
        if (!group->op->unchanged)
                return false;
        error_set(&nothing, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no snapshot, since the volume did not change");
        group_undo(group, volume_drop_row, &nothing);
        return true;
}

static void on_made(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        SnapshotGroup *group = op->group;
        Error failure = {};

        if (err) {
                if (take_next_thin_ids(group, err))
                        return;
                /* The worker undoes what it did, unless it died or could not. */
                group_undo(group,
                           err->kind == ERROR_WORKER_DIED || err->undo_failed ? volume_clean_up : volume_drop_row, err);
                return;
        }
        if (is_unchanged(group, result))
                return;
        take_usage(group, result);
        set_states(group, VOLUME_READY);
        if (rows_write(group, on_rows_settled, &failure) < 0)
                on_rows_settled(&failure, group);
}

static int job_fill(const SnapshotGroup *group, Job *job, Error *err) {
        job_done(job); /* of thin ids that were taken */
        job->images = calloc(group->n, sizeof(*job->images));
        if (!job->images)
                return error_oom(err);
        for (; job->n_images < group->n; job->n_images++) {
                JobImage *image = &job->images[job->n_images];
                const Volume *origin = &group->images[job->n_images].origin->volume;
                const Volume *snapshot = &group->images[job->n_images].snapshot->volume;

                *image = (JobImage) { .origin = { .uuid = origin->uuid, .thin_id = origin->thin_id },
                                      .uuid = snapshot->uuid,
                                      .thin_id = snapshot->thin_id,
                                      .note = group->rule,
                                      .unless = group->unless };
                if (volume_spec_copy(&origin->spec, &image->origin.spec) < 0)
                        return error_oom(err);
        }
        return 0;
}

static void on_rows_written(const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;
        Error failure = {};

        if (!err && job_fill(group, &group->op->job, &failure) >= 0 &&
            operation_run_job(group->op, JOB_VOLUME_SNAPSHOT, on_made, &failure) >= 0)
                return;
        /* A commit that is said to have failed may have reached the disk, unless the disk is full. */
        group_undo(group, err && err->kind == ERROR_NO_SPACE ? entry_drop : volume_drop_row, err ?: &failure);
}

/* --- their entries -------------------------------------------------------------------------------------- */

/* 20261126T153000Z */
void snapshot_name_by_time(uint64_t usec, const char *prefix, char buf[static SNAPSHOT_NAME_MAX + 1]) {
        time_t seconds = (time_t) (usec / 1000000);
        char stamp[32];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s%s", prefix, stamp);
}

/* The same name for all of a group; with a number behind it if one has it already. */
static void choose_name(const SnapshotGroup *group, uint64_t usec, char buf[static SNAPSHOT_NAME_MAX + 1]) {
        char base[SNAPSHOT_NAME_MAX + 1], prefix[SCHEDULE_PREFIX_MAX + 1] = "";
        bool taken = true;

        snapshot_name_by_time(usec, group->rule ? schedule_prefix(group->rule, prefix) : prefix, base);
        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s", base);
        for (unsigned number = 2; taken; number++) {
                taken = false;
                for (size_t i = 0; i < group->n && !taken; i++)
                        taken = volume_entry_find_snapshot(group->images[i].origin, buf);
                if (taken)
                        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s-%u", base, number);
        }
}

static int guard_start(Operation *guard, Error *err) {
        return 0;
}

/* In its lane before anybody can find it. */
static int guard_snapshot(Image *image, Error *err) {
        Watcher watcher = { .on_done = on_undone, .userdata = image->group };
        Operation *op = image->group->op, *guard;
        int r;

        r = operation_new(op->manager, NULL, &op->caller, &watcher, guard_start, &guard, err);
        if (r < 0)
                return r;
        guard->leader = op;
        image->snapshot_guard = guard;
        operation_begin_on_volume(guard, image->snapshot);
        return 0;
}

static int entry_add(Image *image, const char *name, uint64_t usec, Error *err) {
        _cleanup_(volume_done) Volume volume = { .state = VOLUME_CREATING, .created_usec = usec };
        const char *rule = image->group->rule;
        VolumeEntry *origin = image->origin;
        Registry *registry = &image->group->op->manager->registry;
        int r;

        if (volume_entry_find_snapshot(origin, name))
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "snapshot %s@%s exists already",
                                 origin->volume.spec.name, name);
        r = sd_id128_randomize(&volume.uuid);
        if (r < 0)
                return error_errno(err, r, "cannot make a UUID");
        r = pool_entry_new_thin_id(origin->pool, &volume.thin_id);
        if (r < 0)
                return error_set(err, ERROR_NO_SPACE, r, "pool %s has no thin id left", origin->pool->info.name);
        volume.rule = rule ? strdup(rule) : NULL;
        if (volume_spec_copy(&origin->volume.spec, &volume.spec) < 0 || (rule && !volume.rule))
                return error_oom(err);
        for (char **l = image->labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(&volume.spec, *l, err);
        if (r < 0)
                return r;
        volume_set_host_key(&volume, origin->volume.host_key);
        volume.spec.role = ROLE_SNAPSHOT;
        volume.spec.protected = false;
        volume.spec.origin = origin->volume.uuid;
        if (origin->volume.pending_size > volume.spec.size) /* its filesystem may have that already */
                volume.spec.size = origin->volume.pending_size;
        full_name_format(origin->volume.spec.name, name, volume.spec.name);
        image->snapshot = registry_add_volume(registry, origin->pool, &volume, err);
        if (!image->snapshot)
                return error_code(err);
        r = guard_snapshot(image, err);
        if (r < 0)
                registry_remove_volume(registry, TAKE_PTR(image->snapshot));
        return r;
}

/* A rule that lets an old one go for the new one has one more only until then. */
static bool takes_place(const Image *image) {
        const char *rule = image->group->rule;
        const PlanRule *planned = rule ? volume_plan_find(image->origin->plan, rule) : NULL;
        unsigned n = 0;

        for (const VolumeEntry *s = image->origin->snapshots; s && planned; s = s->next_snapshot)
                n += streq_ptr(s->volume.rule, rule);
        return !planned || n < planned->keep;
}

/* All at once: what is asked for is so many. */
static int quota_check_group(const SnapshotGroup *group, Error *err) {
        int r = 0;

        for (size_t i = 0; i < group->n && r >= 0; i++) {
                const TenantEntry *tenant = group->images[i].origin->tenant;
                size_t n = 0;

                for (size_t j = 0; j < group->n; j++)
                        n += group->images[j].origin->tenant == tenant && takes_place(&group->images[j]);
                r = quota_check_snapshots(tenant, n, err);
        }
        return r;
}

static int entries_add(SnapshotGroup *group, Error *err) {
        char common[SNAPSHOT_NAME_MAX + 1];
        struct timespec ts;
        uint64_t usec;
        int r = 0;

        clock_gettime(CLOCK_REALTIME, &ts);
        usec = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        choose_name(group, usec, common);
        for (size_t i = 0; i < group->n && r >= 0; i++) {
                r = volume_check_ready(group->images[i].origin, err);
                if (r >= 0)
                        r = volume_check_not_suspended(group->images[i].origin, err);
        }
        if (r >= 0)
                r = quota_check_group(group, err);
        for (size_t i = 0; i < group->n && r >= 0; i++)
                r = entry_add(&group->images[i], *group->images[i].name ? group->images[i].name : common, usec, err);
        return r;
}

/* --- nobody else works on the volumes meanwhile --------------------------------------------------------- */

static void lane_is_had(SnapshotGroup *group) {
        Error err = {};

        if (--group->n_out > 0)
                return;
        if (entries_add(group, &err) < 0 || rows_write(group, on_rows_written, &err) < 0)
                group_undo(group, entry_drop, &err);
}

static int origin_guard_start(Operation *guard, Error *err) {
        lane_is_had(guard->leader->group);
        return 0;
}

/* A guard ends before its turn when the volume goes. */
static void on_origin_gone(Operation *guard, const Error *err, void *userdata) {
        Image *image = userdata;

        if (!err)
                return;
        image->origin_guard = NULL;
        image->group->failure = *err;
        group_finish(image->group);
}

static int group_start(Operation *op, Error *err) {
        SnapshotGroup *group = op->group;

        group->n_out = group->n + 1; /* one for this loop */
        for (size_t i = 0; i < group->n; i++)
                operation_begin_on_volume(group->images[i].origin_guard, group->images[i].origin);
        lane_is_had(group);
        return 0;
}

/* --- judging the request -------------------------------------------------------------------------------- */

static int check_request(const SnapshotRequest *requests, size_t i, Error *err) {
        const VolumeEntry *entry = requests[i].volume, *first = requests[0].volume;
        const char *name = entry->volume.spec.name;

        if (entry->volume.spec.role != ROLE_VOLUME)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "%s is a snapshot: snapshots are made of volumes", name);
        if (volume_check_block(entry, "snapshot", err) < 0 || operation_check_not_received(entry, err) < 0)
                return error_code(err);
        if (entry->pool != first->pool)
                return error_set(err, ERROR_NOT_SUPPORTED, EXDEV,
                                 "volumes %s and %s are in different pools: snapshots at one instant are of one pool",
                                 first->volume.spec.name, name);
        for (size_t j = 0; j < i; j++)
                if (requests[j].volume == entry)
                        return error_field(err, "volumes", "volume %s is named twice", name);
        return 0;
}

static int check_group(const SnapshotRequest *requests, size_t n, Error *err) {
        int r = 0;

        if (n == 0 || n > JOB_IMAGES_MAX)
                return error_field(err, "volumes", "snapshots of 1 to %u volumes can be made at one instant",
                                   JOB_IMAGES_MAX);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = check_request(requests, i, err);
        if (r >= 0)
                r = pool_entry_check_changes(requests[0].volume->pool, err);
        return r < 0 ? r : space_check_create(requests[0].volume->pool, err);
}

static int image_init(Image *image, SnapshotGroup *group, const SnapshotRequest *request, Error *err) {
        Watcher watcher = { .on_done = on_origin_gone, .userdata = image };
        int r;

        *image = (Image) { .group = group, .origin = request->volume };
        buffer_format(image->name, sizeof(image->name), "%s", request->name ?: "");
        if (strv_copy(request->labels, &image->labels) < 0)
                return error_oom(err);
        r = operation_new(group->op->manager, NULL, &group->op->caller, &watcher, origin_guard_start,
                          &image->origin_guard, err);
        if (r >= 0)
                image->origin_guard->leader = group->op;
        return r;
}

static int group_new(Operation *op, const SnapshotRequest *requests, size_t n, const char *rule, Error *err) {
        SnapshotGroup *group = calloc(1, sizeof(*group));
        int r = 0;

        if (!group)
                return error_oom(err);
        *group = (SnapshotGroup) { .op = op,
                                   .images = calloc(n, sizeof(*group->images)),
                                   .rule = rule ? strdup(rule) : NULL,
                                   .unless = n == 1 ? requests[0].unless : SD_ID128_NULL };
        op->volumes = calloc(n, sizeof(*op->volumes));
        op->origins = calloc(n, sizeof(*op->origins));
        if (!group->images || !op->volumes || !op->origins || (rule && !group->rule)) {
                (void) error_oom(err);
                r = -ENOMEM;
        }
        for (; group->n < n && r >= 0; group->n++)
                r = image_init(&group->images[group->n], group, &requests[group->n], err);
        if (r < 0) {
                group_free(group);
                return r;
        }
        for (size_t i = 0; i < n; i++)
                op->origins[op->n_origins++] = requests[i].volume->volume.uuid;
        op->group = group;
        return 0;
}

int volume_snapshot(Manager *m, const Caller *caller, const SnapshotRequest *requests, size_t n, const char *rule,
                    const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = check_group(requests, n, err);
        if (r >= 0)
                r = operation_new(m, rule ? "snapshot by schedule" : "snapshot", caller, watcher, group_start, &op,
                                  err);
        if (r < 0)
                return r;
        op->rule = rule ? strdup(rule) : NULL;
        r = rule && !op->rule ? error_oom(err) : group_new(op, requests, n, rule, err);
        if (r < 0) {
                operation_free(op);
                return r;
        }
        op->pool = requests[0].volume->pool;
        operation_begin(op, NULL);
        return 0;
}

/* --- held ------------------------------------------------------------------------------------------------ */

static void on_row_held(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                op->volume->volume.held = !op->hold;
        operation_finish(op, err);
}

static int hold_start(Operation *op, Error *err) {
        Volume *volume = &op->volume->volume;
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r < 0)
                return r;
        if (volume->held == op->hold) {
                operation_finish(op, NULL);
                return 0;
        }
        volume->held = op->hold;
        r = catalog_put_volume(op->pool->catalog, volume, on_row_held, op, err);
        if (r < 0)
                volume->held = !op->hold;
        return r;
}

int volume_hold(Manager *m, const Caller *caller, VolumeEntry *entry, bool hold, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        if (entry->volume.spec.role != ROLE_SNAPSHOT)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "%s is a volume: snapshots are held and released", entry->volume.spec.name);
        r = operation_new(m, hold ? "hold" : "release", caller, watcher, hold_start, &op, err);
        if (r < 0)
                return r;
        op->hold = hold;
        operation_begin_on_volume(op, entry);
        return 0;
}
