#pragma once

/* Pools and volumes as every front shows them: the objects of the Varlink interfaces. */

#include "broker/manager.h"

#include <systemd/sd-json.h>

int view_volume(const VolumeEntry *entry, sd_json_variant **ret);
int view_pool(const Manager *manager, const PoolEntry *pool, sd_json_variant **ret);
