/* A volume becomes what one of its snapshots is. A copy of the snapshot is made under the volume's spare thin id, and
 * one commit lets the two thin devices change places: before it the volume is what it was, behind it what the snapshot
 * is. With the same commit what it was becomes a snapshot; or it stays the spare one, and goes. */

#include "broker/pool-open.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <time.h>

/* What it was to have counts until here, should it not come to it. */
static void finish(Operation *op, const Error *err) {
        volume_entry_expect(op->volume, 0, false);
        operation_finish(op, err);
}

/* --- what fails is undone --------------------------------------------------------------------------------- */

static void on_undone(Operation *op, const Error *err) {
        op->failure.undo_failed = err;
        if (err)
                log_error(op->volume->volume.spec.name, "cannot clean up behind a failed rollback: %s", err->text);
        finish(op, &op->failure);
}

/* Nothing was made under the spare id. */
static void undo_row(Operation *op, const Error *err) {
        op->failure = *err;
        volume_spare_forget(op, on_undone);
}

static void undo(Operation *op, const Error *err) {
        op->failure = *err;
        volume_spare_drop(op, on_undone);
}

/* --- they change places ----------------------------------------------------------------------------------- */

static VolumeEntry *kept_entry(Operation *op) {
        return op->n_volumes > 0 ? registry_find_uuid(&op->manager->registry, op->volumes[0]) : NULL;
}

/* Its root directory goes back, too, and so does its header, with who opens it. */
static void take_over(Operation *op, const Volume *from) {
        VolumeSpec *spec = &op->volume->volume.spec;

        spec->uid = from->spec.uid;
        spec->gid = from->spec.gid;
        spec->mode = from->spec.mode;
        registry_set_key(&op->manager->registry, op->volume, from->spec.key_source, from->host_key);
}

static void swap_back(Operation *op) {
        VolumeEntry *kept = kept_entry(op);

        if (kept) {
                uint32_t id = kept->volume.thin_id;

                operation_remove_guarded(op, kept);
                volume_entry_set_spare(op->volume, id);
                op->n_volumes = 0;
        }
        volume_entry_swap_spare(op->volume);
        volume_entry_resize(op->volume, op->size_before);
        take_over(op, &op->job.volume);
}

static void on_swapped(const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *kept = kept_entry(op);

        if (err) {
                swap_back(op);
                if (err->kind == ERROR_NO_SPACE) {
                        undo(op, err);
                        return;
                }
                /* It may have reached the disk, and then the copy is the volume: nothing is deleted before the catalog
                 * was read anew, and nobody mounts what may be the wrong one. */
                pool_check_catalog(op->pool);
                finish(op, err);
                return;
        }
        op->volume->used_is_known = false;
        if (kept)
                kept->volume.state = VOLUME_READY;
        if (op->volume->volume.has_spare)
                volume_spare_resume(op->manager, op->volume);
        finish(op, NULL);
}

/* before-rollback-20261126T153000Z, with a number behind it if that is taken. */
static void choose_name(const VolumeEntry *volume, uint64_t usec, char buf[static SNAPSHOT_NAME_MAX + 1]) {
        char base[SNAPSHOT_NAME_MAX + 1];

        snapshot_name_by_time(usec, "before-rollback-", base);
        buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s", base);
        for (unsigned n = 2; volume_entry_find_snapshot(volume, buf); n++)
                buffer_format(buf, SNAPSHOT_NAME_MAX + 1, "%s-%u", base, n);
}

static int kept_add(Operation *op, VolumeEntry **ret, Error *err) {
        _cleanup_(volume_done) Volume snapshot = { .state = VOLUME_CREATING };
        const Volume *volume = &op->volume->volume;
        char name[SNAPSHOT_NAME_MAX + 1];
        struct timespec ts;
        int r;

        clock_gettime(CLOCK_REALTIME, &ts);
        snapshot.created_usec = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        r = sd_id128_randomize(&snapshot.uuid);
        if (r < 0)
                return error_errno(err, r, "cannot make a UUID");
        if (volume_spec_copy(&volume->spec, &snapshot.spec) < 0)
                return error_oom(err);
        volume_set_host_key(&snapshot, volume->host_key);
        snapshot.spec.role = ROLE_SNAPSHOT;
        snapshot.spec.protected = false;
        snapshot.spec.origin = volume->uuid;
        snapshot.spec.size = op->size_before;
        choose_name(op->volume, snapshot.created_usec, name);
        full_name_format(volume->spec.name, name, snapshot.spec.name);
        op->volumes[0] = snapshot.uuid;
        *ret = registry_give_spare(&op->manager->registry, op->volume, &snapshot, err);
        op->n_volumes = *ret ? 1 : 0;
        return *ret ? 0 : error_code(err);
}

