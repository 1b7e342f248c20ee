#pragma once

/* Jobs about the same thing wait for each other. The broker asks for them one after the other, but a worker goes
 * on when its broker dies, and the next broker cleans up at once: it must not meet the job that it cleans up
 * behind. */

#include <quarry/job.h>

/* Waits until no other worker has a job about the same volume, or takes the pool away. The kernel lets go of the
 * lock when *ret is closed, however this process ends; -EBADF for a job that needs none. */
int lock_take(const Job *job, int *ret, Error *err);

/* The lock of who reads the maps of a pool, without waiting: -EAGAIN if somebody has it, -ENOENT if nobody ever had a
 * lock of the pool. */
int lock_try_maps(sd_id128_t pool, int *ret);

/* The pool of the job is gone: nobody asks for its locks any more. To be called with the lock. */
void lock_forget(const Job *job);
