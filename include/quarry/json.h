#pragma once

/* What is read of a JSON object, where a member may be missing, or may be anything. */

#include <systemd/sd-json.h>

#include <stdint.h>

/* A member's text, the object's; "" if it is none. */
static inline const char *json_string(sd_json_variant *object, const char *name) {
        sd_json_variant *v = sd_json_variant_by_key(object, name);

        return sd_json_variant_is_string(v) ? sd_json_variant_string(v) : "";
}

/* A member's number; 0 if it is none. */
static inline uint64_t json_unsigned(sd_json_variant *object, const char *name) {
        return sd_json_variant_unsigned(sd_json_variant_by_key(object, name));
}
