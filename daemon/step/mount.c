/* Mounting a volume: its filesystem detached, then the folder in it that users see into place. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/holders.h"
#include "kernel/mnt.h"
#include "kernel/userns.h"

#include <quarry/text.h>

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
        r = c->job->volume.spec.kind == KIND_BIND ? holders_describe_mount(target, who, sizeof(who))
                                                  : holders_describe(&c->device, 1, who, sizeof(who));
        if (r <= 0)
                buffer_format(who, sizeof(who), "in use");
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s cannot be unmounted from %s: %s",
                      c->job->volume.spec.name, target, who);
        error_hint(err, "end those processes; or leave it to them until they end: quarry umount --lazy %s",
                   VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

static int root_error(StepContext *c, int r, const char *message, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        const char *context = c->job->mount.context;

        if (isempty(context) || (r != -EOPNOTSUPP && r != -EEXIST && r != -EINVAL))
                return error_set(err, ERROR_FAILED, r, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-r) : message);
        if (r == -EOPNOTSUPP)
                return error_set(err, ERROR_NOT_SUPPORTED, r,
                                 "this kernel runs without SELinux: a context would mean nothing");
        if (r == -EEXIST)
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                                 "volume %s is mounted without this SELinux context, which is one for all its mounts",
                                 spec->name);
        return error_set(err, ERROR_FAILED, r,
                         "cannot mount volume %s: the kernel refuses the SELinux context %s: it may not be known to "
                         "its policy, or differ from that of another mount of the volume",
                         spec->name, context);
}

/* Whoever attaches a mount in namespaces of his own is root there, and could let it have device nodes, which somebody
 * else has made. */
static int lock_options(StepContext *c) {
        int r;

        if (!c->job->detached || !c->job->mount.has_giver || !userns_can_be_made())
                return 0;
        r = mnt_lock(c->mount_fd);
        if (r < 0)
                return r;
        close(c->mount_fd);
        c->mount_fd = r;
        return 0;
}

static bool shows_other_ids(const StepContext *c) {
        const MountSpec *m = &c->job->mount;

        return mount_spec_has_map(m) || (m->peer && c->second_fd >= 0);
}

int mount_shape(StepContext *c, Error *err) {
        const MountSpec *m = &c->job->mount;
        int r;

        r = mnt_set_options(c->mount_fd, m->options);
        if (r >= 0)
                r = lock_options(c);
        if (r < 0)
                return error_errno(err, r, "cannot set the options of the mount");
        if (!shows_other_ids(c))
                return 0;
        r = mnt_set_owners(c->mount_fd, c->second_fd);
        if (r == -EINVAL)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "volume %s cannot be mounted with other ids: %s",
                                 c->job->volume.spec.name,
                                 m->userns || m->peer
                                         ? "its filesystem does not know how, or no id is mapped in the user namespace"
                                         : "its filesystem does not know how");
        return r < 0 ? error_errno(err, r, "cannot mount volume %s with other ids", c->job->volume.spec.name) : 0;
}

static int mount_undo(StepContext *c, Error *err) {
        if (c->mount_fd >= 0)
                close(TAKE_FD(c->mount_fd)); /* a detached mount goes with its last descriptor */
        return 0;
}

static int mount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char device[DEVICE_PATH_MAX], message[256];
        int r;

        dm_device_path(c->device, device);
        root = mnt_filesystem_labelled(device, filesystem_to_string(spec->fs),
                                       volume_spec_is_fixed(spec)                ? MNT_FIXED
                                       : spec->role == ROLE_SNAPSHOT             ? MNT_IMAGE
                                       : c->job->mount.options & MOUNT_READ_ONLY ? MNT_READ_ONLY
                                                                                 : MNT_WRITABLE,
                                       c->job->mount.context, message, sizeof(message));
        if (root < 0)
                return root_error(c, root, message, err);
        c->mount_fd = mnt_subtree(root, ROOT_FOLDER);
        if (c->mount_fd < 0)
                return error_errno(err, c->mount_fd, "cannot mount the directory '" ROOT_FOLDER "' of volume %s",
                                   spec->name);
        r = mount_shape(c, err);
        if (r < 0)
                (void) mount_undo(c, NULL);
        else
                c->goes = false; /* it is closed when it is mounted nowhere any more */
        return r;
}

/* It is there with the ids of somebody else: of a container engine, or of the host, by quarry mount. */
static int owners_error(const StepContext *c, const char *target, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        int r;

        if (shows_other_ids(c)) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                              "volume %s is mounted at %s with other ids than those of this rootless container engine",
                              spec->name, target);
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
                return r;
        }
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                      "volume %s is mounted at %s for a rootless container engine, and shows other ids there",
                      spec->name, target);
        error_hint(err, "end the containers that use it; or quarry mount %s TARGET", VOLUME_REFERENCE(spec));
        return r;
}

/* Mounted already, at its place and from its device: then that is the answer. */
static int attach_probe(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX], have[MOUNT_OPTIONS_TEXT_MAX], wanted[MOUNT_OPTIONS_TEXT_MAX];
        unsigned options = 0;
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = place_look(c, target, &options, err);
        if (r <= PLACE_EMPTY)
                return r;
        if (r == PLACE_OTHERS)
                return error_set(err, ERROR_FAILED, EBUSY, "something else is mounted at %s", target);
        if (options != c->job->mount.options) {
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is mounted at %s with options %s, not %s",
                              spec->name, target, mount_options_format(options, have),
                              mount_options_format(c->job->mount.options, wanted));
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
                return r;
        }
        r = mnt_has_same_owner(c->mount_fd, target);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", target);
        if (r == 0)
                return owners_error(c, target, err);
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

/* One is the mount that is to go. */
static int check_unused(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char who[384];
        int r;

        r = holders_describe(&c->device, 1, who, sizeof(who));
        if (r < 0)
                return error_errno(err, r, "cannot see who uses volume %s", spec->name);
        if (r <= 1)
                return 0;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use: %s", spec->name, who);
        error_hint(err,
                   "end those containers and processes; or leave it to them until they end: quarry umount --lazy %s",
                   VOLUME_REFERENCE(spec));
        return r;
}

static int unmount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = suspended_check(&c->job->volume, err); /* what was written could not be written out */
        if (r >= 0)
                r = place_look(c, target, NULL, err);
        if (r != PLACE_OURS)
                return r < 0 ? r : 0;
        r = c->job->lazy        ? mount_check_below(spec->name, target, err) /* it would go along, in silence */
            : c->job->if_unused ? check_unused(c, err)
                                : 0;
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
