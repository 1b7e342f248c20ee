#pragma once

/* Filesystems that are in use: what is asked of one by an ioctl on it. Return >= 0 or -errno. */

#include <quarry/base.h>
#include <quarry/volume.h>

#include <sys/types.h>

/* Returns the blocks that the filesystem does not use to the device (FITRIM), in pieces of at least so many bytes.
 * mount_fd: a mount of it, may be detached. -EOPNOTSUPP if the device takes no discards. */
int fs_trim(int mount_fd, uint64_t smallest);

/* The filesystem gives no new space to anybody, root included: who asks gets ENOSPC at once. What is written
 * already, in its caches too, can be written back, and what has its space can be overwritten. Or it does again.
 * root_fd: an open folder of it; device: what it is on. -EOPNOTSUPP without filesystem. */
int fs_limit(int root_fd, dev_t device, Filesystem fs, bool stopped);

/* Lets the filesystem take all of its device, which has so many bytes. One that has it already is fine, and one that
 * was cut short goes on. mount_fd: a writable mount of it. */
int fs_grow(int mount_fd, Filesystem fs, uint64_t size);
/* How many bytes of its device it takes. device: a path; mount_fd: a mount of it. */
int fs_size(int mount_fd, const char *device, Filesystem fs, uint64_t *ret);

/* Of ext4. */
int fs_block_size(const char *device, uint64_t *ret);

/* Tells a device that nobody needs what it holds there. -EOPNOTSUPP if it does not let itself be told so. */
int fs_discard(const char *device, uint64_t from, uint64_t to);

/* Bytes that are yet to be written back to a device's filesystem. -ENODEV if it is gone, -ENOENT where the kernel
 * does not say: its debugfs is not mounted. */
int fs_dirty(dev_t device, uint64_t *ret);

/* Whether this kernel has the filesystem of a device-mapper device mounted: in any namespace, or only for who has a
 * file open. */
bool fs_is_mounted(dev_t device, Filesystem fs);

/* Whether it still takes changes: 1; 0 after its journal was aborted. */
int fs_is_healthy(int root_fd);
