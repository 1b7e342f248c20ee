#pragma once

/* Filesystems that are in use: what is asked of one by an ioctl on it. Return >= 0 or -errno. */

#include <quarry/base.h>

/* Returns the blocks that the filesystem does not use to the device (FITRIM), in pieces of at least so many bytes.
 * mount_fd: a mount of it, may be detached. -EOPNOTSUPP if the device takes no discards. */
int fs_trim(int mount_fd, uint64_t smallest);
