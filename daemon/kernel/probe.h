#pragma once

/* What is on a block device, and who has it, before anything is done to it. */

#include <quarry/base.h>
#include <quarry/error.h>

#include <sys/types.h>

/* Refuses with ERROR_DEVICE_UNUSABLE and the reason what a pool must not take: not a block device, read-only,
 * too small, a partition or disk that is mounted, swapped on, held by another device or opened exclusively,
 * and any signature that libblkid knows (filesystem, RAID, LVM, partition table ...), with the `wipefs`
 * command as hint. Only reads. */
int probe_device_is_free(const char *path, Error *err);

/* Which of the filesystems that we make is on it, as libblkid calls it, or ""; -ENOTUNIQ if it seems to be several. */
#define CONTENT_NAME_MAX 32u
int probe_content(const char *path, char ret[static CONTENT_NAME_MAX]);

/* Size in bytes, device number. */
int probe_block_size(const char *path, uint64_t *ret_size);
int probe_device_number(const char *path, dev_t *ret);
