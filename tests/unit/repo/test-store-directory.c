#include "../../../repo/store-directory.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include "../unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char folder[64];
static Store *store;

/* What fails next, and how. */
static int syncfs_fails, readdir_fails;

int __real_syncfs(int fd);
int __wrap_syncfs(int fd) {
        int number = syncfs_fails;

        syncfs_fails = 0; /* as the kernel does */
        if (number) {
                errno = number;
                return -1;
        }
        return __real_syncfs(fd);
}

struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir) {
        if (readdir_fails && --readdir_fails == 0) {
                errno = EIO;
                return NULL;
        }
        return __real_readdir64(dir);
}

static Store *open_store(void) {
        Store *s = NULL;
        Error err = {};

        if (store_directory_new(folder, true, &s, &err) < 0)
                fail_msg("%s", err.text);
        return s;
}

static int setup(void **state) {
        buffer_format(folder, sizeof(folder), "/tmp/quarry-test-store-XXXXXX");
        if (!mkdtemp(folder))
                return -1;
        store = open_store();
        return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
        return remove(path);
}

static int teardown(void **state) {
        store_free(store);
        syncfs_fails = readdir_fails = 0;
        return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int try_put(Store *s, const char *name, const char *text, Error *err) {
        *err = (Error) {};
        return s->ops->put(s, name, text, strlen(text), err);
}

static void put(Store *s, const char *name, const char *text) {
        Error err;

        if (try_put(s, name, text, &err) < 0)
                fail_msg("%s", err.text);
}

static void sync_all(Store *s) {
        Error err = {};

        if (s->ops->sync(s, &err) < 0)
                fail_msg("%s", err.text);
}

/* NULL: it is not there. */
static void holds(Store *s, const char *name, const char *text) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t size = 77;
        Error err = {};

        assert_row(s->ops->has(s, name, &err) == !!text, name);
        assert_row(s->ops->get(s, name, &data, &size, &err) == !!text, name);
        if (text) {
                assert_int_equal(size, strlen(text));
                assert_memory_equal(data, text, size);
        }
}

static size_t count(Store *s, const char *kind) {
        _cleanup_strv_ char **names = NULL;
        Error err = {};

        if (store_list(s, kind, &names, &err) < 0)
                fail_msg("%s", err.text);
        for (char **name = names; name && *name; name++)
                assert_row(startswith(*name, kind) && (*name)[strlen(kind)] == '/', *name);
        return strv_length(names);
}

static size_t count_parts(void) {
        _cleanup_free_ char *path = format_new("%s/parts", folder);
        DIR *dir = opendir(path);
        size_t n = 0;

        for (struct dirent *e; (e = readdir(dir));)
                n += e->d_name[0] != '.';
        closedir(dir);
        return n;
}

