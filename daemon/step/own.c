/* Owner, group and permissions of the folder that users see, whether somebody has it mounted or not. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

/* The mode last: a change of owner may take bits of it away. */
static int folder_own(int root, const VolumeSpec *spec, JobOwner owner) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(root, ROOT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fchown(fd, owner.uid ? spec->uid : (uid_t) -1, owner.gid ? spec->gid : (gid_t) -1) < 0)
                return -errno;
        if (owner.mode && fchmod(fd, spec->mode) < 0)
                return -errno;
        return RET_NERRNO(syncfs(fd));
}

static int own_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char device[DEVICE_PATH_MAX], message[256];
        int r;

        dm_device_path(c->device, device);
        root = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-root) : message);
        r = folder_own(root, spec, c->job->owner);
        return r < 0 ? error_errno(err, r, "cannot give volume %s another owner or mode", spec->name) : 0;
}

const Step step_own = { "changing the owner", NULL, own_run, NULL };
