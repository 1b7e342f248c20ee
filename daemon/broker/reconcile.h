#pragma once

#include "broker/manager.h"

/* At start: asks for the pools of this host and activates each; sets manager->ready when all have come or are
 * known not to, or not soon. */
int reconcile_start(Manager *manager, Error *err);
