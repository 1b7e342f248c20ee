#include "../../../repo/retention.h"

#include <quarry/text.h>

#include "../unit.h"

#include <time.h>

#define DAY_USEC UINT64_C(86400000000)

static void is(const char *text, Retention expected) {
        Retention r = {};
        Error err = {};

        if (retention_parse(text, "keep", &r, &err) < 0)
                fail_msg("%s: %s", text, err.text);
        for (unsigned i = 0; i < _RETAIN_MAX; i++)
                assert_row(r.keep[i] == expected.keep[i], text);
}

static void test_what_is_typed(void **state) {
        is("7 daily", (Retention) { { [RETAIN_DAILY] = 7 } });
        is("keep 7 daily, 4 weekly,12 monthly , 1 yearly",
           (Retention) { { [RETAIN_DAILY] = 7, [RETAIN_WEEKLY] = 4, [RETAIN_MONTHLY] = 12, [RETAIN_YEARLY] = 1 } });
        is(" keep\t3last\n,24  hourly ", (Retention) { { [RETAIN_LAST] = 3, [RETAIN_HOURLY] = 24 } });
        is("10000 last", (Retention) { { [RETAIN_LAST] = 10000 } });
}

static void test_what_is_refused(void **state) {
        static const char *const rows[] = {
                "",
                " ",
                "keep",
                "keep ",
                "keep,",
                ",",
                ",,",
                " , ",
                "7 daily,",
                ",7 daily",
                "7 daily,,4 weekly",
                "7 daily, ,4 weekly",
                "7",
                "daily",
                "0 daily",
                "-1 daily",
                "+1 daily",
                "10001 daily",
                "99999999999999999999 daily",
                "1000000000000000000000000000000000000000 last",
                "1.5 daily",
                "1k daily",
                "7 days",
                "7 Daily",
                "7 daily daily",
                "7 daily 4 weekly",
                "7 daily, 4 daily",
                "7 daily; 4 weekly",
                "keep7 daily",
                "keep keep 7 daily",
                "7 keep daily",
                "daily 7",
                "7 dailyx",
                "7 abcdefghijklmnopqrstuvwxyz",
                "7 daily\x01",
                "0x7 daily",
                "none",
                "all",
                "\xff",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Retention r = { { 5 } };
                Error err = {};

                assert_row(retention_parse(rows[i], "keep", &r, &err) == -EINVAL, rows[i]);
                assert_row(err.kind == ERROR_BAD_REQUEST && streq(err.field, "keep"), rows[i]);
                assert_row(strstr(err.text, "7 daily, 4 weekly") && text_is_printable(err.text), rows[i]);
                assert_row(r.keep[0] == 5, rows[i]); /* nothing was written */
        }
}

static uint64_t at(const char *when) {
        struct tm tm = {};

        assert_non_null(strptime(when, "%Y-%m-%d %H:%M", &tm));
        return (uint64_t) timegm(&tm) * 1000000;
}

/* times, in order, with '*' before those that are kept. */
static void keeps(const char *retention, const char *const *rows, size_t n) {
        uint64_t times[32];
        bool keep[32] = {};
        Retention r = {};
        Error err = {};

        assert_int_equal(retention_parse(retention, "keep", &r, &err), 0);
        for (size_t i = 0; i < n; i++)
                times[i] = at(rows[i] + 1);
        retention_apply(&r, times, n, keep);
        for (size_t i = 0; i < n; i++)
                assert_row(keep[i] == (rows[i][0] == '*'), rows[i]);
}
#define KEEPS(retention, ...)                                      \
        do {                                                       \
                static const char *const rows[] = { __VA_ARGS__ }; \
                keeps(retention, rows, ELEMENTSOF(rows));          \
        } while (0)

static void test_each_period_ends_where_its_name_says(void **state) {
        KEEPS("9 hourly", "*2026-01-01 00:59", " 2026-01-01 01:00", "*2026-01-01 01:59");
        KEEPS("9 daily", " 2026-01-01 00:00", "*2026-01-01 23:59", "*2026-01-02 00:00");
        /* 2024-12-30 is a Monday, of week 1 of 2025; 2027-01-03 a Sunday, of week 53 of 2026 */
        KEEPS("9 weekly", " 2024-12-23 00:00", "*2024-12-29 23:59", " 2024-12-30 00:00", "*2025-01-05 23:59",
              "*2025-01-06 00:00");
        KEEPS("9 weekly", "*2026-12-27 23:59", " 2026-12-28 00:00", " 2026-12-31 12:00", "*2027-01-03 23:59",
              "*2027-01-04 00:00");
        KEEPS("9 weekly", " 1970-01-01 00:00", "*1970-01-04 23:59", "*1970-01-05 00:00");
        KEEPS("9 monthly", "*2023-12-31 23:59", "*2024-01-31 23:59", " 2024-02-01 00:00", "*2024-02-29 23:59",
              "*2024-03-01 00:00", "*2025-03-01 00:00");
        KEEPS("9 yearly", "*2023-01-01 00:00", " 2024-01-01 00:00", "*2024-12-31 23:59", "*2025-01-01 00:00");
}

