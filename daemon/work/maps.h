#pragma once

/* Snapshots of the metadata of pools that are left of workers who were killed. */

#include <quarry/base.h>

#include <systemd/sd-id128.h>

/* Gives it back, unless somebody is reading it; never waits. */
void maps_let_go(sd_id128_t pool, const char *name);

/* Of every pool of the host. What cannot be done is logged. */
void maps_let_go_all(void);
