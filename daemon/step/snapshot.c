/* Images of volumes, of all of a job at one instant. */

#include "step/change.h"
#include "step/freeze.h"
#include "step/step.h"

#include "kernel/dm.h"

#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

/* A suspend waits for what was written: in a pool without space that lasts, and then the pool itself cannot be given
 * any. So it is looked at twice: before anything is written out, and behind that. */
static int prepare_run(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err);
        for (size_t i = 0; i < c->job->n_images && r >= 0; i++)
                r = freeze_prepare(c->job->images[i].origin.uuid, c->job->images[i].origin.spec.name, err);
        return r < 0 ? r : thin_pool_has_room(c, err);
}

static int image_make(StepContext *c, const Volume *origin, uint32_t thin_id, Error *err) {
        int r;

        r = failpoint("%s.frozen", job_verb_to_string(c->job->verb));
        if (r >= 0)
                r = dm_thin_snapshot(c->pool.uuid, thin_id, origin->thin_id);
        if (r == -EEXIST)
                return error_set(err, ERROR_FAILED, r, "pool %s has a thin device %u that its catalog does not know",
                                 c->pool.name, thin_id);
        if (r == -ENODATA)
                return error_set(err, ERROR_FAILED, r,
                                 "pool %s has no thin device %u: its catalog and its metadata disagree", c->pool.name,
                                 origin->thin_id);
        if (r < 0)
                error_errno(err, r, "cannot make an image of volume %s", origin->spec.name);
        err->undo_failed = r == -EIO; /* it may be there when the pool is well again */
        return r;
}

/* As many as can be; fails with the first that cannot. */
static int images_delete(StepContext *c, size_t n, Error *err) {
        int first = 0;

        while (n > 0) {
                int r = dm_thin_delete(c->pool.uuid, c->job->images[--n].thin_id);

                if (r < 0 && r != -ENODATA && first == 0)
                        first = error_errno(err, r, "cannot delete the image of volume %s again",
                                            c->job->images[n].origin.spec.name);
        }
        return first;
}

static void images_take_back(StepContext *c, size_t n, Error *failure) {
        Error err = {};

        if (images_delete(c, n, &err) >= 0)
                return;
        log_error(c->pool.name, "%s", err.text);
        failure->undo_failed = true;
}

/* Nothing slow may happen in here: whoever writes to one of the volumes waits. */
static int images_make(StepContext *c, Change *changes, Error *err) {
        Freeze frozen[JOB_IMAGES_MAX];
        size_t n_frozen = 0, n_made = 0;
        int r = 0;

        for (; n_frozen < c->job->n_images && r >= 0; n_frozen += r >= 0)
                r = freeze_begin(c->job->images[n_frozen].origin.uuid, c->job->images[n_frozen].origin.spec.name,
                                 &frozen[n_frozen], err);
        for (size_t i = 0; i < c->job->n_images && r >= 0; i++)
                if (changes[i].noted)
                        change_look_frozen(&c->job->images[i].origin, &changes[i]);
        for (; n_made < c->job->n_images && r >= 0; n_made += r >= 0)
                r = image_make(c, &c->job->images[n_made].origin, c->job->images[n_made].thin_id, err);
        while (n_frozen > 0)
                freeze_end(&frozen[--n_frozen]);
        if (r < 0)
                images_take_back(c, n_made, err);
        return r;
}

int snapshot_copy(StepContext *c, const Volume *from, uint32_t thin_id, Error *err) {
        Freeze frozen;
        int r;

        r = thin_pool_has_room(c, err);
        if (r >= 0)
                r = freeze_begin(from->uuid, from->spec.name, &frozen, err);
        if (r < 0)
                return r;
        r = image_make(c, from, thin_id, err);
        freeze_end(&frozen);
        return r;
}

/* What an image takes now is what its origin takes. */
static int report(StepContext *c, const Change *changes) {
        JobResult *result = c->result;

        result->devices = calloc(c->job->n_images, sizeof(*result->devices));
        if (!result->devices)
                return -ENOMEM;
        for (size_t i = 0; i < c->job->n_images; i++) {
                const Volume *origin = &c->job->images[i].origin;
                JobDevice device = { .uuid = c->job->images[i].uuid };

                if (changes[i].noted)
                        device.content = change_note(origin, &changes[i]);
                if (dm_thin_used(origin->uuid, &device.used) >= 0 || changes[i].noted)
                        result->devices[result->n_devices++] = device;
        }
        return 0;
}

/* One image, of a volume that holds what it did at an earlier one. */
static int snapshot_probe(StepContext *c, Error *err) {
        const JobImage *image = &c->job->images[0];
        Change change;

        if (c->job->n_images != 1 || sd_id128_is_null(image->unless))
                return 0;
        change_look(&image->origin, &change);
        if (!sd_id128_equal(change.content, image->unless))
                return 0;
        c->result->devices = calloc(1, sizeof(*c->result->devices));
        if (!c->result->devices)
                return error_oom(err);
        c->result->devices[c->result->n_devices++] = (JobDevice) { .uuid = image->uuid,
                                                                   .content = change.content,
                                                                   .unchanged = true };
        return 1;
}

static int snapshot_run(StepContext *c, Error *err) {
        Change changes[JOB_IMAGES_MAX];
        int r;

        for (size_t i = 0; i < c->job->n_images; i++) {
                change_look(&c->job->images[i].origin, &changes[i]);
                changes[i].noted |= c->job->images[i].note;
        }
        r = images_make(c, changes, err);
        if (r >= 0 && report(c, changes) < 0) {
                r = error_oom(err);
                images_take_back(c, c->job->n_images, err);
        }
        return r;
}

static int snapshot_undo(StepContext *c, Error *err) {
        return images_delete(c, c->job->n_images, err);
}

const Step step_snapshot_prepare = { "writing out what was written", NULL, prepare_run, NULL };
const Step step_snapshot = { "making the snapshot", snapshot_probe, snapshot_run, snapshot_undo };
