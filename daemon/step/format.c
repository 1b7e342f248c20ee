/* The filesystem of a volume. mkfs runs only on a device that this very job made. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define MKFS_TIMEOUT 600u /* seconds */

/* mkfs takes the last of an option only: what a user gives is added to ours, and wins.
 *
 * Fresh thin chunks read as zeros: nothing to discard, and tables need no writing now. The journal is cleared all the
 * same: it has its space then, also when the pool has none any more. Of a file of orphans (2 MiB in one of 10 GiB) the
 * kernel reads every block at each mount, one after the other, which takes ten times as long as the rest of it. */
static const struct {
        Filesystem fs;
        const char *option, *value;
} defaults[] = {
        { FILESYSTEM_EXT4, "-E", "nodiscard,lazy_itable_init=1" },
        { FILESYSTEM_EXT4, "-O", "^orphan_file" },
};

static int option_append(char ***argv, Filesystem fs, const char *option, const char *value) {
        _cleanup_free_ char *both = NULL;

        for (size_t i = 0; i < ELEMENTSOF(defaults) && !both; i++)
                if (defaults[i].fs == fs && streq(defaults[i].option, option) &&
                    asprintf(&both, "%s,%s", defaults[i].value, value) < 0) {
                        both = NULL;
                        return -ENOMEM;
                }
        if (strv_append(argv, option) < 0)
                return -ENOMEM;
        return strv_append(argv, both ?: value);
}

/* mkfs.xfs takes a thin device for an array of disks: with 16 allocation groups and more, and a log whose every record
 * fills 64 KiB. A mount reads the heads of all groups, and the log's last records backwards by the sector, one after
 * the other; and a filesystem that grows gets more groups of that size. So both are as on one disk, unless the user
 * says something about them, or about blocks, of which a record is made. A group is no larger than 1 TiB. */
#define XFS_GROUPS_TO (4096 * GIB)

static const struct {
        const char *option, *value, *unless;
} xfs_geometry[] = {
        { "-d", "agcount=4", "d" },
        { "-l", "su=4096", "lbs" },
};

static bool has_one_of(char *const *options, const char *letters) {
        for (; options && *options; options += 2)
                if (strchr(letters, options[0][1]))
                        return true;
        return false;
}

static int geometry_append(char ***argv, const VolumeSpec *spec, char *const *options) {
        if (spec->fs != FILESYSTEM_XFS || spec->size > XFS_GROUPS_TO)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(xfs_geometry); i++)
                if (!has_one_of(options, xfs_geometry[i].unless) &&
                    (strv_append(argv, xfs_geometry[i].option) < 0 || strv_append(argv, xfs_geometry[i].value) < 0))
                        return -ENOMEM;
        return 0;
}

static int mkfs_argv(const VolumeSpec *spec, const char *device, char ***ret, Error *err) {
        static const char *const ext4[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0" };
        static const char *const xfs[] = { "mkfs.xfs", "-q", "-f", "-K" };
        _cleanup_strv_ char **argv = NULL, **options = NULL;
        const char *const *base = spec->fs == FILESYSTEM_XFS ? xfs : ext4;
        size_t n_base = spec->fs == FILESYSTEM_XFS ? ELEMENTSOF(xfs) : ELEMENTSOF(ext4);
        int r;

        r = mkfs_options_parse(spec->fs, spec->mkfs_options, &options, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_base; i++)
                if (strv_append(&argv, base[i]) < 0)
                        return error_oom(err);
        for (size_t i = 0; i < ELEMENTSOF(defaults); i++)
                if (defaults[i].fs == spec->fs &&
                    (strv_append(&argv, defaults[i].option) < 0 || strv_append(&argv, defaults[i].value) < 0))
                        return error_oom(err);
        if (geometry_append(&argv, spec, options) < 0)
                return error_oom(err);
        for (char **o = options; o && *o; o += 2) /* an option, its value */
                if (option_append(&argv, spec->fs, o[0], o[1]) < 0)
                        return error_oom(err);
        if (strv_append(&argv, device) < 0)
                return error_oom(err);
        *ret = TAKE_PTR(argv);
        return 0;
}

static int format_run(StepContext *c, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        _cleanup_strv_ char **argv = NULL;
        char device[DEVICE_PATH_MAX];
        int r;

        if (!c->thin_is_new)
                return error_set(err, ERROR_FAILED, EEXIST, "refusing to format a device that this job did not make");

        dm_device_path(c->device, device);
        r = mkfs_argv(&c->job->volume.spec, device, &argv, err);
        if (r < 0)
                return r;
        r = spawn_run(argv, MKFS_TIMEOUT, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run %s", argv[0]);
        if (r > 0)
                return error_set(err, ERROR_FAILED, EIO, "%s failed: %s", argv[0],
                                 isempty(output.err) ? "it says nothing" : output.err);
        return 0;
}

static int root_make(int mount_fd, const VolumeSpec *spec) {
        _cleanup_close_ int fd = -EBADF, root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (root < 0 || (fsetxattr(root, ROOT_MARK, "1", 1, 0) < 0 && errno != EOPNOTSUPP))
                return -errno;
        if (mkdirat(mount_fd, ROOT_FOLDER, 0700) < 0)
                return -errno;
        fd = openat(mount_fd, ROOT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fchown(fd, spec->uid, spec->gid) < 0 || fchmod(fd, spec->mode) < 0)
                return -errno;
        /* Durable before the volume is answered as created. */
        return RET_NERRNO(syncfs(fd));
}

static int root_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX], message[128];
        int r;

        dm_device_path(c->device, device);
        fd = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));
        if (fd < 0)
                return error_set(err, ERROR_FAILED, fd, "cannot mount the new filesystem: %s",
                                 isempty(message) ? strerror(-fd) : message);
        r = root_make(fd, spec);
        return r < 0 ? error_errno(err, r, "cannot make the root directory") : 0;
}

const Step step_format = { "making the filesystem", NULL, format_run, NULL };
const Step step_root = { "making the root directory", NULL, root_run, NULL };
