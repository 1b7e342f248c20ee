#pragma once

#include <quarry/error.h>
#include <quarry/job.h>
#include <quarry/pool.h>

#define POOL_LIST_FOLDER "/var/lib/quarry/pools"

/* The entry of the root-owned list: where a worker learns a pool's name, whatever the job says.
 * ERROR_NO_SUCH_POOL if there is none. *ret is to be given to pool_info_done(). */
int pool_list_find(sd_id128_t pool, PoolInfo *ret, Error *err);

/* Adds every entry to result->pools. */
int pool_list_read(JobResult *result, Error *err);
