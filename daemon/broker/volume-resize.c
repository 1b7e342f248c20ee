/* Another size for a volume.
 *
 * It grows also while it is used: the row has the pending size before anything does, and from then on its device is
 * opened with that size, so that it is never smaller than its filesystem. What is cut short is gone on with at the
 * next start, or when the volume is opened with its passphrase.
 *
 * It shrinks on a copy under a spare thin id, which takes the volume's place in the same row as the size. */

#include "broker/pool-open.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* --- growing ---------------------------------------------------------------------------------------------- */

static void on_row_grown(const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;

        if (err) { /* the row still says that it grows: the next start finds that it has */
                uint64_t size = entry->volume.spec.size;

                volume_entry_resize(entry, op->size_before);
                volume_entry_set_pending(entry, size);
        }
        op->then(op, err);
}

static void settle(Operation *op) {
        VolumeEntry *entry = op->volume;
        uint64_t size = entry->volume.pending_size;
        Error failure = {};

        op->size_before = entry->volume.spec.size;
        volume_entry_resize(entry, size);
        volume_entry_set_pending(entry, 0);
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_grown, op, &failure) < 0)
                on_row_grown(&failure, op);
}

static void on_row_as_before(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                log_failure(op->volume->volume.spec.name, err, "cannot note that it does not grow");
        op->then(op, &op->failure);
}

/* Only what this operation began, and what left no trace: a filesystem may have taken what an earlier try gave it. */
static bool can_be_taken_back(const Operation *op, const Error *err) {
        return op->growth_is_new && op->deaths == 0 && err->kind != ERROR_WORKER_DIED && !err->undo_failed;
}

static void on_grown(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        char text[SIZE_TEXT_MAX];
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_GROW, on_grown, &failure) >= 0)
                return;
        if (!err) {
                entry->open = result->open;
                settle(op);
                return;
        }
        op->failure = *err;
        if (err->kind == ERROR_WORKER_DIED)
                volume_may_be_open(op->manager, entry);
        if (!can_be_taken_back(op, err)) {
                if (isempty(op->failure.hint))
                        error_hint(&op->failure,
                                   "it is gone on with when quarryd starts, or the volume is mounted; or "
                                   "give it up: quarry resize %s %s",
                                   VOLUME_REFERENCE(&entry->volume.spec),
                                   size_format_exact(entry->volume.spec.size, text));
                op->then(op, &op->failure);
                return;
        }
        volume_entry_set_pending(entry, 0);
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_as_before, op, &failure) < 0)
                on_row_as_before(&failure, op);
}

void volume_grow_go_on(Operation *op, void (*then)(Operation *op, const Error *err)) {
        Error failure = {};

        op->then = then;
        operation_forget_job(op);
        if (operation_run_job(op, JOB_VOLUME_GROW, on_grown, &failure) < 0)
                then(op, &failure);
}

static void go_on(Operation *op, const Error *err);

static void on_row_pending(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) {
                volume_entry_set_pending(op->volume, 0);
                operation_finish(op, err);
                return;
        }
        op->growth_is_new = true;
        volume_grow_go_on(op, go_on);
}

static int grow_check(const Operation *op, Error *err) {
        const VolumeEntry *entry = op->volume;
        int r;

        r = quota_check_size(op->manager, op->pool, entry->tenant, op->size - entry->volume.spec.size, err);
        return r < 0 ? r : space_check_create(op->pool, err);
}

static int grow(Operation *op, Error *err) {
        VolumeEntry *entry = op->volume;
        int r;

        r = grow_check(op, err);
        if (r < 0)
                return r;
        volume_entry_set_pending(entry, op->size);
        r = catalog_put_volume(op->pool->catalog, &entry->volume, on_row_pending, op, err);
        if (r < 0)
                volume_entry_set_pending(entry, 0);
        return r;
}

/* --- shrinking -------------------------------------------------------------------------------------------- */

/* It is smaller in any case: what is left over is looked for by the next start. */
static void on_old_gone(Operation *op, const Error *err) {
        if (err)
                log_failure(op->volume->volume.spec.name, err, "cannot delete what it was before");
        operation_finish(op, NULL);
}

static void swap(VolumeEntry *entry, uint64_t size) {
        volume_entry_swap_spare(entry);
        volume_entry_resize(entry, size);
}

static void on_copy_gone(Operation *op, const Error *err) {
        if (err)
                log_failure(op->volume->volume.spec.name, err, "cannot delete the copy that was to be made smaller");
        operation_finish(op, &op->failure);
}

static void on_row_swapped(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) {
                swap(op->volume, op->size_before);
                volume_entry_expect(op->volume, 0, false);
                op->failure = *err;
                if (err->kind == ERROR_NO_SPACE) {
                        volume_spare_drop(op, on_copy_gone);
                        return;
                }
                /* It may have reached the disk: neither of the two is deleted before the catalog was read anew. */
                pool_check_catalog(op->pool);
                operation_finish(op, &op->failure);
                return;
        }
        volume_entry_expect(op->volume, 0, false);
        operation_forget_job(op);
        volume_spare_drop(op, on_old_gone);
}

