/* Snapshots: of one volume, or of several at one instant. The rows are durable before a worker is asked, all of a group
 * at once; they become ready all at once, and what fails is undone before it is answered. */

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>
#include <time.h>

/* Its operation is on the pool and in no lane; a guard in the lane of each volume keeps others off it meanwhile. */
struct SnapshotGroup {
        Operation *op;
        VolumeEntry **origins; /* by UUID: groups take their lanes in one order, and no two wait for each other */
        VolumeEntry **snapshots; /* of these */
        Operation **guards; /* those that have their lane; NULL behind them */
        size_t n, n_guards, undoing;
        Error failure;
};

static void group_free(SnapshotGroup *group) {
        free(group->origins);
        free(group->snapshots);
        free(group->guards);
        free(group);
}

static void guards_finish(SnapshotGroup *group) {
        while (group->n_guards > 0)
                operation_finish(group->guards[--group->n_guards], NULL);
}

static void group_finish(SnapshotGroup *group) {
        Operation *op = group->op;
        Error failure = group->failure;

        guards_finish(group);
        op->group = NULL;
        op->n_volumes = 0;
        for (size_t i = 0; failure.kind == ERROR_NONE && i < group->n; i++)
                op->volumes[op->n_volumes++] = group->snapshots[i]->volume.uuid;
        group_free(group);
        operation_finish(op, failure.kind == ERROR_NONE ? NULL : &failure);
}

/* --- what fails is undone ------------------------------------------------------------------------------- */

static void on_undone(Operation *op, const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;

        if (--group->undoing == 0)
                group_finish(group);
}

static void group_undo(SnapshotGroup *group, const Error *err) {
        Watcher watcher = { .on_done = on_undone, .userdata = group };

        group->failure = *err;
        group->undoing = group->n + 1; /* one for this loop */
        for (size_t i = 0; i < group->n; i++)
                volume_undo_create(group->op->manager, group->snapshots[i], &watcher);
        on_undone(NULL, NULL, group);
}

/* Nothing was made, and nobody waits for the snapshots. */
static void group_drop(SnapshotGroup *group, const Error *err) {
        group->failure = *err;
        for (size_t i = 0; i < group->n; i++)
                registry_remove_volume(&group->op->manager->registry, group->snapshots[i]);
        group->n = 0;
        group_finish(group);
}

/* --- the way there -------------------------------------------------------------------------------------- */

static int rows_write(SnapshotGroup *group, CatalogDone done, Error *err) {
        const Volume *volumes[JOB_IMAGES_MAX];

        for (size_t i = 0; i < group->n; i++)
                volumes[i] = &group->snapshots[i]->volume;
        return catalog_put_volumes(group->op->pool->catalog, volumes, group->n, done, group, err);
}

static void on_rows_settled(const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;

        if (!err) {
                group_finish(group);
                return;
        }
        for (size_t i = 0; i < group->n; i++) /* made, and that could not be noted: they go again */
                group->snapshots[i]->volume.state = VOLUME_CREATING;
        group_undo(group, err);
}

static void on_made(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        SnapshotGroup *group = op->group;
        Error failure = {};

        if (err) {
                group_undo(group, err);
                return;
        }
        for (size_t i = 0; i < group->n; i++) {
                VolumeEntry *snapshot = group->snapshots[i];

                snapshot->volume.state = VOLUME_READY;
                snapshot->used = group->origins[i]->used;
                snapshot->used_is_known = group->origins[i]->used_is_known;
        }
        for (size_t i = 0; i < result->n_devices; i++) {
                VolumeEntry *snapshot = registry_find_uuid(&op->manager->registry, result->devices[i].uuid);

                if (!snapshot)
                        continue;
                snapshot->used = result->devices[i].used;
                snapshot->used_is_known = true;
        }
        if (rows_write(group, on_rows_settled, &failure) < 0)
                on_rows_settled(&failure, group);
}

