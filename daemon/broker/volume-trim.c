/* Giving back to the pool what a volume's filesystem does not use. */

#include "broker/volume.h"

static void on_trimmed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                op->freed = result->freed;
                op->volume->open = result->open;
                op->volume->used = result->used;
                op->volume->used_is_known = true;
        }
        operation_finish(op, err);
}

static int trim_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_TRIM, on_trimmed, err);
}

int volume_trim(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;
        Operation *op;
        int r;

        if (volume_check_block(entry, "trim", err) < 0)
                return error_code(err);
        if (spec->fs == FILESYSTEM_NONE)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s has no filesystem that knows what is unused", spec->name);
        if (entry->volume.spec.role == ROLE_SNAPSHOT)
                return error_set(err, ERROR_NOT_SUPPORTED, EROFS, "snapshot %s can only be read", spec->name);
        r = operation_new(m, "trim", caller, watcher, trim_start, &op, err);
        if (r >= 0)
                operation_begin_on_volume(op, entry);
        return r;
}
