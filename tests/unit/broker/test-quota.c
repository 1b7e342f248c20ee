#include "broker/quota.h"

#include "../unit.h"

static void test_the_limit_is_data_times_the_factor(void **state) {
        static const struct {
                const char *what;
                uint64_t data, factor, limit;
        } rows[] = {
                { "usual", 100 * GIB, 1000, 100000 * GIB },
                { "once", 100 * GIB, 1, 100 * GIB },
                { "no data", 0, 1000, 0 },
                { "above what JSON can carry", UINT64_C(1) << 60, 1000, INT64_MAX },
                { "above 64 bits", UINT64_MAX, UINT64_MAX, INT64_MAX },
                { "just within", INT64_MAX, 1, INT64_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Manager m = { .config.overprovision_max = rows[i].factor };
                PoolEntry pool = { .info.data_size = rows[i].data };

                assert_row(quota_provisioned_max(&m, &pool) == rows[i].limit, rows[i].what);
        }
}

static void test_what_is_asked_for_must_fit(void **state) {
        static const struct {
                const char *what;
                uint64_t provisioned, size;
                int result;
        } rows[] = {
                { "empty pool", 0, GIB, 0 },
                { "all of it", 0, 20 * GIB, 0 },
                { "one byte more", 0, 20 * GIB + 1, -ENOSPC },
                { "the rest", 15 * GIB, 5 * GIB, 0 },
                { "the rest and a byte", 15 * GIB, 5 * GIB + 1, -ENOSPC },
                { "nothing left", 20 * GIB, 1, -ENOSPC },
                { "nothing, of nothing left", 20 * GIB, 0, 0 },
                { "the pool has shrunk", 30 * GIB, 1, -ENOSPC },
                { "a sum that overflows", 10 * GIB, UINT64_MAX - 5 * GIB, -ENOSPC },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Manager m = { .config.overprovision_max = 2 };
                PoolEntry pool = { .info = { .name = "fast", .data_size = 10 * GIB },
                                   .provisioned = rows[i].provisioned };
                Error err = {};

                assert_row(quota_check_size(&m, &pool, NULL, rows[i].size, &err) == rows[i].result, rows[i].what);
                assert_row((err.kind == ERROR_NO_SPACE) == (rows[i].result < 0), rows[i].what);
        }
}

static void test_the_error_says_limit_use_and_request(void **state) {
        Manager m = { .config.overprovision_max = 2 };
        PoolEntry pool = { .info = { .name = "fast", .data_size = 10 * GIB }, .provisioned = 15 * GIB };
        Error err = {};

        assert_true(quota_check_size(&m, &pool, NULL, 6 * GIB, &err) < 0);
        assert_string_equal(err.text, "pool fast may promise 20G, has promised 15G, and 6G more are asked for");
        assert_non_null(strstr(err.hint, "MaxOverprovision="));
}

static TenantEntry tenant_with(TenantLimit limit, uint64_t max, uint64_t use) {
        TenantEntry entry = { .n_volumes = limit == TENANT_LIMIT_VOLUMES ? use : 0,
                              .n_snapshots = limit == TENANT_LIMIT_SNAPSHOTS ? use : 0,
                              .provisioned = limit == TENANT_LIMIT_SIZE ? use : 0 };

        tenant_init("acme", &entry.tenant);
        entry.tenant.limits[limit] = max;
        return entry;
}

static void test_a_tenant_gets_exactly_what_it_may_have(void **state) {
        static const struct {
                const char *what;
                uint64_t max, use, more;
                int result;
        } rows[] = {
                { "the last", 3, 2, 1, 0 },
                { "one too many", 3, 3, 1, -EDQUOT },
                { "nothing at all", 0, 0, 1, -EDQUOT },
                { "no limit", TENANT_UNLIMITED, 1000, 1, 0 },
                { "more than there may be by now", 3, 5, 1, -EDQUOT },
                { "a sum that overflows", 10, 5, UINT64_MAX - 2, -EDQUOT },
        };
        PoolEntry pool = { .info = { .name = "fast", .data_size = 10 * GIB } };
        Manager m = { .config.overprovision_max = UINT64_MAX };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                TenantEntry volumes = tenant_with(TENANT_LIMIT_VOLUMES, rows[i].max, rows[i].use);
                TenantEntry snapshots = tenant_with(TENANT_LIMIT_SNAPSHOTS, rows[i].max, rows[i].use);
                TenantEntry size = tenant_with(TENANT_LIMIT_SIZE, rows[i].max, rows[i].use);
                Error err = {};

                assert_row(quota_check_volumes(&volumes, rows[i].more, &err) == rows[i].result, rows[i].what);
                assert_row(quota_check_snapshots(&snapshots, rows[i].more, &err) == rows[i].result, rows[i].what);
                assert_row(quota_check_size(&m, &pool, &size, rows[i].more, &err) == rows[i].result, rows[i].what);
                assert_row((err.kind == ERROR_QUOTA_EXCEEDED) == (rows[i].result < 0), rows[i].what);
        }
        assert_int_equal(quota_check_volumes(NULL, 1, NULL), 0);
}

