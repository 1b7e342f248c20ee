/* Removed volumes whose blocks are still theirs: one of a pool after the other gives them back, a moment at a time, so
 * that jobs that somebody waits for come between. */

#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* Of what takes less than this the kernel deletes the thin device in a moment. */
#define LARGE GIB

#define PAUSE_USEC (100 * UINT64_C(1000))
#define AGAIN_USEC (30 * UINT64_C(1000000))

bool volume_is_large(const VolumeEntry *entry) {
        return entry->volume.spec.kind == KIND_BLOCK &&
               (entry->used_is_known ? entry->used : entry->volume.spec.size) >= LARGE;
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        PoolEntry *pool = userdata;

        volume_free_go_on(pool->freeing_manager, pool);
        return 0;
}

static void go_on_in(Manager *m, PoolEntry *pool, uint64_t usec) {
        pool->freeing_manager = m;
        pool->freeing_pause = sd_event_source_disable_unref(pool->freeing_pause);
        if (pool->freeing && sd_event_add_time_relative(m->event, &pool->freeing_pause, CLOCK_MONOTONIC, usec, 0,
                                                        on_pause_over, pool) < 0)
                log_error(pool->info.name, "cannot set a timer: removed volumes keep their space until a restart");
}

static void failed(Operation *op, const Error *err) {
        Manager *m = op->manager;
        PoolEntry *pool = op->pool;

        log_failure(op->volume->volume.spec.name, err, "removed, and cannot give back its space: tried again later");
        volume_entry_free_last(op->volume); /* it keeps nobody else from it */
        operation_finish(op, err);
        go_on_in(m, pool, AGAIN_USEC);
}

static void on_row_gone(const Error *err, void *userdata) {
        Operation *op = userdata;
        Manager *m = op->manager;
        PoolEntry *pool = op->pool;

        if (err) {
                failed(op, err);
                return;
        }
        operation_finish_removed(op, NULL);
        go_on_in(m, pool, PAUSE_USEC);
}

static void on_freed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Manager *m = op->manager;
        VolumeEntry *entry = op->volume;
        PoolEntry *pool = op->pool;
        Error failure = {};

        if (err) {
                failed(op, err);
                return;
        }
        entry->freed_to = result->offset;
        entry->used = result->used;
        entry->used_is_known = true;
        if (result->offset < volume_spec_device_size(&entry->volume.spec)) {
                operation_finish(op, NULL);
                go_on_in(m, pool, PAUSE_USEC);
        } else if (catalog_delete_volume(pool->catalog, entry->volume.uuid, on_row_gone, op, &failure) < 0)
                failed(op, &failure);
}

static int free_start(Operation *op, Error *err) {
        op->job.offset = op->volume->freed_to;
        return operation_run_job(op, JOB_VOLUME_FREE, on_freed, err);
}

void volume_free_go_on(Manager *m, PoolEntry *pool) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        pool->freeing_pause = sd_event_source_disable_unref(pool->freeing_pause);
        if (!pool->freeing || pool->freeing->lane.running)
                return;
        if (pool_entry_check_changes(pool, NULL) < 0) { /* when it comes back this is begun anew */
                if (pool->state == POOL_ACTIVE)
                        go_on_in(m, pool, AGAIN_USEC);
                return;
        }
        if (operation_new(m, NULL, &self, NULL, free_start, &op, &err) < 0) {
                log_failure(pool->info.name, &err, "cannot give back the space of removed volumes");
                go_on_in(m, pool, AGAIN_USEC);
                return;
        }
        op->in_background = true;
        operation_begin_on_volume(op, pool->freeing);
}
