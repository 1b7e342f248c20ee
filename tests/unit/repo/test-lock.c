#include "../../../repo/lock.h"

#include "memory-store.h"

#include <sys/wait.h>
#include <time.h>

#define MINUTE_USEC UINT64_C(60000000)

/* What the host says of itself. */
static sd_id128_t machine = SD_ID128_MAKE(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
static sd_id128_t boot = SD_ID128_MAKE(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
static uint64_t later_usec;

int __wrap_sd_id128_get_machine(sd_id128_t *ret) {
        *ret = machine;
        return 0;
}

int __wrap_sd_id128_get_boot(sd_id128_t *ret) {
        *ret = boot;
        return 0;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = __real_clock_gettime(clock, ret);

        ret->tv_sec += (time_t) (later_usec / 1000000);
        return r;
}

static Memory memory;
static Repository *repository;

static int setup(void **state) {
        later_usec = 0;
        repository = memory_repository(&memory);
        return 0;
}

static int teardown(void **state) {
        repository_free(repository);
        memory_done(&memory);
        machine.bytes[15] = 1;
        boot.bytes[15] = 2;
        return 0;
}

static RepositoryLock *lock(RepositoryUse use, const char *what) {
        RepositoryLock *l = NULL;
        Error err = {};

        if (repository_lock(repository, use, what, &l, &err) < 0)
                fail_msg("%s", err.text);
        return l;
}

static void is_refused(RepositoryUse use, const char *part) {
        size_t n = memory_count(&memory, "locks/");
        RepositoryLock *l = NULL;
        Error err = {};

        assert_int_equal(repository_lock(repository, use, "second", &l, &err), -EBUSY);
        assert_int_equal(err.kind, ERROR_VOLUME_BUSY);
        if (!strstr(err.text, part))
                fail_msg("\"%s\" does not say \"%s\"", err.text, part);
        assert_true(*err.hint);
        assert_null(l);
        assert_int_equal(memory_count(&memory, "locks/"), n);
}

static void test_many_at_a_time_or_one_alone(void **state) {
        RepositoryLock *one = lock(REPOSITORY_WRITE, "first"), *two = lock(REPOSITORY_WRITE, "another");
        _cleanup_free_ char *who = format_new("first, process %d on ", getpid());

        repository_unlock(two);
        is_refused(REPOSITORY_ALONE, who);
        repository_unlock(one);
        assert_int_equal(memory_count(&memory, "locks/"), 0);
        one = lock(REPOSITORY_ALONE, "first");
        is_refused(REPOSITORY_ALONE, who);
        is_refused(REPOSITORY_WRITE, who);
        repository_unlock(one);
        assert_int_equal(memory_count(&memory, "locks/"), 0);
        repository_unlock(NULL);
}

static void test_what_cannot_be_shown_is_not(void **state) {
        RepositoryLock *one = lock(REPOSITORY_ALONE, "\x1b[2J");

        is_refused(REPOSITORY_WRITE, "in use: somebody, process");
        repository_unlock(one);
}

/* Puts to for from in the lock that was taken last. */
static void replace(const char *from, const char *to) {
        _cleanup_free_ char *text = NULL, *changed = NULL;
        char name[STORE_NAME_MAX], *at;
        Error err = {};

        buffer_format(name, sizeof(name), "%s", memory.objects[memory.n - 1].name);
        assert_int_equal(repository_get_text(repository, name, &text, &err), 1);
        at = strstr(text, from);
        assert_non_null(at);
        *at = 0;
        changed = format_new("%s%s%s", text, to, at + strlen(from));
        assert_int_equal(repository_put_text(repository, name, changed, &err), 0);
}

static void is_removed(RepositoryLock *dead) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "after it");

        assert_int_equal(memory_count(&memory, "locks/"), 1);
        repository_unlock(l);
        repository_unlock(dead);
}

static void test_that_of_a_dead_process_counts_no_longer(void **state) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "dead");
        _cleanup_free_ char *own = format_new("\"pid\":%d,", getpid()), *dead = NULL;
        pid_t child = fork();

        if (child == 0)
                _exit(0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        dead = format_new("\"pid\":%d,", child);
        is_refused(REPOSITORY_ALONE, "dead");
        replace(own, dead);
        is_removed(l);
}

static void test_that_of_a_process_whose_number_another_has_counts_no_longer(void **state) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "dead");

        replace("\"started\":", "\"started\":1");
        is_removed(l);
}

