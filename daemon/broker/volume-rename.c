/* Another name for a volume, also while it is mounted. One durable row says that it has the new name and may still be
 * mounted under the old one; then mount, link and those of its open snapshots move; then the row loses the old name.
 * A rename that cannot be brought to its end is followed by one back. */

#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

static void go_on(Operation *op);

static void finish(Operation *op) {
        operation_finish(op, op->failure.kind == ERROR_NONE ? NULL : &op->failure);
}

/* --- the row ---------------------------------------------------------------------------------------------- */

static void on_row_named(const Error *err, void *userdata) {
        Operation *op = userdata;
        Volume *volume = &op->volume->volume;
        Error failure = {};

        if (!err) {
                go_on(op);
                return;
        }
        if (op->failure.kind == ERROR_NONE)
                op->failure = *err;
        if (registry_rename_volume(&op->manager->registry, op->volume, volume->old_name, &failure) < 0)
                log_failure(volume->spec.name, &failure, "cannot take its new name back");
        registry_set_old_name(&op->manager->registry, op->volume, NULL);
        finish(op);
}

static int name_take(Operation *op, Error *err) {
        Volume *volume = &op->volume->volume;
        _cleanup_free_ char *old = strdup(volume->spec.name);
        Error failure = {};
        int r;

        if (!old)
                return error_oom(err);
        r = registry_check_old_names(&op->manager->registry, volume->spec.tenant, op->name, op->volume, err);
        if (r >= 0)
                r = registry_rename_volume(&op->manager->registry, op->volume, op->name, err);
        if (r < 0)
                return r;
        registry_set_old_name(&op->manager->registry, op->volume, TAKE_PTR(old));
        if (catalog_put_volume(op->pool->catalog, volume, on_row_named, op, &failure) < 0)
                on_row_named(&failure, op);
        return 0;
}

static void on_row_settled(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                registry_set_old_name(&op->manager->registry, op->volume, NULL);
                go_on(op);
                return;
        }
        if (op->failure.kind == ERROR_NONE)
                op->failure = *err;
        finish(op); /* what has moved is found so by the next start */
}

static void settle(Operation *op) {
        Volume *volume = &op->volume->volume;
        char *old_name = TAKE_PTR(volume->old_name);
        Error failure = {};
        int r;

        r = catalog_put_volume(op->pool->catalog, volume, on_row_settled, op, &failure);
        volume->old_name = old_name; /* until the row without it is durable */
        if (r < 0)
                on_row_settled(&failure, op);
}

/* --- the mounts ------------------------------------------------------------------------------------------- */

static void move_next(Operation *op);

/* Nothing may be said to have failed and be done in part: all goes back. What cannot go back is for the next start. */
static void on_moved(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_RENAME, on_moved, &failure) >= 0)
                return;
        if (!err) {
                move_next(op);
                return;
        }
        if (op->failure.kind != ERROR_NONE || err->kind == ERROR_WORKER_DIED) {
                if (op->failure.kind == ERROR_NONE)
                        op->failure = *err;
                finish(op);
                return;
        }
        op->failure = *err;
        free(op->name);
        op->name = strdup(op->volume->volume.old_name);
        if (!op->name || name_take(op, &failure) < 0)
                finish(op);
}

/* The volume's own, and then those of the snapshots whose lanes it has. */
static void move_next(Operation *op) {
        const Volume *volume = &op->volume->volume, *moving = volume;
        char old[FULL_NAME_MAX + 1];
        Error failure = {};
        int r;

        if (op->moving) {
                op->moved = op->moved ? op->moved->next_guard : op->guards;
                if (!op->moved) {
                        settle(op);
                        return;
                }
                moving = &op->moved->volume->volume;
        }
        op->moving = true;
        full_name_format(volume->old_name, snapshot_name_of(moving->spec.name) ?: "", old);
        operation_forget_job(op);
        op->job.volume.uuid = moving->uuid;
        op->job.volume.thin_id = moving->thin_id;
        op->job.volume.old_name = strdup(old);
        r = op->job.volume.old_name ? volume_spec_copy(&moving->spec, &op->job.volume.spec) : -ENOMEM;
        r = r < 0 ? error_oom(&failure) : operation_run_job(op, JOB_VOLUME_RENAME, on_moved, &failure);
        if (r < 0)
                on_moved(NULL, NULL, &failure, op);
}

static void go_on(Operation *op) {
        const Volume *volume = &op->volume->volume;
        Error failure = {};

        op->moved = NULL;
        op->moving = false;
        if (volume->old_name)
                move_next(op);
        else if (!op->name || streq(op->name, volume->spec.name))
                finish(op);
        else if (name_take(op, &failure) < 0)
                operation_finish(op, &failure);
}

/* --- nobody mounts a snapshot meanwhile ------------------------------------------------------------------- */

static bool has_guard(const Operation *op, const VolumeEntry *entry) {
        const Operation *guard = op->guards;

        while (guard && guard->volume != entry)
                guard = guard->next_guard;
        return guard;
}

/* Of two renames at once one gives it its name, and the other says so. */
static int check_name(const Operation *op, Error *err) {
        const char *name = op->volume->volume.spec.name;

        if (!op->old_name || streq(name, op->old_name) || streq(name, op->name))
                return 0;
        return error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "volume %s was renamed to %s meanwhile", op->old_name,
                         name);
}

/* One that went away while it was waited for is not ready any more. */
static void guard_next(Operation *op, const Error *err) {
        Error failure = {};

        if (err && err->kind != ERROR_NO_SUCH_VOLUME) {
                operation_finish(op, err);
                return;
        }
        for (VolumeEntry *s = op->volume->snapshots; s; s = s->next_snapshot)
                if (s->volume.state == VOLUME_READY && (s->open || s->lane.running) && !has_guard(op, s)) {
                        operation_guard(op, s, guard_next);
                        return;
                }
        if (check_name(op, &failure) < 0 || volume_check_ready(op->volume, &failure) < 0 ||
            volume_check_not_suspended(op->volume, &failure) < 0 || pool_entry_check_changes(op->pool, &failure) < 0)
                operation_finish(op, &failure);
        else
                go_on(op);
}

static int rename_start(Operation *op, Error *err) {
        guard_next(op, NULL);
        return 0;
}

int volume_rename(Manager *m, const Caller *caller, VolumeEntry *entry, const char *name, const Watcher *watcher,
                  Error *err) {
        const char *have = entry->volume.spec.name;
        Operation *op;
        int r;

        if (entry->volume.spec.role == ROLE_SNAPSHOT)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "%s is a snapshot: it is called by its volume's name, and keeps its own", have);
        r = volume_name_check(name, "name", err);
        if (r >= 0 && !streq(name, have) && registry_find_anywhere(&m->registry, entry->volume.spec.tenant, name))
                r = error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", name);
        if (r >= 0)
                r = registry_check_old_names(&m->registry, entry->volume.spec.tenant, name, entry, err);
        if (r >= 0)
                r = operation_new(m, "rename", caller, watcher, rename_start, &op, err);
        if (r < 0)
                return r;
        op->name = strdup(name);
        op->old_name = strdup(have);
        if (!op->name || !op->old_name) {
                operation_free(op);
                return error_oom(err);
        }
        operation_begin_on_volume(op, entry);
        return 0;
}

void volume_rename_resume(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        log_info(entry->volume.spec.name, "was being renamed from %s when quarryd ended: going on",
                 entry->volume.old_name);
        if (operation_new(m, "rename", &self, NULL, rename_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot go on with its rename");
        else
                operation_begin_on_volume(op, entry);
}
