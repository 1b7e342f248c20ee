#include "broker/policy.h"

#include <quarry/text.h>

#include <grp.h>

#include "../unit.h"

#define NONE ((gid_t) - 1)

static struct group *group; /* what getgrnam() finds */

struct group *__wrap_getgrnam(const char *name);
struct group *__wrap_getgrnam(const char *name) {
        assert_string_equal(name, "quarry-admin");
        return group;
}

static void test_the_admin_group_may_be_missing(void **state) {
        struct group there = { .gr_gid = 77 };

        group = NULL;
        assert_true(policy_admin_group() == NONE);
        group = &there;
        assert_int_equal(policy_admin_group(), 77);
}

static void test_admins_are_root_and_the_group(void **state) {
        static const struct {
                const char *what;
                gid_t admin_group;
                uid_t uid;
                gid_t groups[4];
                size_t n_groups;
                bool admin;
        } rows[] = {
                { "root", 77, 0, {}, 0, true },
                { "root without a group", NONE, 0, {}, 0, true },
                { "somebody", 77, 1000, { 1000, 5 }, 2, false },
                { "a member", 77, 1000, { 1000, 5, 77 }, 3, true },
                { "a member by the first group", 77, 1000, { 77 }, 1, true },
                { "behind the end of the list", 77, 1000, { 5, 77 }, 1, false },
                { "no group, and gid -1", NONE, 1000, { NONE }, 1, false },
                { "root's group is nothing", 77, 1000, { 0 }, 1, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Manager m = { .admin_group = rows[i].admin_group };

                assert_row(policy_is_admin(&m, rows[i].uid, rows[i].groups, rows[i].n_groups) == rows[i].admin,
                           rows[i].what);
        }
}

static void put_tenant(PoolEntry *pool, const char *name, uint32_t uid, uint32_t gid) {
        Tenant tenant;

        tenant_init(name, &tenant);
        assert_int_equal(id_set_add(&tenant.users, uid), 0);
        assert_int_equal(id_set_add(&tenant.groups, gid), 0);
        assert_non_null(registry_put_tenant(pool, &tenant, NULL));
}

static void test_members_see_what_is_their_tenants(void **state) {
        static const gid_t groups[] = { 5, 100 };
        static const struct {
                const char *what;
                Caller caller;
                bool acme, beta, other;
        } rows[] = {
                { "root", { .uid = 0, .admin = true }, true, true, true },
                { "a member by uid", { .uid = 1000 }, true, false, false },
                { "a member by a group", { .uid = 7, .groups = groups, .n_groups = 2 }, true, false, false },
                { "another tenant's", { .uid = 2000 }, false, true, false },
                { "nobody's", { .uid = 7, .groups = groups, .n_groups = 1 }, false, false, false },
                { "whose uid is a member's gid", { .uid = 100 }, false, false, false },
        };
        PoolEntry pool = {};

        put_tenant(&pool, "acme", 1000, 100);
        put_tenant(&pool, "beta", 2000, 200);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                VolumeEntry acme = { .tenant = registry_find_tenant(&pool, "acme") };
                VolumeEntry beta = { .tenant = registry_find_tenant(&pool, "beta") };
                VolumeEntry other = {};

                assert_row(policy_may_see_volume(&rows[i].caller, &acme) == rows[i].acme, rows[i].what);
                assert_row(policy_may_see_volume(&rows[i].caller, &beta) == rows[i].beta, rows[i].what);
                assert_row(policy_may_see_volume(&rows[i].caller, &other) == rows[i].other, rows[i].what);
                assert_row(policy_may_see_tenant(&rows[i].caller, acme.tenant) == rows[i].acme, rows[i].what);
        }
        registry_forget_tenants(&pool);
}

static void test_a_name_is_in_the_only_tenant_of_who_says_it(void **state) {
        static const struct {
                const char *what;
                Caller caller;
                const char *named, *tenant;
        } rows[] = {
                { "an administrator's", { .uid = 1000, .admin = true }, "", DEFAULT_TENANT },
                { "a member's", { .uid = 1000 }, "", "acme" },
                { "nobody's", { .uid = 7 }, "", DEFAULT_TENANT },
                { "that is named", { .uid = 1000 }, "beta", "beta" },
                { "of two", { .uid = 3000 }, "", NULL },
                { "of two that is named", { .uid = 3000 }, "gamma", "gamma" },
        };
        PoolEntry second = {}, first = { .next = &second };
        Manager m = { .registry.pools = &first };

        put_tenant(&first, "acme", 1000, 1);
        put_tenant(&second, "acme", 1000, 1); /* in two pools it is one name space */
        put_tenant(&first, "beta", 3000, 1);
        put_tenant(&second, "gamma", 3000, 1);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char tenant[TENANT_NAME_MAX + 1] = "";
                Error err = {};
                int r = policy_tenant(&m, &rows[i].caller, rows[i].named, "volume", tenant, &err);

                assert_row((r >= 0) == !!rows[i].tenant, rows[i].what);
                assert_row(!rows[i].tenant || streq(tenant, rows[i].tenant), rows[i].what);
                assert_row(rows[i].tenant || strstr(err.text, "beta, gamma"), rows[i].what);
        }
        assert_true(policy_has_tenant(&m, &rows[1].caller));
        assert_false(policy_has_tenant(&m, &rows[2].caller));
        registry_forget_tenants(&first);
        registry_forget_tenants(&second);
}

static void test_pools_and_tenants_are_for_administrators(void **state) {
        Caller admin = { .uid = 1000, .admin = true }, member = { .uid = 1000 };
        Error err = {};

        assert_int_equal(policy_may_administer_pools(&admin, &err), 0);
        assert_int_equal(policy_may_administer_tenants(&admin, &err), 0);
        assert_int_equal(policy_may_administer_tenants(&member, &err), -EPERM);
        assert_int_equal(policy_may_administer_pools(&member, &err), -EPERM);
        assert_int_equal(err.kind, ERROR_PERMISSION_DENIED);
        assert_non_null(strstr(err.hint, "quarry-admin"));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_admin_group_may_be_missing),
                cmocka_unit_test(test_admins_are_root_and_the_group),
                cmocka_unit_test(test_members_see_what_is_their_tenants),
                cmocka_unit_test(test_a_name_is_in_the_only_tenant_of_who_says_it),
                cmocka_unit_test(test_pools_and_tenants_are_for_administrators),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
