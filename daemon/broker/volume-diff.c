/* Where two images of a volume differ. */

#include "broker/volume.h"

#include <quarry/text.h>

/* They were not kept from going meanwhile, and the thin id of one that went may be another's by now. */
static int check_unchanged(Operation *op, const Volume *volume, Error *err) {
        const VolumeEntry *entry = registry_find_uuid(&op->manager->registry, volume->uuid);

        if (!entry || entry->volume.state != VOLUME_READY || entry->volume.thin_id != volume->thin_id)
                return error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "%s was removed or replaced meanwhile",
                                 volume->spec.name);
        return 0;
}

static void on_compared(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err &&
            (check_unchanged(op, &op->job.source, &failure) < 0 || check_unchanged(op, &op->job.volume, &failure) < 0))
                err = &failure;
        if (!err) {
                op->delta = result->delta;
                result->delta = (ThinDelta) {};
        }
        operation_finish(op, err);
}

static int take_volume(Operation *op, sd_id128_t uuid, Volume *ret, Error *err) {
        const VolumeEntry *entry = registry_find_uuid(&op->manager->registry, uuid);
        int r;

        if (!entry)
                return error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "a volume was removed meanwhile");
        r = volume_check_ready(entry, err);
        if (r < 0)
                return r;
        ret->thin_id = entry->volume.thin_id;
        volume_spec_done(&ret->spec);
        return volume_spec_copy(&entry->volume.spec, &ret->spec) < 0 ? error_oom(err) : 0;
}

static int diff_start(Operation *op, Error *err) {
        int r;

        r = take_volume(op, op->job.source.uuid, &op->job.source, err);
        if (r >= 0)
                r = take_volume(op, op->job.volume.uuid, &op->job.volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_DIFF, on_compared, err);
}

/* What has another filesystem, or is encrypted and the other is not, never was the same. */
static int check_lineage(const VolumeEntry *from, const VolumeEntry *to, Error *err) {
        const VolumeSpec *a = &from->volume.spec, *b = &to->volume.spec;

        if (volume_check_block(from, "diff", err) < 0 || volume_check_block(to, "diff", err) < 0)
                return error_code(err);
        if (from->pool != to->pool)
                return error_set(err, ERROR_NOT_SUPPORTED, EXDEV,
                                 "%s is in pool %s, and %s in pool %s: they have nothing in common", a->name,
                                 from->pool->info.name, b->name, to->pool->info.name);
        if (a->fs != b->fs || (a->key_source == KEY_SOURCE_NONE) != (b->key_source == KEY_SOURCE_NONE))
                return error_set(err, ERROR_NOT_SUPPORTED, EXDEV,
                                 "%s and %s do not come from one volume: they differ in filesystem or encryption",
                                 a->name, b->name);
        return 0;
}

int volume_diff(Manager *m, const Caller *caller, const DiffRequest *request, const Watcher *watcher, Error *err) {
        const VolumeEntry *to = request->to, *from = request->from ?: to;
        Operation *op;
        int r;

        r = check_lineage(from, to, err);
        if (r >= 0)
                r = operation_new(m, NULL, caller, watcher, diff_start, &op, err);
        if (r < 0)
                return r;
        op->pool = from->pool; /* which stays, then */
        op->job.source.uuid = from->volume.uuid;
        op->job.volume.uuid = to->volume.uuid;
        op->job.total_only = request->total_only;
        op->job.mapped = !request->from;
        op->job.join = request->join;
        operation_begin(op, &from->pool->diff_lane);
        return 0;
}
