#pragma once

/* What other verbs need of volumes. */

#include <quarry/error.h>

/* TENANT/NAME, or NAME alone for the default tenant: what every verb accepts. To be freed. */
char *volume_reference(sd_json_variant *volume);

/* The daemon's description of one; name is a reference or a UUID. */
int volume_inspect(const char *name, sd_json_variant **ret, Error *err);
