#include <quarry/fd.h>
#include <quarry/text.h>

#include "../unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

static char folder[] = "/tmp/quarry-test-fd-XXXXXX";

static int setup(void **state) {
        return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

/* What was done to make a file durable, in order. */
static char done[100];

int __real_fsync(int fd);
int __wrap_fsync(int fd) {
        strcat(done, "fsync ");
        return __real_fsync(fd);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to) {
        size_t n = strrchr(to, '/') ? (size_t) (strrchr(to, '/') - to) + 1 : 0;

        /* Within one folder it is atomic. */
        assert_true(from_dir == to_dir && strncmp(from, to, n) == 0 && !strchr(from + n, '/') && from[n] == '.');
        strcat(done, "rename ");
        return __real_renameat(from_dir, from, to_dir, to);
}

/* The secret whose end is awaited, and what it was when it was freed. */
static void *awaited;
static char last_words[32];

void __real_free(void *p);
void __wrap_free(void *p) {
        if (p && p == awaited)
                memcpy(last_words, p, sizeof(last_words));
        __real_free(p);
}

static void assert_folder_is_empty(void) {
        DIR *d = opendir(folder);

        for (struct dirent *e; (e = readdir(d));)
                assert_row(streq(e->d_name, ".") || streq(e->d_name, ".."), e->d_name);
        closedir(d);
}

static int teardown(void **state) {
        return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void test_file_is_written_and_read_back(void **state) {
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t size = 0;
        mode_t old = umask(0077);

        assert_int_equal(file_write_atomic(AT_FDCWD, "f", "one\0two", 7, 0644), 0);
        umask(old);
        assert_int_equal(file_read(AT_FDCWD, "f", 7, &text, &size), 0);
        assert_int_equal(size, 7);
        assert_memory_equal(text, "one\0two", 8);
        assert_int_equal(stat("f", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(unlink("f"), 0);
}

static void test_file_is_replaced_and_nothing_else_left(void **state) {
        _cleanup_free_ char *path = format_new("%s/g", folder), *text = NULL;

        assert_int_equal(file_write_atomic(AT_FDCWD, path, "old", 3, 0600), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, path, "new", 3, 0600), 0);
        assert_int_equal(file_read(AT_FDCWD, path, 100, &text, NULL), 0);
        assert_string_equal(text, "new");
        assert_int_equal(unlink(path), 0);
        assert_folder_is_empty();
}

static void test_file_is_durable_before_it_has_its_name(void **state) {
        *done = 0;
        assert_int_equal(file_write_atomic(AT_FDCWD, "f", "x", 1, 0600), 0);
        assert_string_equal(done, "fsync rename fsync ");
        assert_int_equal(unlink("f"), 0);
}

static void test_failed_write_leaves_the_folder_as_it_was(void **state) {
        struct rlimit old, low;

        assert_int_equal(mkdir("d", 0700), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, "d", "x", 1, 0600), -EISDIR);
        assert_int_equal(rmdir("d"), 0);
        assert_folder_is_empty();
        assert_int_equal(file_write_atomic(AT_FDCWD, "no/such", "x", 1, 0600), -ENOENT);

        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        low = (struct rlimit) { 3, old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, "f", "1234", 4, 0600), -EFBIG);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_folder_is_empty();
}

static void test_file_above_the_bound_is_refused(void **state) {
        char *text = (char *) "untouched";

        assert_int_equal(file_write_atomic(AT_FDCWD, "f", "12345678", 8, 0600), 0);
        assert_int_equal(file_read(AT_FDCWD, "f", 7, &text, NULL), -EFBIG);
        assert_string_equal(text, "untouched");
        assert_int_equal(unlink("f"), 0);
        assert_int_equal(file_read(AT_FDCWD, "f", 7, &text, NULL), -ENOENT);
        assert_int_equal(file_read(AT_FDCWD, ".", 7, &text, NULL), -EISDIR);
}

static void test_file_of_unknown_size_is_read_whole(void **state) {
        _cleanup_free_ char *empty = NULL, *status = NULL, *big = calloc(1, 20000), *back = NULL;
        size_t size = 0;

        assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 100000, &status, NULL), 0);
        assert_non_null(strstr(status, "ctxt_switches"));
        assert_int_equal(file_read(AT_FDCWD, "/dev/null", 0, &empty, &size), 0);
        assert_string_equal(empty, "");

        memset(big, 'b', 20000);
        assert_int_equal(file_write_atomic(AT_FDCWD, "f", big, 20000, 0600), 0);
        assert_int_equal(file_read(AT_FDCWD, "f", 20000, &back, &size), 0);
        assert_int_equal(size, 20000);
        assert_memory_equal(back, big, 20000);
        assert_int_equal(unlink("f"), 0);
}

