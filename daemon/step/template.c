/* A plain volume that begins as a copy of a formatted one: what mkfs would write is there already, and only what tells
 * the two apart is changed. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/ext.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT_MODE 0755

/* The broker discards the template then, and has mkfs run. */
static int unusable(Error *err, const char *why) {
        return error_set(err, ERROR_FAILED, ESTALE, "the template cannot be used: %s", why);
}

static int copy_run(StepContext *c, Error *err) {
        int r;

        if (filesystem_tools_are_newer(c->job->source.spec.fs, c->job->source.created_usec))
                return unusable(err, "it was made before the tools were upgraded");
        r = snapshot_copy(c, &c->job->source, c->job->volume.thin_id, err);
        c->thin_is_new = r >= 0;
        return r == -ENODATA ? unusable(err, "it is gone") : r;
}

/* As the template is. */
static bool is_owned_so(const VolumeSpec *spec) {
        return spec->uid == 0 && spec->gid == 0 && spec->mode == ROOT_MODE;
}

static int identify_ext4(StepContext *c, const char *device, Error *err) {
        const Volume *v = &c->job->volume;
        ExtOwner owner = { .uid = v->spec.uid, .gid = v->spec.gid, .mode = v->spec.mode };
        int r;

        r = ext_identify(device, v->uuid, ROOT_FOLDER, is_owned_so(&v->spec) ? NULL : &owner);
        return r == -EOPNOTSUPP || r == -EUCLEAN || r == -ENOENT ? unusable(err, strerror(-r))
               : r < 0 ? error_errno(err, r, "cannot give the copied filesystem an identity of its own")
                       : 0;
}

/* It is mounted without a look at its UUID; so only an owner makes a difference. */
static int identify_xfs(StepContext *c, const char *device, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF, folder = -EBADF;
        char message[128];
        int r = 0;

        if (is_owned_so(spec))
                return 0;
        root = mnt_filesystem(device, "xfs", MNT_WRITABLE, message, sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount the copied filesystem: %s",
                                 isempty(message) ? strerror(-root) : message);
        folder = openat(root, ROOT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder < 0 || fchown(folder, spec->uid, spec->gid) < 0 || fchmod(folder, spec->mode) < 0 ||
            syncfs(folder) < 0)
                r = -errno;
        return r < 0 ? error_errno(err, r, "cannot give the root directory its owner") : 0;
}

static int identify_run(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX];

        dm_device_path(c->device, device);
        return c->job->volume.spec.fs == FILESYSTEM_XFS ? identify_xfs(c, device, err) : identify_ext4(c, device, err);
}

/* What the first mount writes goes into chunks that a copy shares with its template, and each of these is copied then:
 * for XFS 2 MiB of its log. So a volume that is made ahead has been mounted once. */
static int settle_run(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX], message[128];
        _cleanup_close_ int root = -EBADF, folder = -EBADF;

        dm_device_path(c->device, device);
        root = mnt_filesystem(device, filesystem_to_string(c->job->volume.spec.fs), MNT_WRITABLE, message,
                              sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount the copied filesystem: %s",
                                 isempty(message) ? strerror(-root) : message);
        folder = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return folder < 0 || syncfs(folder) < 0 ? error_errno(err, -errno, "cannot write the copied filesystem") : 0;
}

const Step step_template_settle = { "mounting it once", NULL, settle_run, NULL };
const Step step_template_copy = { "copying the template", NULL, copy_run, thin_delete_new };
const Step step_template_identify = { "giving it an identity", NULL, identify_run, NULL };