static int job_fill(SnapshotGroup *group, Job *job, Error *err) {
        job->images = calloc(group->n, sizeof(*job->images));
        if (!job->images)
                return error_oom(err);
        for (; job->n_images < group->n; job->n_images++) {
                JobImage *image = &job->images[job->n_images];
                const Volume *origin = &group->origins[job->n_images]->volume;
                const Volume *snapshot = &group->snapshots[job->n_images]->volume;

                *image = (JobImage) { .origin = { .uuid = origin->uuid, .thin_id = origin->thin_id },
                                      .uuid = snapshot->uuid,
                                      .thin_id = snapshot->thin_id };
                if (volume_spec_copy(&origin->spec, &image->origin.spec) < 0)
                        return error_oom(err);
        }
        return 0;
}

static void on_rows_written(const Error *err, void *userdata) {
        SnapshotGroup *group = userdata;
        Error failure = {};
        int r;

        if (err) { /* a commit that is said to have failed may have reached the disk */
                group_undo(group, err);
                return;
        }
        r = job_fill(group, &group->op->job, &failure);
        if (r >= 0)
                r = operation_run_job(group->op, JOB_VOLUME_SNAPSHOT, on_made, &failure);
        if (r < 0)
                group_undo(group, &failure);
}

/* --- nobody else works on the volumes meanwhile --------------------------------------------------------- */

static void guard_next(SnapshotGroup *group);

static int guard_start(Operation *guard, Error *err) {
        SnapshotGroup *group = guard->group;

        group->guards[group->n_guards++] = guard;
        guard_next(group);
        return 0;
}

/* A guard ends before its turn when the volume goes. */
static void on_guard_done(Operation *guard, const Error *err, void *userdata) {
        if (err)
                group_drop(userdata, err);
}

static int guards_check(SnapshotGroup *group, Error *err) {
        int r = 0;

        for (size_t i = 0; i < group->n && r >= 0; i++)
                r = volume_check_ready(group->origins[i], err);
        return r;
}

static void guard_next(SnapshotGroup *group) {
        Watcher watcher = { .on_done = on_guard_done, .userdata = group };
        Operation *guard;
        Error err = {};

        if (group->n_guards == group->n) {
                if (guards_check(group, &err) < 0 || rows_write(group, on_rows_written, &err) < 0)
                        group_drop(group, &err);
                return;
        }
        if (operation_new(group->op->manager, NULL, &group->op->caller, &watcher, guard_start, &guard, &err) < 0) {
                group_drop(group, &err);
                return;
        }
        guard->group = group;
        guard->leader = group->op;
        operation_begin_on_volume(guard, group->origins[group->n_guards]);
}

static int group_start(Operation *op, Error *err) {
        guard_next(op->group);
        return 0;
}

/* --- judging the request -------------------------------------------------------------------------------- */

static int check_origin(const VolumeEntry *entry, Error *err) {
        if (entry->volume.spec.role != ROLE_VOLUME)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "%s is a snapshot: snapshots are made of volumes", entry->volume.spec.name);
        return volume_check_ready(entry, err);
}

static int check_group(SnapshotGroup *group, Error *err) {
        int r = 0;

        for (size_t i = 0; i < group->n && r >= 0; i++) {
                const VolumeEntry *entry = group->origins[i];

                r = check_origin(entry, err);
                if (r >= 0 && entry->pool != group->origins[0]->pool)
                        r = error_set(err, ERROR_NOT_SUPPORTED, EXDEV,
                                      "volumes %s and %s are in different pools: snapshots at one instant are of one "
                                      "pool",
                                      group->origins[0]->volume.spec.name, entry->volume.spec.name);
                if (r >= 0 && i > 0 && entry == group->origins[i - 1])
                        r = error_field(err, "volumes", "volume %s is named twice", entry->volume.spec.name);
        }
        if (r >= 0)
                r = pool_entry_check_changes(group->origins[0]->pool, err);
        return r < 0 ? r : space_check_create(group->origins[0]->pool, err);
}

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
static void choose_name(const SnapshotGroup *group, uint64_t usec, const char *prefix,
                        char buf[static SNAPSHOT_NAME_MAX + 1]) {
        char base[SNAPSHOT_NAME_MAX + 1];
        bool taken = true;

        snapshot_name_by_time(usec, prefix, base);
        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s", base);
        for (unsigned number = 2; taken; number++) {
                taken = false;
                for (size_t i = 0; i < group->n && !taken; i++)
                        taken = volume_entry_find_snapshot(group->origins[i], buf);
                if (taken)
                        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s-%u", base, number);
        }
}

