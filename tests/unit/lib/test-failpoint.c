#include <quarry/failpoint.h>

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../unit.h"

static void put(const char *file, const char *text) {
        char path[128];
        int fd;

        buffer_format(path, sizeof(path), FAILPOINT_FOLDER "/%s", file);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_true(write_all(fd, text, strlen(text)) >= 0);
        close(fd);
}

static bool there(const char *file) {
        char path[128];

        buffer_format(path, sizeof(path), FAILPOINT_FOLDER "/%s", file);
        return access(path, F_OK) >= 0;
}

static int folder_make(void **state) {
        (void) mkdir("/run/quarry", 0755);
        return mkdir(FAILPOINT_FOLDER, 0700);
}

static int folder_remove(void **state) {
        (void) unlink(FAILPOINT_FOLDER "/log");
        return rmdir(FAILPOINT_FOLDER);
}

static void test_without_the_folder_nothing_happens(void **state) {
        assert_int_equal(failpoint_pass("a.b"), 0);
}

static void test_an_armed_point_fails_once(void **state) {
        put("volume_create.making-the-device.run", "fail 28\n");
        assert_int_equal(failpoint_pass("volume_create.%s.probe", "making the device"), 0);
        assert_int_equal(failpoint_pass("volume_create.%s.run", "making the device"), -ENOSPC);
        assert_int_equal(failpoint_pass("volume_create.%s.run", "making the device"), 0);
}

static void test_what_is_passed_is_written_down(void **state) {
        _cleanup_free_ char *text = NULL;
        char wanted[128];

        assert_int_equal(failpoint_pass("before"), 0);
        put("log", "");
        put("b.c", "fail 5");
        assert_int_equal(failpoint_pass("a/../%d", 1), 0);
        assert_int_equal(failpoint_pass("b.c"), -EIO);
        assert_true(file_read(AT_FDCWD, FAILPOINT_FOLDER "/log", 4096, &text, NULL) >= 0);
        buffer_format(wanted, sizeof(wanted), "%d a-..-1\n%d b.c\n", (int) getpid(), (int) getpid());
        assert_string_equal(text, wanted);
}

static pid_t pass_in_child(void) {
        pid_t pid = fork();

        if (pid == 0)
                _exit(failpoint_pass("x") == 0 ? 7 : 8);
        assert_true(pid > 0);
        return pid;
}

static void test_a_process_dies_at_once(void **state) {
        int status;

        put("x", "die");
        pid_t pid = pass_in_child();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_false(there("x")); /* or the next one would die as well */
}

static void test_a_process_hangs_until_it_is_let_go(void **state) {
        int status;

        put("x", "hang");
        pid_t pid = pass_in_child();
        while (!there("x.hangs"))
                usleep(1000);
        assert_int_equal(failpoint_pass("x"), 0); /* another does not hang */
        assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
        assert_int_equal(unlink(FAILPOINT_FOLDER "/x.hangs"), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_without_the_folder_nothing_happens),
                cmocka_unit_test_setup_teardown(test_an_armed_point_fails_once, folder_make, folder_remove),
                cmocka_unit_test_setup_teardown(test_what_is_passed_is_written_down, folder_make, folder_remove),
                cmocka_unit_test_setup_teardown(test_a_process_dies_at_once, folder_make, folder_remove),
                cmocka_unit_test_setup_teardown(test_a_process_hangs_until_it_is_let_go, folder_make, folder_remove),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
