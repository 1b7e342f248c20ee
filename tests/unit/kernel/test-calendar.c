#include "kernel/calendar.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include "../unit.h"

/* What systemd-analyze says, and what it was asked. */
static const char *bad;
static char asked[4096];

int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret);
int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret) {
        bool refuses = false;

        asked[0] = 0;
        for (char *const *a = argv; *a; a++) {
                size_t have = strlen(asked);

                buffer_format(asked + have, sizeof(asked) - have, "%s[%s]", have ? " " : "", *a);
                refuses = refuses || streq_ptr(*a, bad);
        }
        ret->out = strdup("  Original form: hourly\nNormalized form: *-*-* *:00:00\n"
                          "    Next elapse: Thu 2026-11-26 16:00:00 UTC\n       From now: 11min ago\n\n"
                          "  Original form: 2020-01-01\n    Next elapse: never\n");
        if (refuses)
                ret->out[0] = 0;
        ret->err = format_new("Failed to parse calendar specification '%s': Invalid argument", bad ?: "");
        return refuses ? 1 : 0;
}

static void test_times_are_read(void **state) {
        uint64_t times[3] = {};

        assert_int_equal(
                calendar_parse("  Next elapse: Thu 2026-11-26 16:00:00 UTC\n x\n Next elapse: never\n", 3, times), 2);
        assert_true(times[0] == UINT64_C(1795708800000000));
        assert_true(times[1] == 0);
        assert_int_equal(calendar_parse("Next elapse: Thu 2026-11-26 16:00:00.500000 UTC\n", 1, times), 1);
        assert_int_equal(calendar_parse("", 1, times), 0);
        assert_int_equal(calendar_parse("Next elapse: Thu 2026-11-26 16:00:00 CET\n", 1, times), -EBADMSG);
        assert_int_equal(calendar_parse("Next elapse: soon\n", 1, times), -EBADMSG);
        assert_int_equal(calendar_parse("Next elapse: never\nNext elapse: never\n", 1, times), -EBADMSG);
}

static void test_what_was_typed_is_no_option(void **state) {
        char *expressions[] = { (char *) "hourly", (char *) "2020-01-01", NULL };
        uint64_t times[2];
        Error err = {};

        bad = NULL;
        assert_int_equal(calendar_next(expressions, UINT64_C(1795705200999999), times, &err), 0);
        assert_string_equal(asked, "[systemd-analyze] [calendar] [--base-time=@1795705200] [--] [hourly] [2020-01-01]");
        assert_true(times[0] == UINT64_C(1795708800000000) && times[1] == 0);
}

static void test_the_bad_one_is_named(void **state) {
        char *one[] = { (char *) "every moon", NULL };
        uint64_t times[2];
        Error err = {};

        bad = "every moon";
        assert_int_equal(calendar_next(one, 0, times, &err), -EINVAL);
        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        assert_string_equal(err.text, "systemd does not understand \"every moon\": Failed to parse calendar "
                                      "specification 'every moon': Invalid argument");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_times_are_read),
                cmocka_unit_test(test_what_was_typed_is_no_option),
                cmocka_unit_test(test_the_bad_one_is_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
