#include "broker/schedule-plan.h"
#include "broker/schedule-run.h"

#include <quarry/text.h>

#include "../unit.h"

#define SECOND UINT64_C(1000000)
#define HOUR (3600 * SECOND)
#define START (UINT64_C(100000) * HOUR) /* a whole hour */

static unsigned n_changed, n_dropped;
static char dropped[256];

static void on_changed(void *userdata) {
        n_changed++;
}

static void on_dropped(const ScheduleRun *run, void *userdata) {
        n_dropped++;
        buffer_format(dropped, sizeof(dropped), "%s", run->rule);
}

static Plan *new_plan(void) {
        Plan *plan = NULL;

        n_changed = n_dropped = 0;
        assert_int_equal(plan_new(&(PlanEvents) { .on_changed = on_changed, .on_dropped = on_dropped }, &plan), 0);
        return plan;
}

static sd_id128_t uuid_of(unsigned n) {
        return (sd_id128_t) { .qwords = { 1, n } };
}

static void set(Plan *plan, VolumePlan **at, unsigned n, const char *text, uint64_t base) {
        Schedule schedule;
        Error err = {};

        if (schedule_parse(text, "schedule", &schedule, &err) < 0)
                fail_msg("%s", err.text);
        assert_int_equal(plan_set(plan, at, uuid_of(n), &schedule, base), 0);
}

/* A calendar for tests: "hourly" at each whole hour, "daily" at each 24th, "never" never. */
static uint64_t elapse(const char *expression, uint64_t base) {
        uint64_t step = streq(expression, "hourly") ? HOUR : streq(expression, "daily") ? 24 * HOUR : 0;

        return step ? (base / step + 1) * step : 0;
}

/* Answers all questions, and returns how many were asked. */
static unsigned answer_all(Plan *plan) {
        const char *expressions[8];
        unsigned asked = 0;
        uint64_t base;
        size_t n;

        while ((n = plan_question(plan, ELEMENTSOF(expressions), &base, expressions)) > 0) {
                for (size_t i = 0; i < n; i++) {
                        char copy[64];

                        buffer_format(copy, sizeof(copy), "%s", expressions[i]);
                        plan_answer(plan, copy, base, elapse(copy, base));
                }
                asked++;
                assert_true(asked < 100);
        }
        return asked;
}

/* Runs all that is due, and returns how many were. */
static unsigned run_due(Plan *plan, uint64_t now) {
        unsigned n = 0;

        for (PlanRule *rule; (rule = plan_take_due(plan, now)); n++)
                plan_ran(plan, rule, now);
        return n;
}

static void test_a_rule_is_due_when_it_elapses(void **state) {
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "hourly keep 3, daily keep 2, never keep 1", START + 5 * SECOND);
        assert_true(plan_next(plan) == PLAN_NEVER);
        assert_int_equal(answer_all(plan), 1); /* all three at once */
        assert_true(plan_next(plan) == START + HOUR);
        assert_null(plan_take_due(plan, START + HOUR - 1));
        assert_int_equal(run_due(plan, START + HOUR), 1);
        assert_true(plan_next(plan) > START + HOUR); /* the daily one, until the hourly is known */
        answer_all(plan);
        assert_true(plan_next(plan) == START + 2 * HOUR);
        assert_true(volume_plan_find(v, "hourly")->keep == 3);
        assert_null(volume_plan_find(v, "weekly"));
        volume_plan_free(v);
        assert_true(plan_next(plan) == PLAN_NEVER);
        assert_int_equal(answer_all(plan), 0);
        plan_free(plan);
}

static void test_what_was_missed_is_due_once(void **state) {
        uint64_t now = START + 30 * HOUR + 7 * SECOND;
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "hourly keep 3", START);
        answer_all(plan);
        assert_int_equal(run_due(plan, now), 1);
        answer_all(plan);
        assert_int_equal(run_due(plan, now), 0);
        assert_true(plan_next(plan) == START + 31 * HOUR);
        volume_plan_free(v);
        plan_free(plan);
}