static void test_secret_travels_sealed(void **state) {
        _cleanup_close_ int fd = secret_seal("pass\nword", 9);
        char *secret = NULL, byte = 'x';
        size_t size = 0;

        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(pwrite(fd, &byte, 1, 0) < 0 && errno == EPERM);
        assert_true(ftruncate(fd, 1) < 0);
        assert_true(mmap(NULL, 9, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
        for (int i = 0; i < 2; i++) { /* the file position plays no part */
                assert_int_equal(secret_read(fd, &secret, &size), 0);
                assert_int_equal(size, 9);
                assert_string_equal(secret, "pass\nword");
                secret_free(secret, size);
        }
        secret_free(NULL, 0);
}

static void test_secret_of_every_size_up_to_the_bound(void **state) {
        static const struct {
                size_t size;
                int result;
        } rows[] = {
                { 0, -ENODATA },
                { 1, 0 },
                { 4095, 0 },
                { 4096, 0 },
                { SECRET_SIZE_MAX, 0 },
                { SECRET_SIZE_MAX + 1, -EFBIG },
        };
        char data[SECRET_SIZE_MAX + 1];

        memset(data, 's', sizeof(data));
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_close_ int fd = secret_seal(data, rows[i].size);
                char *secret = NULL;
                size_t size = 0;

                assert_int_equal(secret_read(fd, &secret, &size), rows[i].result);
                assert_int_equal(size, rows[i].result < 0 ? 0 : rows[i].size);
                if (secret) {
                        assert_memory_equal(secret, data, size);
                        assert_int_equal(secret[size], 0);
                }
                secret_free(secret, size);
        }
}

static void test_secret_that_its_sender_can_change_is_refused(void **state) {
        static const int seals[] = {
                0,
                F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
                F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_WRITE,
                F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_WRITE,
                F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW,
                F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE,
        };
        char *secret = NULL;
        size_t size;
        int pipes[2];

        for (size_t i = 0; i < ELEMENTSOF(seals); i++) {
                _cleanup_close_ int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

                assert_int_equal(write_all(fd, "secret", 6), 0);
                assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
                assert_int_equal(secret_read(fd, &secret, &size), -EPERM);
        }

        _cleanup_close_ int unsealable = memfd_create("x", MFD_CLOEXEC);
        assert_int_equal(write_all(unsealable, "secret", 6), 0);
        assert_int_equal(secret_read(unsealable, &secret, &size), -EPERM);

        _cleanup_close_ int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        assert_int_equal(secret_read(file, &secret, &size), -EPERM);

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        assert_int_equal(secret_read(pipes[0], &secret, &size), -EPERM);
        close(pipes[0]);
        close(pipes[1]);
        assert_int_equal(secret_read(-EBADF, &secret, &size), -EBADF);
        assert_null(secret);
}

static long locked_kib(void) {
        _cleanup_free_ char *status = NULL;

        assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 100000, &status, NULL), 0);
        const char *line = strstr(status, "VmLck:");
        return line ? strtol(line + 6, NULL, 10) : -1;
}

static void test_secret_is_locked_in_memory_while_it_lives(void **state) {
#ifdef __SANITIZE_ADDRESS__
        skip(); /* ASan takes mlock() away */
#endif
        _cleanup_close_ int fd = secret_seal("secret", 6);
        long before = locked_kib();
        char *secret = NULL;
        size_t size;

        assert_int_equal(secret_read(fd, &secret, &size), 0);
        assert_true(locked_kib() > before);
        secret_free(secret, size);
        assert_int_equal(locked_kib(), before);
}

static void test_secret_is_wiped(void **state) {
        static const char zeros[sizeof(last_words)];
        char *secret = malloc(sizeof(last_words));

        memset(secret, 's', sizeof(last_words));
        memset(last_words, 'x', sizeof(last_words));
        awaited = secret;
        secret_free(secret, sizeof(last_words));
        awaited = NULL;
        assert_memory_equal(last_words, zeros, sizeof(zeros));
}

static void test_write_all_reports_failure(void **state) {
        _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

        assert_int_equal(write_all(full, "x", 1), -ENOSPC);
        assert_int_equal(write_all(full, "", 0), 0);
}

static char pattern(size_t i) {
        return (char) (i % 251);
}

/* Reads slowly, so that the writer waits. */
static int pattern_check(int fd, size_t size) {
        size_t n = 0;

        for (char c[4000];;) {
                ssize_t got = read(fd, c, sizeof(c));

                if (got <= 0)
                        return n == size ? 0 : 1;
                for (ssize_t i = 0; i < got; i++)
                        if (c[i] != pattern(n++))
                                return 2;
                usleep(500);
        }
}

static void on_alarm(int sig) {
}

static void test_write_all_goes_on_after_short_and_interrupted_writes(void **state) {
        const struct sigaction interrupt = { .sa_handler = on_alarm };
        const size_t size = 500000;
        _cleanup_free_ char *data = malloc(size);
        int pipes[2], status = 1;

        for (size_t i = 0; i < size; i++)
                data[i] = pattern(i);
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
                close(pipes[1]);
                _exit(pattern_check(pipes[0], size));
        }
        close(pipes[0]);

        assert_int_equal(sigaction(SIGALRM, &interrupt, NULL), 0);
        assert_int_equal(setitimer(ITIMER_REAL, &(struct itimerval) { { 0, 500 }, { 0, 500 } }, NULL), 0);
        assert_int_equal(write_all(pipes[1], data, size), 0);
        assert_int_equal(setitimer(ITIMER_REAL, &(struct itimerval) {}, NULL), 0);
        close(pipes[1]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_file_is_written_and_read_back),
                cmocka_unit_test(test_file_is_replaced_and_nothing_else_left),
                cmocka_unit_test(test_file_is_durable_before_it_has_its_name),
                cmocka_unit_test(test_failed_write_leaves_the_folder_as_it_was),
                cmocka_unit_test(test_file_above_the_bound_is_refused),
                cmocka_unit_test(test_file_of_unknown_size_is_read_whole),
                cmocka_unit_test(test_secret_travels_sealed),
                cmocka_unit_test(test_secret_of_every_size_up_to_the_bound),
                cmocka_unit_test(test_secret_that_its_sender_can_change_is_refused),
                cmocka_unit_test(test_secret_is_locked_in_memory_while_it_lives),
                cmocka_unit_test(test_secret_is_wiped),
                cmocka_unit_test(test_write_all_reports_failure),
                cmocka_unit_test(test_write_all_goes_on_after_short_and_interrupted_writes),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
