/* Giving back the blocks of a removed volume. The kernel deletes a thin device in one go, in which nobody else changes
 * the pool's metadata: of a large one that takes long. So its blocks are given back before, piece by piece, and what is
 * deleted then is empty. A job does as much as fits into a moment, and the next goes on where it stopped. */

#include "step/step.h"

#include "kernel/block.h"
#include "kernel/dm.h"

#include <quarry/text.h>

#include <time.h>

#define PIECE (GIB / 4)
#define MOMENT_MS 500

static int64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int free_run(StepContext *c, Error *err) {
        const uint64_t size = volume_spec_device_size(&c->job->volume.spec);
        const int64_t end = now_ms() + MOMENT_MS;
        uint64_t at = c->job->offset;
        int r;

        r = thin_open_if_exists(c, err);
        if (r <= 0) {
                c->result->offset = size;
                return r;
        }
        while (at < size && now_ms() < end) {
                uint64_t length = size - at < PIECE ? size - at : PIECE;

                r = block_discard(c->thin, at, length);
                if (r < 0)
                        return error_errno(err, r, "cannot give back the space of removed volume %s",
                                           c->job->volume.spec.name);
                at += length;
        }
        c->result->offset = at;
        (void) dm_thin_used(c->job->volume.uuid, &c->result->used); /* only a number for people */
        return 0;
}

static int free_end_probe(StepContext *c, Error *err) {
        return c->result->offset < volume_spec_device_size(&c->job->volume.spec);
}

static int free_end_run(StepContext *c, Error *err) {
        return step_thin_delete.run(c, err);
}

const Step step_free = { "giving back its space", NULL, free_run, NULL };
const Step step_free_end = { "deleting the thin device", free_end_probe, free_end_run, NULL };
