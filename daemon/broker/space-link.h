#pragma once

/* The worker that watches the pools: one of its own, beside those of the queue, that never ends its job. When it
 * dies the next one is asked. */

#include <quarry/error.h>
#include <quarry/job.h>

#include <systemd/sd-event.h>

typedef struct SpaceLink SpaceLink;
typedef void (*SpaceReport)(const JobResult *report, void *userdata);

int space_link_new(sd_event *event, SpaceReport on_report, void *userdata, SpaceLink **ret, Error *err);
void space_link_free(SpaceLink *space_link);
void space_link_begin(SpaceLink *space_link); /* again: nothing more happens */
