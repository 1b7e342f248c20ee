#include "catalog-fixture.h"

/* Commits are counted, and the first BEGIN can be held back, so that what is queued meanwhile becomes one batch. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static unsigned commits;

int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*callback)(void *, int, char **, char **), void *p,
                        char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*callback)(void *, int, char **, char **), void *p,
                        char **message) {
        if (streq(sql, "BEGIN IMMEDIATE")) {
                pthread_mutex_lock(&gate);
                pthread_mutex_unlock(&gate);
        } else if (streq(sql, "COMMIT"))
                commits++;
        return __real_sqlite3_exec(db, sql, callback, p, message);
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void test_keeps_what_it_was_given(void **state) {
        Catalog *c = catalog_at(folder);
        Volume v = volume_of(7, "db");

        begin();
        buffer_format(v.spec.tenant, sizeof(v.spec.tenant), "acme");
        v.spec.size = VOLUME_SIZE_MAX;
        v.spec.fs = FILESYSTEM_XFS;
        v.spec.key_source = KEY_SOURCE_HOST;
        v.spec.uid = 4294967294;
        v.spec.gid = 5;
        v.spec.mode = 07777;
        v.thin_id = THIN_ID_MAX;
        v.failure = strdup("it's \"broken\"; DROP TABLE volume");
        v.state = VOLUME_BROKEN;
        v.spec.protected = true;
        assert_int_equal(strv_append(&v.spec.labels, "a=x = y"), 0);
        assert_int_equal(strv_append(&v.spec.labels, "b="), 0);
        assert_int_equal(strv_append(&v.spec.mkfs_options, "-m crc=1"), 0);
        put(c, &v, 'a');
        settle(c, 1);
        assert_string_equal(ended, "a");
        catalog_free(c);

        Loaded loaded = {};
        c = load(folder, on_volume, &loaded);
        Volume *have = &loaded.last;
        char difference[128];
        assert_true(sd_id128_equal(have->uuid, v.uuid));
        assert_null(volume_spec_difference(&have->spec, &v.spec, difference, sizeof(difference)));
        assert_string_equal(have->spec.name, "db");
        assert_string_equal(have->spec.tenant, "acme");
        assert_string_equal(have->failure, v.failure);
        assert_int_equal(have->state, VOLUME_BROKEN);
        assert_int_equal(have->thin_id, THIN_ID_MAX);
        assert_int_equal(have->created_usec, v.created_usec);
        volume_done(have);
        volume_done(&v);
        catalog_free(c);
}

static void test_changes_end_in_order(void **state) {
        Catalog *c = catalog_at(folder);
        Volume v[4] = { volume_of(1, "a"), volume_of(2, "b"), volume_of(3, "c"), volume_of(2, "b") };
        Error err = {};

        begin();
        for (unsigned i = 0; i < 3; i++)
                put(c, &v[i], (char) ('a' + i));
        assert_int_equal(catalog_delete_volume(c, v[0].uuid, on_done, (void *) 'd', &err), 0);
        v[3].state = VOLUME_READY;
        put(c, &v[3], 'e');
        assert_int_equal(catalog_delete_volume(c, uuid_of(99), on_done, (void *) 'f', &err), 0); /* there is none */
        settle(c, 6);
        assert_string_equal(ended, "abcdef");
        holds(&c, "b:2:ready c:3:creating");
        catalog_free(c);
}

static void test_changes_that_come_fast_are_one_transaction(void **state) {
        Catalog *c = catalog_at(folder);
        char name[16];

        begin();
        pthread_mutex_lock(&gate);
        commits = 0;
        for (unsigned i = 0; i < 100; i++) {
                buffer_format(name, sizeof(name), "v%u", i);
                Volume v = volume_of(i, name);
                put(c, &v, '.');
        }
        assert_int_equal(n_ended, 0); /* nobody waited */
        pthread_mutex_unlock(&gate);
        settle(c, 100);
        assert_in_range(commits, 1, 2); /* the first may have been on its way alone */
        catalog_free(c);
}