static void test_a_tenant_is_told_limit_use_and_request(void **state) {
        TenantEntry volumes = tenant_with(TENANT_LIMIT_VOLUMES, 3, 3);
        TenantEntry size = tenant_with(TENANT_LIMIT_SIZE, 10 * GIB, 8 * GIB);
        PoolEntry pool = {};
        Manager m = {};
        Error err = {};

        assert_true(quota_check_volumes(&volumes, 1, &err) < 0);
        assert_string_equal(err.text, "tenant acme may have 3 volumes, has 3, and 1 more is asked for");
        assert_true(quota_check_size(&m, &pool, &size, 4 * GIB, &err) < 0);
        assert_string_equal(err.text, "tenant acme may have 10G in volumes, has 8G, and 4G more are asked for");
}

static void test_who_uses_more_than_it_may_gets_nothing(void **state) {
        PoolEntry pool = { .info = { .name = "fast", .data_size = 10 * GIB } };
        TenantEntry entry = { .pool = &pool, .use = { .bytes = 3 * GIB, .at = 1, .over = true } };
        Manager m = { .config.overprovision_max = 10 };
        Error err = {};

        tenant_init("acme", &entry.tenant);
        entry.tenant.limits[TENANT_LIMIT_USED] = 2 * GIB;
        assert_int_equal(quota_check_volumes(&entry, 1, &err), -EDQUOT);
        assert_string_equal(err.text, "tenant acme may use 2G of pool fast, and uses 3G");
        assert_non_null(strstr(err.hint, "quarry tenant update acme --max-used SIZE"));
        assert_int_equal(quota_check_snapshots(&entry, 1, NULL), -EDQUOT);
        assert_int_equal(quota_check_snapshots(&entry, 0, NULL), -EDQUOT); /* one that goes for a new one */
        assert_int_equal(quota_check_size(&m, &pool, &entry, GIB, NULL), -EDQUOT);
        entry.use.over = false;
        assert_int_equal(quota_check_volumes(&entry, 1, &err), 0);
}

static void test_no_limit_is_below_what_is_there(void **state) {
        TenantEntry entry = tenant_with(TENANT_LIMIT_VOLUMES, 3, 3);
        Tenant wanted = entry.tenant;
        Error err = {};

        wanted.limits[TENANT_LIMIT_VOLUMES] = 2;
        assert_true(quota_check_limits(&entry, &wanted, &err) < 0);
        assert_string_equal(err.field, "maxVolumes");
        assert_string_equal(err.text, "tenant acme has 3 volumes already: a limit of 2 is below that");
        entry.n_volumes = 5; /* by an update of the pool's catalog elsewhere: what is not changed is not judged */
        wanted.limits[TENANT_LIMIT_VOLUMES] = 3;
        assert_int_equal(quota_check_limits(&entry, &wanted, &err), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_limit_is_data_times_the_factor),
                cmocka_unit_test(test_what_is_asked_for_must_fit),
                cmocka_unit_test(test_the_error_says_limit_use_and_request),
                cmocka_unit_test(test_a_tenant_gets_exactly_what_it_may_have),
                cmocka_unit_test(test_a_tenant_is_told_limit_use_and_request),
                cmocka_unit_test(test_who_uses_more_than_it_may_gets_nothing),
                cmocka_unit_test(test_no_limit_is_below_what_is_there),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