/* Nobody finds the snapshot ready before it is durable; its row never is anything else. */
static void swap_write(Operation *op, const Error *guard_err) {
        const Volume *volumes[2] = { &op->volume->volume };
        VolumeEntry *kept = kept_entry(op);
        Error err = {};
        int r;

        if (guard_err) {
                swap_back(op);
                undo(op, guard_err);
                return;
        }
        take_over(op, &op->job.source);
        if (kept) {
                kept->volume.state = VOLUME_READY;
                volumes[1] = &kept->volume;
        }
        r = catalog_put_volumes(op->pool->catalog, volumes, kept ? 2 : 1, on_swapped, op, &err);
        if (kept)
                kept->volume.state = VOLUME_CREATING;
        if (r < 0) {
                swap_back(op);
                undo(op, &err);
        }
}

static void swap(Operation *op) {
        VolumeEntry *kept;
        Error err = {};

        op->size_before = op->volume->volume.spec.size;
        volume_entry_expect(op->volume, op->volume->expected_size, false); /* it comes now */
        volume_entry_swap_spare(op->volume);
        volume_entry_resize(op->volume, op->job.source.spec.size);
        if (op->discard)
                swap_write(op, NULL);
        else if (kept_add(op, &kept, &err) >= 0)
                operation_guard(op, kept, swap_write);
        else {
                swap_back(op);
                undo(op, &err);
        }
}

/* --- the way there ---------------------------------------------------------------------------------------- */

static void on_row_written(const Error *err, void *userdata);

static void on_copied(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_ROLLBACK, on_copied, &failure) >= 0)
                return;
        if (err && operation_thin_id_is_anothers(op, err)) {
                if (!volume_spare_take_next(op, on_row_written))
                        undo_row(op, err);
        } else if (err)
                undo(op, err);
        else
                swap(op);
}

static void on_row_written(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        op->deaths = 0;
        if (err) /* a commit that is said to have failed may have reached the disk */
                undo_row(op, err);
        else if (operation_run_job(op, JOB_VOLUME_ROLLBACK, on_copied, &failure) < 0)
                undo_row(op, &failure);
}

static void go_back(Operation *op) {
        const VolumeEntry *snapshot = registry_find_uuid(&op->manager->registry, op->target);
        Error failure = {};

        if (operation_set_source(op, snapshot, &failure) < 0)
                finish(op, &failure);
        else if (volume_entry_take_spare(op->volume) < 0) {
                error_set(&failure, ERROR_NO_SPACE, ENOSPC, "pool %s has no thin id left", op->pool->info.name);
                finish(op, &failure);
        } else if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_written, op, &failure) < 0) {
                volume_entry_drop_spare(op->volume);
                finish(op, &failure);
        }
}

/* --- whether it is one of those known ---------------------------------------------------------------------- */

static void compare(Operation *op);

static void on_compared(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        const VolumeEntry *known = registry_find_uuid(&op->manager->registry, op->job.source.uuid);
        bool is_there = known && known->volume.thin_id == op->job.source.thin_id;

        if (err)
                finish(op, err);
        else if (is_there && result->delta.total == 0) /* else it may be another's that was compared */
                go_back(op);
        else
                compare(op);
}

/* Nobody else gets at the volume meanwhile: it is closed, and its lane is taken. */
static void compare(Operation *op) {
        const char *name = op->volume->volume.spec.name;
        const VolumeEntry *known;
        Error failure = {};

        do {
                if (op->n_known == 0) {
                        error_set(&failure, ERROR_NOT_SUPPORTED, ESTALE, "%s is not as it was any more", name);
                        finish(op, &failure);
                        return;
                }
                known = registry_find_uuid(&op->manager->registry, op->known[--op->n_known]);
        } while (!known || volume_check_ready(known, NULL) < 0);
        op->job.total_only = true;
        if (operation_set_source(op, known, &failure) < 0 ||
            operation_run_job(op, JOB_VOLUME_DIFF, on_compared, &failure) < 0)
                finish(op, &failure);
}

static void on_claimed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err) {
                failure = *err;
                if (err->kind == ERROR_VOLUME_BUSY)
                        error_hint(&failure, "quarry umount %s; or end those processes",
                                   VOLUME_REFERENCE(&op->volume->volume.spec));
                finish(op, &failure);
                return;
        }
        op->volume->open = false;
        if (op->dry_run)
                finish(op, NULL);
        else if (op->n_known > 0)
                compare(op);
        else
                go_back(op);
}

