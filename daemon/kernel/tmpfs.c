#include "kernel/tmpfs.h"

#include "kernel/mnt.h"

#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static int set_number(int context, const char *key, uint64_t value) {
        char text[32];

        buffer_format(text, sizeof(text), "%" PRIu64, value);
        return RET_NERRNO(fsconfig(context, FSCONFIG_SET_STRING, key, text, 0));
}

static int set_mode(int context, mode_t mode) {
        char text[32];

        buffer_format(text, sizeof(text), "%o", (unsigned) mode);
        return RET_NERRNO(fsconfig(context, FSCONFIG_SET_STRING, "mode", text, 0));
}

static int set_noswap(int context, const VolumeSpec *spec) {
        return spec->noswap ? RET_NERRNO(fsconfig(context, FSCONFIG_SET_FLAG, "noswap", NULL, 0)) : 0;
}

int tmpfs_make(const char *name, const VolumeSpec *spec, char *message, size_t size) {
        _cleanup_close_ int context = -EBADF;
        int r;

        message[0] = 0;
        context = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (context < 0)
                return -errno;
        r = RET_NERRNO(fsconfig(context, FSCONFIG_SET_STRING, "source", name, 0));
        if (r >= 0)
                r = set_number(context, "size", spec->size);
        if (r >= 0 && spec->inodes > 0)
                r = set_number(context, "nr_inodes", spec->inodes);
        if (r >= 0)
                r = set_number(context, "uid", spec->uid);
        if (r >= 0)
                r = set_number(context, "gid", spec->gid);
        if (r >= 0)
                r = set_mode(context, spec->mode);
        if (r >= 0)
                r = set_noswap(context, spec);
        if (r >= 0)
                r = RET_NERRNO(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
        if (r >= 0)
                r = RET_NERRNO(fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
        if (r < 0)
                mnt_context_message(context, message, size);
        return r;
}

int tmpfs_volume_of(const MountEntry *mount, sd_id128_t *ret) {
        char name[KERNEL_NAME_MAX];

        if (!streq(mount->fstype, "tmpfs") || volume_uuid_from_kernel_name(mount->source, ret) < 0)
                return -EINVAL;
        volume_thin_name(*ret, name);
        return streq(mount->source, name) ? 0 : -EINVAL;
}

/* What is mounted over it hides it. */
static int root_open(const MountEntry *mount) {
        _cleanup_close_ int fd = open(mount->target, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0 || status.st_dev != mount->device)
                return -EBUSY;
        return TAKE_FD(fd);
}

int tmpfs_open(const char *name, dev_t *ret_device) {
        _cleanup_free_ char *text = NULL;
        int r, found = -ENOENT;
        MountEntry mount;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; found < 0 && (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && streq(mount.fstype, "tmpfs") && streq(mount.source, name)) {
                        found = streq(mount.root, "/") ? root_open(&mount) : -EBUSY;
                        *ret_device = mount.device;
                }
        return found;
}

int tmpfs_is(dev_t device, const char *name) {
        _cleanup_free_ char *text = NULL;
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && mount.device == device)
                        return streq(mount.fstype, "tmpfs") && streq(mount.source, name);
        return 0;
}

int tmpfs_resize(int fd, const VolumeSpec *spec) {
        _cleanup_close_ int context = -EBADF;
        int r;

        context = fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
        if (context < 0)
                return -errno;
        r = set_number(context, "size", spec->size);
        if (r >= 0)
                r = set_noswap(context, spec); /* else it would be asked for swap */
        return r < 0 ? r : RET_NERRNO(fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
}

int tmpfs_used(int fd, uint64_t *ret) {
        struct statvfs status;

        if (fstatvfs(fd, &status) < 0)
                return -errno;
        *ret = (uint64_t) (status.f_blocks - status.f_bfree) * status.f_frsize;
        return 0;
}
