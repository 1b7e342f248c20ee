/* The sentence that an event is for people. */

#include "../../../cli/event.h"

#include "../unit.h"

static void test_sentences(void **state) {
        static const struct {
                const char *event, *line;
        } rows[] = {
                { "{\"type\":\"changed\",\"verb\":\"create\",\"tenant\":\"default\",\"volume\":\"db\",\"callerUid\":0,"
                  "\"sizeBytes\":1073741824,\"durationUsec\":1299999,\"timeUsec\":1770112800999999}",
                  "2026-02-03T10:00:00Z root: create db (1G): done in 1.2s" },
                { "{\"type\":\"changed\",\"verb\":\"clone\",\"tenant\":\"acme\",\"volume\":\"copy\",\"callerUid\":4294967294,"
                  "\"source\":\"acme/db@s\",\"durationUsec\":60000000}",
                  "1970-01-01T00:00:00Z uid 4294967294: clone acme/copy from acme/db@s: done in 1m0s" },
                { "{\"type\":\"changed\",\"verb\":\"pool create\",\"pool\":\"fast\",\"callerUid\":0,\"durationUsec\":999999}",
                  "1970-01-01T00:00:00Z root: pool create fast: done in 999ms" },
                { "{\"type\":\"changed\",\"verb\":\"tenant rm\",\"pool\":\"fast\",\"tenant\":\"acme\",\"callerUid\":0}",
                  "1970-01-01T00:00:00Z root: tenant rm acme: done" },
                { "{\"type\":\"failed\",\"verb\":\"rm\",\"volume\":\"db\",\"snapshot\":\"s\",\"callerUid\":0,"
                  "\"error\":\"it is\\nin use\",\"durationUsec\":2000}",
                  "1970-01-01T00:00:00Z root: rm db@s: failed after 2ms: it is?in use" },
                { "{\"type\":\"refused\",\"verb\":\"key rotate\",\"callerUid\":0,\"error\":\"not yours\"}",
                  "1970-01-01T00:00:00Z root: key rotate: refused: not yours" },
                { "{\"type\":\"suppressed\",\"message\":\"m\",\"suppressed\":7}",
                  "1970-01-01T00:00:00Z others: 7 more requests failed or were refused" },
                { "{\"type\":\"space\",\"pool\":\"fast\",\"message\":\"its space is low\"}",
                  "1970-01-01T00:00:00Z quarryd: pool fast: its space is low" },
                { "{\"type\":\"later\",\"verb\":\"paint\",\"volume\":\"db\",\"message\":\"it is green\"}",
                  "1970-01-01T00:00:00Z quarryd: paint db: it is green" },
                { "{}", "1970-01-01T00:00:00Z quarryd: " },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *event = NULL;

                assert_row(sd_json_parse(rows[i].event, 0, &event, NULL, NULL) >= 0, rows[i].event);
                _cleanup_free_ char *line = event_sentence(event);
                assert_string_equal(line, rows[i].line);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sentences),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
