#include "kernel/source.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* --- opening -------------------------------------------------------------------------------------------- */

static int open_how(int dir_fd, const char *path, uint64_t resolve) {
        const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                      .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve };

        int fd = (int) syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

        if (fd >= 0)
                return fd;
        return errno > 0 ? -errno : -EINVAL; /* -fanalyzer takes -errno for a descriptor */
}

/* What of the path comes below the root: "" if it is the root itself, NULL if it lies elsewhere. */
static const char *path_below(const char *path, const char *root) {
        const char *rest = startswith(path, root);

        return !rest || (*rest && *rest != '/') ? NULL : *rest ? rest + 1 : rest;
}

int source_open(char *const *roots, const char *path) {
        for (; roots && *roots; roots++) {
                const char *below = path_below(path, *roots);
                int root, fd;

                if (!below)
                        continue;
                root = open_how(AT_FDCWD, *roots, 0);
                if (root < 0 || !*below)
                        return root;
                fd = open_how(root, below, RESOLVE_BENEATH);
                close(root);
                return fd;
        }
        return -EXDEV;
}

int source_is_mount_point(int fd) {
        struct statx status;

        if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &status) < 0)
                return -errno;
        return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int source_identify(int fd, char buf[static SOURCE_ID_MAX]) {
        struct statx status;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_BTIME, &status) < 0)
                return -errno;
        if (!(status.stx_mask & STATX_BTIME)) /* a filesystem that does not note it */
                status.stx_btime = (struct statx_timestamp) {};
        buffer_format(buf, SOURCE_ID_MAX, "%" PRIu64 "-%" PRId64 ".%09" PRIu32, (uint64_t) status.stx_ino,
                      (int64_t) status.stx_btime.tv_sec, (uint32_t) status.stx_btime.tv_nsec);
        return 0;
}

/* --- somebody else's rights ----------------------------------------------------------------------------- */

/* Only those on files, of this process, which has no other thread. Without root's uid the kernel takes away, for as
 * long, what lets root pass all permissions. */
static int become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups) {
        if (setgroups(n_groups, groups) < 0)
                return -errno;
        (void) syscall(SYS_setfsgid, gid);
        (void) syscall(SYS_setfsuid, uid);
        /* Neither tells of a failure but by what is so afterwards. */
        return syscall(SYS_setfsgid, gid) == (long) gid && syscall(SYS_setfsuid, uid) == (long) uid ? 0 : -EPERM;
}

static int open_as_member(char *const *roots, const char *path, bool read_only) {
        int fd = source_open(roots, path), r = 0;

        if (fd >= 0 && faccessat(fd, "", R_OK | X_OK | (read_only ? 0 : W_OK), AT_EMPTY_PATH | AT_EACCESS) < 0)
                r = errno == EROFS ? -EACCES : -errno;
        if (r < 0)
                close(TAKE_FD(fd));
        return r < 0 ? r : fd;
}

int source_open_as(const JobMember *member, char *const *roots, const char *path, bool read_only) {
        int n = getgroups(0, NULL), r;
        _cleanup_free_ gid_t *groups = NULL;

        if (n < 0)
                return -errno;
        groups = reallocarray(NULL, (size_t) n + 1, sizeof(*groups));
        if (!groups)
                return -ENOMEM;
        n = getgroups(n, groups);
        if (n < 0)
                return -errno;
        r = become(member->uid, member->gid, member->groups, member->n_groups);
        if (r >= 0)
                r = open_as_member(roots, path, read_only);
        if (become(geteuid(), getegid(), groups, (size_t) n) < 0)
                abort(); /* with rights that are not ours nothing is to be done any more */
        return r;
}