static int entry_add(Manager *m, VolumeEntry *origin, const char *name, const char *rule, uint64_t usec,
                     VolumeEntry **ret, Error *err) {
        _cleanup_(volume_done) Volume volume = { .state = VOLUME_CREATING, .created_usec = usec };
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
        volume.spec.role = ROLE_SNAPSHOT;
        volume.spec.origin = origin->volume.uuid;
        full_name_format(origin->volume.spec.name, name, volume.spec.name);
        *ret = registry_add_volume(&m->registry, origin->pool, &volume, err);
        return *ret ? 0 : error_code(err);
}

static int entries_add(Manager *m, SnapshotGroup *group, const SnapshotRequest *requests, const char *rule,
                       Error *err) {
        char common[SNAPSHOT_NAME_MAX + 1];
        struct timespec ts;
        size_t n = 0;
        int r = 0;

        clock_gettime(CLOCK_REALTIME, &ts);
        uint64_t usec = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        choose_name(group, usec, rule ? "auto-" : "", common);
        for (; n < group->n && r >= 0; n += r >= 0) {
                const char *name = NULL;

                for (size_t i = 0; i < group->n; i++)
                        if (requests[i].volume == group->origins[n])
                                name = requests[i].name;
                r = entry_add(m, group->origins[n], isempty(name) ? common : name, rule, usec, &group->snapshots[n],
                              err);
        }
        while (r < 0 && n > 0)
                registry_remove_volume(&m->registry, group->snapshots[--n]);
        return r;
}

static int compare_uuids(const void *a, const void *b) {
        const VolumeEntry *const *x = a, *const *y = b;

        return memcmp(&(*x)->volume.uuid, &(*y)->volume.uuid, sizeof(sd_id128_t));
}

static SnapshotGroup *group_new(const SnapshotRequest *requests, size_t n) {
        SnapshotGroup *group = calloc(1, sizeof(*group));

        if (!group)
                return NULL;
        group->n = n;
        group->origins = calloc(n, sizeof(*group->origins));
        group->snapshots = calloc(n, sizeof(*group->snapshots));
        group->guards = calloc(n, sizeof(*group->guards));
        if (!group->origins || !group->snapshots || !group->guards) {
                group_free(group);
                return NULL;
        }
        for (size_t i = 0; i < n; i++)
                group->origins[i] = requests[i].volume;
        qsort(group->origins, n, sizeof(*group->origins), compare_uuids);
        return group;
}

int volume_snapshot(Manager *m, const Caller *caller, const SnapshotRequest *requests, size_t n, const char *rule,
                    const Watcher *watcher, Error *err) {
        SnapshotGroup *group;
        Operation *op;
        int r;

        if (n == 0 || n > JOB_IMAGES_MAX)
                return error_field(err, "volumes", "snapshots of 1 to %u volumes can be made at one instant",
                                   JOB_IMAGES_MAX);
        group = group_new(requests, n);
        if (!group)
                return error_oom(err);
        r = check_group(group, err);
        if (r >= 0)
                r = operation_new(m, "snapshot", caller, watcher, group_start, &op, err);
        if (r < 0) {
                group_free(group);
                return r;
        }
        op->volumes = calloc(n, sizeof(*op->volumes));
        r = op->volumes ? entries_add(m, group, requests, rule, err) : error_oom(err);
        if (r < 0) {
                operation_free(op);
                group_free(group);
                return r;
        }
        group->op = op;
        op->group = group;
        op->pool = group->origins[0]->pool;
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
        r = operation_new(m, hold ? "hold" : "release of a held snapshot", caller, watcher, hold_start, &op, err);
        if (r < 0)
                return r;
        op->hold = hold;
        operation_begin_on_volume(op, entry);
        return 0;
}
