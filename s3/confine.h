#pragma once

#include <quarry/error.h>

/* Gives up every right that is not needed to speak to a service: no capability, user nobody if it was root, nothing
 * gained by running a program, no core file, nothing written to a file. Ends with its parent. */
int confine(Error *err);