static void test_the_newest_are_kept_and_what_is_kept_once_counts_for_each(void **state) {
        KEEPS("2 last", " 2026-01-01 00:00", "*2026-01-02 00:00", "*2026-01-02 00:01");
        KEEPS("2 daily", " 2026-01-01 00:00", "*2026-01-05 00:00", " 2026-01-09 00:00", "*2026-01-09 00:01");
        KEEPS("1 last, 2 daily, 2 monthly", "*2025-12-01 00:00", " 2026-01-07 00:00", "*2026-01-08 00:00",
              "*2026-01-09 00:01");
        KEEPS("5 last", "*2026-01-01 00:00");
        retention_apply(&(Retention) { { 1, 1, 1, 1, 1, 1 } }, NULL, 0, NULL);
}

static void test_of_the_same_moment(void **state) {
        KEEPS("2 last", " 2026-01-01 00:00", "*2026-01-01 00:00", "*2026-01-01 00:00");
        KEEPS("2 daily", " 2026-01-01 00:00", " 2026-01-01 00:00", "*2026-01-01 00:00");
}

static void test_what_is_set_stays_set(void **state) {
        const uint64_t times[] = { 1, 2, 3 };
        bool keep[] = { true, false, false };

        retention_apply(&(Retention) { { 1 } }, times, 3, keep);
        assert_true(keep[0] && !keep[1] && keep[2]);
}

static size_t count(const bool *keep, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                kept += keep[i];
        return kept;
}

static void name_period(RetentionPeriod period, time_t seconds, char buf[static 16]) {
        struct tm tm;

        (void) gmtime_r(&seconds, &tm);
        if (period == RETAIN_DAILY)
                strftime(buf, 16, "%F", &tm);
        else if (period == RETAIN_WEEKLY)
                strftime(buf, 16, "%G-%V", &tm);
        else if (period == RETAIN_MONTHLY)
                strftime(buf, 16, "%Y-%m", &tm);
        else
                strftime(buf, 16, "%Y", &tm);
}

/* One a day for twelve years, held against what strftime() calls their periods. */
static void keeps_last_of_each(RetentionPeriod period, unsigned number) {
        enum { DAYS = 4400 };
        static uint64_t times[DAYS];
        bool keep[DAYS] = {};
        char is[16], next[16] = "";
        Retention r = {};
        unsigned left = number;

        for (size_t i = 0; i < DAYS; i++)
                times[i] = at("2019-06-15 03:30") + i * DAY_USEC;
        r.keep[period] = number;
        retention_apply(&r, times, DAYS, keep);
        for (size_t i = DAYS; i-- > 0; buffer_format(next, sizeof(next), "%s", is)) {
                bool expected;

                name_period(period, (time_t) (times[i] / 1000000), is);
                expected = left > 0 && !streq(is, next);
                left -= expected;
                assert_row(keep[i] == expected, is);
        }
        assert_int_equal(count(keep, DAYS), number - left);
}

static void test_over_years(void **state) {
        keeps_last_of_each(RETAIN_DAILY, 400);
        keeps_last_of_each(RETAIN_WEEKLY, 300);
        keeps_last_of_each(RETAIN_WEEKLY, 10000);
        keeps_last_of_each(RETAIN_MONTHLY, 100);
        keeps_last_of_each(RETAIN_YEARLY, 20);
}

static void test_times_that_no_calendar_has(void **state) {
        const uint64_t times[] = { 0, UINT64_MAX - 1, UINT64_MAX };
        bool keep[3] = {};

        retention_apply(&(Retention) { { 1, 1, 1, 1, 1, 1 } }, times, 3, keep);
        assert_true(!keep[0] && !keep[1] && keep[2]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_typed),
                cmocka_unit_test(test_what_is_refused),
                cmocka_unit_test(test_each_period_ends_where_its_name_says),
                cmocka_unit_test(test_the_newest_are_kept_and_what_is_kept_once_counts_for_each),
                cmocka_unit_test(test_of_the_same_moment),
                cmocka_unit_test(test_what_is_set_stays_set),
                cmocka_unit_test(test_over_years),
                cmocka_unit_test(test_times_that_no_calendar_has),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
