/* The spare thin device of a volume: one that is to take the place of its first, or that had it. It is in the row
 * before it is made, and it goes from the pool before it goes from the row. */

#include "broker/volume.h"

#include <quarry/log.h>

static void on_row_without(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err)
                volume_entry_drop_spare(op->volume);
        op->then(op, err);
}

static void on_deleted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Volume *volume = &op->volume->volume;
        Error failure = {};
        int r;

        if (operation_outlives_worker(op, err) &&
            operation_run_job(op, JOB_VOLUME_DROP_SPARE, on_deleted, &failure) >= 0)
                return;
        if (err) {
                op->then(op, err);
                return;
        }
        volume->has_spare = false; /* in the row; nobody else may have its id before that is durable */
        r = catalog_put_volume(op->pool->catalog, volume, on_row_without, op, &failure);
        volume->has_spare = true;
        if (r < 0)
                op->then(op, &failure);
}

void volume_spare_drop(Operation *op, void (*then)(Operation *op, const Error *err)) {
        Error err = {};

        op->then = then;
        if (!op->volume->volume.has_spare)
                then(op, NULL);
        else if (operation_run_job(op, JOB_VOLUME_DROP_SPARE, on_deleted, &err) < 0)
                then(op, &err);
}

/* --- by itself -------------------------------------------------------------------------------------------- */

static void on_dropped(Operation *op, const Error *err) {
        operation_finish(op, err);
}

static int resume_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                volume_spare_drop(op, on_dropped);
        return r;
}

void volume_spare_resume(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (operation_new(m, "removal of a spare thin device", &self, NULL, resume_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot remove its spare thin device");
        else
                operation_begin_on_volume(op, entry);
}
