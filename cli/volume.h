#pragma once

/* What other verbs need of volumes. */

#include "report.h"
#include "table.h"

/* TENANT/NAME, or NAME alone for the default tenant: what every verb accepts. To be freed. */
char *volume_reference(sd_json_variant *volume);

/* "10G, 1.2G used"; to be freed. */
char *volume_extent(sd_json_variant *volume);

/* Nothing of it is mounted, nor is its device open if it has no filesystem. Somebody may use it all the same, whom only
 * the daemon finds. */
bool volume_is_unused(sd_json_variant *volume);

/* Columns of volumes and snapshots. */
extern const Column volume_columns[];

/* A list that lacks something must not be taken for a whole one. */
void volume_report_missing(Report *report, sd_json_variant *pools);

/* The daemon's description of one; name is a reference or a UUID. */
int volume_inspect(const char *name, sd_json_variant **ret, Error *err);