static void on_row_spare(const Error *err, void *userdata);

static void on_shrunk(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_SHRINK, on_shrunk, &failure) >= 0)
                return;
        if (err && operation_thin_id_is_anothers(op, err)) {
                op->failure = *err;
                if (!volume_spare_take_next(op, on_row_spare))
                        volume_spare_forget(op, on_copy_gone);
                return;
        }
        if (err) {
                op->failure = *err;
                op->deaths = 0;
                volume_spare_drop(op, on_copy_gone);
                return;
        }
        entry->open = false;
        op->size_before = entry->volume.spec.size;
        volume_entry_expect(entry, op->size_before, false); /* it keeps that if this cannot be noted */
        swap(entry, op->size);
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_swapped, op, &failure) < 0)
                on_row_swapped(&failure, op);
}

static void on_row_spare(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err) {
                volume_entry_drop_spare(op->volume);
                operation_finish(op, err);
                return;
        }
        operation_forget_job(op);
        op->deaths = 0;
        op->job.volume.pending_size = op->size;
        if (operation_run_job(op, JOB_VOLUME_SHRINK, on_shrunk, &failure) < 0)
                on_shrunk(NULL, NULL, &failure, op);
}

static void on_spare_free(Operation *op, const Error *err) {
        Error failure = {};
        int r;

        if (err) {
                operation_finish(op, err);
                return;
        }
        r = volume_entry_take_spare(op->volume);
        if (r < 0)
                error_set(&failure, ERROR_NO_SPACE, r, "pool %s has no thin id left", op->pool->info.name);
        else
                r = catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_spare, op, &failure);
        if (r < 0)
                on_row_spare(&failure, op);
}

static int shrink_check(const VolumeSpec *spec, uint64_t size, Error *err) {
        char want[SIZE_TEXT_MAX], least[SIZE_TEXT_MAX];
        int r;

        if (spec->fs == FILESYSTEM_EXT4 && size >= EXT4_SIZE_MIN)
                return 0;
        if (spec->fs == FILESYSTEM_EXT4)
                return error_set(err, ERROR_NO_SPACE, ENOSPC, "%s is too small for volume %s: ext4 needs at least %s",
                                 size_format_exact(size, want), spec->name, size_format(EXT4_SIZE_MIN, least));
        r = spec->fs == FILESYSTEM_XFS
                    ? error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "volume %s has XFS, which cannot shrink",
                                spec->name)
                    : error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                "volume %s has no filesystem: Quarry cannot know whether its end is in use",
                                spec->name);
        error_hint(err, "make a smaller volume and copy: quarry create NAME --size %s --fs %s",
                   size_format_exact(size, want), filesystem_to_string(spec->fs));
        return r;
}

static int shrink(Operation *op, Error *err) {
        int r;

        r = shrink_check(&op->volume->volume.spec, op->size, err);
        if (r >= 0)
                volume_spare_drop(op, on_spare_free);
        return r;
}

/* --- the request ------------------------------------------------------------------------------------------ */

static void go_on(Operation *op, const Error *err) {
        const Volume *volume = &op->volume->volume;
        Error failure = {};
        int r = 0;

        if (err || op->size == volume->spec.size) {
                operation_finish(op, err);
                return;
        }
        if (volume->pending_size > 0)
                volume_grow_go_on(op, go_on);
        else
                r = op->size > volume->spec.size ? grow(op, &failure) : shrink(op, &failure);
        if (r < 0)
                operation_finish(op, &failure);
}

static void on_row_ungrown(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) { /* the row still says that it grows */
                volume_entry_set_pending(op->volume, op->size_before);
                operation_finish(op, err);
                return;
        }
        go_on(op, NULL);
}

static void on_ungrown(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_UNGROW, on_ungrown, &failure) >= 0)
                return;
        if (err && err->kind == ERROR_WORKER_DIED)
                volume_may_be_open(op->manager, entry);
        if (err && err->number == EBUSY) { /* what its filesystem took it does not give back so */
                op->deaths = 0;
                volume_grow_go_on(op, go_on);
                return;
        }
        if (err) {
                operation_finish(op, err);
                return;
        }
        entry->open = result->open;
        op->size_before = entry->volume.pending_size;
        volume_entry_set_pending(entry, 0);
        if (catalog_put_volume(op->pool->catalog, &entry->volume, on_row_ungrown, op, &failure) < 0)
                on_row_ungrown(&failure, op);
}

