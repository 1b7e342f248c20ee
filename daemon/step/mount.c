/* Mounting a volume: its filesystem detached, then the folder in it that users see into place. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/holders.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#define ROOT_FOLDER "data"

int mount_check_below(const char *name, const char *target, Error *err) {
        _cleanup_free_ char *below = NULL;
        int r;

        r = mnt_find_below(target, &below);
        if (r <= 0)
                return r < 0 ? error_errno(err, r, "cannot see what is mounted below %s", target) : 0;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "something is mounted in volume %s, at %s", name, below);
        error_hint(err, "umount %s", below);
        return r;
}

static int busy_error(StepContext *c, const char *target, Error *err) {
        char who[384];
        int r;

        r = mount_check_below(c->job->volume.spec.name, target, err);
        if (r < 0)
                return r;
        if (holders_describe(&c->device, 1, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "in use");
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s cannot be unmounted from %s: %s",
                      c->job->volume.spec.name, target, who);
        error_hint(err, "end those processes; or leave it to them until they end: quarry umount --lazy %s",
                   VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

static int mount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char device[DEVICE_PATH_MAX], message[256];

        dm_device_path(c->device, device);
        root = mnt_filesystem(device, filesystem_to_string(spec->fs),
                              spec->role == ROLE_SNAPSHOT ? MNT_IMAGE
                              : c->job->read_only         ? MNT_READ_ONLY
                                                          : MNT_WRITABLE,
                              message, sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-root) : message);
        c->mount_fd = mnt_subtree(root, ROOT_FOLDER, c->job->read_only);
        if (c->mount_fd < 0)
                return error_errno(err, c->mount_fd, "cannot mount the directory '" ROOT_FOLDER "' of volume %s",
                                   spec->name);
        return 0;
}

static int mount_undo(StepContext *c, Error *err) {
        if (c->mount_fd >= 0)
                close(TAKE_FD(c->mount_fd)); /* a detached mount goes with its last descriptor */
        return 0;
}

/* Mounted already, at its place and from its device: then that is the answer. */
static int attach_probe(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        bool read_only;
        dev_t device;
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_point_device(target, &device, &read_only);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", target);
        if (r == 0)
                return 0;
        if (device != c->device)
                return error_set(err, ERROR_FAILED, EBUSY, "something else is mounted at %s", target);
        if (read_only != c->job->read_only) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is mounted read-%s at %s", spec->name,
                              read_only ? "only" : "write", target);
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
                return r;
        }
        c->result->path = strdup(target);
        return c->result->path ? 1 : error_oom(err);
}

static int attach_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_point_make(MOUNT_ROOT, target);
        if (r < 0)
                return error_errno(err, r, "cannot make the mount point %s", target);
        r = mnt_attach(c->mount_fd, target);
        if (r < 0)
                return error_errno(err, r, "cannot mount at %s", target);
        close(TAKE_FD(c->mount_fd));
        c->result->path = strdup(target);
        return c->result->path ? 0 : error_oom(err);
}

static int attach_undo(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_unmount(target);
        return r < 0 && r != -EINVAL && r != -ENOENT ? error_errno(err, r, "cannot unmount %s", target) : 0;
}

/* What is mounted at its place may be another volume's: pools that were brought together can hold the same name. */
static int is_mounted(StepContext *c, const char *target, Error *err) {
        char crypt[KERNEL_NAME_MAX], thin[KERNEL_NAME_MAX];
        bool read_only;
        dev_t device;
        DmInfo info;
        int r;

        r = mnt_point_device(target, &device, &read_only);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", target);
        volume_crypt_name(c->job->volume.uuid, crypt);
        volume_thin_name(c->job->volume.uuid, thin);
        if (r == 0 || (dm_info(crypt, &info) < 0 && dm_info(thin, &info) < 0))
                return 0;
        c->device = info.device;
        return device == info.device;
}

static int unmount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = is_mounted(c, target, err);
        if (r <= 0)
                return r;
        r = c->job->lazy ? mount_check_below(spec->name, target, err) : 0; /* it would go along, in silence */
        if (r < 0)
                return r;
        r = c->job->lazy ? mnt_unmount_lazy(target) : mnt_unmount(target);
        if (r >= 0 || r == -EINVAL || r == -ENOENT)
                return 0;
        return r == -EBUSY ? busy_error(c, target, err) : error_errno(err, r, "cannot unmount %s", target);
}

static int mount_point_remove_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_point_remove(target);
        if (r == -EBUSY) /* the volume is gone by now: what is mounted there is something else */
                return 0;
        return r < 0 ? error_errno(err, r, "cannot remove the mount point %s", target) : 0;
}

const Step step_mount = { "mounting", NULL, mount_run, mount_undo };
const Step step_attach = { "attaching the mount", attach_probe, attach_run, attach_undo };
const Step step_unmount = { "unmounting", NULL, unmount_run, NULL };
const Step step_mount_point_remove = { "removing the mount point", NULL, mount_point_remove_run, NULL };