static void test_put_got_listed_and_removed(void **state) {
        _cleanup_free_ char *path = format_new("%s/kind/ab/abc", folder);
        struct stat st;
        Error err = {};

        holds(store, "kind/abc", NULL);
        assert_int_equal(count(store, "kind"), 0);
        put(store, "kind/abc", "one");
        put(store, "kind/abd", "");
        put(store, "kind/xyz", "three");
        put(store, "other/abc", "four");
        sync_all(store);
        holds(store, "kind/abc", "one");
        holds(store, "kind/abd", "");
        holds(store, "other/abc", "four");
        assert_int_equal(count(store, "kind"), 3);
        assert_int_equal(count(store, "other"), 1);
        assert_int_equal(count(store, "kin"), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        put(store, "kind/abc", "one");
        sync_all(store);
        assert_int_equal(count(store, "kind"), 3);
        assert_int_equal(store->ops->remove(store, "kind/abc", &err), 0);
        assert_int_equal(store->ops->remove(store, "kind/abc", &err), 0);
        assert_int_equal(store->ops->remove(store, "none/abc", &err), 0);
        holds(store, "kind/abc", NULL);
        assert_int_equal(count(store, "kind"), 2);
        assert_int_equal(count_parts(), 0);
}

static void test_what_is_not_synced_is_there_for_who_put_it(void **state) {
        _cleanup_free_ uint8_t *data = NULL;
        Store *other = open_store();
        Error err = {};
        size_t size;

        put(store, "kind/abc", "one");
        holds(other, "kind/abc", NULL);
        assert_int_equal(count(other, "kind"), 0);
        assert_int_equal(store->ops->has(store, "kind/abc", &err), 1);
        assert_int_equal(count_parts(), 1);
        assert_int_equal(store->ops->get(store, "kind/abc", &data, &size, &err), 1);
        put(store, "kind/abd", "two");
        assert_int_equal(count(store, "kind"), 2);
        put(store, "kind/abe", "three");
        assert_int_equal(store->ops->remove(store, "kind/abe", &err), 0);
        holds(store, "kind/abe", NULL);
        sync_all(store);
        assert_int_equal(count(other, "kind"), 2);
        store_free(other);
}

static void test_parts_go_with_their_writer(void **state) {
        put(store, "kind/abc", "one");
        put(store, "kind/abd", "two");
        assert_int_equal(count_parts(), 2);
        store_free(store);
        assert_int_equal(count_parts(), 0);
        store = open_store();
        assert_int_equal(count(store, "kind"), 0);
}

static void test_parts_of_the_dead_go_after_a_day(void **state) {
        _cleanup_free_ char *fresh = format_new("%s/parts/fresh", folder), *old = format_new("%s/parts/old", folder);
        const struct timespec yesterday[] = { { time(NULL) - 90000 }, { time(NULL) - 90000 } };

        assert_int_equal(file_write_atomic(AT_FDCWD, fresh, "x", 1, 0600), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, old, "x", 1, 0600), 0);
        assert_int_equal(utimensat(AT_FDCWD, old, yesterday, 0), 0);
        store_free(store);
        store = open_store();
        assert_int_equal(access(fresh, F_OK), 0);
        assert_int_equal(access(old, F_OK), -1);
}

static void test_names_that_lead_out_are_refused(void **state) {
        static const char *const rows[] = {
                "",
                "/",
                "kind",
                "kind/",
                "kind/a",
                "/abc",
                "//abc",
                "../abc",
                "./abc",
                "kind/../abc",
                "kind/..",
                "kind/.abc",
                "../../abc",
                "/tmp/abc",
                "kind/abc/def",
                "kind/ab/../../x",
                "KIND/abc",
                "a.b/abc",
                " /abc",
                ("kind/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
                 "7890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"),
        };
        const StoreOps *ops = store->ops;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint8_t *data = NULL;
                size_t size;
                Error err;

                assert_row(try_put(store, rows[i], "x", &err) == -EINVAL, rows[i]);
                assert_row(err.kind == ERROR_FAILED, rows[i]);
                assert_row(ops->get(store, rows[i], &data, &size, &err) == -EINVAL, rows[i]);
                assert_row(ops->has(store, rows[i], &err) == -EINVAL, rows[i]);
                assert_row(ops->remove(store, rows[i], &err) == -EINVAL, rows[i]);
        }
        assert_int_equal(count_parts(), 0);
        put(store, "kind/ab", "the least");
        sync_all(store);
        holds(store, "kind/ab", "the least");
}

static void test_strange_files_are_no_objects(void **state) {
        _cleanup_free_ char *file = format_new("%s/kind/file", folder), *hidden = format_new("%s/kind/ab/.x", folder);
        _cleanup_free_ char *link = format_new("%s/kind/li", folder);
        _cleanup_strv_ char **names = NULL;
        Error err = {};

        put(store, "kind/abc", "one");
        sync_all(store);
        assert_int_equal(file_write_atomic(AT_FDCWD, file, "x", 1, 0600), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, hidden, "x", 1, 0600), 0);
        assert_int_equal(count(store, "kind"), 1);
        assert_int_equal(symlink("ab", link), 0); /* in the place of a folder: who knows what that hides */
        assert_true(store_list(store, "kind", &names, &err) < 0);
}

