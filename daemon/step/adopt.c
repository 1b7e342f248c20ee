/* A filesystem that somebody else made becomes a volume's: users see the folder data, and of this they are to see what
 * lies at the root. So all that is there moves into a new folder, which gets what the root has, and then its name. An
 * image of a volume is as it is to be already. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define XATTRS_MAX (64u << 10) /* the kernel's own limit, of the list and of each */

/* ACLs among them. */
static int xattrs_copy(int from, int to) {
        _cleanup_free_ char *names = malloc(XATTRS_MAX), *value = malloc(XATTRS_MAX);
        ssize_t n, size;

        if (!names || !value)
                return -ENOMEM;
        n = flistxattr(from, names, XATTRS_MAX);
        if (n < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + n; name += strlen(name) + 1) {
                size = fgetxattr(from, name, value, XATTRS_MAX);
                if (size < 0 || fsetxattr(to, name, value, (size_t) size, 0) < 0)
                        return -errno;
        }
        return 0;
}

/* Before the files come, whose moves change its times: these are set last, by the caller. */
static int attributes_copy(int root, int folder, const struct stat *status) {
        int r;

        if (fchown(folder, status->st_uid, status->st_gid) < 0)
                return -errno;
        r = xattrs_copy(root, folder);
        return r < 0 ? r : RET_NERRNO(fchmod(folder, status->st_mode & 07777));
}

static bool stays(const char *name, const char *folder, Filesystem fs) {
        return streq(name, ".") || streq(name, "..") || streq(name, folder) ||
               (fs == FILESYSTEM_EXT4 && streq(name, "lost+found"));
}

/* What moves away can make a folder that is read pass others over: so it is read until nothing is left. A damaged one
 * may have a name twice: the second would take the place of the first, or, of the same file, never go. */
static int entries_move(int root, int folder_fd, const char *folder, Filesystem fs, Error *err) {
        _cleanup_close_ int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *entry;
        bool moved = true;
        int r = 0;

        if (!directory)
                return error_errno(err, errno, "cannot read the root of the filesystem");
        TAKE_FD(fd);
        while (moved && r >= 0) {
                moved = false;
                rewinddir(directory);
                while (r >= 0 && (errno = 0, entry = readdir(directory))) {
                        char echo[TEXT_ECHO_MAX];

                        if (stays(entry->d_name, folder, fs))
                                continue;
                        moved = true;
                        if (renameat2(root, entry->d_name, folder_fd, entry->d_name, RENAME_NOREPLACE) < 0)
                                r = error_errno(err, errno, "cannot move %s from the root of the filesystem",
                                                text_echo(entry->d_name, echo));
                }
                if (r >= 0 && errno > 0)
                        r = error_errno(err, errno, "cannot read the root of the filesystem");
        }
        closedir(directory);
        return r;
}

static void take_owner(StepContext *c, const struct stat *status) {
        c->result->uid = status->st_uid;
        c->result->gid = status->st_gid;
        c->result->mode = status->st_mode & 07777;
}

/* Whether it is an image of a volume, whose folder has what users see. */
static bool is_volume(int root, struct stat *ret) {
        return fgetxattr(root, ROOT_MARK, NULL, 0) >= 0 && fstatat(root, ROOT_FOLDER, ret, AT_SYMLINK_NOFOLLOW) >= 0 &&
               S_ISDIR(ret->st_mode);
}

static int files_move(StepContext *c, int root, const struct stat *status, Error *err) {
        const struct timespec times[] = { status->st_atim, status->st_mtim };
        _cleanup_close_ int folder_fd = -EBADF;
        char folder[UUID_TEXT_MAX];
        int r;

        uuid_format(c->job->volume.uuid, folder); /* nobody else has that */
        if (mkdirat(root, folder, 0700) >= 0)
                folder_fd = openat(root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder_fd < 0)
                return error_errno(err, errno, "cannot make a folder in the filesystem");
        r = attributes_copy(root, folder_fd, status);
        if (r < 0)
                return error_errno(err, r, "cannot give a folder what the root of the filesystem has");
        r = entries_move(root, folder_fd, folder, c->job->volume.spec.fs, err);
        if (r < 0)
                return r;
        if (futimens(folder_fd, times) < 0 || renameat(root, folder, root, ROOT_FOLDER) < 0 ||
            (fsetxattr(root, ROOT_MARK, "1", 1, 0) < 0 && errno != EOPNOTSUPP) || syncfs(folder_fd) < 0)
                return error_errno(err, errno, "cannot settle the root of the filesystem");
        return 0;
}

static int root_adopt(StepContext *c, int mount_fd, Error *err) {
        _cleanup_close_ int root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat status, folder;
        int r;

        if (root < 0 || fstat(root, &status) < 0)
                return error_errno(err, errno, "cannot look at the root of the filesystem");
        if (is_volume(root, &folder)) {
                take_owner(c, &folder);
                return 0;
        }
        r = files_move(c, root, &status, err);
        if (r >= 0)
                take_owner(c, &status);
        return r;
}

static int adopt_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char device[DEVICE_PATH_MAX], message[256];
        uint64_t size;
        int r;

        dm_device_path(c->device, device);
        root = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount the filesystem of the image: %s",
                                 isempty(message) ? strerror(-root) : message);
        r = root_adopt(c, root, err);
        if (r < 0)
                return r;
        r = fs_size(root, device, spec->fs, &size);
        if (r >= 0 && size < spec->size)
                r = fs_grow(root, spec->fs, spec->size);
        return r < 0 ? error_errno(err, r, "the filesystem of the image does not grow to the size of the volume") : 0;
}

const Step step_adopt = { "taking the files over", NULL, adopt_run, NULL };
