#include <quarry/mount.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include "../unit.h"

#include <limits.h>
#include <sys/statvfs.h>

static void test_options(void **state) {
        static const struct {
                const char *list, *refused; /* part of the sentence, or NULL */
                unsigned options;
        } rows[] = {
                { "ro", NULL, MOUNT_READ_ONLY },
                { "rw", NULL, 0 },
                { "ro,noexec,noatime,nodiratime,nosymfollow", NULL,
                  MOUNT_READ_ONLY | MOUNT_NOEXEC | MOUNT_NOATIME | MOUNT_NODIRATIME | MOUNT_NOSYMFOLLOW },
                { "rw,exec,relatime,diratime,symfollow,nosuid,nodev", NULL, 0 },
                { "strictatime,suid,dev", NULL, MOUNT_STRICTATIME | MOUNT_SUID | MOUNT_DEV },
                { "noexec,noexec", NULL, MOUNT_NOEXEC },
                { "ro,rw", "ro and rw contradict", 0 },
                { "exec,noexec", "exec and noexec contradict", 0 },
                { "relatime,noatime", "relatime and noatime contradict", 0 },
                { "strictatime,ro,relatime", "strictatime and relatime contradict", 0 },
                { "", "\"\" is no mount option", 0 },
                { "ro,", "\"\" is no mount option", 0 },
                { "ro,fast", "\"fast\" is no mount option that is known here: rw, ro, exec, noexec, relatime", 0 },
                { "RO", "is no mount option", 0 },
                { "context=a", "is no mount option", 0 },
                { "ro\n", "\"ro\\x0a\" is no mount option", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                MountSpec spec = {};
                Error err = {};
                int r = mount_spec_add_options(&spec, rows[i].list, &err);

                assert_row((r < 0) == !!rows[i].refused, rows[i].list);
                if (r < 0) {
                        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
                        assert_string_equal(err.field, "options");
                        assert_row(strstr(err.text, rows[i].refused), err.text);
                } else
                        assert_int_equal(spec.options, rows[i].options);
        }
}

static void test_ranges(void **state) {
        static const struct {
                const char *a, *b, *refused;
        } rows[] = {
                { "1000:1000:1", "100000:100000:65536", NULL },
                { "1:4294967294:1", NULL, NULL },
                { "100:200:50", "150:250:50", NULL },
                { "4294967294:1:2", NULL, "no id of it is above" },
                { "0:1:1", NULL, "1 or more" },
                { "1:0:1", NULL, "1 or more" },
                { "1:1:0", NULL, "1 or more" },
                { "1:1:4294967295", NULL, "1 or more" },
                { "1:1", NULL, "is no range" },
                { "1:1:1:1", NULL, "is no range" },
                { "a:1:1", NULL, "is no range" },
                { "-1:1:1", NULL, "is no range" },
                { "1:1:4294967296", NULL, "is no range" },
                { ":1:1", NULL, "is no range" },
                { "", NULL, "is no range" },
                { "100:200:50", "149:300:1", "overlap" },
                { "100:200:50", "300:249:1", "overlap" },
                { "100:200:50", "90:1:20", "overlap" },
                { "5:5:1", "5:6:1", "overlap" },
                { "1:1:3000000000", "3000000001:3000000001:1000000000", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                MountSpec spec = {};
                Error err = {};
                int r = mount_spec_add_range(&spec, rows[i].a, &err);

                if (r >= 0 && rows[i].b)
                        r = mount_spec_add_range(&spec, rows[i].b, &err);
                if (r >= 0)
                        r = mount_spec_validate(&spec, true, &err);
                assert_row((r < 0) == !!rows[i].refused, rows[i].a);
                if (r < 0) {
                        assert_string_equal(err.field, "idmap");
                        assert_row(strstr(err.text, rows[i].refused), err.text);
                }
        }

        MountSpec spec = {};
        for (unsigned i = 0; i < IDMAP_RANGES_MAX; i++)
                assert_int_equal(mount_spec_add_range(&spec, "1:1:1", NULL), 0);
        assert_int_equal(mount_spec_add_range(&spec, "1:1:1", NULL), -EINVAL);
}

static void test_context(void **state) {
        static const char *const good[] = { "a:b:c", "system_u:object_r:container_file_t:s0:c1,c2",
                                            "u:r:t:s0-s15:c0.c1023" };
        static const char *const bad[] = { "",           "a",       "a:b",       "a:b:",    "a::c",
                                           ":b:c",       "a:b:c:",  "a b:c:d",   "a:b:c d", "a,b:c:d",
                                           "a:b:c:s0\n", "a:b:c,d", "a:b:\"c\"", "a:b:c:=" };
        char over[MOUNT_CONTEXT_MAX + 8] = "a:b:";

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                MountSpec spec = {};

                assert_row(mount_spec_set_context(&spec, good[i], NULL) == 0, good[i]);
                assert_string_equal(spec.context, good[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(mount_spec_set_context(&(MountSpec) {}, bad[i], NULL) == -EINVAL, bad[i]);
        memset(over + 4, 'c', sizeof(over) - 5);
        assert_int_equal(mount_spec_set_context(&(MountSpec) {}, over, NULL), -EINVAL);
}

static void test_where(void **state) {
        MountSpec map = { .idmap = { { 5, 5, 1 } }, .n_idmap = 1 }, both = map, suid = { .options = MOUNT_SUID };
        Error err = {};

        both.userns = true;
        assert_int_equal(mount_spec_validate(&map, true, NULL), 0);
        assert_int_equal(mount_spec_validate(&map, false, &err), -EOPNOTSUPP);
        assert_int_equal(err.kind, ERROR_NOT_SUPPORTED);
        assert_int_equal(mount_spec_validate(&(MountSpec) { .userns = true }, false, NULL), -EOPNOTSUPP);
        assert_int_equal(mount_spec_validate(&both, true, NULL), -EINVAL);
        assert_int_equal(mount_spec_validate(&suid, true, NULL), 0);
        assert_int_equal(mount_spec_validate(&suid, false, NULL), -EOPNOTSUPP);
}

static void test_what_there_is(void **state) {
        const unsigned long quiet = ST_NOSUID | ST_NODEV;
        char text[MOUNT_OPTIONS_TEXT_MAX];

        assert_int_equal(mount_options_of(quiet | ST_RELATIME), 0);
        assert_int_equal(mount_options_of(quiet | ST_RDONLY | ST_NOATIME | ST_NOEXEC),
                         MOUNT_READ_ONLY | MOUNT_NOATIME | MOUNT_NOEXEC);
        assert_int_equal(mount_options_of(ST_NOSUID | ST_NODIRATIME), MOUNT_STRICTATIME | MOUNT_NODIRATIME | MOUNT_DEV);
        assert_string_equal(mount_options_format(0, text), "rw");
        assert_string_equal(mount_options_format(MOUNT_READ_ONLY | MOUNT_NOATIME | MOUNT_SUID, text),
                            "ro,noatime,suid");
        assert_string_equal(mount_options_format(UINT_MAX, text),
                            "ro,noexec,noatime,strictatime,nodiratime,nosymfollow,suid,dev");
}

static void test_subid(void **state) {
        static const char file[] = "root:1:1\n"
                                   "alice:100000:65536\n"
                                   "# alice:5:5\n"
                                   "alice:300000:10\n"
                                   "alice:300010:10\n"
                                   "bob:200000:65536\n"
                                   "1000:500000:100\n"
                                   "alice:bad:1\nalice:7\nalice:8:\nalice:99999999999:9\n:900000:10\n\n"
                                   "alice:700000:100";

        assert_true(subid_has(file, "alice", 1000, 100000, 65536));
        assert_true(subid_has(file, "alice", 1000, 100500, 1));
        assert_false(subid_has(file, "alice", 1000, 100000, 65537));
        assert_false(subid_has(file, "alice", 1000, 99999, 2));
        assert_true(subid_has(file, "alice", 1000, 300005, 10)); /* by two lines */
        assert_false(subid_has(file, "alice", 1000, 300005, 16));
        assert_true(subid_has(file, "alice", 1000, 500000, 100)); /* by number */
        assert_true(subid_has(file, NULL, 1000, 500000, 100));
        assert_false(subid_has(file, "alice", 1001, 500000, 100));
        assert_true(subid_has(file, "alice", 1001, 700099, 1));
        assert_false(subid_has(file, "alice", 1000, 200000, 1));
        assert_false(subid_has(file, "ali", 1000, 100000, 1));
        assert_false(subid_has(file, "", 1001, 900000, 1));
        assert_false(subid_has(file, "alice", 1000, 5, 1));
        assert_false(subid_has(file, "alice", 1000, 7, 1));
        assert_false(subid_has(file, "alice", 1000, UINT32_MAX, UINT32_MAX));
        assert_false(subid_has(file, "alice", 1000, 100000, 0));
        assert_false(subid_has("", "alice", 1000, 1, 1));
}

static void test_context_of_a_mount(void **state) {
        char context[32];

        assert_true(mount_context("rw,errors=continue", context, sizeof(context)));
        assert_string_equal(context, "");
        assert_true(mount_context("rw,context=a:b:c,errors=continue", context, sizeof(context)));
        assert_string_equal(context, "a:b:c");
        assert_true(mount_context("rw,context=\"a:b:c:s0:c1,c2\",x", context, sizeof(context)));
        assert_string_equal(context, "a:b:c:s0:c1,c2");
        assert_true(mount_context("rw,fscontext=a:b:c", context, sizeof(context)));
        assert_string_equal(context, "");
        assert_true(mount_context("context=a:b:c", context, sizeof(context)));
        assert_string_equal(context, "a:b:c");
        assert_true(mount_context("context=", context, sizeof(context)));
        assert_string_equal(context, "");
        assert_false(mount_context("context=a:b:cccccccccccccccccccccccccccccccccccc", context, sizeof(context)));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_context),
                cmocka_unit_test(test_where),
                cmocka_unit_test(test_what_there_is),
                cmocka_unit_test(test_subid),
                cmocka_unit_test(test_context_of_a_mount),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
