#pragma once

/* A volume that is being made, and whose contents somebody outside writes: to its device, or into a mount of it. They
 * have that, and op->transfer_fd, a socket or pipe, is where they say that all is there. Whoever goes before that
 * leaves nothing behind. */

#include "broker/operation.h"

/* Waits for what they say, and goes on. -errno. */
int transfer_begin(Operation *operation, void (*then)(Operation *operation, const Error *err));

/* What there is of it goes again, and the operation ends with that error. */
void transfer_give_up(Operation *operation, const Error *err);

/* Ends all of the pool, which fills up. */
void transfer_stop(PoolEntry *pool);
