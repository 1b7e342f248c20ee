#include "kernel/fs.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <assert.h>
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

/* --- another size ----------------------------------------------------------------------------------------- */

/* Of fs/ext4/ext4.h. */
#define EXT4_RESIZE _IOW('f', 16, uint64_t)

/* Of xfs_fs.h. */
typedef struct XfsGeometry {
        uint32_t block_size, unused[6], inode_max_percent;
        uint64_t blocks, unused_too[9];
} XfsGeometry;
#define XFS_GEOMETRY _IOR('X', 100, XfsGeometry)

typedef struct XfsGrowth {
        uint64_t blocks;
        uint32_t inode_max_percent;
} XfsGrowth;
#define XFS_GROW _IOW('X', 110, XfsGrowth)

static_assert(sizeof(XfsGeometry) == 112 && sizeof(XfsGrowth) == 16, "as the kernel has them");

static int ext4_grow(int fd, uint64_t size) {
        struct statvfs now;
        uint64_t blocks;

        if (fstatvfs(fd, &now) < 0)
                return -errno;
        blocks = size / now.f_bsize;
        return RET_NERRNO(ioctl(fd, EXT4_RESIZE, &blocks));
}

static int xfs_grow(int fd, uint64_t size) {
        XfsGeometry now;
        XfsGrowth growth;

        if (ioctl(fd, XFS_GEOMETRY, &now) < 0)
                return -errno;
        growth = (XfsGrowth) { .blocks = size / now.block_size, .inode_max_percent = now.inode_max_percent };
        return growth.blocks <= now.blocks ? 0 : RET_NERRNO(ioctl(fd, XFS_GROW, &growth));
}

int fs_grow(int mount_fd, Filesystem fs, uint64_t size) {
        _cleanup_close_ int fd = folder_open(mount_fd);
        int r;

        if (fd < 0)
                return fd;
        r = fs == FILESYSTEM_EXT4 ? ext4_grow(fd, size) : fs == FILESYSTEM_XFS ? xfs_grow(fd, size) : -EOPNOTSUPP;
        return r < 0 ? r : RET_NERRNO(syncfs(fd));
}

/* Where the superblock of ext4 has the number of blocks, its upper half, and the logarithm of their size. */
enum { EXT4_SUPER = 1024, EXT4_BLOCKS = 4, EXT4_LOG_SIZE = 24, EXT4_BLOCKS_HIGH = 0x150, EXT4_SUPER_SIZE = 1024 };

static uint64_t number_at(const uint8_t *super, unsigned at) {
        uint64_t number = 0;

        for (unsigned i = 4; i > 0; i--)
                number = number << 8 | super[at + i - 1];
        return number;
}

static int super_read(const char *device, uint8_t super[static EXT4_SUPER_SIZE]) {
        _cleanup_close_ int fd = open(device, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return pread(fd, super, EXT4_SUPER_SIZE, EXT4_SUPER) == EXT4_SUPER_SIZE ? 0 : -EIO;
}

int fs_block_size(const char *device, uint64_t *ret) {
        uint8_t super[EXT4_SUPER_SIZE];
        int r;

        r = super_read(device, super);
        if (r >= 0)
                *ret = UINT64_C(1024) << number_at(super, EXT4_LOG_SIZE);
        return r;
}

static int ext4_size(const char *device, uint64_t *ret) {
        uint8_t super[EXT4_SUPER_SIZE];
        int r;

        r = super_read(device, super);
        if (r >= 0)
                *ret = (number_at(super, EXT4_BLOCKS) | number_at(super, EXT4_BLOCKS_HIGH) << 32)
                       << (10 + number_at(super, EXT4_LOG_SIZE));
        return r;
}

int fs_size(int mount_fd, const char *device, Filesystem fs, uint64_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        XfsGeometry now;

        if (fs == FILESYSTEM_EXT4)
                return ext4_size(device, ret);
        fd = folder_open(mount_fd);
        if (fd < 0)
                return fd;
        if (ioctl(fd, XFS_GEOMETRY, &now) < 0)
                return -errno;
        *ret = now.blocks * now.block_size;
        return 0;
}

int fs_discard(const char *device, uint64_t from, uint64_t to) {
        _cleanup_close_ int fd = open(device, O_WRONLY | O_CLOEXEC);
        uint64_t range[2] = { from, to - from };

        if (fd < 0)
                return -errno;
        return RET_NERRNO(ioctl(fd, BLKDISCARD, range));
}

/* Both have a folder there. To open the device for oneself would tell too, and keep others from it meanwhile. */
bool fs_is_mounted(dev_t device, Filesystem fs) {
        char path[64];

        buffer_format(path, sizeof(path), "/sys/fs/%s/dm-%u", filesystem_to_string(fs), minor(device));
        return access(path, F_OK) >= 0;
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