static void test_more_than_fit_at_once(void **state) {
        for (int i = 0; i < 200; i++) {
                char name[32];

                buffer_format(name, sizeof(name), "kind/%03d", i);
                put(store, name, name);
        }
        assert_true(count_parts() <= 64);
        assert_int_equal(count(store, "kind"), 200);
        holds(store, "kind/123", "kind/123");
        holds(store, "kind/199", "kind/199");
}

static void test_there_is_no_such_place(void **state) {
        Store *s = NULL;
        Error err = {};

        assert_int_equal(store_directory_new("/tmp/quarry-test-no-such", false, &s, &err), -ENOENT);
        assert_null(s);
        err = (Error) {};
        assert_int_equal(store_directory_new("/tmp/quarry-test-no-such/x", true, &s, &err), -ENOENT);
        err = (Error) {};
        assert_int_equal(store_directory_new("/dev/null", true, &s, &err), -ENOTDIR);
        assert_non_null(strstr(err.text, "/dev/null"));
}

/* --- what fails ------------------------------------------------------------------------------------------- */

static void test_what_could_not_be_written_is_never_said_to_be(void **state) {
        Error err = {};

        put(store, "kind/abc", "one");
        sync_all(store);
        put(store, "kind/abd", "two");
        syncfs_fails = EIO;
        assert_int_equal(store->ops->sync(store, &err), -EIO);
        for (int i = 0; i < 2; i++) {
                err = (Error) {};
                assert_int_equal(store->ops->sync(store, &err), -EIO);
                assert_int_equal(try_put(store, "kind/abe", "three", &err), -EIO);
                holds(store, "kind/abd", NULL);
        }
        holds(store, "kind/abc", "one");
        err = (Error) {};
        assert_int_equal(store->ops->remove(store, "kind/abc", &err), 0); /* a lock, at the end */
        assert_int_equal(count(store, "kind"), 0);
        assert_int_equal(count_parts(), 0);
}

static void test_that_its_directory_could_not_be_written_is_said(void **state) {
        Error err = {};

        syncfs_fails = EIO;
        assert_int_equal(store->ops->sync(store, &err), -EIO);
        assert_int_equal(try_put(store, "kind/abe", "three", &err), -EIO);
}

static void test_a_list_is_whole_or_fails(void **state) {
        _cleanup_strv_ char **names = NULL;
        size_t n = 0;
        int r;

        put(store, "kind/abc", "one");
        put(store, "kind/bcd", "two");
        put(store, "kind/cde", "three");
        sync_all(store);
        do {
                Error err = {};

                readdir_fails = (int) ++n;
                r = store_list(store, "kind", &names, &err);
                if (readdir_fails == 0) {
                        assert_int_equal(r, -EIO);
                        assert_null(names);
                }
        } while (readdir_fails == 0);
        assert_int_equal(r, 0);
        assert_int_equal(strv_length(names), 3);
        assert_true(n > 3 * 3);
}

static int end(const char *name, void *userdata) {
        return ++*(int *) userdata == 2 ? -ECANCELED : 0;
}

static void test_a_list_ends_when_it_is_told(void **state) {
        Error err = {};
        int n = 0;

        put(store, "kind/abc", "one");
        put(store, "kind/bcd", "two");
        put(store, "kind/cde", "three");
        assert_int_equal(store->ops->list(store, "kind", end, &n, &err), -ECANCELED);
        assert_int_equal(n, 2);
}

/* In a namespace of its own, so that nothing stays mounted. */
static bool mount_small(void) {
        store_free(store);
        store = NULL;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", folder, "tmpfs", 0, "size=1m,nr_inodes=64") < 0)
                return false;
        store = open_store();
        return true;
}

static int fill(size_t size, size_t *ret_n, Error *err) {
        _cleanup_free_ char *text = calloc(1, size + 1);
        int r = 0;

        memset(text, 'x', size);
        for (*ret_n = 0; r >= 0 && *ret_n < 1000; *ret_n += r >= 0) {
                char name[32];

                buffer_format(name, sizeof(name), "kind/%03zu", *ret_n % 10 * 100 + *ret_n / 10);
                r = try_put(store, name, text, err);
        }
        return r < 0 ? r : store->ops->sync(store, err);
}

