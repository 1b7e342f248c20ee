#pragma once

/* What sysfs says of a block device. Return >= 0 or -errno; -ENOENT where there is no such device. */

#include <quarry/base.h>

#include <sys/types.h>

#define SYSFS_VALUE_MAX 512

/* An attribute such as "size", "ro", "dm/name", "loop/backing_file", without its newline. */
int sysfs_read(dev_t device, const char *attribute, char buf[static SYSFS_VALUE_MAX]);

/* The devices that use this one ("holders"), or that it uses ("slaves"). The caller frees *ret. */
int sysfs_links(dev_t device, const char *folder, dev_t **ret, size_t *ret_count);

/* A name for people: the device-mapper name, else "/dev/sda1". */
void sysfs_name(dev_t device, char buf[static SYSFS_VALUE_MAX]);

/* Every block device of the kernel. */
int sysfs_devices(dev_t **ret, size_t *ret_count);