/* One that an earlier rollback could not get rid of is gone now. */
static void on_without_spare(Operation *op, const Error *err) {
        Error failure = {};

        if (err)
                finish(op, err);
        else if (operation_run_job(op, JOB_VOLUME_CLAIM, on_claimed, &failure) < 0)
                finish(op, &failure);
}

static int rollback_check(const Operation *op, const VolumeEntry *snapshot, Error *err) {
        uint64_t size = op->volume->volume.spec.size, wanted = snapshot->volume.spec.size;
        char text[SIZE_TEXT_MAX], larger[SIZE_TEXT_MAX];
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err);
        if (r >= 0 && op->volume->volume.pending_size > 0) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s has not grown to its end",
                              op->volume->volume.spec.name);
                error_hint(err, "go on with it: quarry resize %s %s; or give it up: quarry resize %s %s",
                           VOLUME_REFERENCE(&op->volume->volume.spec),
                           size_format_exact(op->volume->volume.pending_size, larger),
                           VOLUME_REFERENCE(&op->volume->volume.spec), size_format_exact(size, text));
        }
        if (r >= 0)
                r = volume_check_ready(snapshot, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r >= 0 && wanted > size)
                r = quota_check_size(op->manager, op->pool, op->volume->tenant, wanted - size, err);
        if (r >= 0 && !op->discard) /* what is there now becomes one */
                r = quota_check_snapshots(op->volume->tenant, 1, err);
        return r < 0 ? r : space_check_create(op->pool, err);
}

/* Copying takes a while, in which others ask for space. */
static void expect(Operation *op, uint64_t wanted) {
        uint64_t size = op->volume->volume.spec.size;

        volume_entry_expect(op->volume, wanted > size ? wanted : size, !op->discard);
}

static void on_guarded(Operation *op, const Error *err) {
        const VolumeEntry *snapshot = registry_find_uuid(&op->manager->registry, op->target);
        Error failure = {};
        int r;

        if (err) {
                finish(op, err);
                return;
        }
        r = rollback_check(op, snapshot, &failure);
        if (r >= 0 && op->dry_run && operation_run_job(op, JOB_VOLUME_CLAIM, on_claimed, &failure) >= 0)
                return;
        if (r < 0 || op->dry_run) {
                finish(op, &failure);
                return;
        }
        expect(op, snapshot->volume.spec.size);
        volume_spare_drop(op, on_without_spare);
}

static int rollback_start(Operation *op, Error *err) {
        VolumeEntry *snapshot = registry_find_uuid(&op->manager->registry, op->target);

        if (!snapshot || snapshot->origin != op->volume)
                return error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "the snapshot of volume %s is not there any more",
                                 op->volume->volume.spec.name);
        operation_guard(op, snapshot, on_guarded);
        return 0;
}

static int check_known(const RollbackRequest *request, Error *err) {
        const VolumeEntry *origin = request->snapshot->origin;

        if (request->n_known > 0 && !request->discard)
                return error_field(err, "known", "what there is now is only discarded if it is known");
        for (size_t i = 0; i < request->n_known; i++)
                if (request->known[i]->origin != origin)
                        return error_field(err, "known", "%s is no snapshot of %s", request->known[i]->volume.spec.name,
                                           origin->volume.spec.name);
        return 0;
}

int volume_rollback(Manager *m, const Caller *caller, const RollbackRequest *request, const Watcher *watcher,
                    Error *err) {
        const VolumeEntry *snapshot = request->snapshot;
        Operation *op;
        int r;

        if (volume_check_block(snapshot, "rollback", err) < 0)
                return error_code(err);
        if (snapshot->volume.spec.role != ROLE_SNAPSHOT) {
                r = error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "%s is a volume: name the snapshot to go back to",
                              snapshot->volume.spec.name);
                error_hint(err, "quarry ls --type snapshot");
                return r;
        }
        r = check_known(request, err);
        if (r >= 0)
                r = operation_new(m, request->dry_run ? NULL : "rollback", caller, watcher, rollback_start, &op, err);
        if (r < 0)
                return r;
        op->volumes = calloc(1, sizeof(*op->volumes));
        op->known = calloc(request->n_known + 1, sizeof(*op->known));
        if (!op->volumes || !op->known) {
                operation_free(op);
                return error_oom(err);
        }
        for (; op->n_known < request->n_known; op->n_known++)
                op->known[op->n_known] = request->known[op->n_known]->volume.uuid;
        op->target = snapshot->volume.uuid;
        op->discard = request->discard;
        op->dry_run = request->dry_run;
        operation_begin_on_volume(op, snapshot->origin);
        return 0;
}
