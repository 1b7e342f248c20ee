#pragma once

/* A filesystem in memory, known by the name that its mounts have as their source. Return >= 0 or -errno. */

#include <quarry/volume.h>

/* A new one, mounted detached, nosuid and nodev: with size, inodes, noswap and owner of the spec. message: the kernel's
 * own words on failure. Returns the descriptor. */
int tmpfs_make(const char *name, const VolumeSpec *spec, char *message, size_t size);

/* Opens its root, where it is mounted: an O_PATH descriptor, with *ret_device. -ENOENT: it is mounted nowhere, -EBUSY:
 * and where it is, something else is mounted over it. */
int tmpfs_open(const char *name, dev_t *ret_device);

/* The size of the spec, also while it is used. -EINVAL: it holds more. */
int tmpfs_resize(int fd, const VolumeSpec *spec);

/* Whether a filesystem that is mounted is this one: 1, 0. */
int tmpfs_is(dev_t device, const char *name);

/* Bytes that it takes. */
int tmpfs_used(int fd, uint64_t *ret);

/* Whose source it is that is mounted there, and of a filesystem in memory: the volume. -EINVAL: none of ours. */
struct MountEntry;
int tmpfs_volume_of(const struct MountEntry *mount, sd_id128_t *ret);
