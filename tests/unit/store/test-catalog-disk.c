/* What may be on the disk when a catalog is opened. */

#include "catalog-fixture.h"

static void with_volume(void) {
        Catalog *c = catalog_at(folder);
        Volume v = volume_of(1, "db");

        begin();
        put(c, &v, 'a');
        settle(c, 1);
        catalog_free(c);
}

static void sql(const char *text) {
        sqlite3 *db;

        assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
        if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
                fail_msg("%s: %s", text, sqlite3_errmsg(db));
        sqlite3_close(db);
}

/* As the first version made them. */
static void test_a_catalog_of_the_first_version_is_brought_up_to_date(void **state) {
        Loaded loaded = {};

        sql("CREATE TABLE volume ("
            "  uuid TEXT NOT NULL PRIMARY KEY, thin_id INTEGER NOT NULL UNIQUE, tenant TEXT NOT NULL,"
            "  name TEXT NOT NULL, state TEXT NOT NULL, failure TEXT, size INTEGER NOT NULL,"
            "  filesystem TEXT NOT NULL, key_source TEXT NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
            "  mode INTEGER NOT NULL, mkfs_options TEXT NOT NULL, labels TEXT NOT NULL,"
            "  created_usec INTEGER NOT NULL, UNIQUE (tenant, name)) STRICT, WITHOUT ROWID;"
            "INSERT INTO volume VALUES ('01234567-89ab-cdef-0123-456789abcdef', 7, 'acme', 'db', 'broken', 'why',"
            "  1073741824, 'xfs', 'host', 5, 6, 448, '-m crc=1' || char(10), 'a=1' || char(10), 42);"
            "INSERT INTO volume VALUES ('01234567-89ab-cdef-0123-456789abcdee', 0, 'default', 'db', 'ready', NULL,"
            "  1073741824, 'ext4', 'none', 0, 0, 493, '', '', 41);"
            "PRAGMA user_version = 1");
        Catalog *c = load(folder, on_volume, &loaded);
        assert_string_equal(loaded.err.text, "");
        assert_string_equal(loaded.text, "db:0:ready db:7:broken");
        Volume *v = &loaded.last;
        assert_int_equal(v->spec.role, ROLE_VOLUME);
        assert_true(sd_id128_is_null(v->spec.origin));
        assert_string_equal(v->spec.tenant, "acme");
        assert_string_equal(v->failure, "why");
        assert_int_equal(v->spec.size, GIB);
        assert_int_equal(v->spec.fs, FILESYSTEM_XFS);
        assert_int_equal(v->spec.key_source, KEY_SOURCE_HOST);
        assert_int_equal(v->spec.uid, 5);
        assert_int_equal(v->spec.gid, 6);
        assert_int_equal(v->spec.mode, 0700);
        assert_string_equal(v->spec.mkfs_options[0], "-m crc=1");
        assert_string_equal(v->spec.labels[0], "a=1");
        assert_int_equal(v->created_usec, 42);
        assert_false(v->held || v->spec.protected || v->has_spare || v->pending_size > 0 || v->rule || v->schedule ||
                     v->old_name);
        volume_done(v);

        /* And is as good as a new one. */
        Volume snapshot = snapshot_of(3, 1, "db@monday"), same = volume_of(4, "db");
        begin();
        put(c, &snapshot, 's');
        put(c, &same, 'n');
        settle(c, 2);
        assert_string_equal(ended, "sn!");
        holds(&c, "db:0:ready db:7:broken 0@monday:3:creating");
        catalog_free(c);
}

static void test_a_row_that_breaks_a_rule_is_refused(void **state) {
        static const char *const changes[] = {
                "uuid = 'x'",
                "uuid = '00000000-0000-0000-0000-000000000000'",
                "uuid = ''",
                "thin_id = -1",
                "thin_id = 16777216",
                "thin_id = 4294967297",
                "tenant = '../etc'",
                "tenant = ''",
                "tenant = 'ACME'",
                "name = 'a/b'",
                "name = '..'",
                "name = ''",
                "name = 'x' || char(10)",
                "name = printf('%.200c', 'a')",
                "state = 'fine'",
                "state = ''",
                "size = 0",
                "size = -1",
                "size = 1",
                "size = 9223372036854775807",
                "filesystem = 'ntfs'",
                "key_source = 'mine'",
                "uid = -1",
                "uid = 4294967295",
                "uid = 4294967296",
                "gid = 4294967296",
                "mode = 4096",
                "mode = 4294967296",
                "mode = -1",
                "mkfs_options = '-d /etc'",
                "labels = 'novalue'",
                "labels = 'a=1' || char(10) || 'a=2'",
                "labels = '../x=1'",
                "created_usec = -1",
                "role = 'backup'",
                "role = 'snapshot'", /* of nothing */
                "role = 'template'", /* which no tenant has */
                "origin = '01234567-89ab-cdef-0123-456789abcdef'",
                "role = 'snapshot', origin = 'x'",
                "role = 'snapshot', origin = '00000000-0000-0000-0000-000000000000'",
                "role = 'snapshot', origin = '01234567-89ab-cdef-0123-456789abcdef', name = 'a@b'",
                "role = 'snapshot', origin = '01234567-89ab-cdef-0123-456789abcdef', name = printf('%.65c', 'a')",
                "spare_thin_id = -1",
                "spare_thin_id = 16777216",
                "pending_size = -1",
        };

        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_free_ char *text = format_new("UPDATE volume SET %s", changes[i]);
                Loaded loaded = {};

                with_volume();
                sql(text);
                catalog_free(load(folder, on_volume, &loaded));
                assert_row(loaded.err.kind == ERROR_POOL_UNAVAILABLE && strstr(loaded.err.text, "breaks a rule"),
                           changes[i]);
                assert_row(*loaded.text == 0, changes[i]);
                sql("DELETE FROM volume");
        }
}

