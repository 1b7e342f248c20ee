#pragma once

/* What sending and receiving share. */

#include <quarry/stream.h>

/* What a snapshot's contents are called, on every host: by its label, or its own UUID. ERROR_BAD_REQUEST if that is
 * none. */
int stream_uuid_of(sd_json_variant *snapshot, sd_id128_t *ret, Error *err);

/* "receiving db: 1.2G of 4G, 50M/s, 1 min left", each time that a second is over; of an unknown size only what is done,
 * and how fast. */
typedef struct Progress {
        const char *what;
        uint64_t total, shown_usec;
        uint64_t began_usec, began_at; /* when it was told of first, and with how much */
} Progress;

void stream_progress(Progress *progress, uint64_t done);
