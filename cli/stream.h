#pragma once

/* What sending and receiving share. */

#include <quarry/stream.h>

/* What a snapshot's contents are called, on every host: by its label, or its own UUID. ERROR_BAD_REQUEST if that is
 * none. */
int stream_uuid_of(sd_json_variant *snapshot, sd_id128_t *ret, Error *err);

/* "receiving db: 1.2G of 4G, 85M/s", each time that a second is over; of an unknown size only what is done. */
typedef struct Progress {
        const char *what;
        uint64_t total, shown_usec, shown_done;
} Progress;

void stream_progress(Progress *progress, uint64_t done);
