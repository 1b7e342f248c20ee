#include "kernel/quota.h"

#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define QUOTA_BLOCK 1024u /* QIF_DQBLKSIZE */

static int control(int fd, unsigned command, uint32_t project, void *argument) {
        return (int) RET_NERRNO(syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, argument));
}

int quota_is_kept(int fd) {
        struct fs_quota_statv state = { .qs_version = FS_QSTATV_VERSION1 };
        int r = control(fd, Q_XGETQSTATV, 0, &state);

        if (r < 0)
                return r == -ENOSYS || r == -ESRCH || r == -EINVAL || r == -EOPNOTSUPP || r == -ENOTBLK ? 0 : r;
        return (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0;
}

int quota_set_limit(int fd, uint32_t project, uint64_t size) {
        struct if_dqblk limits = { .dqb_bhardlimit = size / QUOTA_BLOCK, .dqb_valid = QIF_BLIMITS };

        return control(fd, Q_SETQUOTA, project, &limits);
}

int quota_look(int fd, uint32_t project, uint64_t *ret_used, uint64_t *ret_limit) {
        struct if_dqblk found = {};
        int r = control(fd, Q_GETQUOTA, project, &found);

        if (r < 0 && r != -ENOENT)
                return r;
        *ret_used = found.dqb_curspace;
        *ret_limit = found.dqb_bhardlimit * QUOTA_BLOCK;
        return 0;
}

/* --- files ---------------------------------------------------------------------------------------------- */

/* What was looked at is opened, whatever its name stands for by now. */
static int reopen(int fd, int flags) {
        char path[64];

        buffer_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        return RET_NERRNO(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | flags));
}

static int project_get(int fd, struct fsxattr *ret) {
        int r = RET_NERRNO(ioctl(fd, FS_IOC_FSGETXATTR, ret));

        return r == -ENOTTY || r == -ENOSYS ? -EOPNOTSUPP : r;
}

int quota_project(int fd, uint32_t *ret) {
        _cleanup_close_ int folder = reopen(fd, O_DIRECTORY);
        struct fsxattr attributes;
        int r = folder;

        if (r >= 0)
                r = project_get(folder, &attributes);
        if (r >= 0)
                *ret = attributes.fsx_projid;
        return r;
}

static int project_set(int fd, bool is_folder, uint32_t before, uint32_t project) {
        struct fsxattr attributes;
        int r = project_get(fd, &attributes);

        if (r < 0)
                return r;
        if (attributes.fsx_projid != before && attributes.fsx_projid != project)
                return -EEXIST;
        attributes.fsx_projid = project;
        if (is_folder && project != 0)
                attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
        else
                attributes.fsx_xflags &= ~(uint32_t) FS_XFLAG_PROJINHERIT;
        return RET_NERRNO(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
}

typedef struct Walk {
        dev_t device;
        uint32_t before, project;
} Walk;

static int walk_folder(const Walk *w, int fd);

/* What is neither a file nor a directory takes no space that counts; what is mounted there is somebody else's. */
static int walk_entry(const Walk *w, int folder, const char *name) {
        _cleanup_close_ int found = -EBADF, fd = -EBADF;
        struct stat status;
        int r;

        found = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (found < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(found, &status) < 0)
                return -errno;
        if (status.st_dev != w->device || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)))
                return 0;
        fd = reopen(found, 0);
        if (fd < 0)
                return fd;
        r = project_set(fd, S_ISDIR(status.st_mode), w->before, w->project);
        return r < 0 || S_ISREG(status.st_mode) ? r : walk_folder(w, fd);
}

/* The directory has its project already: what is made in it meanwhile has it, too. */
static int walk_folder(const Walk *w, int fd) {
        int copy = RET_NERRNO(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), r = 0;
        struct dirent *entry;
        DIR *dir;

        if (copy < 0)
                return copy;
        dir = fdopendir(copy);
        if (!dir) {
                r = -errno;
                close(copy);
                return r;
        }
        while (r >= 0 && (errno = 0, entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        r = walk_entry(w, dirfd(dir), entry->d_name);
        if (r >= 0 && errno != 0)
                r = -errno;
        closedir(dir);
        return r;
}

int quota_set_project(int fd, uint32_t before, uint32_t project) {
        _cleanup_close_ int folder = reopen(fd, O_DIRECTORY);
        Walk w = { .before = before, .project = project };
        struct stat status;
        int r;

        if (folder < 0)
                return folder;
        if (fstat(folder, &status) < 0)
                return -errno;
        w.device = status.st_dev;
        r = project_set(folder, true, before, project);
        return r < 0 ? r : walk_folder(&w, folder);
}
