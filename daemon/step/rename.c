/* A volume that has another name by now: what is mounted under its old one moves, and its link. Who has a file of it
 * open keeps it; other mounts of it are not touched. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "kernel/udev.h"

#include <quarry/text.h>

/* What its filesystem is on, and users see; 0 if it is closed. */
static int look(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        if (c->job->volume.spec.key_source == KEY_SOURCE_NONE)
                volume_thin_name(c->job->volume.uuid, name);
        else
                volume_crypt_name(c->job->volume.uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);
        c->device = info.device;
        return !info.goes; /* then it has no link */
}

static void paths(StepContext *c, char old[static MOUNT_PATH_MAX], char target[static MOUNT_PATH_MAX]) {
        const Volume *v = &c->job->volume;

        volume_mount_path(v->spec.tenant, v->old_name, old);
        volume_mount_path(v->spec.tenant, v->spec.name, target);
}

static int move_mount_probe(StepContext *c, Error *err) {
        char old[MOUNT_PATH_MAX], target[MOUNT_PATH_MAX];
        int r;

        paths(c, old, target);
        r = place_look(c, old, NULL, err);
        return r < 0 ? r : r != PLACE_OURS;
}

static int attach_clone(const char *old, const char *target, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = mnt_point_make(MOUNT_ROOT, target);
        if (r < 0)
                return error_errno(err, r, "cannot make the mount point %s", target);
        fd = mnt_clone(old);
        if (fd < 0)
                return error_errno(err, fd, "cannot take up the mount at %s", old);
        r = mnt_attach(fd, target);
        return r < 0 ? error_errno(err, r, "cannot mount at %s", target) : 0;
}

/* Attached at the new place before it goes from the old one: at no time is it mounted nowhere. */
static int move_mount_run(StepContext *c, Error *err) {
        char old[MOUNT_PATH_MAX], target[MOUNT_PATH_MAX];
        int r;

        paths(c, old, target);
        r = place_look(c, target, NULL, err);
        if (r < 0)
                return r;
        if (r == PLACE_OTHERS)
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "something else is mounted at %s", target);
        if (r == PLACE_EMPTY) {
                r = mount_check_below(c->job->volume.old_name, old, err); /* it would stay behind */
                if (r >= 0)
                        r = attach_clone(old, target, err);
        }
        if (r < 0)
                return r;
        r = mnt_unmount_lazy(old);
        return r < 0 ? error_errno(err, r, "cannot unmount %s", old) : 0;
}

/* One that is closed is described when it is opened. */
static int move_link_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        bool encrypted = v->spec.key_source != KEY_SOURCE_NONE;
        int r;

        r = look(c, err);
        if (r <= 0)
                return r;
        udev_unlink_name(v->spec.tenant, v->old_name, c->device);
        r = udev_describe(v->uuid, v->spec.tenant, v->spec.name, encrypted);
        if (r >= 0)
                r = udev_link(v->uuid, encrypted, c->device);
        if (r < 0)
                return error_errno(err, r, "cannot give volume %s its link", v->spec.name);
        udev_tell(c->device);
        return 0;
}

/* Somebody else may have the name, and be mounted there, by now. */
static int old_point_remove_run(StepContext *c, Error *err) {
        char old[MOUNT_PATH_MAX], target[MOUNT_PATH_MAX];
        int r;

        paths(c, old, target);
        r = mnt_point_remove(old);
        return r < 0 && r != -EBUSY ? error_errno(err, r, "cannot remove the mount point %s", old) : 0;
}

const Step step_move_mount = { "moving the mount", move_mount_probe, move_mount_run, NULL };
const Step step_move_link = { "renaming the device link", NULL, move_link_run, NULL };
const Step step_old_point_remove = { "removing the old mount point", NULL, old_point_remove_run, NULL };
