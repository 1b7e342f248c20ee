/* A filesystem whose journal was aborted, because its pool ran full: checked, and mounted again where it was. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/holders.h"
#include "kernel/mnt.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* 1: it is well, or not mounted where we see it. */
static int recover_probe(StepContext *c, Error *err) {
        char crypt[KERNEL_NAME_MAX], thin[KERNEL_NAME_MAX];
        _cleanup_close_ int fd = -EBADF;
        DmInfo info;
        int r;

        if (c->job->stopped)
                return 1;
        r = suspended_check(&c->job->volume, err); /* who touches it would wait for its key */
        if (r < 0)
                return r;
        volume_crypt_name(c->job->volume.uuid, crypt);
        volume_thin_name(c->job->volume.uuid, thin);
        if (dm_info(crypt, &info) < 0 && dm_info(thin, &info) < 0)
                return 1;
        c->device = info.device;
        r = mnt_count(c->device, &fd);
        if (r >= 0 && fd >= 0)
                r = fs_is_healthy(fd);
        else if (r >= 0)
                return 1;
        return r < 0 ? error_errno(err, r, "cannot look at the filesystem of volume %s", c->job->volume.spec.name) : r;
}

static int in_use(StepContext *c, Error *err) {
        const char *name = c->job->volume.spec.name;
        char who[384];
        int r;

        if (holders_describe(&c->device, 1, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "by whom cannot be seen");
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                      "the filesystem of volume %s stopped itself when the pool was full, and is in use: %s", name,
                      who);
        error_hint(err, "end those processes, then: quarry umount %s; quarry mount %s",
                   VOLUME_REFERENCE(&c->job->volume.spec), VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

/* XFS mends itself when it is mounted. */
static int check(StepContext *c, Error *err) {
        return c->job->volume.spec.fs == FILESYSTEM_EXT4 ? fsck_ext4(c, err) : 0;
}

static int mount_again(StepContext *c, const char *device, const char *context, const char *target, unsigned options,
                       Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF, folder = -EBADF;
        char message[256];
        int r;

        root = mnt_filesystem_labelled(device, filesystem_to_string(spec->fs),
                                       options & MOUNT_READ_ONLY ? MNT_READ_ONLY : MNT_WRITABLE, context, message,
                                       sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_VOLUME_BROKEN, root, "cannot mount volume %s again: %s", spec->name,
                                 isempty(message) ? strerror(-root) : message);
        folder = r = mnt_subtree(root, ROOT_FOLDER);
        if (r >= 0)
                r = mnt_set_options(folder, options);
        if (r >= 0)
                r = mnt_attach(folder, target);
        return r < 0 ? error_errno(err, r, "cannot mount volume %s again", spec->name) : 0;
}

static int recover_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX], device[DEVICE_PATH_MAX], context[MOUNT_CONTEXT_MAX + 1];
        unsigned options;
        dev_t mounted;
        int r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_point_device(target, &mounted, &options);
        if (r <= 0 || mounted != c->device || mnt_count(c->device, NULL) != 1)
                return in_use(c, err);
        dm_device_path(c->device, device);
        r = mnt_context_of(device, context);
        if (r < 0)
                return error_errno(err, r, "cannot look how volume %s is mounted", spec->name);
        r = mnt_unmount(target);
        if (r == -EBUSY)
                return in_use(c, err);
        if (r < 0)
                return error_errno(err, r, "cannot unmount %s", target);
        log_info(spec->name, "its filesystem stopped itself when the pool was full: checking it");
        r = check(c, err);
        return r < 0 ? r : mount_again(c, device, context, target, options, err);
}

const Step step_recover = { "checking the filesystem", recover_probe, recover_run, NULL };
