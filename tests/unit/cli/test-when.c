/* Which times and spans of time are taken as they are typed, and as what. */

#include "../../../cli/when.h"

#include "../unit.h"

#define USEC UINT64_C(1000000)
#define NOW (UINT64_C(1770112800) * USEC) /* 2026-02-03T10:00:00Z */

static void test_what_is_a_time(void **state) {
        static const struct {
                const char *text;
                uint64_t want;
        } rows[] = {
                { "2026-02-03T10:00:00Z", NOW },
                { "2026-02-03T10:00:00", NOW },
                { "2026-02-03T10:00", NOW },
                { "2026-02-03 10:00:00", NOW },
                { "2026-02-03 10:00", NOW },
                { "2026-02-03", NOW - 10 * 3600 * USEC },
                { "2024-02-29", UINT64_C(1709164800) * USEC },
                { "0s", NOW },
                { "90s", NOW - 90 * USEC },
                { "15m", NOW - 15 * 60 * USEC },
                { "2h", NOW - 2 * 3600 * USEC },
                { "7d", NOW - 7 * 86400 * USEC },
                { "2w", NOW - 14 * 86400 * USEC },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t at = 0;

                assert_row(when_parse(rows[i].text, NOW, &at) == 0, rows[i].text);
                assert_row(at == rows[i].want, rows[i].text);
        }
}

static void test_what_is_none(void **state) {
        static const char *const rows[] = {
                "",
                " ",
                "h",
                "2",
                "2x",
                "-2h",
                "2 h",
                "1.5h",
                "yesterday",
                "2026",
                "2026-02",
                "2026-02-30",
                "2026-13-01",
                "2026-02-03 ",
                "2026-02-03 25:00",
                "2026-02-03 10:00:60",
                "2026-02-03T10:00:00+01",
                "1969-12-31",
                "99999w",
                "18446744073709551615s",
                "99999999999999999999d",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t at = 7;

                assert_row(when_parse(rows[i], NOW, &at) < 0, rows[i]);
                assert_int_equal(at, 7);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_a_time),
                cmocka_unit_test(test_what_is_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
