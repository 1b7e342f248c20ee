#pragma once

/* What log and events have in common. */

#include "option.h"

#include <systemd/sd-json.h>

/* An event of the daemon in one line: "2026-11-27T10:00:03Z alice: create acme/db (10G): done in 1.2s"; to be freed. */
char *event_sentence(sd_json_variant *event);

typedef struct EventOptions {
        const char *pool, *tenant;
} EventOptions;

extern EventOptions event_options;

#define EVENT_POOL_OPTION { 0, "pool", "POOL", "Only of this pool", option_string, &event_options.pool }
#define EVENT_TENANT_OPTION { 0, "tenant", "TENANT", "Only of this tenant", option_string, &event_options.tenant }

/* What the daemon is asked for; to be unreferenced. */
sd_json_variant *event_parameters(char *const *volumes);
