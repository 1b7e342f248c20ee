#include "kernel/fs.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

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
