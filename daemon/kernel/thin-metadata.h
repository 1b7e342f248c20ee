#pragma once

/* What the superblock of a thin pool's metadata says, read while the pool is not open. */

#include <quarry/base.h>

#include <sys/types.h>

/* Chunks of data that the metadata counts on: the pool cannot be opened with fewer. -ENODATA if there is no
 * superblock yet. */
int thin_metadata_chunks(dev_t metadata, uint64_t *ret);
