#include "store/catalog.h"

#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../unit.h"

/* --- a folder, and what is in it ---------------------------------------------------------------------------- */

static char folder[64], file[80];

static int setup(void **state) {
        buffer_format(folder, sizeof(folder), "/tmp/catalog-XXXXXX");
        assert_non_null(mkdtemp(folder));
        buffer_format(file, sizeof(file), "%s/catalog.db", folder);
        return 0;
}

static int teardown(void **state) {
        DIR *d = opendir(folder);

        for (struct dirent *entry; (entry = readdir(d));)
                (void) unlinkat(dirfd(d), entry->d_name, 0);
        closedir(d);
        return rmdir(folder);
}

/* --- opening ------------------------------------------------------------------------------------------------- */

typedef struct Loaded {
        bool over;
        Error err;
        char text[8192];
        Volume last;
} Loaded;

static int on_volume(Volume *volume, void *userdata, Error *err) {
        Loaded *loaded = userdata;
        size_t n = strlen(loaded->text);

        buffer_format(loaded->text + n, sizeof(loaded->text) - n, "%s%s:%u:%s", n > 0 ? " " : "", volume->spec.name,
                      volume->thin_id, volume_state_to_string(volume->state));
        volume_done(&loaded->last);
        loaded->last = *volume;
        *volume = (Volume) {};
        return 0;
}

static void on_opened(const Error *err, void *userdata) {
        Loaded *loaded = userdata;

        loaded->over = true;
        if (err)
                loaded->err = *err;
}

static void dispatch(Catalog *c) {
        struct pollfd p = { .fd = catalog_fd(c), .events = POLLIN };

        assert_int_equal(poll(&p, 1, 10000), 1);
        catalog_dispatch(c);
}

static Catalog *load(const char *path, CatalogVolume on, Loaded *loaded) {
        Catalog *c = NULL;
        Error err = {};

        if (catalog_open(path, on, on_opened, loaded, &c, &err) < 0)
                fail_msg("%s", err.text);
        while (!loaded->over)
                dispatch(c);
        return c;
}

static Catalog *catalog_at(const char *path) {
        Loaded loaded = {};
        Catalog *c = load(path, on_volume, &loaded);

        volume_done(&loaded.last);
        if (loaded.err.kind != ERROR_NONE)
                fail_msg("%s", loaded.err.text);
        return c;
}

static void refused_at(const char *path, const char *part, ErrorKind kind) {
        Loaded loaded = {};

        catalog_free(load(path, on_volume, &loaded));
        volume_done(&loaded.last);
        if (!strstr(loaded.err.text, part))
                fail_msg("\"%s\" is not in \"%s\"", part, loaded.err.text);
        assert_int_equal(loaded.err.kind, kind);
}

static void refused(const char *part, ErrorKind kind) {
        refused_at(folder, part, kind);
}

static void on_closed(void *userdata) {
        *(bool *) userdata = true;
}

static void close_catalog(Catalog *c) {
        bool closed = false;

        catalog_close(c, on_closed, &closed);
        while (!closed)
                dispatch(c);
        catalog_free(c);
}

/* Closes the catalog, and reads it again. */
static void holds(Catalog **c, const char *expected) {
        Loaded loaded = {};

        close_catalog(*c);
        *c = load(folder, on_volume, &loaded);
        assert_int_equal(loaded.err.kind, ERROR_NONE);
        assert_string_equal(loaded.text, expected);
        volume_done(&loaded.last);
}

/* --- volumes ------------------------------------------------------------------------------------------------- */

static sd_id128_t uuid_of(unsigned n) {
        sd_id128_t id = { .qwords = { 1, n } };

        return id;
}

static Volume volume_of(unsigned n, const char *name) {
        Volume v = {
                .uuid = uuid_of(n), .thin_id = n, .spec = VOLUME_SPEC_DEFAULT, .created_usec = 1700000000000000 + n
        };

        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", name);
        v.spec.size = GIB;
        return v;
}

/* --- changes, and their ends ---------------------------------------------------------------------------------- */

static char ended[4096]; /* one letter for each change in the order of their ends; "!" behind one that failed */
static unsigned n_ended;
static Error last_error;

static void on_done(const Error *err, void *userdata) {
        size_t n = strlen(ended);

        buffer_format(ended + n, sizeof(ended) - n, "%c%s", (char) (intptr_t) userdata, err ? "!" : "");
        if (err)
                last_error = *err;
        n_ended++;
}

static void put(Catalog *c, const Volume *v, char letter) {
        Error err = {};

        assert_int_equal(catalog_put_volume(c, v, on_done, (void *) (intptr_t) letter, &err), 0);
}

static void settle(Catalog *c, unsigned n) {
        while (n_ended < n)
                dispatch(c);
        assert_int_equal(n_ended, n);
}

static void begin(void) {
        ended[0] = 0;
        n_ended = 0;
        last_error = (Error) {};
}

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

/* of volume n */
static Volume snapshot_of(unsigned n, unsigned origin, const char *name) {
        Volume v = volume_of(n, name);

        v.spec.role = ROLE_SNAPSHOT;
        v.spec.origin = uuid_of(origin);
        return v;
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

/* --- what may be on the disk ------------------------------------------------------------------------------------ */

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
        assert_false(v->held || v->has_spare || v->pending_size > 0 || v->rule || v->schedule || v->old_name);
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
