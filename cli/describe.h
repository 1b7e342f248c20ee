#pragma once

/* The daemon's descriptions for people: the blocks that inspect prints. */

#include <quarry/base.h>

#include <systemd/sd-json.h>

void describe_volume(sd_json_variant *volume);
void describe_pool(sd_json_variant *pool);

/* A member's text; "" if it is none. */
const char *describe_string(sd_json_variant *object, const char *name);