static void is_full_and_whole(size_t size) {
        _cleanup_strv_ char **names = NULL;
        Store *other = open_store();
        Error err = {};
        size_t n;

        assert_int_equal(fill(size, &n, &err), -ENOSPC);
        assert_int_equal(err.kind, ERROR_NO_SPACE);
        assert_non_null(strstr(err.hint, "quarry backup prune"));
        assert_int_equal(store_list(other, "kind", &names, &err), 0);
        for (char **name = names; name && *name; name++) {
                _cleanup_free_ uint8_t *data = NULL;
                size_t is = 0;

                assert_int_equal(other->ops->get(other, *name, &data, &is, &err), 1);
                assert_int_equal(is, size);
        }
        store_free(store); /* and its parts */
        assert_int_equal(count_parts(), 0);
        store = other;
        for (char **name = names; name && *name; name++)
                assert_int_equal(store->ops->remove(store, *name, &err), 0);
        put(store, "kind/new", "there is room again");
        sync_all(store);
        assert_int_equal(store->ops->remove(store, "kind/new", &err), 0);
}

static void test_a_full_filesystem(void **state) {
        if (!mount_small())
                skip();
        is_full_and_whole(50000);
        is_full_and_whole(10); /* of inodes */
        store_free(store);
        store = NULL;
        assert_int_equal(umount(folder), 0);
        store = open_store();
}

/* --- a writer that is killed ------------------------------------------------------------------------------ */

#define OBJECT_SIZE 30000u

static uint8_t byte_of(const char *name, size_t i) {
        return (uint8_t) (name[5 + i % 4] + i / 256);
}

static void write_until_killed(void) {
        Store *s = open_store();

        for (int i = 0;; i++) {
                uint8_t data[OBJECT_SIZE];
                char name[32];
                Error err = {};

                buffer_format(name, sizeof(name), "kind/%04d", i % 500 * 37 % 10000);
                for (size_t j = 0; j < sizeof(data); j++)
                        data[j] = byte_of(name, j);
                if (s->ops->put(s, name, data, sizeof(data), &err) < 0 || (i % 17 == 0 && s->ops->sync(s, &err) < 0))
                        _exit(1);
        }
}

static size_t check_all(void) {
        _cleanup_strv_ char **names = NULL;
        Error err = {};

        assert_int_equal(store_list(store, "kind", &names, &err), 0);
        for (char **name = names; name && *name; name++) {
                _cleanup_free_ uint8_t *data = NULL;
                size_t size = 0;

                assert_row(store->ops->get(store, *name, &data, &size, &err) == 1, *name);
                assert_row(size == OBJECT_SIZE, *name);
                for (size_t j = 0; j < size; j++)
                        assert_row(data[j] == byte_of(*name, j), *name);
        }
        return strv_length(names);
}

static void test_of_a_writer_that_is_killed_there_are_only_whole_objects(void **state) {
        size_t n = 0;

        srand(1);
        for (int round = 0; round < 20; round++) {
                pid_t child = fork();
                int status;

                if (child == 0)
                        write_until_killed();
                usleep((useconds_t) (rand() % 20000));
                n = check_all();
                assert_int_equal(kill(child, SIGKILL), 0);
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFSIGNALED(status));
        }
        n = check_all();
        assert_true(n > 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_put_got_listed_and_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_not_synced_is_there_for_who_put_it, setup, teardown),
                cmocka_unit_test_setup_teardown(test_parts_go_with_their_writer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_parts_of_the_dead_go_after_a_day, setup, teardown),
                cmocka_unit_test_setup_teardown(test_names_that_lead_out_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_strange_files_are_no_objects, setup, teardown),
                cmocka_unit_test_setup_teardown(test_more_than_fit_at_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_there_is_no_such_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_could_not_be_written_is_never_said_to_be, setup, teardown),
                cmocka_unit_test_setup_teardown(test_that_its_directory_could_not_be_written_is_said, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_list_is_whole_or_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_list_ends_when_it_is_told, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_full_filesystem, setup, teardown),
                cmocka_unit_test_setup_teardown(test_of_a_writer_that_is_killed_there_are_only_whole_objects, setup,
                                                teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
