#include "catalog-fixture.h"

/* A tenant, or what its row says, as one word. */
static void tenants_are(const char *expected) {
        Loaded loaded = {};
        Catalog *c = load(folder, on_volume, &loaded);
        char text[256] = "";
        const Tenant *list;
        size_t n;

        list = catalog_tenants(c, &n);
        for (size_t i = 0; i < n; i++) {
                size_t have = strlen(text);

                buffer_format(text + have, sizeof(text) - have, "%s%s:%zu:%zu:%s:%d", have > 0 ? " " : "", list[i].name,
                              list[i].users.n, list[i].groups.n, list[i].schedule ?: "-",
                              list[i].limits[TENANT_LIMIT_SIZE] == TENANT_UNLIMITED
                                      ? -1
                                      : (int) list[i].limits[TENANT_LIMIT_SIZE]);
        }
        assert_string_equal(text, expected);
        catalog_free(c);
        volume_done(&loaded.last);
}

static unsigned n_out;

static void on_tenant_written(const Error *err, void *userdata) {
        assert_null(err);
        n_out--;
}

static void put_tenant(Catalog *c, const Tenant *tenant, bool goes) {
        Error err = {};

        assert_int_equal(catalog_put_tenant(c, tenant, goes, on_tenant_written, NULL, &err), 0);
        for (n_out = 1; n_out > 0;)
                dispatch(c);
}

static void test_a_tenant_is_as_it_was_written_last(void **state) {
        Loaded loaded = {};
        Catalog *c = load(folder, on_volume, &loaded);
        Tenant acme, beta;

        tenant_init("acme", &acme);
        tenant_init("beta", &beta);
        put_tenant(c, &beta, false);
        assert_int_equal(id_set_add(&acme.users, 1000), 0);
        assert_int_equal(id_set_add(&acme.users, 1001), 0);
        assert_int_equal(id_set_add(&acme.groups, 77), 0);
        acme.limits[TENANT_LIMIT_USED] = 6;
        acme.limits[TENANT_LIMIT_SIZE] = 5;
        acme.schedule = strdup("daily keep 3");
        put_tenant(c, &acme, false);
        catalog_free(c);
        tenants_are("acme:2:1:daily keep 3:5 beta:0:0:-:-1");

        c = load(folder, on_volume, &loaded);
        id_set_remove(&acme.users, 1001);
        acme.limits[TENANT_LIMIT_SIZE] = TENANT_UNLIMITED;
        put_tenant(c, &acme, false);
        put_tenant(c, &beta, true);
        catalog_free(c);
        tenants_are("acme:1:1:daily keep 3:-1");
        tenant_done(&acme);
        tenant_done(&beta);
}

static void test_a_row_that_breaks_a_rule_is_refused(void **state) {
        static const char *const rows[] = {
                "'../x', '', '', NULL, 0, 0, NULL, NULL, NULL",
                "'acme', 'root', '', NULL, 0, 0, NULL, NULL, NULL",
                "'acme', '4294967295', '', NULL, 0, 0, NULL, NULL, NULL",
                "'acme', '', '-1', NULL, 0, 0, NULL, NULL, NULL",
                "'acme', '', '', NULL, -1, 0, NULL, NULL, NULL",
                "'acme', '', '', NULL, 0, 0, -1, NULL, NULL",
        };

        tenants_are("");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *sql = format_new(
                        "DELETE FROM tenant; INSERT INTO tenant (name, users, groups, schedule, schedule_since_usec,"
                        " created_usec, max_volumes, max_snapshots, max_size) VALUES (%s)",
                        rows[i]);
                Loaded loaded = {};
                sqlite3 *db;

                assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
                assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
                sqlite3_close(db);
                Catalog *c = load(folder, on_volume, &loaded);
                assert_row(loaded.err.kind == ERROR_POOL_UNAVAILABLE, rows[i]);
                catalog_free(c);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_tenant_is_as_it_was_written_last, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_row_that_breaks_a_rule_is_refused, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
