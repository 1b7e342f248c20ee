#include "broker/space-rule.h"

#include <quarry/pool.h>

#include "../unit.h"

#define SECOND UINT64_C(1000000)

static void test_marks_come_in_order(void **state) {
        for (uint64_t size = 64 * MIB; size < UINT64_C(1) << 50; size *= 3)
                for (uint64_t rate = 0; rate < 8 * GIB; rate = rate * 4 + MIB) {
                        SpaceMarks marks;

                        space_marks(size, 100 * MIB, rate, 80, &marks);
                        assert_true(marks.extend >= size / 100 * 20 &&
                                    (marks.extend >= 20 * rate || marks.extend >= size / 2));
                        assert_true(marks.extend <= size / 2 || marks.extend <= size / 100 * 20);
                        assert_true(marks.soft > marks.hard && marks.low >= marks.hard);
                        /* what is in the caches has its space, and so have journals */
                        assert_true(marks.hard >= 100 * MIB + 16 * MIB);
                        assert_true(marks.hard >= rate / 2 || marks.hard >= size / 4);
                        assert_true(marks.plenty > marks.soft);
                }
}

static void test_a_burst_stops_nobody_in_a_half_empty_pool(void **state) {
        SpaceMarks marks;

        space_marks(GIB, 60 * MIB, 8 * GIB, 80, &marks);
        assert_true(marks.soft < GIB / 2);
        /* and a pool that was stopped by one that ended goes on with a third of it left */
        space_marks(GIB, 0, 0, 80, &marks);
        assert_true(marks.plenty < GIB / 3);
}

static void test_a_pool_at_rest_keeps_little_back(void **state) {
        SpaceMarks marks;

        space_marks(GIB, 0, 0, 80, &marks);
        assert_true(marks.hard == 32 * MIB && marks.soft == 48 * MIB);
        space_marks(100 * 1024 * GIB, 0, 0, 80, &marks);
        assert_true(marks.hard == 2 * GIB);
        space_marks(GIB, 0, 0, 100, &marks);
        assert_true(marks.extend == 0); /* never */
}

static void test_steps(void **state) {
        assert_true(space_step(100 * GIB, 0, 20) == 20 * GIB);
        assert_true(space_step(100 * GIB, GIB, 20) == 40 * GIB); /* or it would be full again before the next */
        assert_true(space_step(GIB, GIB, 20) == GIB);            /* doubled at most */
}

static void test_the_rate_rises_at_once_and_falls_slowly(void **state) {
        uint64_t rate = space_rate(0, 100 * MIB, SECOND / 4);

        assert_true(rate == 400 * MIB);
        rate = space_rate(rate, 0, SECOND / 4);
        assert_true(rate > 300 * MIB && rate < 400 * MIB);
        assert_true(space_rate(rate, 0, 0) == rate);
        assert_true(space_rate(rate, 0, 60 * SECOND) == 0);
}

static void test_growth_is_forgotten(void **state) {
        uint64_t growth = space_growth(0, 800 * MIB, SECOND);

        assert_true(growth == 800 * MIB);
        assert_true(space_growth(growth, 0, 120 * SECOND) == 400 * MIB);
        assert_true(space_growth(growth, MIB, 240 * SECOND) == 201 * MIB);
        assert_true(space_growth(growth, 0, UINT64_MAX) == 0);
}

