#include "store/catalog.h"

#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "../unit.h"

static char folder[64];

static int setup(void **state) {
        buffer_format(folder, sizeof(folder), "/tmp/runs-XXXXXX");
        assert_non_null(mkdtemp(folder));
        return 0;
}

static int teardown(void **state) {
        DIR *d = opendir(folder);

        for (struct dirent *entry; (entry = readdir(d));)
                (void) unlinkat(dirfd(d), entry->d_name, 0);
        closedir(d);
        return rmdir(folder);
}

static sd_id128_t uuid_of(unsigned n) {
        return (sd_id128_t) { .qwords = { 1, n } };
}

/* --- what a catalog tells when it is opened ------------------------------------------------------------------ */

static Catalog *catalog;
static char told[256]; /* what the schedules did, one word each, and the setting */

static void on_opened(const Error *err, void *userdata) {
        const ScheduleRun *runs;
        size_t n, have;

        assert_null(err);
        runs = catalog_runs(catalog, &n);
        for (size_t i = 0; i < n; i++) {
                assert_true(sd_id128_equal(runs[i].snapshot, uuid_of(77)) && sd_id128_is_null(runs[i].content));
                assert_true(runs[i].base_usec == runs[i].at_usec + 1);
                have = strlen(told);
                buffer_format(told + have, sizeof(told) - have, "%s:%u:%s ", runs[i].rule, (unsigned) runs[i].at_usec,
                              runs[i].failure ?: "-");
        }
        have = strlen(told);
        buffer_format(told + have, sizeof(told) - have, "%s", catalog_setting(catalog, "schedule") ?: "none");
}

static int on_volume(Volume *volume, void *userdata, Error *err) {
        volume_done(volume);
        return 0;
}

static void dispatch(void) {
        struct pollfd p = { .fd = catalog_fd(catalog), .events = POLLIN };

        assert_int_equal(poll(&p, 1, 10000), 1);
        catalog_dispatch(catalog);
}

static void opens_with(const char *expected) {
        Error err = {};

        told[0] = 0;
        assert_int_equal(catalog_open(folder, on_volume, on_opened, NULL, &catalog, &err), 0);
        while (!told[0])
                dispatch();
        assert_string_equal(told, expected);
}

/* --- changes --------------------------------------------------------------------------------------------------- */

static unsigned n_out;

static void on_done(const Error *err, void *userdata) {
        assert_null(err);
        n_out--;
}

static void settle(void) {
        while (n_out > 0)
                dispatch();
        catalog_free(catalog);
}

static void put_volume(unsigned n, const char *name) {
        Volume v = { .uuid = uuid_of(n), .thin_id = n, .spec = VOLUME_SPEC_DEFAULT };
        Error err = {};

        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", name);
        v.spec.size = GIB;
        assert_int_equal(catalog_put_volume(catalog, &v, on_done, NULL, &err), 0);
        n_out++;
}

static void put_run(unsigned volume, const char *rule, uint64_t at, const char *failure, bool goes) {
        ScheduleRun run = { .volume = uuid_of(volume),
                            .rule = (char *) rule,
                            .base_usec = at + 1,
                            .at_usec = at,
                            .failure = (char *) failure,
                            .snapshot = uuid_of(77) };
        Error err = {};

        assert_int_equal(catalog_put_run(catalog, &run, goes, on_done, NULL, &err), 0);
        n_out++;
}

static void put_setting(const char *value) {
        Error err = {};

        assert_int_equal(catalog_put_setting(catalog, "schedule", value, on_done, NULL, &err), 0);
        n_out++;
}

static void test_what_schedules_did_goes_with_the_volume(void **state) {
        Error err = {};

        opens_with("none");
        put_volume(1, "a");
        put_volume(2, "b");
        put_run(1, "daily", 5, NULL, false);
        put_run(1, "hourly", 6, "no space", false);
        put_run(1, "hourly", 7, "worker died", false);
        put_run(2, "hourly", 8, NULL, false);
        put_run(2, "weekly", 8, NULL, false);
        put_run(2, "weekly", 8, NULL, true);
        put_run(3, "hourly", 9, NULL, false); /* there is no such volume */
        put_setting("one");
        put_setting("two");
        settle();

        opens_with("daily:5:- hourly:7:worker died hourly:8:- two");
        assert_int_equal(catalog_delete_volume(catalog, uuid_of(1), on_done, NULL, &err), 0);
        n_out++;
        put_setting(NULL);
        settle();

        opens_with("hourly:8:- none");
        settle();
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_schedules_did_goes_with_the_volume, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
