#include "kernel/block.h"

#include "kernel/dm.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

int block_discard(dev_t device, uint64_t offset, uint64_t length) {
        uint64_t range[2] = { offset, length };
        _cleanup_close_ int fd = -EBADF;
        char path[DEVICE_PATH_MAX];

        dm_device_path(device, path);
        fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        return RET_NERRNO(ioctl(fd, BLKDISCARD, range));
}
