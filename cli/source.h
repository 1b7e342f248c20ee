#pragma once

/* What a snapshot holds: its device, and where on it there is something. */

#include <quarry/error.h>
#include <quarry/volume.h>

#include <systemd/sd-json.h>

typedef struct Source {
        int device;
        sd_json_variant *ranges;
        uint64_t total; /* bytes of them */
} Source;

/* since: another snapshot of the same volume, for what differs from it alone; or NULL. The snapshot is in use until
 * source_done(). what: for the line of progress. */
int source_open(const char *snapshot, const char *since, const char *what, Source *ret, Error *err);
void source_done(Source *source);

/* False behind the last. A range may reach behind the end of the device, where that was larger before. */
bool source_range(const Source *source, size_t n, uint64_t *ret_offset, uint64_t *ret_end);
/* Whether anything of these bytes is in a range. They are asked for in their order; *n begins as 0. */
bool source_touches(const Source *source, uint64_t offset, uint64_t end, size_t *n);
int source_read(const Source *source, uint64_t offset, uint8_t *buf, size_t size, Error *err);

/* Of what the daemon says of a volume or snapshot: size, filesystem, key source, owner and mode. */
void source_describe(sd_json_variant *volume, VolumeSpec *ret);
