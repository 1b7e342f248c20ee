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

                assert_row(quota_check_provisioned(&m, &pool, rows[i].size, &err) == rows[i].result, rows[i].what);
                assert_row((err.kind == ERROR_NO_SPACE) == (rows[i].result < 0), rows[i].what);
        }
}

static void test_the_error_says_limit_use_and_request(void **state) {
        Manager m = { .config.overprovision_max = 2 };
        PoolEntry pool = { .info = { .name = "fast", .data_size = 10 * GIB }, .provisioned = 15 * GIB };
        Error err = {};

        assert_true(quota_check_provisioned(&m, &pool, 6 * GIB, &err) < 0);
        assert_string_equal(err.text, "pool fast may promise 20G, has promised 15G, and 6G more are asked for");
        assert_non_null(strstr(err.hint, "MaxOverprovision="));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_limit_is_data_times_the_factor),
                cmocka_unit_test(test_what_is_asked_for_must_fit),
                cmocka_unit_test(test_the_error_says_limit_use_and_request),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
