/* Whether the filesystem of a volume that nobody uses is sound. */

#include "broker/volume.h"

static void on_checked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err)
                op->volume->open = result->open;
        operation_finish(op, err);
}

static int check_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_CHECK, on_checked, err);
}

int volume_check_filesystem(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;
        Operation *op;
        int r;

        if (volume_check_block(entry, "check", err) < 0)
                return error_code(err);
        if (spec->fs == FILESYSTEM_NONE)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "volume %s has no filesystem", spec->name);
        if (spec->role == ROLE_SNAPSHOT) {
                error_set(err, ERROR_NOT_SUPPORTED, EROFS, "a snapshot is checked as a clone of it");
                error_hint(err, "quarry clone %s NEW; quarry check NEW", VOLUME_REFERENCE(spec));
                return error_code(err);
        }
        r = operation_new(m, "check", caller, watcher, check_start, &op, err);
        if (r >= 0)
                operation_begin_on_volume(op, entry);
        return r;
}
