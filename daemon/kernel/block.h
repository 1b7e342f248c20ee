#pragma once

/* Block devices: what is asked of one by an ioctl on it. Return >= 0 or -errno. */

#include <quarry/base.h>

#include <sys/types.h>

/* What lies there is not needed any more: a thin device gives it back to its pool. Bytes. -EOPNOTSUPP. */
int block_discard(dev_t device, uint64_t offset, uint64_t length);
