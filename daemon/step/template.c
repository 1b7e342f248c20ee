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

#define ROOT_FOLDER "data"
#define ROOT_MODE 0755

/* The broker discards the template then, and has mkfs run. */
static int unusable(Error *err, const char *why) {
        return error_set(err, ERROR_FAILED, ESTALE, "the template cannot be used: %s", why);
}

/* An upgrade, of them or of quarry, may have changed what mkfs makes. */
static bool tools_are_newer(const Volume *template) {
        static const char *const ext4[] = { "/usr/sbin/mke2fs", "/etc/mke2fs.conf", "/proc/self/exe", NULL };
        static const char *const xfs[] = { "/usr/sbin/mkfs.xfs", "/proc/self/exe", NULL };
        struct stat st;

        for (const char *const *tool = template->spec.fs == FILESYSTEM_XFS ? xfs : ext4; *tool; tool++)
                if (stat(*tool, &st) >= 0 &&
                    (uint64_t) st.st_ctim.tv_sec * 1000000 + (uint64_t) st.st_ctim.tv_nsec / 1000 >
                            template->created_usec)
                        return true;
        return false;
}

static int copy_run(StepContext *c, Error *err) {
        int r;

        if (tools_are_newer(&c->job->source))
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

const Step step_template_copy = { "copying the template", NULL, copy_run, thin_delete_new };
const Step step_template_identify = { "giving it an identity", NULL, identify_run, NULL };
