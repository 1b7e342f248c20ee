/* Removing a volume. Nothing is written before a worker has seen that nobody uses it; from the durable row
 * "removing" on there is no way back, and a restart goes on with it. */

#include "broker/mount-id.h"
#include "broker/template.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/log.h>
#include <quarry/text.h>

static void stay_removing(Operation *op, const Error *err) {
        VolumeEntry *entry = op->volume;
        Error failure = *err;

        entry->volume.state = VOLUME_REMOVING;
        free(entry->volume.failure);
        entry->volume.failure = strdup(failure.text);
        if (isempty(failure.hint))
                error_hint(&failure, "it stays in state removing; try again: quarry rm %s",
                           VOLUME_REFERENCE(&entry->volume.spec));
        operation_finish(op, &failure);
}

/* No volume, no templates for more. */
static void finish(Operation *op, void (*end)(Operation *op, const Error *err)) {
        Manager *m = op->manager;
        PoolEntry *pool = op->pool;
        bool was_volume = op->volume->volume.spec.role == ROLE_VOLUME;

        end(op, NULL);
        if (was_volume && pool->n_volumes == 0)
                template_discard_all(m, pool);
}

static void on_row_gone(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                stay_removing(op, err);
        else
                finish(op, operation_finish_removed);
}

static void on_removed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_REMOVE, on_removed, &failure) >= 0)
                return;
        if (!err && catalog_delete_volume(op->pool->catalog, op->volume->volume.uuid, on_row_gone, op, &failure) >= 0)
                return;
        stay_removing(op, err ?: &failure);
}

/* Nobody may write into what the next start takes away. */
static void on_row_back(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                stay_removing(op, &op->failure);
        else
                operation_finish(op, &op->failure);
}

/* A commit that is said to have failed may have reached the disk, unless the disk is full: then the next start would go
 * on with a removal that was answered as failed. So the row is written as it was. */
static void take_back(Operation *op, const Error *err) {
        Error failure = {};

        op->failure = *err;
        op->volume->volume.state = op->state_before;
        if (err->kind == ERROR_NO_SPACE)
                operation_finish(op, &op->failure);
        else if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_back, op, &failure) < 0)
                on_row_back(&failure, op);
}

/* Nobody finds it any more, and its name is free. */
static void on_row_freeing(const Error *err, void *userdata) {
        Operation *op = userdata;
        Manager *m = op->manager;
        PoolEntry *pool = op->pool;

        if (err) {
                stay_removing(op, err);
                return;
        }
        volume_entry_set_freeing(op->volume);
        finish(op, operation_finish_gone);
        volume_free_go_on(m, pool);
}

static void on_retired(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Volume row = op->volume->volume; /* its strings are borrowed */
        Error failure = {};

        row.state = VOLUME_FREEING;
        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_RETIRE, on_retired, &failure) >= 0)
                return;
        if (err || catalog_put_volume(op->pool->catalog, &row, on_row_freeing, op, &failure) < 0)
                stay_removing(op, err ?: &failure);
}

static void on_row_removing(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        bool large = volume_is_large(op->volume);

        if (err)
                take_back(op, err);
        else if (operation_run_job(op, large ? JOB_VOLUME_RETIRE : JOB_VOLUME_REMOVE, large ? on_retired : on_removed,
                                   &failure) < 0)
                stay_removing(op, &failure);
}

/* It is in use, and its row says that it goes when it is not: it is looked at from time to time. */
static void wait_for_users(Operation *op) {
        VolumeEntry *entry = op->volume;

        entry->removal_waits = true;
        free(entry->volume.failure);
        entry->volume.failure = strdup("it is in use, and goes when it is not");
        watch_volume_opened(op->manager->watch);
}