static void test_one_is_asked_once_for_all_volumes(void **state) {
        enum { N = 1000 };
        Plan *plan = new_plan();
        VolumePlan *v[N] = {};

        for (unsigned i = 0; i < N; i++) /* over the hour */
                set(plan, &v[i], i, "hourly keep 3", START + (i * 7919 % N) * 3 * SECOND);
        assert_int_equal(answer_all(plan), 1);
        assert_int_equal(run_due(plan, START + HOUR - 1), 0);
        assert_int_equal(run_due(plan, START + HOUR), N);
        assert_int_equal(answer_all(plan), 1);
        for (unsigned i = 0; i < N; i += 2) {
                volume_plan_free(v[i]);
                v[i] = NULL;
        }
        assert_int_equal(run_due(plan, START + 2 * HOUR), N / 2);
        for (unsigned i = 0; i < N; i++)
                volume_plan_free(v[i]);
        plan_free(plan);
}

static void test_the_first_comes_first(void **state) {
        enum { N = 200 };
        Plan *plan = new_plan();
        VolumePlan *v[N] = {};
        uint64_t last = 0;

        for (unsigned i = 0; i < N; i++) { /* each has an expression of its own */
                char text[32];

                buffer_format(text, sizeof(text), "e%u keep 1", i);
                set(plan, &v[i], i, text, START);
                buffer_format(text, sizeof(text), "e%u", i);
                plan_answer(plan, text, START, START + (i * 7919 % N + 1) * SECOND);
        }
        for (unsigned i = 0; i < N; i++) {
                uint64_t next = plan_next(plan);
                PlanRule *rule = plan_take_due(plan, next);

                assert_non_null(rule);
                assert_true(next > last);
                assert_null(plan_take_due(plan, next));
                last = next;
        }
        for (unsigned i = 0; i < N; i++)
                volume_plan_free(v[i]);
        plan_free(plan);
}

static void test_another_schedule_keeps_what_is_in_both(void **state) {
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "hourly keep 3, daily keep 2", START);
        answer_all(plan);
        volume_plan_find(v, "hourly")->run.at_usec = 77;
        set(plan, &v, 1, "hourly keep 9", START + 90 * HOUR);
        assert_int_equal(volume_plan_find(v, "hourly")->run.at_usec, 77);
        assert_int_equal(volume_plan_find(v, "hourly")->keep, 9);
        assert_true(plan_next(plan) == START + HOUR);
        assert_int_equal(n_dropped, 1);
        assert_string_equal(dropped, "daily");

        PlanRule *rule = plan_take_due(plan, START + HOUR); /* while it runs */
        assert_non_null(rule);
        set(plan, &v, 1, "hourly keep 1, daily keep 1", START + HOUR);
        assert_null(plan_take_due(plan, START + 5 * HOUR));
        plan_ran(plan, volume_plan_find(v, "hourly"), START + HOUR);
        answer_all(plan);
        assert_int_equal(run_due(plan, START + 2 * HOUR), 1);
        set(plan, &v, 1, "none", START);
        assert_null(v);
        assert_int_equal(n_dropped, 3);
        plan_free(plan);
}

static void test_what_is_known_of_earlier_is_taken_over(void **state) {
        ScheduleRun run = {
                .volume = uuid_of(1), .rule = (char *) "hourly", .base_usec = START - 5 * HOUR, .at_usec = 3
        };
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "hourly keep 3", START + SECOND);
        answer_all(plan);
        assert_int_equal(plan_restore(volume_plan_find(v, "hourly"), v, &run), 0);
        answer_all(plan);
        assert_int_equal(run_due(plan, START + SECOND), 1); /* it was missed */
        volume_plan_free(v);
        plan_free(plan);
}

