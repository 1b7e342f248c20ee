#include "kernel/spawn.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "../unit.h"

static int shell(const char *script, unsigned timeout, SpawnOutput *ret) {
        char *argv[] = { (char *) "sh", (char *) "-c", (char *) script, NULL };

        return spawn_run(argv, timeout, ret);
}

static double now_s(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void test_outputs_and_status(void **state) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};

        assert_int_equal(shell("printf 'a\\n\\n'; printf 'b\\nc\\n\\n' >&2; exit 7", 10, &output), 7);
        assert_string_equal(output.out, "a\n\n");
        assert_int_equal(output.out_size, 3);
        assert_string_equal(output.err, "b\nc");
        spawn_output_done(&output);
        assert_null(output.out);
        assert_int_equal(shell("exit 0", 10, NULL), 0);
        assert_int_equal(shell("exit 255", 10, &output), 255);
        assert_string_equal(output.out, "");
        assert_string_equal(output.err, "");
}

static void test_program_is_looked_up(void **state) {
        char *missing[] = { (char *) "no-such-program", NULL }, *folder[] = { (char *) "/", NULL };

        assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
        assert_int_equal(shell("true", 10, NULL), 0);
        assert_int_equal(spawn_run(missing, 10, NULL), -ENOENT);
        assert_int_equal(spawn_run(folder, 10, NULL), -EACCES);
}

static void test_large_output(void **state) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};

        assert_int_equal(
                shell("head -c 3000000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero | tr '\\0' e >&2; echo end >&2",
                      30, &output),
                0);
        assert_int_equal(output.out_size, 3000000);
        assert_int_equal(strlen(output.out), 3000000);
        assert_true(strlen(output.err) >= 4000 && strlen(output.err) < 10000);
        assert_string_equal(output.err + strlen(output.err) - 4, "eend");
}

static void test_too_much_output(void **state) {
        SpawnOutput output = {};

        assert_int_equal(shell("exec cat /dev/zero", 30, &output), -EFBIG);
        assert_null(output.out);
}

static void test_environment_is_clean(void **state) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        sigset_t set;

        assert_int_equal(setenv("LD_PRELOAD_NOT", "x", 1), 0);
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */
        assert_true(leak >= 0);
        assert_int_equal(
                shell("/usr/bin/env | grep -v '^_=\\|^PWD=' | sort; ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; pwd; umask; "
                      "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -s '\\t' ' ' | "
                      /* 32 and 33 are libc's own: it lets nobody change what was inherited */
                      "sed s/180000000$/000000000/",
                      10, &output),
                0);
        /* 0, 1, 2, and the one that ls reads with */
        assert_string_equal(
                output.out,
                "LC_ALL=C\nPATH=/usr/sbin:/usr/bin\nTZ=UTC\n4\n/dev/null\n/\n0022\nSigBlk: 0000000000000000\nSigIgn: 0000000000000000\n");
        close(leak);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void test_timeout_kills_the_group(void **state) {
        double start = now_s();

        assert_int_equal(shell("trap '' TERM; sleep 100 & echo $! >/tmp/quarry-spawn-pid; wait", 1, NULL), -ETIMEDOUT);
        assert_true(now_s() - start < 5);
        assert_int_equal(
                shell("read pid </tmp/quarry-spawn-pid; sleep 0.2; ! grep -q '^State:.[^ZX]' /proc/$pid/status 2>/dev/null",
                      10, NULL),
                0);
        (void) unlink("/tmp/quarry-spawn-pid");
}

static void test_end_by_signal(void **state) {
        assert_int_equal(shell("kill -9 $$", 10, NULL), -EINTR);
}

/* What the program leaves in the background goes with it, and does not keep its outputs open. */
static void test_nothing_stays_behind(void **state) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        double start = now_s();

        assert_int_equal(shell("echo done; sleep 100 &", 60, &output), 0);
        assert_string_equal(output.out, "done\n");
        spawn_output_done(&output);
        /* One that left the group is not killed, and not waited for long. */
        assert_int_equal(shell("echo done; setsid sleep 8 & sleep 0.3", 60, &output), 0);
        assert_string_equal(output.out, "done\n");
        assert_true(now_s() - start < 6);
}

typedef struct Lines {
        size_t n, fail_at;
        char last[32];
} Lines;

static int on_line(const char *line, void *userdata) {
        Lines *lines = userdata;

        buffer_format(lines->last, sizeof(lines->last), "%s", line);
        return ++lines->n == lines->fail_at ? -EBADMSG : 0;
}

static int shell_lines(const char *script, Lines *lines, SpawnOutput *ret) {
        char *argv[] = { (char *) "sh", (char *) "-c", (char *) script, NULL };

        return spawn_lines(argv, 60, on_line, lines, ret);
}

/* More than fits into one output. */
static void test_lines(void **state) {
        Lines lines = {};
        _cleanup_(spawn_output_done) SpawnOutput output = {};

        assert_int_equal(shell_lines("yes 'a line of some length, so that it takes not that many of them' | "
                                     "head -n 300000; printf 'and the last'; echo said >&2; exit 3",
                                     &lines, &output),
                         3);
        assert_int_equal(lines.n, 300001);
        assert_string_equal(lines.last, "and the last");
        assert_null(output.out);
        assert_string_equal(output.err, "said");

        lines = (Lines) {};
        assert_int_equal(shell_lines("printf 'a\\n\\nb\\n'", &lines, NULL), 0);
        assert_int_equal(lines.n, 3);
        assert_int_equal(shell_lines("exit 1", &(Lines) {}, NULL), 1);

        lines = (Lines) { .fail_at = 5 };
        assert_int_equal(shell_lines("yes", &lines, NULL), -EBADMSG);
        assert_int_equal(lines.n, 5);
}

static void test_death_of_the_caller(void **state) {
        int fds[2], status;
        char byte;
        pid_t pid;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                char script[64];

                close(fds[0]);
                /* Through /proc, for spawn_run() gives nothing else away. */
                snprintf(script, sizeof(script), "exec sleep 100 >/proc/%d/fd/%d", getpid(), fds[1]);
                (void) shell(script, 200, NULL);
                _exit(1);
        }
        close(fds[1]);
        usleep(500000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        double start = now_s();
        assert_int_equal(read(fds[0], &byte, 1), 0); /* the end: the sleeper is gone */
        assert_true(now_s() - start < 3);
        close(fds[0]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_outputs_and_status),   cmocka_unit_test(test_program_is_looked_up),
                cmocka_unit_test(test_large_output),         cmocka_unit_test(test_too_much_output),
                cmocka_unit_test(test_environment_is_clean), cmocka_unit_test(test_timeout_kills_the_group),
                cmocka_unit_test(test_end_by_signal),        cmocka_unit_test(test_nothing_stays_behind),
                cmocka_unit_test(test_death_of_the_caller),  cmocka_unit_test(test_lines),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