static void on_claimed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        Error failure = {};

        if (err) {
                if (op->job.lazy && err->kind == ERROR_VOLUME_BUSY)
                        wait_for_users(op);
                operation_finish(op, err);
                return;
        }
        if (entry->volume.spec.role != ROLE_TEMPLATE)
                op->verb = "rm"; /* also for the log, of one that had to wait */
        entry->open = false;
        entry->removal_waits = false;
        op->state_before = entry->volume.state;
        entry->volume.state = VOLUME_REMOVING;
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_removing, op, &failure) < 0)
                on_row_removing(&failure, op);
}

/* What somebody said is to stay, stays until somebody says otherwise. */
static int keeping_check(const VolumeEntry *entry, Error *err) {
        const char *name = entry->volume.spec.name;
        int r = 0;

        if (entry->volume.held) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "snapshot %s is held", name);
                error_hint(err, "quarry release %s", VOLUME_REFERENCE(&entry->volume.spec));
        } else if (entry->volume.spec.protected) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is protected from being removed", name);
                error_hint(err, "quarry update --no-protect %s", VOLUME_REFERENCE(&entry->volume.spec));
        }
        return r;
}

int volume_check_removal(const VolumeEntry *entry, Error *err) {
        const char *name = entry->volume.spec.name;
        int r;

        r = keeping_check(entry, err);
        if (r >= 0 && entry->n_snapshots > 0) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s has %zu snapshot%s, the newest is %s", name,
                              entry->n_snapshots, entry->n_snapshots == 1 ? "" : "s",
                              entry->snapshots->volume.spec.name);
                error_hint(err, "quarry ls --type snapshot; quarry rm --snapshots %s",
                           VOLUME_REFERENCE(&entry->volume.spec));
        }
        return r;
}

static int remove_alone_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_CLAIM, on_claimed, err);
}

int volume_remove_start(Operation *op, Error *err) {
        int r;

        r = volume_check_removal(op->volume, err);
        return r < 0 ? r : remove_alone_start(op, err);
}

/* --- lazily ---------------------------------------------------------------------------------------------- */

static void on_row_waiting(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) {
                take_back(op, err);
                return;
        }
        wait_for_users(op);
        operation_finish(op, NULL);
}

/* Who uses it keeps it; what they have is nobody else's any more. */
static void on_detached(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        Error failure = {};

        if (err) {
                operation_finish(op, err);
                return;
        }
        mount_ids_clear(entry->volume.uuid);
        op->job.lazy = entry->volume.spec.kind == KIND_BIND; /* who has its directory keeps that, and nothing of ours */
        entry->open = result->open;
        if (!result->open) {
                if (volume_remove_start(op, &failure) < 0)
                        operation_finish(op, &failure);
                return;
        }
        op->users = TAKE_PTR(result->users);
        op->state_before = entry->volume.state;
        entry->volume.state = VOLUME_REMOVING;
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_waiting, op, &failure) < 0)
                on_row_waiting(&failure, op);
}

static int remove_alone_lazily_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_UMOUNT, on_detached, err);
}

static int remove_lazily_start(Operation *op, Error *err) {
        int r;

        r = volume_check_removal(op->volume, err);
        return r < 0 ? r : remove_alone_lazily_start(op, err);
}

/* --- with its snapshots ----------------------------------------------------------------------------------- */

/* Of what was asked of each snapshot one has come to its end. True once all did, and well; if one did not, the whole
 * ends with the last. */
static bool all_went_well(Operation *op, const Error *err) {
        if (err && err->kind != ERROR_NO_SUCH_VOLUME &&
            op->failure.kind == ERROR_NONE) /* somebody else's removal did it */
                op->failure = *err;
        if (--op->n_out > 0)
                return false;
        if (op->failure.kind == ERROR_NONE)
                return true;
        operation_finish(op, &op->failure);
        return false;
}

static void on_snapshot_removed(Operation *of_snapshot, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (all_went_well(op, err) && (op->job.lazy ? remove_alone_lazily_start : remove_alone_start)(op, &failure) < 0)
                operation_finish(op, &failure);
}

