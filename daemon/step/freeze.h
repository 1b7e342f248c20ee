#pragma once

/* Holding a volume still for the moment that an image of it takes.
 *
 * A suspended device stays suspended when whoever did it dies, and everybody who writes to it hangs. So a note is made
 * before, locked by this process as long as it lives: a note that is not locked any more is of somebody who died, and
 * what it names is let go. systemd runs freeze_thaw_abandoned() behind the end of each worker. */

#include <quarry/base.h>
#include <quarry/error.h>

#include <systemd/sd-id128.h>

typedef struct Freeze {
        sd_id128_t volume;
        int note;           /* locked; -EBADF: nothing is frozen */
        bool thin, crypt;   /* which of its devices are there */
} Freeze;

/* Has what is written so far reach the volume's device, without holding anybody up. A volume that is closed is fine. */
int freeze_prepare(sd_id128_t volume, const char *name, Error *err);

/* Freezes its filesystem and suspends its devices; a closed one is still by itself. On failure nothing is suspended. */
int freeze_begin(sd_id128_t volume, const char *name, Freeze *ret, Error *err);

/* Lets it go again. What cannot be let go is logged, and tried again when this process ends. */
void freeze_end(Freeze *freeze);

/* Lets go what was frozen by processes that died. */
int freeze_thaw_abandoned(Error *err);
