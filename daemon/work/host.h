#pragma once

#include <quarry/error.h>
#include <quarry/volume.h>

/* Tag by which this host owns pools: derived from the machine id, which is not to be shown around. */
int host_identity(char buf[static UUID_TEXT_MAX], Error *err);