static void test_that_of_another_boot_counts_no_longer(void **state) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "before the power cut");

        boot.bytes[15]++;
        is_removed(l);
}

static void test_that_of_another_host_counts_until_its_time_is_over(void **state) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "elsewhere");

        machine.bytes[15]++;
        boot.bytes[15]++;
        replace("\"started\":", "\"started\":1");
        is_refused(REPOSITORY_ALONE, "elsewhere");
        later_usec = 69 * MINUTE_USEC; /* clocks may differ */
        is_refused(REPOSITORY_ALONE, "elsewhere");
        later_usec = 71 * MINUTE_USEC;
        is_removed(l);
}

static void test_that_of_another_host_with_the_same_time_is_not_ours(void **state) {
        RepositoryLock *l = lock(REPOSITORY_WRITE, "elsewhere");

        machine.bytes[15]++;
        is_refused(REPOSITORY_ALONE, "elsewhere");
        repository_unlock(lock(REPOSITORY_WRITE, "here"));
        repository_unlock(l);
}

static void test_renewed(void **state) {
        RepositoryLock *l = lock(REPOSITORY_ALONE, "long");
        unsigned calls = memory.calls;
        Error err = {};

        later_usec = 9 * MINUTE_USEC;
        assert_int_equal(repository_lock_renew(l, &err), 0);
        assert_int_equal(memory.calls, calls);
        for (unsigned i = 1; i <= 8; i++) {
                later_usec = i * 50 * MINUTE_USEC;
                assert_int_equal(repository_lock_renew(l, &err), 0);
                assert_int_equal(memory_count(&memory, "locks/"), 1);
        }
        machine.bytes[15]++;
        later_usec += 69 * MINUTE_USEC;
        is_refused(REPOSITORY_WRITE, "long");
        machine.bytes[15]--;
        assert_int_equal(repository_lock_renew(l, &err), -ETIMEDOUT);
        repository_unlock(l);
        assert_int_equal(memory_count(&memory, "locks/"), 0);
}

/* --- a store that takes nothing ---------------------------------------------------------------------------- */

static int lock_code(RepositoryUse use, RepositoryLock **ret) {
        Error err = {};

        *ret = NULL;
        return repository_lock(repository, use, "somebody", ret, &err);
}

static void test_where_nothing_can_be_put_reading_goes_on_unseen(void **state) {
        RepositoryLock *dead = lock(REPOSITORY_WRITE, "dead"), *l;
        Error err = {};

        replace("\"started\":", "\"started\":1");
        memory.is_read_only = true;
        assert_int_equal(lock_code(REPOSITORY_WRITE, &l), -EROFS);
        assert_int_equal(lock_code(REPOSITORY_ALONE, &l), -EROFS);
        assert_int_equal(lock_code(REPOSITORY_READ, &l), 0);
        assert_int_equal(memory_count(&memory, "locks/"), 1);
        later_usec = 20 * MINUTE_USEC;
        assert_int_equal(repository_lock_renew(l, &err), 0);
        repository_unlock(l);
        memory.is_read_only = false;
        repository_unlock(dead);
}

static void test_nor_does_it_go_on_beside_who_is_alone(void **state) {
        RepositoryLock *alone = lock(REPOSITORY_ALONE, "alone");

        memory.is_read_only = true;
        is_refused(REPOSITORY_READ, "alone");
        memory.is_read_only = false;
        repository_unlock(alone);
}

static void test_who_makes_room_has_some_left(void **state) {
        RepositoryLock *l;

        repository_unlock(lock(REPOSITORY_WRITE, "before"));
        memory.room = memory_used(&memory) + 1;
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(lock_code(REPOSITORY_WRITE, &l), -ENOSPC); /* who would leave none */
                assert_int_equal(lock_code(REPOSITORY_READ, &l), 0);
                repository_unlock(l);
                assert_int_equal(lock_code(REPOSITORY_ALONE, &l), 0);
                assert_int_equal(memory_count(&memory, "locks/"), 1);
                repository_unlock(l);
        }
        memory.room = 0;
        repository_unlock(lock(REPOSITORY_WRITE, "behind it"));
        memory.objects_max = memory.n;
        assert_int_equal(lock_code(REPOSITORY_WRITE, &l), -ENOSPC);
        assert_int_equal(lock_code(REPOSITORY_ALONE, &l), 0);
        assert_int_equal(memory_count(&memory, "reserve/"), 0);
        repository_unlock(l);
        assert_true(memory_count(&memory, "reserve/") > 1);
}

