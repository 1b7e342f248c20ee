/* Changing what can be changed of a volume while it is used: labels, whether it is protected, when snapshots are made
 * of it, and who owns the folder that users see. The folder first, then the row: it tells what was done. */

#include "broker/schedule.h"
#include "broker/volume.h"

#include <quarry/text.h>

static void swap_specs(Operation *op) {
        Volume *volume = &op->volume->volume;
        VolumeSpec *other = &op->job.volume.spec, spec = volume->spec;
        char *schedule = volume->schedule;

        volume->spec = *other;
        *other = spec;
        /* A snapshot is called as its volume is, which may have got another name meanwhile. */
        buffer_format(volume->spec.name, sizeof(volume->spec.name), "%s", spec.name);
        if (!op->update.schedule)
                return;
        volume->schedule = op->schedule;
        op->schedule = schedule;
}

static void on_row_written(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                swap_specs(op);
        else if (op->update.schedule)
                schedule_volume_changed(op->manager, op->volume);
        operation_finish(op, err);
}

static int row_write(Operation *op, Error *err) {
        int r;

        swap_specs(op);
        r = catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_written, op, err);
        if (r < 0)
                swap_specs(op);
        return r;
}

static void on_owned(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_OWN, on_owned, &failure) >= 0)
                return;
        if (err && err->kind == ERROR_WORKER_DIED)
                volume_may_be_open(op->manager, op->volume);
        if (!err) {
                op->volume->open = result->open;
                if (row_write(op, &failure) >= 0)
                        return;
                err = &failure;
        }
        operation_finish(op, err);
}

static bool has_owner(const VolumeUpdate *update) {
        return update->has_uid || update->has_gid || update->has_mode;
}

/* Of a broken one, too: it is to be removed, and would stay for ever. */
static bool only_protects(const VolumeUpdate *update) {
        return update->has_protected && !has_owner(update) && !update->labels && !update->remove_labels &&
               !update->schedule;
}

static int change_start(Operation *op, Error *err) {
        return has_owner(&op->update) ? operation_run_job(op, JOB_VOLUME_OWN, on_owned, err) : row_write(op, err);
}

static void on_schedule_checked(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err || change_start(op, &failure) < 0)
                operation_finish(op, err ?: &failure);
}

/* Without a schedule of its own it is treated as its pool has it. */
static int schedule_start(Operation *op, Error *err) {
        Schedule schedule;
        int r;

        if (streq(op->update.schedule, SCHEDULE_DEFAULT))
                return change_start(op, err);
        r = schedule_parse(op->update.schedule, "snapshotSchedule", &schedule, err);
        if (r < 0)
                return r;
        op->schedule = schedule_format(&schedule);
        if (!op->schedule)
                return error_oom(err);
        return schedule.n > 0 ? schedule_check(op->manager, &schedule, on_schedule_checked, op, err)
                              : change_start(op, err);
}

/* What is there when it is its turn is changed, not what was there when it was asked for. */
static int update_start(Operation *op, Error *err) {
        const Volume *volume = &op->volume->volume;
        int r = 0;

        if (volume->state != VOLUME_BROKEN || !only_protects(&op->update))
                r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r >= 0 && has_owner(&op->update))
                r = volume_check_unlocked(op->volume, err);
        if (r < 0)
                return r;
        if (volume_spec_copy(&volume->spec, &op->job.volume.spec) < 0)
                return error_oom(err);
        op->job.volume.uuid = volume->uuid;
        op->job.volume.thin_id = volume->thin_id;
        r = volume_spec_update(&op->job.volume.spec, &op->update, err);
        if (r < 0)
                return r;
        op->job.owner = (JobOwner) { .uid = op->update.has_uid,
                                     .gid = op->update.has_gid,
                                     .mode = op->update.has_mode };
        return op->update.schedule ? schedule_start(op, err) : change_start(op, err);
}

static int update_check(const VolumeEntry *entry, const VolumeUpdate *update, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;

        if (has_owner(update) && spec->kind == KIND_BIND)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s is a bind volume: the owner, group and mode of %s are not quarry's to "
                                 "change",
                                 spec->name, spec->source);
        if (update->schedule && volume_check_block(entry, "snapshot", err) < 0)
                return error_code(err);
        if (has_owner(update) && spec->role == ROLE_SNAPSHOT)
                return error_set(err, ERROR_NOT_SUPPORTED, EROFS,
                                 "snapshot %s can only be read: nothing but its labels can be changed", spec->name);
        if (update->schedule && spec->role == ROLE_SNAPSHOT)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "%s is a snapshot: snapshots are made of volumes", spec->name);
        if (update->has_protected && spec->role == ROLE_SNAPSHOT) {
                int r = error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                  "%s is a snapshot: volumes are protected, snapshots are held", spec->name);
                error_hint(err, "quarry hold %s", VOLUME_REFERENCE(spec));
                return r;
        }
        if (has_owner(update) && spec->fs == FILESYSTEM_NONE && spec->kind == KIND_BLOCK)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s has no filesystem whose directory could be given another owner or mode",
                                 spec->name);
        return 0;
}

int volume_update(Manager *m, const Caller *caller, VolumeEntry *entry, VolumeUpdate *update, int key_fd,
                  const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = update_check(entry, update, err);
        if (r >= 0)
                r = operation_new(m, "update", caller, watcher, update_start, &op, err);
        if (r < 0) {
                volume_update_done(update);
                if (key_fd >= 0)
                        close(key_fd);
                return r;
        }
        op->update = *update;
        *update = (VolumeUpdate) {};
        op->key_fd = key_fd;
        operation_begin_on_volume(op, entry);
        return 0;
}
