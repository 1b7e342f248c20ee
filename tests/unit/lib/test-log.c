#include <quarry/fd.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include "../unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* What went to the journal, one field a line. */
static char journal[1000];
static int journal_result;

int __wrap_sd_journal_sendv(const struct iovec *fields, int n) {
        *journal = 0;
        for (int i = 0; i < n; i++) {
                strncat(journal, fields[i].iov_base, fields[i].iov_len);
                strcat(journal, "\n");
        }
        return journal_result;
}

static int old_stderr;
static int file;

/* stderr is a file from here on. */
static int setup(void **state) {
        old_stderr = dup(STDERR_FILENO);
        file = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        *journal = 0;
        journal_result = 0;
        return file >= 0 && dup2(file, STDERR_FILENO) >= 0 ? 0 : -1;
}

static int teardown(void **state) {
        (void) dup2(old_stderr, STDERR_FILENO);
        close(old_stderr);
        close(file);
        unsetenv("JOURNAL_STREAM");
        unsetenv("QUARRY_DEBUG");
        log_open("test");
        return 0;
}

static void assert_written(const char *expected) {
        char text[4000] = "";

        assert_true(pread(file, text, sizeof(text) - 1, 0) >= 0);
        assert_string_equal(text, expected);
}

static void stream_set(ino_t inode) {
        struct stat st;
        char stream[100];

        assert_int_equal(fstat(STDERR_FILENO, &st), 0);
        snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) (inode ?: st.st_ino));
        setenv("JOURNAL_STREAM", stream, 1);
}

static void test_plain_lines_name_the_object(void **state) {
        log_open("quarryd");
        log_info("default/db", "mounted at %s", "/x");
        log_warning(NULL, "no object");
        log_error("", "none either");
        assert_written("default/db: mounted at /x\nno object\nnone either\n");
        assert_string_equal(journal, "");
}

static void test_debug_lines_are_asked_for(void **state) {
        log_open("quarryd");
        assert_false(log_debug_enabled());
        log_debug("v", "hidden");
        setenv("QUARRY_DEBUG", "1", 1);
        log_open("quarryd");
        assert_true(log_debug_enabled());
        log_debug("v", "shown");
        assert_written("v: shown\n");
}

static void test_a_client_cannot_forge_a_line(void **state) {
        log_open("quarryd");
        log_error("a\nb", "%s", "x\nquarryd: all is well\x1b[2J");
        assert_written("a?b: x?quarryd: all is well?[2J\n");
}

static void test_long_lines_are_cut(void **state) {
        char big[10000], text[4000] = "";

        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = 0;
        log_open("quarryd");
        log_error("v", "%s", big);
        ssize_t n = pread(file, text, sizeof(text), 0);
        assert_true(n > 1000 && n < 3000);
        assert_true(text[n - 1] == '\n');
}

static void test_journal_gets_fields(void **state) {
        stream_set(0);
        log_open("quarryd");
        log_warning("default/db", "pool is at %d%%", 90);
        assert_string_equal(journal, "MESSAGE=default/db: pool is at 90%\nPRIORITY=4\nSYSLOG_IDENTIFIER=quarryd\n"
                                     "QUARRY_OBJECT=default/db\n");
        log_info(NULL, "ready");
        assert_string_equal(journal, "MESSAGE=ready\nPRIORITY=6\nSYSLOG_IDENTIFIER=quarryd\n");
        assert_written("");
}

static void test_redirected_stderr_is_no_journal(void **state) {
        stream_set(12345678);
        log_open("quarryd");
        log_info(NULL, "x");
        assert_written("x\n");
        assert_string_equal(journal, "");
}

static void test_without_journal_the_line_is_not_lost(void **state) {
        stream_set(0);
        journal_result = -ECONNREFUSED;
        log_open("quarryd");
        log_info(NULL, "x");
        assert_written("x\n");
}

static void test_failure_is_one_line(void **state) {
        Error err = {};

        log_open("quarryd");
        error_set(&err, ERROR_NO_SPACE, 0, "the pool is full");
        assert_int_equal(log_failure("default", &err, "create db"), -ENOSPC);
        strcpy(err.step, "thin");
        log_failure("default", &err, NULL);
        error_hint(&err, "quarry pool extend");
        log_failure(NULL, &err, "");
        assert_written("default: create db: the pool is full\ndefault: the pool is full (thin)\n"
                       "the pool is full (thin, quarry pool extend)\n");
}

static void test_errno_stays(void **state) {
        log_open("quarryd");
        close(STDERR_FILENO); /* what goes wrong within is nobody's business */
        errno = ENOKEY;
        log_error(NULL, "x");
        assert_int_equal(errno, ENOKEY);
}

int main(void) {
#define ROW(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        const struct CMUnitTest tests[] = {
                ROW(test_plain_lines_name_the_object),
                ROW(test_debug_lines_are_asked_for),
                ROW(test_a_client_cannot_forge_a_line),
                ROW(test_long_lines_are_cut),
                ROW(test_journal_gets_fields),
                ROW(test_redirected_stderr_is_no_journal),
                ROW(test_without_journal_the_line_is_not_lost),
                ROW(test_failure_is_one_line),
                ROW(test_errno_stays),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