static void remove_snapshots(Operation *op) {
        Watcher watcher = { .on_done = on_snapshot_removed, .userdata = op };
        Error failure = {};

        op->n_out = 1; /* for this loop */
        for (VolumeEntry *s = op->volume->snapshots, *next; s; s = next) {
                next = s->next_snapshot;
                op->n_out++;
                if (volume_remove(op->manager, &op->caller, s, false, false, &watcher, &failure) < 0)
                        on_snapshot_removed(NULL, &failure, op);
        }
        on_snapshot_removed(NULL, NULL, op);
}

static void on_claimed_with_snapshots(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) {
                operation_finish(op, err);
                return;
        }
        op->volume->open = false;
        remove_snapshots(op);
}

static void on_snapshots_closed(Operation *of_snapshot, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!all_went_well(op, err))
                return;
        if (op->job.lazy)
                remove_snapshots(op);
        else if (operation_run_job(op, JOB_VOLUME_CLAIM, on_claimed_with_snapshots, &failure) < 0)
                operation_finish(op, &failure);
}

static void on_snapshot_claimed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err)
                op->volume->open = false;
        operation_finish(op, err);
}

static int claim_snapshot_start(Operation *op, Error *err) {
        return operation_run_job(op, JOB_VOLUME_CLAIM, on_snapshot_claimed, err);
}

/* Whether anybody has the device of one that is open and nowhere mounted only the worker sees. */
static void close_snapshots(Operation *op) {
        Watcher watcher = { .on_done = on_snapshots_closed, .userdata = op };
        Operation *claim;
        Error failure = {};

        op->n_out = 1; /* for this loop */
        for (VolumeEntry *s = op->volume->snapshots, *next; s; s = next) {
                next = s->next_snapshot;
                if (!s->open)
                        continue;
                op->n_out++;
                if (operation_new(op->manager, NULL, &op->caller, &watcher, claim_snapshot_start, &claim, &failure) < 0)
                        on_snapshots_closed(NULL, &failure, op);
                else
                        operation_begin_on_volume(claim, s);
        }
        on_snapshots_closed(NULL, NULL, op);
}

static int snapshot_check(const VolumeEntry *snapshot, Error *err) {
        int r;

        r = keeping_check(snapshot, err);
        if (r >= 0)
                r = operation_check_not_received(snapshot, err);
        if (r < 0 || snapshot->n_holds == 0)
                return r;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "snapshot %s is in use: mounted at %s", snapshot->volume.spec.name,
                      snapshot->holds[0].path);
        error_hint(err, "quarry umount %s", VOLUME_REFERENCE(&snapshot->volume.spec));
        return r;
}

/* What would be refused is refused before the first of them goes. */
static int remove_snapshots_start(Operation *op, Error *err) {
        int r = keeping_check(op->volume, err);

        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        watch_look(op->manager->watch);
        for (const VolumeEntry *s = op->volume->snapshots; s && r >= 0; s = s->next_snapshot)
                r = snapshot_check(s, err);
        if (r >= 0)
                close_snapshots(op);
        return r;
}

int volume_remove(Manager *m, const Caller *caller, VolumeEntry *entry, bool lazy, bool snapshots,
                  const Watcher *watcher, Error *err) {
        int (*start)(Operation *op, Error *err) = snapshots ? remove_snapshots_start
                                                  : lazy    ? remove_lazily_start
                                                            : volume_remove_start;
        Operation *op;
        int r;

        r = operation_new(m, "rm", caller, watcher, start, &op, err);
        if (r < 0)
                return r;
        op->job.lazy = lazy;
        operation_begin_on_volume(op, entry);
        return 0;
}

/* Behind a restart, and again whenever it may have become free. In the log it is only once it is. */
void volume_resume_remove(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (operation_new(m, NULL, &self, NULL, volume_remove_start, &op, &err) < 0) {
                log_failure(entry->volume.spec.name, &err, "cannot go on with its removal");
                return;
        }
        op->job.lazy = true;
        op->in_background = entry->volume.spec.role == ROLE_TEMPLATE;
        operation_begin_on_volume(op, entry);
}
