#pragma once

/* A look at everything that can be wrong: workers look at kernel, disks and set-up, the broker compares with what the
 * catalogs say, and, when asked, has repaired what is safe to repair. */

#include "broker/operation.h"

/* For administrators. The operation ends with its findings. */
int doctor_examine(Manager *manager, const Caller *caller, bool fix, const Watcher *watcher, Error *err);