static void put_all(Catalog *c, const Volume *v, size_t n, char letter) {
        const Volume *list[8];
        Error err = {};

        for (size_t i = 0; i < n; i++)
                list[i] = &v[i];
        if (catalog_put_volumes(c, list, n, on_done, (void *) (intptr_t) letter, &err) < 0)
                fail_msg("%s", err.text);
}

static void test_a_group_is_written_whole_or_not(void **state) {
        Catalog *c = catalog_at(folder);
        Volume good[] = { volume_of(1, "a"), snapshot_of(2, 1, "a@x"), snapshot_of(3, 1, "a@y") };
        Volume bad[] = { volume_of(4, "d"), snapshot_of(5, 4, "d@x"), snapshot_of(6, 4, "d@x") };
        Volume alone = volume_of(7, "z");

        begin();
        pthread_mutex_lock(&gate); /* all in one transaction */
        put_all(c, good, ELEMENTSOF(good), 'g');
        put_all(c, bad, ELEMENTSOF(bad), 'b');
        put(c, &alone, 'a');
        pthread_mutex_unlock(&gate);
        settle(c, 3);
        assert_string_equal(ended, "gb!a");
        holds(&c, "a:1:creating z:7:creating 0@x:2:creating 0@y:3:creating");
        bad[2] = snapshot_of(6, 4, "d@y");
        put_all(c, bad, ELEMENTSOF(bad), 'c');
        settle(c, 4);
        assert_string_equal(ended, "gb!ac");
        catalog_free(c);
}

static void test_a_snapshot_is_kept(void **state) {
        Catalog *c = catalog_at(folder);
        Volume v = snapshot_of(1, 9, "db@monday"), origin = volume_of(9, "db");

        begin();
        v.held = true;
        v.rule = strdup("hourly");
        v.has_spare = true;
        v.spare_thin_id = 0;
        origin.schedule = strdup("hourly keep 24");
        origin.pending_size = 2 * GIB;
        origin.old_name = strdup("dbold");
        put(c, &v, 's');
        put(c, &origin, 'o');
        settle(c, 2);
        catalog_free(c);

        Loaded loaded = {};
        c = load(folder, on_volume, &loaded);
        assert_string_equal(loaded.text, "db:9:creating 0@monday:1:creating"); /* behind what it is of */
        assert_int_equal(loaded.last.spec.role, ROLE_SNAPSHOT);
        assert_true(sd_id128_equal(loaded.last.spec.origin, uuid_of(9)));
        assert_true(loaded.last.held);
        assert_string_equal(loaded.last.rule, "hourly");
        assert_true(loaded.last.has_spare);
        assert_int_equal(loaded.last.spare_thin_id, 0);
        assert_null(loaded.last.schedule);
        volume_done(&loaded.last);
        Error err = {};
        assert_int_equal(catalog_delete_volume(c, v.uuid, on_done, (void *) 'd', &err), 0);
        settle(c, 3);
        catalog_free(c);
        loaded = (Loaded) {};
        c = load(folder, on_volume, &loaded);
        assert_string_equal(loaded.text, "db:9:creating");
        assert_string_equal(loaded.last.schedule, "hourly keep 24");
        assert_string_equal(loaded.last.old_name, "dbold");
        assert_int_equal(loaded.last.pending_size, 2 * GIB);
        assert_false(loaded.last.held || loaded.last.has_spare);
        volume_done(&loaded.last);
        volume_done(&v);
        volume_done(&origin);
        catalog_free(c);
}

/* A name is free again while what had it is being freed. */
static void test_what_is_being_freed_keeps_no_name(void **state) {
        Catalog *c = catalog_at(folder);
        Volume v[] = { volume_of(1, "a"), volume_of(2, "a"), volume_of(3, "a"), volume_of(4, "a") };

        begin();
        v[0].state = v[1].state = VOLUME_FREEING;
        for (unsigned i = 0; i < ELEMENTSOF(v); i++)
                put(c, &v[i], (char) ('a' + i));
        settle(c, 4);
        assert_string_equal(ended, "abcd!");
        holds(&c, "a:1:freeing a:2:freeing a:3:creating");
        catalog_free(c);
}