static void test_a_clock_that_is_set_back(void **state) {
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "hourly keep 3, daily keep 1", START);
        answer_all(plan);
        plan_clock_was_set(plan, START - 50 * HOUR);
        assert_true(plan_next(plan) == PLAN_NEVER);
        answer_all(plan);
        assert_true(plan_next(plan) == START - 49 * HOUR);
        volume_plan_free(v);
        plan_free(plan);
}

static void test_several_times_a_second(void **state) {
        Plan *plan = new_plan();
        VolumePlan *v = NULL;

        set(plan, &v, 1, "fast keep 3", START);
        plan_answer(plan, "fast", START, START); /* as it is printed */
        assert_true(plan_next(plan) == START + SECOND);
        volume_plan_free(v);
        plan_free(plan);
}

/* --- what a rule does not keep ------------------------------------------------------------------------------- */

static VolumeEntry *add(Registry *registry, PoolEntry *pool, const char *name, unsigned n, VolumeEntry *origin,
                        const char *rule) {
        Volume v = { .uuid = uuid_of(n), .thin_id = n, .spec = VOLUME_SPEC_DEFAULT, .state = VOLUME_READY };
        Error err = {};

        v.spec.size = GIB;
        v.created_usec = n;
        v.rule = rule ? strdup(rule) : NULL;
        if (origin) {
                v.spec.role = ROLE_SNAPSHOT;
                v.spec.origin = origin->volume.uuid;
        }
        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", name);
        VolumeEntry *entry = registry_add_volume(registry, pool, &v, &err);
        if (!entry)
                fail_msg("%s", err.text);
        return entry;
}

static void expired(VolumeEntry *volume, unsigned keep, const char *expected) {
        PlanRule rule = { .keep = keep, .run.rule = (char *) "hourly" };
        char text[256] = "";

        for (VolumeEntry *s = NULL; (s = schedule_run_expired(volume, &rule, s));) {
                size_t n = strlen(text);

                buffer_format(text + n, sizeof(text) - n, "%s%s", n > 0 ? " " : "",
                              snapshot_name_of(s->volume.spec.name));
        }
        assert_string_equal(text, expected);
}

static void test_the_newest_of_a_rule_are_kept(void **state) {
        PoolInfo info = { .uuid = uuid_of(1000), .name = "pool" };
        Registry registry = {};
        PoolEntry *pool = registry_add_pool(&registry, &info);
        VolumeEntry *v = add(&registry, pool, "v", 1, NULL, NULL), *s;
        Operation *busy = (Operation *) 1;

        expired(v, 1, "");
        add(&registry, pool, "v@1", 11, v, "hourly");
        add(&registry, pool, "v@daily", 12, v, "daily");
        add(&registry, pool, "v@2", 13, v, "hourly");
        add(&registry, pool, "v@mine", 14, v, NULL);
        s = add(&registry, pool, "v@3", 15, v, "hourly");
        add(&registry, pool, "v@4", 16, v, "hourly");
        expired(v, 9, "");
        expired(v, 4, "");
        expired(v, 3, "1");
        expired(v, 1, "3 2 1");
        s->volume.held = true;
        expired(v, 1, "2 1");
        expired(v, 2, "2 1");
        s->volume.held = false;
        s->lane.running = busy; /* it is cloned */
        expired(v, 1, "2 1");
        s->lane.running = NULL;
        s->volume.state = VOLUME_REMOVING; /* it goes already, and is none of those that are kept */
        expired(v, 2, "1");
        registry_done(&registry);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_rule_is_due_when_it_elapses),
                cmocka_unit_test(test_what_was_missed_is_due_once),
                cmocka_unit_test(test_one_is_asked_once_for_all_volumes),
                cmocka_unit_test(test_the_first_comes_first),
                cmocka_unit_test(test_another_schedule_keeps_what_is_in_both),
                cmocka_unit_test(test_what_is_known_of_earlier_is_taken_over),
                cmocka_unit_test(test_a_clock_that_is_set_back),
                cmocka_unit_test(test_several_times_a_second),
                cmocka_unit_test(test_the_newest_of_a_rule_are_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
