/* What an event is called in the journal and in JSON, and which events a filter takes. */

#include <quarry/event.h>
#include <quarry/text.h>

#include "../unit.h"

static void test_a_class_is_found_by_its_id(void **state) {
        for (int i = 0; i < _EVENT_CLASS_MAX; i++) {
                sd_id128_t id;

                assert_int_equal(event_class_from_id(event_class_id((EventClass) i)), i);
                assert_true(sd_id128_from_string(event_class_id((EventClass) i), &id) >= 0);
        }
        assert_int_equal(event_class_from_id(""), -EINVAL);
        assert_int_equal(event_class_from_id("f4dd14fbc1e9440fa53f0dc22995d6f"), -EINVAL);
}

#define UUID "6f1c2f6e-0000-4000-8000-000000000001"

static void test_which_events_a_filter_takes(void **state) {
        static const struct {
                const char *reference, *pool, *tenant;
                bool matches;
        } rows[] = {
                { NULL, "", "", true },
                { NULL, "fast", "acme", true },
                { NULL, "slow", "", false },
                { NULL, "", "beta", false },
                { "db", "", "", true },
                { "db", "slow", "", false },
                { "d", "", "", false },
                { "later", "", "", true }, /* the name that it got */
                { "acme/db", "", "", true },
                { "beta/db", "", "", false },
                { "fast:acme/db@s", "", "", true },
                { "slow:db", "", "", false },
                { "db@t", "", "", false },
                { UUID, "", "", true },
                { UUID, "", "beta", false },
                { "6f1c2f6e-0000-4000-8000-000000000002", "", "", false },
        };
        Event event = {};

        event_set(&event, EVENT_FIELD_POOL, "fast");
        event_set(&event, EVENT_FIELD_TENANT, "acme");
        event_set(&event, EVENT_FIELD_VOLUME, "db");
        event_set(&event, EVENT_FIELD_SNAPSHOT, "s");
        event_set(&event, EVENT_FIELD_VOLUME_UUID, UUID);
        event_set(&event, EVENT_FIELD_NEW_NAME, "later");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *name = rows[i].reference ?: "none";
                EventFilter filter = {};
                Error err = {};

                if (rows[i].reference)
                        assert_row(event_filter_parse(rows[i].reference, "volumes", &filter, &err) == 0, name);
                buffer_format(filter.pool, sizeof(filter.pool), "%s", rows[i].pool);
                buffer_format(filter.tenant, sizeof(filter.tenant), "%s", rows[i].tenant);
                assert_row(event_filter_matches(&filter, &event) == rows[i].matches, name);
        }
        event_done(&event);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_class_is_found_by_its_id),
                cmocka_unit_test(test_which_events_a_filter_takes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
