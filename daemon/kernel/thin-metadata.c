#include "kernel/thin-metadata.h"

#include "kernel/dm.h"

#include <fcntl.h>

#define MAGIC UINT64_C(27022010)
#define MAGIC_OFFSET 32
#define DATA_MAP_OFFSET 64 /* its first number: how many chunks */

static uint64_t number_at(const uint8_t *block, size_t offset) {
        uint64_t n = 0;

        for (unsigned i = 8; i > 0; i--)
                n = n << 8 | block[offset + i - 1];
        return n;
}

int thin_metadata_chunks(dev_t metadata, uint64_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX];
        uint8_t block[128];

        dm_device_path(metadata, device);
        fd = open(device, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = pread(fd, block, sizeof(block), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(block) || number_at(block, MAGIC_OFFSET) != MAGIC)
                return -ENODATA;
        *ret = number_at(block, DATA_MAP_OFFSET);
        return 0;
}
