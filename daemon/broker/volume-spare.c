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

static void row_write_without(Operation *op) {
        Volume *volume = &op->volume->volume;
        Error failure = {};
        int r;

        volume->has_spare = false; /* in the row; nobody else may have its id before that is durable */
        r = catalog_put_volume(op->pool->catalog, volume, on_row_without, op, &failure);
        volume->has_spare = true;
        if (r < 0)
                op->then(op, &failure);
}

static void on_deleted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) &&
            operation_run_job(op, JOB_VOLUME_DROP_SPARE, on_deleted, &failure) >= 0)
                return;
        if (err)
                op->then(op, err);
        else
                row_write_without(op);
}

void volume_spare_drop(Operation *op, void (*then)(Operation *op, const Error *err)) {
        Error err = {};

        op->then = then;
        if (!op->volume->volume.has_spare)
                then(op, NULL);
        else if (operation_run_job(op, JOB_VOLUME_DROP_SPARE, on_deleted, &err) < 0)
                then(op, &err);
}

void volume_spare_forget(Operation *op, void (*then)(Operation *op, const Error *err)) {
        op->then = then;
        row_write_without(op);
}

bool volume_spare_take_next(Operation *op, CatalogDone on_row) {
        uint32_t taken = op->volume->volume.spare_thin_id;
        Error failure = {};

        if (op->thin_ids_taken++ >= THIN_IDS_TAKEN_MAX || volume_entry_take_spare(op->volume) < 0)
                return false;
        log_warning(op->pool->info.name,
                    "thin device %u is in the pool, and not in its catalog: left alone; see quarry doctor", taken);
        return catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row, op, &failure) >= 0;
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
