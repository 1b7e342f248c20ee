#pragma once

/* The daemon's descriptions for people: the blocks that inspect prints. */

#include <quarry/base.h>

#include <systemd/sd-json.h>

void describe_volume(sd_json_variant *volume);
void describe_pool(sd_json_variant *pool);
/* users, groups: the names of its members. */
void describe_tenant(sd_json_variant *tenant, char *const *users, char *const *groups);

/* A member's text; "" if it is none. */
const char *describe_string(sd_json_variant *object, const char *name);
