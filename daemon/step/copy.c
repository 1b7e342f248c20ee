/* A volume that begins as a copy of a snapshot, and gets an identity of its own; or becomes what a snapshot is. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/ext.h"
#include "kernel/mnt.h"
#include "kernel/spawn.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

#define TUNE_TIMEOUT 600u /* seconds: it is checked */

static int copy_run(StepContext *c, Error *err) {
        int r;

        r = snapshot_copy(c, &c->job->source, c->job->volume.thin_id, err);
        c->thin_is_new = r >= 0;
        return r;
}

/* --- its filesystem's UUID -------------------------------------------------------------------------------- */

/* Mounted once, the filesystem is as if it had been unmounted. */
static int journal_replay(StepContext *c, const char *device, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        char message[256];

        fd = mnt_filesystem(device, filesystem_to_string(c->job->volume.spec.fs), MNT_WRITABLE, message,
                            sizeof(message));
        return fd < 0 ? error_set(err, ERROR_FAILED, fd, "cannot replay the journal of the copy: %s",
                                  isempty(message) ? strerror(-fd) : message)
                      : 0;
}

/* Those of its groups are made with its UUID: tune2fs makes them anew, of a filesystem that was just checked. */
static int checksums_renew(const char *device, sd_id128_t uuid, Error *err) {
        char text[UUID_TEXT_MAX];
        char *const commands[][5] = {
                { (char *) "e2fsck", (char *) "-fp", (char *) device },
                { (char *) "tune2fs", (char *) "-U", uuid_format(uuid, text), (char *) device },
        };
        static const int most[] = { 1 /* mended */, 0 };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                _cleanup_(spawn_output_done) SpawnOutput output = {};
                int r = spawn_run(commands[i], TUNE_TIMEOUT, &output);

                if (r < 0)
                        return error_errno(err, r, "cannot run %s", commands[i][0]);
                if (r > most[i])
                        return error_set(err, ERROR_FAILED, EIO, "%s failed: %s", commands[i][0],
                                         !isempty(output.err)   ? output.err
                                         : !isempty(output.out) ? output.out
                                                                : "it says nothing");
        }
        return 0;
}

static int identify_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char device[DEVICE_PATH_MAX];
        int r;

        if (!c->thin_is_new)
                return error_set(err, ERROR_FAILED, EEXIST, "refusing to change a device that this job did not make");
        dm_device_path(c->device, device);
        r = ext_identify(device, v->uuid, NULL, NULL);
        if (r == -EUCLEAN) {
                r = journal_replay(c, device, err);
                if (r < 0)
                        return r;
                r = ext_identify(device, v->uuid, NULL, NULL);
        }
        if (r == -EOPNOTSUPP)
                return checksums_renew(device, v->uuid, err);
        return r < 0 ? error_errno(err, r, "cannot give the filesystem of volume %s its own UUID", v->spec.name) : 0;
}

/* --- the place of another --------------------------------------------------------------------------------- */

/* One that is there was made by a worker that died over this, or is nobody's that is known. */
static int spare_copy_run(StepContext *c, Error *err) {
        int r;

        r = c->job->repeated ? step_spare_delete.run(c, err) : 0;
        return r < 0 ? r : snapshot_copy(c, &c->job->source, c->job->volume.spare_thin_id, err);
}

static int spare_copy_undo(StepContext *c, Error *err) {
        return step_spare_delete.run(c, err);
}

const Step step_copy = { "making the copy", NULL, copy_run, thin_delete_new };
const Step step_identify = { "giving the filesystem its own UUID", NULL, identify_run, NULL };
const Step step_spare_copy = { "making the copy", NULL, spare_copy_run, spare_copy_undo };