static void test_only_the_bad_one_of_many_is_refused(void **state) {
        Catalog *c = catalog_at(folder);
        Volume v[] = { volume_of(1, "a"), volume_of(2, "a"), volume_of(3, "c"), volume_of(4, "d"), volume_of(5, "e") };

        begin();
        v[3].thin_id = 1; /* of a */
        pthread_mutex_lock(&gate);
        for (unsigned i = 0; i < ELEMENTSOF(v); i++)
                put(c, &v[i], (char) ('a' + i));
        pthread_mutex_unlock(&gate);
        settle(c, 5);
        assert_string_equal(ended, "ab!cd!e");
        assert_non_null(strstr(last_error.text, "UNIQUE"));
        holds(&c, "a:1:creating c:3:creating e:5:creating");

        /* The same name in another tenant is another volume. */
        Volume other = volume_of(6, "a");
        buffer_format(other.spec.tenant, sizeof(other.spec.tenant), "acme");
        put(c, &other, 'f');
        settle(c, 6);
        assert_string_equal(ended, "ab!cd!ef");
        catalog_free(c);
}

static void test_what_is_queued_is_written_at_the_end(void **state) {
        Catalog *c = catalog_at(folder);
        Volume a = volume_of(1, "a"), b = volume_of(2, "b");

        begin();
        pthread_mutex_lock(&gate);
        put(c, &a, 'a');
        put(c, &b, 'b');
        pthread_mutex_unlock(&gate);
        catalog_free(c);
        assert_int_equal(n_ended, 0);
        c = catalog_at(folder);
        holds(&c, "a:1:creating b:2:creating");
        catalog_free(c);
        catalog_free(NULL);
}

static void test_nobody_else_can_write(void **state) {
        Catalog *c = catalog_at(folder);
        Volume a = volume_of(1, "a");

        begin();
        put(c, &a, 'a');
        settle(c, 1);
        refused("locked", ERROR_FAILED);
        catalog_free(c);
}

/* A disk that hangs, as far as the broker can see: nothing comes back, and nobody waits for it. */
static void test_a_catalog_that_hangs_is_let_go(void **state) {
        Catalog *c = catalog_at(folder);
        Volume a = volume_of(1, "a");
        bool closed = false;

        begin();
        pthread_mutex_lock(&gate);
        put(c, &a, 'a');
        catalog_close(c, on_closed, &closed);
        catalog_dispatch(c);
        assert_false(closed);
        catalog_free(c); /* would not return if it waited for the thread */
        refused("locked", ERROR_FAILED); /* it is still being written */
        pthread_mutex_unlock(&gate);

        /* The thread comes back, writes what was queued, and gives the database free. */
        Loaded loaded = {};
        do {
                loaded = (Loaded) {};
                c = load(folder, on_volume, &loaded);
                if (loaded.err.kind != ERROR_NONE)
                        catalog_free(c);
        } while (loaded.err.kind != ERROR_NONE && strstr(loaded.err.text, "locked"));
        assert_string_equal(loaded.text, "a:1:creating");
        volume_done(&loaded.last);
        catalog_free(c);
        assert_int_equal(n_ended, 0);
        assert_false(closed);
}

static void test_a_catalog_is_closed_behind_what_is_queued(void **state) {
        Catalog *c = catalog_at(folder);
        Volume a = volume_of(1, "a");
        bool closed = false;

        begin();
        put(c, &a, 'a');
        catalog_close(c, on_closed, &closed);
        while (!closed)
                dispatch(c);
        assert_string_equal(ended, "a");
        catalog_free(c);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_keeps_what_it_was_given),
                TEST(test_changes_end_in_order),
                TEST(test_changes_that_come_fast_are_one_transaction),
                TEST(test_a_group_is_written_whole_or_not),
                TEST(test_a_snapshot_is_kept),
                TEST(test_what_is_being_freed_keeps_no_name),
                TEST(test_only_the_bad_one_of_many_is_refused),
                TEST(test_what_is_queued_is_written_at_the_end),
                TEST(test_nobody_else_can_write),
                TEST(test_a_catalog_that_hangs_is_let_go),
                TEST(test_a_catalog_is_closed_behind_what_is_queued),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
