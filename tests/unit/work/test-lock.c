#include "work/lock.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "../unit.h"

static sd_id128_t pool_of(unsigned n) {
        sd_id128_t id = { .qwords = { 1, n } };

        return id;
}

static Job job_of(JobVerb verb, unsigned pool, uint32_t thin_id) {
        return (Job) { .verb = verb, .pool = pool_of(pool), .volume.thin_id = thin_id };
}

/* Another worker, which holds the lock of a job until it is told or killed. */
typedef struct Other {
        pid_t pid;
        int tells, told;
} Other;

static Other other_begin(Job job) {
        int up[2], down[2];
        Other other;

        assert_int_equal(pipe(up), 0);
        assert_int_equal(pipe(down), 0);
        other = (Other) { .pid = fork(), .tells = up[0], .told = down[1] };
        assert_true(other.pid >= 0);
        if (other.pid == 0) {
                Error err = {};
                char byte = 0;
                int lock;

                close(down[1]);
                if (lock_take(&job, &lock, &err) < 0 || write(up[1], &byte, 1) != 1 || read(down[0], &byte, 1) < 0)
                        _exit(1);
                _exit(0);
        }
        close(up[1]);
        close(down[0]);
        return other;
}

/* Whether it has its lock within a time. */
static bool other_has_it(const Other *other, int milliseconds) {
        struct pollfd p = { .fd = other->tells, .events = POLLIN };

        return poll(&p, 1, milliseconds) == 1 && (p.revents & POLLIN);
}

static void other_end(Other *other) {
        assert_true(write(other->told, "", 1) == 1 ||
                    errno == EPIPE); /* another child has a copy of it: closing alone would not be seen */
        close(other->told);
        close(other->tells);
        assert_true(waitpid(other->pid, NULL, 0) == other->pid);
}

/* The second job waits for the first, or does not. */
static void meet(const char *what, Job first, Job second, bool waits) {
        Other a = other_begin(first);
        assert_row(other_has_it(&a, 5000), what);
        Other b = other_begin(second);
        assert_row(other_has_it(&b, waits ? 50 : 5000) == !waits, what);
        other_end(&a);
        assert_row(other_has_it(&b, 5000), what);
        other_end(&b);
}

static int setup(void **state) {
        (void) signal(SIGPIPE, SIG_IGN);
        return geteuid() == 0 ? 0 : -1;
}

static void test_jobs_about_one_volume_wait_for_each_other(void **state) {
        static const JobVerb verbs[] = { JOB_VOLUME_CREATE, JOB_VOLUME_CLAIM,   JOB_VOLUME_REMOVE, JOB_VOLUME_MOUNT,
                                         JOB_VOLUME_UMOUNT, JOB_VOLUME_RELEASE, JOB_VOLUME_SWEEP,  JOB_VOLUME_DEVICE };

        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                const char *word = job_verb_to_string(verbs[i]);

                meet(word, job_of(JOB_VOLUME_CREATE, 1, 5), job_of(verbs[i], 1, 5), true);
                meet(word, job_of(JOB_VOLUME_CREATE, 1, 5), job_of(verbs[i], 1, 6), false);
                meet(word, job_of(JOB_VOLUME_CREATE, 1, 5), job_of(verbs[i], 2, 5), false);
                meet(word, job_of(JOB_POOL_EXPORT, 1, 0), job_of(verbs[i], 1, THIN_ID_MAX), true);
                meet(word, job_of(verbs[i], 1, 0), job_of(JOB_POOL_REMOVE, 1, 0), true);
        }
}

static void test_pools(void **state) {
        meet("opened twice", job_of(JOB_POOL_OPEN, 1, 0), job_of(JOB_POOL_OPEN, 1, 0), true);
        meet("opened while a volume's job hangs", job_of(JOB_VOLUME_MOUNT, 1, 0), job_of(JOB_POOL_OPEN, 1, 0), false);
        meet("opened while it is made", job_of(JOB_POOL_CREATE, 1, 0), job_of(JOB_POOL_OPEN, 1, 0), true);
        meet("opened while it is taken away", job_of(JOB_POOL_REMOVE, 1, 0), job_of(JOB_POOL_OPEN, 1, 0), true);
        meet("taken away twice", job_of(JOB_POOL_EXPORT, 1, 0), job_of(JOB_POOL_REMOVE, 1, 0), true);
        meet("closed while a volume's job runs", job_of(JOB_VOLUME_MOUNT, 1, 0), job_of(JOB_POOL_CLOSE, 1, 0), true);
        meet("looked at twice", job_of(JOB_POOL_AUDIT, 1, 0), job_of(JOB_POOL_AUDIT, 1, 0), true);
        meet("looked at while it is used", job_of(JOB_VOLUME_MOUNT, 1, 0), job_of(JOB_POOL_AUDIT, 1, 0), false);
        meet("and by two who differ", job_of(JOB_POOL_EXCLUSIVE, 1, 0), job_of(JOB_VOLUME_DIFF, 1, 5), true);
        meet("checked meanwhile", job_of(JOB_VOLUME_DIFF, 1, 0), job_of(JOB_POOL_CHECK, 1, 5), true);
        meet("extended meanwhile", job_of(JOB_POOL_EXCLUSIVE, 1, 0), job_of(JOB_POOL_EXTEND, 1, 0), false);
        meet("the volume is used", job_of(JOB_VOLUME_DIFF, 1, 5), job_of(JOB_VOLUME_MOUNT, 1, 5), false);
        meet("two pools", job_of(JOB_POOL_CREATE, 1, 0), job_of(JOB_POOL_CREATE, 2, 0), false);
}

