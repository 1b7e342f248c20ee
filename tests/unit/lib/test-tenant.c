#include <quarry/tenant.h>

#include <quarry/text.h>

#include "../unit.h"

static void test_a_set_has_each_once_and_in_order(void **state) {
        static const uint32_t added[] = { 7, 3, 9, 3, 0, UINT32_MAX - 1, 7 };
        static const uint32_t there[] = { 0, 3, 7, 9, UINT32_MAX - 1 };
        IdSet set = {};

        for (size_t i = 0; i < ELEMENTSOF(added); i++)
                assert_int_equal(id_set_add(&set, added[i]), 0);
        assert_int_equal(set.n, ELEMENTSOF(there));
        assert_memory_equal(set.list, there, sizeof(there));
        id_set_remove(&set, 7);
        id_set_remove(&set, 8);
        assert_false(id_set_has(&set, 7));
        assert_true(id_set_has(&set, 9));
        assert_int_equal(set.n, ELEMENTSOF(there) - 1);
        free(set.list);
}

static void test_an_update_is_all_or_nothing_of_what_can_be_a_member(void **state) {
        TenantUpdate update = {};
        Tenant tenant;
        Error err = {};

        tenant_init("acme", &tenant);
        assert_int_equal(id_set_add(&update.add_users, 1000), 0);
        assert_int_equal(id_set_add(&update.add_groups, 5), 0);
        assert_int_equal(id_set_add(&update.remove_users, 7), 0);
        update.has_limit[TENANT_LIMIT_SIZE] = true;
        update.limits[TENANT_LIMIT_SIZE] = GIB;
        assert_int_equal(tenant_apply(&tenant, &update, &err), 0);
        assert_true(id_set_has(&tenant.users, 1000) && id_set_has(&tenant.groups, 5));
        assert_true(tenant.limits[TENANT_LIMIT_SIZE] == GIB);
        assert_true(tenant.limits[TENANT_LIMIT_VOLUMES] == TENANT_UNLIMITED);

        assert_int_equal(id_set_add(&update.add_groups, UINT32_MAX), 0);
        assert_true(tenant_apply(&tenant, &update, &err) < 0);
        assert_string_equal(err.field, "groups");
        tenant_update_done(&update);
        tenant_done(&tenant);
}

static void test_there_is_an_end_to_members(void **state) {
        IdSet set = {};

        for (uint32_t i = 0; i < TENANT_MEMBERS_MAX; i++)
                assert_int_equal(id_set_add(&set, i), 0);
        assert_int_equal(id_set_add(&set, 5), 0); /* it is there */
        assert_int_equal(id_set_add(&set, TENANT_MEMBERS_MAX), -E2BIG);
        free(set.list);
}

static void test_words_of_limits(void **state) {
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                assert_int_equal(tenant_limit_from_string(tenant_limit_to_string((TenantLimit) i)), i);
        assert_int_equal(tenant_limit_from_string("maxNothing"), -EINVAL);
        assert_int_equal(tenant_limit_from_string(NULL), -EINVAL);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_set_has_each_once_and_in_order),
                cmocka_unit_test(test_an_update_is_all_or_nothing_of_what_can_be_a_member),
                cmocka_unit_test(test_there_is_an_end_to_members),
                cmocka_unit_test(test_words_of_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
