#pragma once

/* The daemon's descriptions for people: the blocks that inspect prints. */

#include <quarry/base.h>

#include <systemd/sd-json.h>

void describe_volume(sd_json_variant *volume);
void describe_pool(sd_json_variant *pool);
/* users, groups: the names of its members. */
void describe_tenant(sd_json_variant *tenant, char *const *users, char *const *groups);

/* The reply of io.quarry.Key.Status, and the keys of a volume. */
void describe_host_keys(sd_json_variant *status);
void describe_volume_keys(const char *name, sd_json_variant *keys);

/* Whether its key was taken away. */
bool describe_is_locked(sd_json_variant *volume);
