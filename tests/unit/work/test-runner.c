#include "work/runner.h"

#include <quarry/text.h>

#include "../unit.h"

/* --- steps that write down what is asked of them --------------------------------------------------------------- */

/* "a" probed, "A" run, "-A" undone, "~A" undone behind an undo that failed */

static char story[512], told[512];
static char fails_probe, fails_run, there; /* names of steps; there: its probe says that nothing is to do */
static const char *fails_undo;

static void note(const char *sign, char name) {
        size_t n = strlen(story);

        buffer_format(story + n, sizeof(story) - n, "%s%s%c", n > 0 ? " " : "", sign, name);
}

static int probe(char name, Error *err) {
        note("", (char) (name - 'A' + 'a'));
        if (fails_probe == name)
                return error_set(err, ERROR_NO_SPACE, ENOSPC, "probe of %c", name);
        return there == name;
}

static int run(char name, Error *err) {
        note("", name);
        return fails_run == name ? error_set(err, ERROR_VOLUME_BUSY, EBUSY, "run of %c", name) : 0;
}

static int undo(char name, const StepContext *c, Error *err) {
        note(c->undo_failed ? "~" : "-", name);
        return fails_undo && strchr(fails_undo, name) ? error_set(err, ERROR_FAILED, EIO, "undo of %c", name) : 0;
}

#define STEP(letter, name, text)                                \
        static int probe_##letter(StepContext *c, Error *err) { \
                return probe(name, err);                        \
        }                                                       \
        static int run_##letter(StepContext *c, Error *err) {   \
                return run(name, err);                          \
        }                                                       \
        static int undo_##letter(StepContext *c, Error *err) {  \
                return undo(name, c, err);                      \
        }                                                       \
        static const Step step_##letter = { text, probe_##letter, run_##letter, undo_##letter };
STEP(a, 'A', "doing A")
STEP(b, 'B', "doing B")
STEP(c, 'C', "doing C")
STEP(d, 'D', "doing D")
static const Step step_bare = { "doing X", NULL, run_c, NULL }; /* neither probe nor undo */

static const Step *const plan[] = { &step_a, &step_b, &step_c, &step_d, NULL };

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        size_t n = strlen(told);

        assert_ptr_equal(userdata, told);
        buffer_format(told + n, sizeof(told) - n, "%s%s %u/%u", n > 0 ? ", " : "", step, position, total);
}

static int run_plan(const Step *const *steps, Error *err) {
        Job job = {};
        StepContext context = { .job = &job };

        *story = *told = 0;
        return runner_run(steps, &context, on_progress, told, err);
}

static int forget(void **state) {
        fails_probe = fails_run = there = 0;
        fails_undo = NULL;
        return 0;
}

/* --- tests ----------------------------------------------------------------------------------------------------- */

static void test_steps_are_run_in_order(void **state) {
        Error err = {};

        assert_int_equal(run_plan(plan, &err), 0);
        assert_string_equal(story, "a A b B c C d D");
        assert_string_equal(told, "doing A 1/4, doing B 2/4, doing C 3/4, doing D 4/4");
        assert_int_equal(err.kind, ERROR_NONE);
}

static void test_an_empty_plan_is_done(void **state) {
        static const Step *const empty[] = { NULL };
        Error err = {};

        assert_int_equal(run_plan(empty, &err), 0);
        assert_string_equal(story, "");
}

static void test_what_is_there_is_not_run_and_not_undone(void **state) {
        Error err = {};

        there = 'B';
        assert_int_equal(run_plan(plan, &err), 0);
        assert_string_equal(story, "a A b c C d D");
        assert_string_equal(told, "doing A 1/4, doing C 3/4, doing D 4/4");
        fails_run = 'D';
        assert_int_equal(run_plan(plan, &err), -EBUSY);
        assert_string_equal(story, "a A b c C d D -C -A");
}

static void test_a_failure_undoes_exactly_what_was_done(void **state) {
        static const char *const stories[] = { "a A", "a A b B -A", "a A b B c C -B -A", "a A b B c C d D -C -B -A" };

        for (unsigned i = 0; i < ELEMENTSOF(stories); i++) {
                char text[16], step[16];
                Error err = {};

                fails_run = (char) ('A' + i);
                assert_row(run_plan(plan, &err) == -EBUSY, stories[i]);
                assert_string_equal(story, stories[i]); /* the step that failed cleans up after itself */
                buffer_format(text, sizeof(text), "run of %c", fails_run);
                buffer_format(step, sizeof(step), "doing %c", fails_run);
                assert_string_equal(err.text, text);
                assert_string_equal(err.step, step);
                assert_int_equal(err.kind, ERROR_VOLUME_BUSY);
                assert_false(err.undo_failed);
        }
}

static void test_a_probe_that_fails_is_a_failure(void **state) {
        Error err = {};

        fails_probe = 'C';
        assert_int_equal(run_plan(plan, &err), -ENOSPC);
        assert_string_equal(story, "a A b B c -B -A");
        assert_string_equal(told, "doing A 1/4, doing B 2/4");
        assert_string_equal(err.step, "doing C");
}

static void test_an_undo_that_fails_is_told_and_the_others_go_on(void **state) {
        Error err = {};

        fails_run = 'D';
        fails_undo = "BC";
        assert_true(run_plan(plan, &err) < 0);
        assert_string_equal(story, "a A b B c C d D -C ~B ~A");
        assert_true(err.undo_failed);
        assert_string_equal(err.text, "run of D; and then the undo failed: undo of C"); /* the first */
        assert_int_equal(err.kind, ERROR_VOLUME_BUSY); /* what the caller wants to know */
        assert_int_equal(err.number, EBUSY);
        assert_string_equal(err.step, "doing D");
}

static void test_probe_and_undo_may_be_missing(void **state) {
        static const Step *const bare[] = { &step_a, &step_bare, &step_b, NULL };
        Error err = {};

        fails_run = 'B';
        assert_int_equal(run_plan(bare, &err), -EBUSY);
        assert_string_equal(story, "a A C b B -A");
}

static void test_a_plan_that_is_too_long_does_nothing(void **state) {
        const Step *steps[40] = {};
        Error err = {};

        for (unsigned i = 0; i < 33; i++)
                steps[i] = &step_a;
        assert_int_equal(run_plan(steps, &err), -E2BIG);
        assert_string_equal(story, "");
        steps[32] = NULL;
        assert_int_equal(run_plan(steps, &err), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, forget)
                TEST(test_steps_are_run_in_order),
                TEST(test_an_empty_plan_is_done),
                TEST(test_what_is_there_is_not_run_and_not_undone),
                TEST(test_a_failure_undoes_exactly_what_was_done),
                TEST(test_a_probe_that_fails_is_a_failure),
                TEST(test_an_undo_that_fails_is_told_and_the_others_go_on),
                TEST(test_probe_and_undo_may_be_missing),
                TEST(test_a_plan_that_is_too_long_does_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
