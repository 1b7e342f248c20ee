#pragma once

/* The files of an archive of tar's, into a volume that is filled. */

#include "input.h"
#include "stream.h"
#include "transfer.h"

/* Returns when all of them are there. ERROR_NO_SPACE if the volume is full; ERROR_BAD_REQUEST if the archive is cut
 * short. */
int unpack(Target *target, Input *source, Progress *progress, Error *err);
