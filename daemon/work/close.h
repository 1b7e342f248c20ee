#pragma once

/* When the host stops: closes every pool, without a broker. */

#include <quarry/config.h>
#include <quarry/error.h>

/* Goes on behind a pool that cannot be closed wholly, and says so in the log: whatever is left is systemd's to take
 * away. Fails only if the pools of the host cannot be read. */
int close_pools(const Config *config, Error *err);
