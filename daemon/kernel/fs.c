#include "kernel/fs.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* Of xfs_fs.h, which is no header of the kernel's for programs. */
typedef struct XfsReserved {
        uint64_t blocks, left;
} XfsReserved;
#define XFS_SET_RESERVED _IOWR('X', 114, XfsReserved)
#define XFS_RESERVED_MAX 8192u /* blocks; what it keeps itself for its maps, or a 20th */
#define XFS_RESERVED_PART 20u

#define EXT4_RESERVED_MAX 4096u /* clusters; or a 50th */
#define EXT4_RESERVED_PART 50u

/* A mount's own descriptor only names it. */
static int folder_open(int mount_fd) {
        return RET_NERRNO(openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int fs_trim(int mount_fd, uint64_t smallest) {
        struct fstrim_range range = { .len = UINT64_MAX, .minlen = smallest };
        _cleanup_close_ int fd = -EBADF;

        fd = folder_open(mount_fd);
        if (fd < 0)
                return fd;
        if (syncfs(fd) < 0) /* what a transaction of the journal still holds cannot be given back */
                return -errno;
        return RET_NERRNO(ioctl(fd, FITRIM, &range));
}

/* --- no new space --------------------------------------------------------------------------------------- */

static uint64_t part_of(uint64_t all, unsigned part, uint64_t max) {
        return all / part < max ? all / part : max;
}

/* The kernel takes less than there are clusters; several blocks may be one. */
static int ext4_limit(dev_t device, uint64_t blocks, bool stopped) {
        char path[128], value[32];
        int r = -EINVAL;

        buffer_format(path, sizeof(path), "/sys/fs/ext4/dm-%u/reserved_clusters", minor(device));
        for (uint64_t n = stopped ? blocks - 1 : part_of(blocks, EXT4_RESERVED_PART, EXT4_RESERVED_MAX);
             n > 0 && r == -EINVAL; n /= 2) {
                _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

                if (fd < 0)
                        return -errno;
                buffer_format(value, sizeof(value), "%" PRIu64, n);
                r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
        }
        return r;
}

static int xfs_limit(int fd, uint64_t blocks, bool stopped) {
        XfsReserved reserved = { .blocks = stopped ? blocks : part_of(blocks, XFS_RESERVED_PART, XFS_RESERVED_MAX) };

        return RET_NERRNO(ioctl(fd, XFS_SET_RESERVED, &reserved));
}

int fs_limit(int root_fd, dev_t device, Filesystem fs, bool stopped) {
        struct statvfs size;

        if (fstatvfs(root_fd, &size) < 0)
                return -errno;
        if (fs == FILESYSTEM_EXT4)
                return ext4_limit(device, (uint64_t) size.f_blocks, stopped);
        if (fs == FILESYSTEM_XFS)
                return xfs_limit(root_fd, (uint64_t) size.f_blocks, stopped);
        return -EOPNOTSUPP;
}

int fs_is_healthy(int root_fd) {
        struct statvfs fs;

        if (fstatvfs(root_fd, &fs) < 0)
                return errno == EIO ? 0 : -errno;
        if (syncfs(root_fd) >= 0)
                return 1;
        /* Data that found no space is reported here too, and is nothing to be repaired. */
        return errno == EIO || errno == EROFS || errno == EUCLEAN ? 0 : 1;
}

#define BDI_FOLDER "/sys/kernel/debug/bdi"

int fs_dirty(dev_t device, uint64_t *ret) {
        static const char *const fields[] = { "BdiWriteback:", "BdiReclaimable:" };
        _cleanup_free_ char *text = NULL;
        uint64_t sum = 0;
        char path[64];
        int r;

        buffer_format(path, sizeof(path), BDI_FOLDER "/%u:%u/stats", major(device), minor(device));
        r = file_read(AT_FDCWD, path, 4096, &text, NULL);
        if (r < 0)
                return access(BDI_FOLDER, F_OK) < 0 ? -ENOENT : -ENODEV;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const char *at = strstr(text, fields[i]);

                if (!at)
                        return -ENOENT;
                sum += strtoull(at + strlen(fields[i]), NULL, 10) * 1024;
        }
        *ret = sum;
        return 0;
}
