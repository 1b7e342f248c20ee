#include "kernel/holders.h"

#include "../unit.h"

#define ID "3f2a91c04b7e5d6f3f2a91c04b7e5d6f3f2a91c04b7e5d6f3f2a91c04b7e5d6f"

static void test_cgroups(void **state) {
        static const struct {
                const char *cgroup, *want;
        } cases[] = {
                { "0::/system.slice/postgresql.service\n", "postgresql.service" },
                { "0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service" },
                { "0::/system.slice/docker-" ID ".scope\n", "container 3f2a91c04b7e" },
                { "0::/docker/" ID "\n", "container 3f2a91c04b7e" },
                { "0::/machine.slice/libpod-" ID ".scope/container\n", "container 3f2a91c04b7e" },
                { "0::/kubepods.slice/kubepods-burstable.slice/crio-" ID ".scope", "container 3f2a91c04b7e" },
                { "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope\n",
                  "container 3f2a91c04b7e" },
                { "0::/user.slice/user-1000.slice/user@1000.service/app.slice/backup.service\n", "backup.service" },
                { "0::/user.slice/user-1000.slice/session-3.scope\n", "" },
                { "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "" },
                { "0::/init.scope\n", "" },
                { "0::/\n", "" },
                { "12:cpu:/docker/" ID "\n0::/system.slice/mysql.service\n", "mysql.service" },
                { "12:cpu:/x\n", "" },
                { "0::", "" },
                { "", "" },
                { "0::/docker/" ID "0\n", "" }, /* 65 digits are no id */
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char buf[HOLDERS_CGROUP_MAX] = "left over";

                holders_cgroup(cases[i].cgroup, buf);
                assert_string_equal(buf, cases[i].want);
        }
}

static void test_a_device_that_nobody_has(void **state) {
        dev_t device = (dev_t) -2;
        char buf[64] = "left over", tiny[1];

        assert_int_equal(holders_describe(&device, 1, buf, sizeof(buf)), 0);
        assert_string_equal(buf, "");
        assert_int_equal(holders_describe(&device, 0, tiny, sizeof(tiny)), 0);
        assert_int_equal(holders_describe(&device, 1, buf, 0), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cgroups),
                cmocka_unit_test(test_a_device_that_nobody_has),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