/* --- a store that fails ----------------------------------------------------------------------------------- */

static RepositoryLock *held, *other, *over;
static char before[2][STORE_NAME_MAX];

static void forget(void) {
        repository_unlock(other);
        repository_unlock(over);
        other = over = NULL;
        later_usec = 0;
}

static void name_of_lock(size_t i) {
        assert_int_equal(memory_count(&memory, "locks/"), i + 1);
        buffer_format(before[i], STORE_NAME_MAX, "%s", memory.objects[memory.n - 1].name);
}

/* Another's is there, and one that is over. */
static void prepare(void) {
        forget();
        other = lock(REPOSITORY_WRITE, "other");
        name_of_lock(0);
        over = lock(REPOSITORY_WRITE, "over");
        replace("\"started\":", "\"started\":1");
        name_of_lock(1);
}

static int take(Error *err) {
        int r = repository_lock(repository, REPOSITORY_WRITE, "third", &held, err);

        assert_true((r >= 0) == !!held);
        return r;
}

static void check(bool done) {
        bool has_other = memory_find(&memory, before[0]) < memory.n;
        bool has_over = memory_find(&memory, before[1]) < memory.n;

        assert_true(has_other);
        if (done) {
                assert_false(has_over);
                assert_int_equal(memory_count(&memory, "locks/"), 2);
                repository_unlock(held);
        }
        held = NULL;
        if (memory.fault == FAULT_FOR_GOOD) /* that it stays cannot be helped, and counts while its process is there */
                for (size_t i = memory.n; i-- > 0;)
                        if (startswith(memory.objects[i].name, "locks/") && !streq(memory.objects[i].name, before[0]) &&
                            !streq(memory.objects[i].name, before[1])) {
                                Error err = {};
                                Store *store = repository_store(repository);
                                assert_int_equal(store->ops->remove(store, memory.objects[i].name, &err), 0);
                        }
        assert_int_equal(memory_count(&memory, "locks/"), has_over + has_other);
}

static void test_taken_or_not_at_all(void **state) {
        fail_each(&memory, prepare, take, check);
        forget();
}

static void prepare_renewal(void) {
        assert_int_equal(memory_count(&memory, "locks/"), 0);
        later_usec = 0;
        held = lock(REPOSITORY_WRITE, "long");
        later_usec = 11 * MINUTE_USEC;
}

static int renew(Error *err) {
        return repository_lock_renew(held, err);
}

static void check_renewal(bool done) {
        unsigned calls = memory.calls;
        Error err = {};

        assert_true(memory_count(&memory, "locks/") >= 1); /* it still has one */
        assert_int_equal(repository_lock_renew(held, &err), 0);
        assert_true((memory.calls > calls) == !done); /* what failed is tried again */
        assert_int_equal(memory_count(&memory, "locks/"), 1);
        repository_unlock(held);
        held = NULL;
        assert_int_equal(memory_count(&memory, "locks/"), 0);
}

static void test_a_renewal_that_fails_is_made_good(void **state) {
        fail_each(&memory, prepare_renewal, renew, check_renewal);
}

static void test_a_renewal_that_fails_leaves_nothing(void **state) {
        Error err = {};

        prepare_renewal();
        memory.calls = 0;
        memory.fail_at = 1;
        memory.fault = FAULT_AFTER;
        assert_int_equal(renew(&err), -EREMOTEIO);
        memory.fail_at = 0;
        repository_unlock(held);
        held = NULL;
        assert_int_equal(memory_count(&memory, "locks/"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_many_at_a_time_or_one_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_cannot_be_shown_is_not, setup, teardown),
                cmocka_unit_test_setup_teardown(test_that_of_a_dead_process_counts_no_longer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_that_of_a_process_whose_number_another_has_counts_no_longer, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_that_of_another_boot_counts_no_longer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_that_of_another_host_counts_until_its_time_is_over, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_that_of_another_host_with_the_same_time_is_not_ours, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_renewed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_where_nothing_can_be_put_reading_goes_on_unseen, setup, teardown),
                cmocka_unit_test_setup_teardown(test_nor_does_it_go_on_beside_who_is_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_makes_room_has_some_left, setup, teardown),
                cmocka_unit_test_setup_teardown(test_taken_or_not_at_all, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_renewal_that_fails_is_made_good, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_renewal_that_fails_leaves_nothing, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
