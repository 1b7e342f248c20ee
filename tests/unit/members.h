#pragma once

/* Texts in JSON, each of whose members counts. */

#include <quarry/text.h>

#include "unit.h"

#include <systemd/sd-json.h>

/* The text with this member replaced, or left out if value is NULL; to be freed. */
static char *member_replace(const char *text, const char *name, const char *value) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *other = NULL;
        char *list[] = { (char *) name, NULL }, *changed = NULL;

        assert_true(sd_json_parse(text, 0, &v, NULL, NULL) >= 0);
        if (value) {
                assert_row(sd_json_parse(value, 0, &other, NULL, NULL) >= 0, value);
                assert_true(sd_json_variant_set_field(&v, name, other) >= 0);
        } else
                assert_true(sd_json_variant_filter(&v, list) > 0);
        assert_true(sd_json_variant_format(v, 0, &changed) > 0);
        return changed;
}

/* Leaves each of the members out, and gives it each other type: all are to be refused. */
static inline void each_member_counts(const char *text, void (*refused)(const char *text)) {
        static const char *const others[] = { NULL, "null", "\"zz\"", "true", "-1", "1.5", "[7]", "{}" };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        assert_true(sd_json_parse(text, 0, &v, NULL, NULL) >= 0);
        for (size_t i = 0; i < sd_json_variant_elements(v); i += 2)
                for (size_t j = 0; j < ELEMENTSOF(others); j++) {
                        const char *name = sd_json_variant_string(sd_json_variant_by_index(v, i));
                        _cleanup_free_ char *changed = member_replace(text, name, others[j]);

                        refused(changed);
                }
}