static int refuse_volume(Volume *volume, void *userdata, Error *err) {
        return error_set(err, ERROR_FAILED, EEXIST, "not this one");
}

static void test_a_reader_that_fails_ends_the_load(void **state) {
        Loaded loaded = {};

        with_volume();
        catalog_free(load(folder, refuse_volume, &loaded));
        assert_string_equal(loaded.err.text, "not this one");
}

static void write_file(const char *data, size_t size, off_t at, int flags) {
        int fd = open(file, O_WRONLY | O_CREAT | flags, 0600);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, data, size, at), size);
        close(fd);
}

static void test_damage_is_found_while_it_is_open(void **state) {
        char garbage[4096], name[32];
        Catalog *c = catalog_at(folder);
        Error err = {};
        unsigned n;

        memset(garbage, 'x', sizeof(garbage));
        begin();
        for (n = 0; n < 200; n++) {
                buffer_format(name, sizeof(name), "v%u", n);
                Volume v = volume_of(n, name);
                put(c, &v, 'a');
        }
        assert_int_equal(catalog_check(c, on_done, (void *) 'c', &err), 0);
        settle(c, ++n);
        assert_int_equal(last_error.kind, ERROR_NONE);
        catalog_free(c);
        c = catalog_at(folder);
        write_file(garbage, sizeof(garbage), 3 * sizeof(garbage), 0);
        assert_int_equal(catalog_check(c, on_done, (void *) 'c', &err), 0);
        settle(c, ++n);
        assert_int_not_equal(last_error.kind, ERROR_NONE);
        catalog_free(c);
}

static void test_what_is_no_database_is_refused(void **state) {
        char garbage[8192];

        memset(garbage, 'x', sizeof(garbage));
        write_file(garbage, sizeof(garbage), 0, 0);
        refused("not a database", ERROR_FAILED);
}

static void test_a_damaged_database_is_refused(void **state) {
        char garbage[2048];
        struct stat st;

        memset(garbage, 0x55, sizeof(garbage));
        with_volume();
        assert_int_equal(stat(file, &st), 0);
        for (off_t at = 4096; at < st.st_size; at += 4096)
                write_file(garbage, sizeof(garbage), at, 0);
        refused("damaged", ERROR_POOL_UNAVAILABLE);
}

static void test_a_database_that_was_cut_off_is_refused(void **state) {
        with_volume();
        assert_int_equal(truncate(file, 4096), 0);
        refused("malformed", ERROR_FAILED);
}

static void test_a_newer_schema_is_refused(void **state) {
        with_volume();
        sql("PRAGMA user_version = 99");
        refused("newer quarry (version 99)", ERROR_POOL_UNAVAILABLE);
        sql("PRAGMA user_version = -1");
        refused("newer quarry", ERROR_POOL_UNAVAILABLE);
}

static void test_a_missing_folder_is_refused(void **state) {
        refused_at("/nowhere", "open", ERROR_FAILED);
}

static void test_a_link_is_not_followed(void **state) {
        assert_int_equal(symlink("/tmp/elsewhere", file), 0);
        refused("open", ERROR_FAILED);
        assert_int_equal(access("/tmp/elsewhere", F_OK), -1);
}

static void test_a_full_disk_is_said_and_passes(void **state) {
        Volume v = volume_of(1, "a");
        char name[32], filler[80];

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", folder, "tmpfs", 0, "size=512k") < 0)
                skip();
        Catalog *c = catalog_at(folder);
        begin();
        put(c, &v, 'a');
        settle(c, 1);

        buffer_format(filler, sizeof(filler), "%s/filler", folder);
        int fd = open(filler, O_WRONLY | O_CREAT, 0600);
        static const char zeros[4096];
        while (write(fd, zeros, sizeof(zeros)) == sizeof(zeros))
                ;
        close(fd);
        unsigned n = 1;
        while (last_error.kind == ERROR_NONE && n < 200) {
                buffer_format(name, sizeof(name), "v%u", n);
                v = volume_of(n + 1, name);
                put(c, &v, 'x');
                settle(c, ++n);
        }
        assert_int_equal(last_error.kind, ERROR_NO_SPACE);
        assert_int_equal(last_error.number, ENOSPC);

        assert_int_equal(unlink(filler), 0);
        last_error = (Error) {};
        put(c, &v, 'y');
        settle(c, ++n);
        assert_int_equal(last_error.kind, ERROR_NONE);
        catalog_free(c);
        c = catalog_at(folder);
        catalog_free(c);
        assert_int_equal(umount(folder), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_a_catalog_of_the_first_version_is_brought_up_to_date),
                TEST(test_a_row_that_breaks_a_rule_is_refused),
                TEST(test_a_reader_that_fails_ends_the_load),
                TEST(test_what_is_no_database_is_refused),
                TEST(test_a_damaged_database_is_refused),
                TEST(test_damage_is_found_while_it_is_open),
                TEST(test_a_database_that_was_cut_off_is_refused),
                TEST(test_a_newer_schema_is_refused),
                TEST(test_a_missing_folder_is_refused),
                TEST(test_a_link_is_not_followed),
                TEST(test_a_full_disk_is_said_and_passes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