static void test_the_largest_growers_are_chosen(void **state) {
        static const struct {
                uint64_t growth[5];
                const char *chosen;
        } rows[] = {
                { { 10, 10, 10, 10, 10 }, "yyy--" }, { { 1, 100, 1, 1, 1 }, "-y---" },
                { { 30, 0, 40, 20, 10 }, "y-y--" },  { { 0, 0, 0, 0, 0 }, "-----" },
                { { 0, 0, 0, 0, 1 }, "----y" },      { { UINT64_C(1) << 50, 1, 1, 1, UINT64_C(1) << 50 }, "y---y" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                bool chosen[5];

                space_choose(rows[i].growth, 5, chosen);
                for (size_t j = 0; j < 5; j++)
                        assert_row(chosen[j] == (rows[i].chosen[j] == 'y'), rows[i].chosen);
        }
        space_choose(NULL, 0, NULL);
}

static void test_how_long_it_lasts(void **state) {
        assert_true(space_lasts(100 * GIB, GIB, 3600 * SECOND) == 100 * 3600);
        assert_true(space_lasts(0, GIB, 3600 * SECOND) == 0);
        assert_true(space_lasts(GIB, 0, 3600 * SECOND) == UINT64_MAX); /* never */
        assert_true(space_lasts(GIB, GIB, SECOND) == UINT64_MAX);      /* too early to tell */
        assert_true(space_lasts(100 * GIB, GIB, 3599 * SECOND) == UINT64_MAX); /* some minutes are not a day */
        assert_true(space_lasts(100 * GIB, 10 * GIB, 120 * SECOND) == 1200);   /* but so fast it matters */
}

static void test_when_a_tenant_is_counted(void **state) {
        static const struct {
                const char *what;
                SpaceCount c;
                SpaceUrgency urgency;
        } rows[] = {
                { "never, and it may be above", { .limit = GIB, .mapped_max = UINT64_MAX }, SPACE_COUNT_NEAR },
                { "never, and it cannot be", { .limit = GIB, .mapped_max = GIB }, SPACE_COUNT_IDLE },
                { "nothing has changed",
                  { GIB, true, MIB, 3600 * SECOND, 0, false, false, UINT64_MAX },
                  SPACE_COUNT_NOT },
                { "the pool grew by less than is left",
                  { GIB, true, GIB - 2 * MIB, SECOND, 2 * MIB, true, true, UINT64_MAX },
                  SPACE_COUNT_NOT },
                { "by more", { GIB, true, GIB - 2 * MIB, SECOND, 3 * MIB, true, false, UINT64_MAX }, SPACE_COUNT_NEAR },
                { "by more, but what it maps is less than its limit",
                  { GIB, true, GIB - 2 * MIB, SECOND, 3 * MIB, true, true, GIB },
                  SPACE_COUNT_NOT },
                { "a while ago, and others may have given back",
                  { GIB, true, MIB, 30 * SECOND, 0, true, false, UINT64_MAX },
                  SPACE_COUNT_IDLE },
                { "a while ago, and it cannot be above",
                  { GIB, true, MIB, 30 * SECOND, 0, true, false, GIB },
                  SPACE_COUNT_NOT },
                { "a while ago, and it maps more",
                  { GIB, true, MIB, 30 * SECOND, 0, true, true, GIB },
                  SPACE_COUNT_IDLE },
                { "long ago", { GIB, true, MIB, 600 * SECOND, 0, true, false, GIB }, SPACE_COUNT_IDLE },
                { "above, and the pool changed",
                  { GIB, true, GIB + 1, SECOND, 0, true, false, UINT64_MAX },
                  SPACE_COUNT_NEAR },
                { "above, and it has a volume less",
                  { GIB, true, GIB + 1, SECOND, 0, false, true, UINT64_MAX },
                  SPACE_COUNT_NEAR },
                { "above, and nothing did",
                  { GIB, true, GIB + 1, SECOND, 0, false, false, UINT64_MAX },
                  SPACE_COUNT_NOT },
                { "above for a while",
                  { GIB, true, GIB + 1, 30 * SECOND, 0, false, false, UINT64_MAX },
                  SPACE_COUNT_NEAR },
                { "at the limit", { GIB, true, GIB, SECOND, 0, true, true, UINT64_MAX }, SPACE_COUNT_NOT },
                { "at the limit, and more", { GIB, true, GIB, SECOND, 1, true, true, UINT64_MAX }, SPACE_COUNT_NEAR },
                { "a limit of nothing", { 0, true, 0, SECOND, 1, true, true, 1 }, SPACE_COUNT_NEAR },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_row(space_count_urgency(&rows[i].c) == rows[i].urgency, rows[i].what);
        assert_true(space_count_pause(0) == SECOND);
        assert_true(space_count_pause(10 * SECOND) == 40 * SECOND);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_marks_come_in_order),
                cmocka_unit_test(test_a_burst_stops_nobody_in_a_half_empty_pool),
                cmocka_unit_test(test_a_pool_at_rest_keeps_little_back),
                cmocka_unit_test(test_steps),
                cmocka_unit_test(test_the_rate_rises_at_once_and_falls_slowly),
                cmocka_unit_test(test_growth_is_forgotten),
                cmocka_unit_test(test_the_largest_growers_are_chosen),
                cmocka_unit_test(test_how_long_it_lasts),
                cmocka_unit_test(test_when_a_tenant_is_counted),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
