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

static void test_admins_may(void **state) {
        Caller caller = { .uid = 1000, .admin = true };
        Error err = {};

        assert_int_equal(policy_may_see_volume(&caller, "acme", "db", &err), 0);
        assert_int_equal(policy_may_create_volume(&caller, "acme", &err), 0);
        assert_int_equal(policy_may_administer_pools(&caller, &err), 0);
        assert_true(policy_may_list_tenant(&caller, "acme"));
        assert_int_equal(err.kind, ERROR_NONE);
}

static void test_others_may_not(void **state) {
        Caller caller = { .uid = 1000 };
        Error err = {};

        assert_false(policy_may_list_tenant(&caller, DEFAULT_TENANT));
        assert_int_equal(policy_may_see_volume(&caller, "acme", "db", &err), -ENOENT);
        assert_int_equal(err.kind, ERROR_NO_SUCH_VOLUME); /* not that it may not be seen */
        assert_string_equal(err.text, "there is no volume acme/db");
        assert_string_equal(err.hint, "quarry ls");
        assert_int_equal(policy_may_create_volume(&caller, "acme", &err), -EPERM);
        assert_int_equal(err.kind, ERROR_PERMISSION_DENIED);
        assert_non_null(strstr(err.text, "user 1000"));
        assert_non_null(strstr(err.hint, "quarry-admin"));
        assert_int_equal(policy_may_administer_pools(&caller, &err), -EPERM);
        assert_int_equal(err.kind, ERROR_PERMISSION_DENIED);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_admin_group_may_be_missing),
                cmocka_unit_test(test_admins_are_root_and_the_group),
                cmocka_unit_test(test_admins_may),
                cmocka_unit_test(test_others_may_not),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