static void test_who_can_ask_again_does_not_wait_for_the_maps(void **state) {
        static const JobVerb verbs[] = { JOB_POOL_AUDIT, JOB_VOLUME_DIFF, JOB_POOL_EXCLUSIVE, JOB_POOL_UNION };
        Job job = job_of(JOB_POOL_EXCLUSIVE, 1, 0);

        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                const char *word = job_verb_to_string(verbs[i]);
                Other reader = other_begin(job_of(verbs[i], 1, 5));
                Error err = {};
                int lock = -EBADF;

                assert_row(other_has_it(&reader, 5000), word);
                assert_row(lock_take(&job, &lock, &err) == -EAGAIN && err.kind == ERROR_POOL_BUSY, word);
                assert_row(lock_try_maps(job.pool, &lock) == -EAGAIN, word);
                other_end(&reader);
                assert_row(lock_take(&job, &lock, &err) == 0, word);
                close(lock);
                assert_row(lock_try_maps(job.pool, &lock) == 0, word);
                close(lock);
        }
        assert_int_equal(lock_try_maps(pool_of(99), &(int) { -EBADF }), -ENOENT);
}

static void test_images_and_what_they_are_of_are_left_alone_meanwhile(void **state) {
        JobImage here = { .origin.thin_id = 5, .thin_id = 9 }, back = { .origin.thin_id = 9, .thin_id = 5 };
        Job job = job_of(JOB_VOLUME_SNAPSHOT, 1, 0), other = job_of(JOB_VOLUME_SNAPSHOT, 1, 0);

        job.n_images = other.n_images = 1;
        job.images = &here;
        other.images = &back;
        meet("its volume", job, job_of(JOB_VOLUME_REMOVE, 1, 5), true);
        meet("what is made", job, job_of(JOB_VOLUME_REMOVE, 1, 9), true);
        meet("another", job, job_of(JOB_VOLUME_REMOVE, 1, 6), false);
        meet("the other way round", job, other, true);
}

static void test_the_file_of_a_pool_that_is_gone_goes(void **state) {
        Job job = job_of(JOB_POOL_REMOVE, 7, 0);
        char path[64], uuid[UUID_TEXT_MAX];
        Error err = {};
        int lock;

        snprintf(path, sizeof(path), "/run/quarry/lock/%s", uuid_format(job.pool, uuid));
        assert_int_equal(lock_take(&job, &lock, &err), 0);
        assert_int_equal(access(path, F_OK), 0);
        lock_forget(&job);
        assert_int_equal(access(path, F_OK), -1);
        close(lock);
        meet("another of that name", job_of(JOB_POOL_CREATE, 7, 0), job_of(JOB_POOL_OPEN, 7, 0), true);
}

static void test_who_only_looks_never_waits(void **state) {
        Other busy = other_begin(job_of(JOB_POOL_REMOVE, 1, 0));
        static const JobVerb verbs[] = { JOB_POOL_SCAN,    JOB_POOL_IMPORT, JOB_POOL_USAGE,
                                         JOB_VOLUME_USAGE, JOB_HOST_AUDIT,  JOB_HOST_CALENDAR };
        Error err = {};

        assert_true(other_has_it(&busy, 5000));
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                Job job = job_of(verbs[i], 1, 0);
                int lock = 0;

                assert_int_equal(lock_take(&job, &lock, &err), 0);
                assert_int_equal(lock, -EBADF);
        }
        other_end(&busy);
}

static void test_a_worker_that_is_killed_gives_it_up(void **state) {
        Other a = other_begin(job_of(JOB_VOLUME_CREATE, 1, 5));
        assert_true(other_has_it(&a, 5000));
        Other b = other_begin(job_of(JOB_VOLUME_REMOVE, 1, 5));
        assert_false(other_has_it(&b, 50));
        assert_int_equal(kill(a.pid, SIGKILL), 0);
        assert_true(other_has_it(&b, 5000));
        other_end(&a);
        other_end(&b);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_jobs_about_one_volume_wait_for_each_other),
                cmocka_unit_test(test_pools),
                cmocka_unit_test(test_who_can_ask_again_does_not_wait_for_the_maps),
                cmocka_unit_test(test_images_and_what_they_are_of_are_left_alone_meanwhile),
                cmocka_unit_test(test_the_file_of_a_pool_that_is_gone_goes),
                cmocka_unit_test(test_who_only_looks_never_waits),
                cmocka_unit_test(test_a_worker_that_is_killed_gives_it_up),
        };

        return cmocka_run_group_tests(tests, setup, NULL);
}