/* Whole MiB, of the size that it has, or is to have, when it is its turn. */
static int target_size(const Operation *op, uint64_t *ret, Error *err) {
        const Volume *volume = &op->volume->volume;
        uint64_t now = volume->pending_size ?: volume->spec.size, size = op->size;
        char text[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];

        if (op->subtract >= now)
                return error_field(err, "subtractBytes", "volume %s has only %s", volume->spec.name,
                                   size_format_exact(now, text));
        if (op->subtract > 0)
                size = now - op->subtract;
        if (op->add > 0 && __builtin_add_overflow(now, op->add, &size))
                size = UINT64_MAX;
        if (size > VOLUME_SIZE_MAX)
                return error_field(err, op->add ? "addBytes" : "sizeBytes", "a volume has at most %s",
                                   size_format(VOLUME_SIZE_MAX, limit));
        *ret = (size + MIB - 1) / MIB * MIB;
        return 0;
}

/* The kernel keeps the key of an open volume, and wants it once more for another size. */
static int key_check(const Operation *op, Error *err) {
        const VolumeSpec *spec = &op->volume->volume.spec;
        int r;

        if (spec->key_source != KEY_SOURCE_PASSPHRASE || op->key_fd >= 0)
                return 0;
        r = error_set(err, ERROR_KEY_REQUIRED, ENOKEY,
                      "another size of volume %s takes its passphrase, also while it is open", spec->name);
        error_hint(err, "give it on the terminal or with --key-file");
        return r;
}

static int resize_start(Operation *op, Error *err) {
        const Volume *volume = &op->volume->volume;
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                r = target_size(op, &op->size, err);
        if (r >= 0 && volume->spec.kind == KIND_TMPFS)
                return volume_resize_tmpfs(op, err);
        if (r >= 0 && op->size < volume->spec.size)
                r = shrink_check(&volume->spec, op->size, err);
        if (r >= 0 && op->dry_run) {
                r = op->size > volume->spec.size ? grow_check(op, err) : 0;
                if (r >= 0)
                        operation_finish(op, NULL);
                return r;
        }
        if (r >= 0 && (op->size != volume->spec.size || volume->pending_size > 0))
                r = key_check(op, err);
        if (r < 0)
                return r;
        if (volume->pending_size > 0 && op->size == volume->spec.size) /* a growth that does not end is given up so */
                return operation_run_job(op, JOB_VOLUME_UNGROW, on_ungrown, err);
        if (volume->pending_size > 0)
                volume_grow_go_on(op, go_on);
        else
                go_on(op, NULL);
        return 0;
}

static int refuse_bind(const VolumeSpec *spec, Error *err) {
        if (spec->size == 0)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s is a bind volume: its files take what they need of the filesystem of %s",
                                 spec->name, spec->source);
        error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "volume %s is a bind volume: its limit is that of its creation",
                  spec->name);
        error_hint(err, "make it anew with another --size: rm leaves the files alone: quarry rm %s",
                   VOLUME_REFERENCE(spec));
        return error_code(err);
}

int volume_resize(Manager *m, const Caller *caller, VolumeEntry *entry, uint64_t size, uint64_t add, uint64_t subtract,
                  bool dry_run, int key_fd, const Watcher *watcher, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;
        Operation *op;
        int r = 0;

        if (spec->kind == KIND_BIND)
                r = refuse_bind(spec, err);
        else if (spec->role != ROLE_VOLUME)
                r = error_set(err, ERROR_NOT_SUPPORTED, EROFS, "snapshot %s can only be read", spec->name);
        else if ((size > 0) + (add > 0) + (subtract > 0) != 1)
                r = error_field(err, "sizeBytes",
                                "one of sizeBytes, addBytes and subtractBytes is to be given, and not 0");
        if (r >= 0)
                r = operation_new(m, dry_run ? NULL : "resize", caller, watcher, resize_start, &op, err);
        if (r < 0) {
                if (key_fd >= 0)
                        close(key_fd);
                return r;
        }
        op->size = size;
        op->add = add;
        op->subtract = subtract;
        op->dry_run = dry_run;
        op->key_fd = key_fd;
        operation_begin_on_volume(op, entry);
        return 0;
}

/* --- after a start ---------------------------------------------------------------------------------------- */

static void on_resumed(Operation *op, const Error *err) {
        operation_finish(op, err);
}

static int resume_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                volume_grow_go_on(op, on_resumed);
        return r;
}

void volume_grow_resume(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (entry->volume.locked || (entry->volume.spec.key_source == KEY_SOURCE_PASSPHRASE && !entry->open)) {
                log_info(entry->volume.spec.name, "its growth was cut short, and goes on when it is mounted");
                return;
        }
        log_info(entry->volume.spec.name, "was growing when quarryd ended: going on");
        if (operation_new(m, "resize", &self, NULL, resume_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot go on with its growth");
        else
                operation_begin_on_volume(op, entry);
}
