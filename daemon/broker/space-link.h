#pragma once

/* The worker that watches a pool: one of its own, beside those of the queue, that never ends its job, so that a pool
 * whose disk does not answer keeps nobody from seeing how full the others are. When it dies the next one is asked. */

#include <quarry/error.h>
#include <quarry/job.h>

#include <systemd/sd-event.h>

typedef struct SpaceLink SpaceLink;
typedef void (*SpaceReport)(const JobResult *report, void *userdata);

int space_link_new(sd_event *event, sd_id128_t pool, SpaceReport on_report, void *userdata, SpaceLink **ret,
                   Error *err);
void space_link_free(SpaceLink *space_link);
