#pragma once

/* From an active pool in the kernel to a pool in memory. */

#include "broker/operation.h"

/* err: NULL when it is as wanted. */
typedef void (*PoolTurned)(PoolEntry *pool, const Error *err, void *userdata);

/* Has a worker open, recover, remove or forget a pool, which its disks may keep for ever. When it takes too long
 * on_done is called with ETIMEDOUT, and pool->attempt stays until the worker answers after all: what it did is taken
 * over then, if the pool is still as it was left. on_progress: may be NULL. */
int pool_attempt(Manager *manager, PoolEntry *pool, JobVerb verb, JobProgress on_progress, JobDone on_done,
                 void *userdata, Error *err);
/* The same for an operation, which is the userdata, and has the verb in its job. */
int pool_attempt_by(Operation *operation, PoolEntry *pool, JobVerb verb, JobDone on_done, Error *err);

/* Opens the catalog of a pool that a worker has activated, loads its volumes, takes over the devices that are
 * open, and goes on with what was cut short; then calls back, perhaps at once. On failure the pool is
 * POOL_UNAVAILABLE and *err says why; that is so too when its disk does not answer in time. */
void pool_open_catalog(Manager *manager, PoolEntry *pool, JobResult *result, PoolTurned on_done, void *userdata);

/* Looks whether the catalog still works. If not the pool is POOL_UNAVAILABLE until pool_try_missing() brings it back;
 * its volumes stay known, and what is mounted stays so. */
void pool_check_catalog(PoolEntry *pool);
/* While jobs run on the pool, has its catalog write: a disk that keeps them for ever keeps that too, and is known by
 * it. */
void pool_probe_disk(PoolEntry *pool);

/* Takes the pool's numbers from a worker's answer, if they are there. */
void pool_take_numbers(PoolEntry *pool, const JobResult *result);
/* Takes the pool's numbers from a worker's answer, and its devices; with entry only those of that volume. */
void pool_take_usage(Manager *manager, PoolEntry *pool, JobResult *result, VolumeEntry *entry);

/* Closes the catalog: before a worker takes the pool away. Its volumes stay known until it is opened again. Calls
 * back, perhaps at once; with an error when the disk does not answer in time: then the pool is POOL_UNAVAILABLE. */
void pool_close_catalog(Manager *manager, PoolEntry *pool, PoolTurned on_done, void *userdata);

/* Opens the pool of an operation that took it for itself, and ends that: with its failure, if it had one, else with
 * what became of the opening. */
void pool_open_again(Operation *operation);
