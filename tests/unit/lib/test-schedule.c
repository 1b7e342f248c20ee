#include <quarry/schedule.h>
#include <quarry/text.h>

#include "../unit.h"

static void is(const char *text, const char *expected) {
        _cleanup_free_ char *again = NULL, *twice = NULL;
        Schedule schedule;
        Error err = {};

        if (schedule_parse(text, "f", &schedule, &err) < 0)
                fail_msg("%s: %s", text, err.text);
        again = schedule_format(&schedule);
        assert_string_equal(again, expected);
        assert_int_equal(schedule_parse(again, "f", &schedule, &err), 0);
        twice = schedule_format(&schedule);
        assert_string_equal(twice, again);
}

static void is_refused(const char *text, const char *part) {
        Schedule schedule = { .n = 7 };
        Error err = {};

        assert_int_equal(schedule_parse(text, "snapshotSchedule", &schedule, &err), -EINVAL);
        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        assert_string_equal(err.field, "snapshotSchedule");
        if (!strstr(err.text, part))
                fail_msg("\"%s\" does not say \"%s\"", err.text, part);
        assert_int_equal(schedule.n, 7); /* nothing was written */
}

static void test_schedules(void **state) {
        is("none", "none");
        is("hourly keep 24", "hourly keep 24");
        is("hourly keep 24, daily keep 7,weekly   keep 4", "hourly keep 24, daily keep 7, weekly keep 4");
        is(" Mon..Fri  *-*-*\t08:00 keep 10 ", "Mon..Fri *-*-* 08:00 keep 10");
        is("Mon,Wed *-*-1,15 8:00,20:00 Europe/Berlin keep 3 , *:*:0/5 keep 1000",
           "Mon,Wed *-*-1,15 8:00,20:00 Europe/Berlin keep 3, *:*:0/5 keep 1000");
        is("*-*~1 keep 1", "*-*~1 keep 1");
        is("keeper keep 1", "keeper keep 1"); /* what it means is systemd's to judge */
}

static void test_what_is_none(void **state) {
        char many[1024] = "a keep 1", long_one[256];

        is_refused("", "hourly keep 24");
        is_refused("hourly", "hourly keep 24");
        is_refused("keep 3", "is a calendar expression");
        is_refused("hourly keep", "1 to 1000");
        is_refused("hourly keep 0", "1 to 1000");
        is_refused("hourly keep 1001", "1 to 1000");
        is_refused("hourly keep -3", "1 to 1000");
        is_refused("hourly keep 3x", "1 to 1000");
        is_refused("hourly keep 99999999999999999999", "1 to 1000");
        is_refused("hourly keep 3 daily keep 4", "comma");
        is_refused("hourly keep 3,", "is a calendar expression");
        is_refused("hourly keep 3, hourly keep 4", "twice");
        is_refused("--iterations=9 keep 3", "does not begin with -");
        is_refused("-h keep 3", "does not begin with -");
        is_refused("$(reboot) keep 3", "no calendar expression");
        is_refused("a;b keep 3", "no calendar expression");
        is_refused("a\x01 keep 3", "\\x01");
        is_refused("\xff keep 3", "\\xff");
        snprintf(long_one, sizeof(long_one), "%0*d keep 3", SCHEDULE_EXPRESSION_MAX + 1, 0);
        is_refused(long_one, "at most 120");
        for (char c = 'b'; c <= 'p'; c++)
                snprintf(many + strlen(many), sizeof(many) - strlen(many), ", %c keep 1", c);
        is(many, many);
        strcat(many, ", q keep 1");
        is_refused(many, "at most 16 rules");
}

static void test_prefixes(void **state) {
        char buf[SCHEDULE_PREFIX_MAX + 1];

        assert_string_equal(schedule_prefix("hourly", buf), "hourly-");
        assert_string_equal(schedule_prefix("Mon..Fri *-*-* 08:00", buf), "auto-");
        assert_string_equal(schedule_prefix("*:*:0/5", buf), "auto-");
        assert_string_equal(schedule_prefix("semiannuallysemiannuallysemiannually", buf), "auto-");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_schedules),
                cmocka_unit_test(test_what_is_none),
                cmocka_unit_test(test_prefixes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
