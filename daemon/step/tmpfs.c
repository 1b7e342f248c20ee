/* A volume in memory: it comes with its first mount, and goes with its last one. All mounts of it show the same files,
 * so there is a new one only while it is mounted nowhere on the host. */

#include "step/step.h"

#include "kernel/holders.h"
#include "kernel/mnt.h"
#include "kernel/tmpfs.h"

#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

/* Its root, where it is mounted: 1 with *ret_fd, 0 if it is nowhere. */
static int look(StepContext *c, int *ret_fd, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char name[KERNEL_NAME_MAX];
        int fd;

        volume_thin_name(c->job->volume.uuid, name);
        fd = tmpfs_open(name, &c->device);
        if (fd == -ENOENT)
                return 0;
        if (fd == -EBUSY)
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                                 "volume %s is mounted, but hidden: something else is mounted over it", spec->name);
        if (fd < 0)
                return error_errno(err, fd, "cannot look where volume %s is mounted", spec->name);
        *ret_fd = fd;
        return 1;
}

static int make(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char name[KERNEL_NAME_MAX], message[256];
        struct stat status;
        int fd;

        volume_thin_name(c->job->volume.uuid, name);
        fd = tmpfs_make(name, spec, message, sizeof(message));
        if (fd < 0)
                return error_set(err, ERROR_FAILED, fd, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-fd) : message);
        c->mount_fd = fd;
        if (fstat(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at volume %s", spec->name);
        c->device = status.st_dev;
        return 0;
}

static int tmpfs_mount_undo(StepContext *c, Error *err) {
        if (c->mount_fd >= 0)
                close(TAKE_FD(c->mount_fd)); /* a detached mount goes with its last descriptor */
        return 0;
}

/* What the kernel would refuse is refused now; it is gone with its descriptor. */
static int tmpfs_try_run(StepContext *c, Error *err) {
        int r = make(c, err);

        (void) tmpfs_mount_undo(c, NULL);
        return r;
}

static int tmpfs_mount_run(StepContext *c, Error *err) {
        _cleanup_close_ int root = -EBADF;
        int r;

        r = look(c, &root, err);
        if (r > 0) {
                r = c->mount_fd = mnt_folder(root);
                if (r < 0)
                        return error_errno(err, r, "cannot mount volume %s", c->job->volume.spec.name);
        } else if (r == 0)
                r = make(c, err);
        if (r >= 0)
                r = mount_shape(c, err);
        if (r < 0)
                (void) tmpfs_mount_undo(c, NULL);
        return r;
}

/* Removed while it is mounted it would be in use by somebody, and known to nobody. */
static int tmpfs_claim_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX], who[384];
        _cleanup_close_ int root = -EBADF;
        int place, r;

        r = look(c, &root, err);
        if (r <= 0)
                return r;
        if (c->job->lazy)
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use", spec->name);
        volume_mount_path(spec->tenant, spec->name, target);
        place = place_look(c, target, NULL, err);
        if (place < 0)
                return place;
        if (holders_describe(&c->device, 1, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "it is mounted");
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use: %s", spec->name, who);
        if (place == PLACE_OURS)
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
        else
                error_hint(err, "unmount it there; or have it go with the last of them: quarry rm --lazy %s",
                           VOLUME_REFERENCE(spec));
        return r;
}

/* The mode last: a change of owner may take bits of it away. */
static int tmpfs_own_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        JobOwner owner = c->job->owner;
        _cleanup_close_ int root = -EBADF, fd = -EBADF;
        int r;

        r = look(c, &root, err);
        if (r <= 0)
                return r; /* it is made so when it is mounted */
        r = fchownat(root, "", owner.uid ? spec->uid : (uid_t) -1, owner.gid ? spec->gid : (gid_t) -1, AT_EMPTY_PATH);
        if (r >= 0 && owner.mode) {
                fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? -1 : fchmod(fd, spec->mode);
        }
        return r < 0 ? error_errno(err, errno, "cannot give volume %s another owner or mode", spec->name) : 0;
}

static int tmpfs_remount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char size[SIZE_TEXT_MAX];
        int r;

        r = look(c, &root, err);
        if (r <= 0)
                return r;
        r = tmpfs_resize(root, spec);
        if (r == -EINVAL)
                return error_set(err, ERROR_NO_SPACE, ENOSPC, "volume %s holds more than %s", spec->name,
                                 size_format_exact(spec->size, size));
        return r < 0 ? error_errno(err, r, "cannot give volume %s another size", spec->name) : 0;
}

/* Whether it is there, and what it takes. */
static int tmpfs_look_run(StepContext *c, Error *err) {
        JobDevice device = { .uuid = c->job->volume.uuid };
        _cleanup_close_ int root = -EBADF;
        int r;

        r = look(c, &root, err);
        if (r <= 0)
                return r;
        r = tmpfs_used(root, &device.used);
        if (r < 0)
                return error_errno(err, r, "cannot look at volume %s", c->job->volume.spec.name);
        c->result->open = true;
        c->result->used = device.used;
        c->result->devices = calloc(1, sizeof(device));
        if (!c->result->devices)
                return error_oom(err);
        c->result->devices[0] = device;
        c->result->n_devices = 1;
        return 0;
}

const Step step_tmpfs_try = { "trying it", NULL, tmpfs_try_run, NULL };
const Step step_tmpfs_mount = { "mounting", NULL, tmpfs_mount_run, tmpfs_mount_undo };
const Step step_tmpfs_claim = { "looking for users", NULL, tmpfs_claim_run, NULL };
const Step step_tmpfs_own = { "changing the owner", NULL, tmpfs_own_run, NULL };
const Step step_tmpfs_remount = { "changing the size", NULL, tmpfs_remount_run, NULL };
const Step step_tmpfs_look = { "looking at its size", NULL, tmpfs_look_run, NULL };
