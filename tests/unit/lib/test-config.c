#include <quarry/config.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#include "../unit.h"

#include <fcntl.h>
#include <sys/stat.h>

static char folder[] = "/tmp/quarry-test-config-XXXXXX";

static int setup(void **state) {
        return mkdtemp(folder) && chdir(folder) == 0 && mkdir("c.d", 0700) == 0 ? 0 : -1;
}

static int teardown(void **state) {
        _cleanup_free_ char *command = format_new("rm -rf %s", folder);

        return chdir("/") == 0 ? system(command) : -1;
}

static void put(const char *path, const char *text) {
        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void test_defaults(void **state) {
        _cleanup_(config_done) Config config = {};

        assert_int_equal(config_set_defaults(&config), 0);
        assert_string_equal(config.default_pool, "default");
        assert_int_equal(config.overprovision_max, 1000);
        assert_int_equal(config.auto_extend_threshold, 80);
        assert_int_equal(config.auto_extend_step, 20);
        assert_true(config.used_limit_stops);
        assert_int_equal(config.workers_max, 0);
        assert_null(config.key_command);
        assert_int_equal(config.argon2_memory, 256 << 20);
        assert_int_equal(config.argon2_memory_total, 1 << 30);
        assert_int_equal(config.argon2_iterations, 0);
}

static void test_every_key(void **state) {
        _cleanup_(config_done) Config config = {};
        Error err = {};

        assert_int_equal(config_set_defaults(&config), 0);
        assert_int_equal(config_parse(&config, "c",
                                      "# a comment\n"
                                      "; another\n"
                                      "\n"
                                      "[Pool]\n"
                                      "Default=fast\n"
                                      "  MaxOverprovision = 20 \r\n"
                                      "AutoExtendThreshold=90\n"
                                      "AutoExtendStep=5\n"
                                      "[Tenants]\n"
                                      "UsedLimitAction=refuse\n"
                                      "[Jobs]\n"
                                      "Workers=3\n"
                                      "[Encryption]\n"
                                      "KeyCommand=/usr/bin/vault  read\t\"-format=a b\" x\"y z\"w \"\\\"q\\\\\"\n"
                                      "Argon2Memory=64M\n"
                                      "Argon2MemoryTotal=512M\n"
                                      "Argon2Iterations=4\n"
                                      "[Pool]\n"
                                      "MaxOverprovision=30",
                                      &err),
                         0);
        const char *argv[] = { "/usr/bin/vault", "read", "-format=a b", "xy zw", "\"q\\", NULL };
        assert_string_equal(config.default_pool, "fast");
        assert_int_equal(config.overprovision_max, 30);
        assert_int_equal(config.auto_extend_threshold, 90);
        assert_int_equal(config.auto_extend_step, 5);
        assert_int_equal(config.workers_max, 3);
        assert_false(config.used_limit_stops);
        assert_true(strv_equal(config.key_command, (char *const *) argv));
        assert_int_equal(config.argon2_memory, 64 << 20);
        assert_int_equal(config.argon2_memory_total, 512 << 20);
        assert_int_equal(config.argon2_iterations, 4);

        assert_int_equal(config_parse(&config, "c", "[Encryption]\nKeyCommand=\nArgon2Iterations=0", &err), 0);
        assert_null(config.key_command);
        assert_int_equal(config.argon2_iterations, 0);
}

static void test_bounds_belong_to_what_is_allowed(void **state) {
        static const char *const rows[] = {
                "[Pool]\nDefault=a\nMaxOverprovision=1",
                "[Pool]\nMaxOverprovision=1000000",
                "[Pool]\nAutoExtendThreshold=50\nAutoExtendStep=1",
                "[Pool]\nAutoExtendThreshold=100\nAutoExtendStep=100",
                "[Jobs]\nWorkers=0",
                "[Jobs]\nWorkers=256",
                "[Encryption]\nArgon2Memory=32K\nArgon2MemoryTotal=32K",
                "[Encryption]\nArgon2Memory=4G",
                "[Encryption]\nArgon2Iterations=4294967295",
                "[Encryption]\nKeyCommand=/x \"\\\"\"",
                "",
                "\n\n#",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(config_done) Config config = {};

                assert_int_equal(config_set_defaults(&config), 0);
                assert_row(config_parse(&config, "c", rows[i], NULL) == 0, rows[i]);
        }
}

static void test_blanks_around_do_not_matter(void **state) {
        _cleanup_(config_done) Config config = {};

        assert_int_equal(config_set_defaults(&config), 0);
        assert_int_equal(config_parse(&config, "c", " \t[Jobs]\t \r\n\t# no key\n \r\n\tWorkers \t=\t 37 \r\n", NULL),
                         0);
        assert_int_equal(config.workers_max, 37);
}

static void test_refusals_name_the_line_and_what_is_known(void **state) {
        static const struct {
                const char *text, *error;
        } rows[] = {
                { "[Pool]\nDefualt=x",
                  "c:2: unknown key \"Defualt\"; known are Default=, MaxOverprovision=, AutoExtendThreshold=, AutoExtendStep=" },
                { "\n\n[pool]",
                  "c:3: unknown section \"pool\"; known are Pool, Tenants, Bind, Docker, Jobs, Encryption" },
                { "[]", "c:1: unknown section \"\"; known are Pool, Tenants, Bind, Docker, Jobs, Encryption" },
                { "Default=x",
                  "c:1: no section before \"Default=x\"; known are Pool, Tenants, Bind, Docker, Jobs, Encryption" },
                { "[Pool]\nWorkers=1",
                  "c:2: unknown key \"Workers\"; known are Default=, MaxOverprovision=, AutoExtendThreshold=, AutoExtendStep=" },
                { "[Pool]\ndefault=x",
                  "c:2: unknown key \"default\"; known are Default=, MaxOverprovision=, AutoExtendThreshold=, AutoExtendStep=" },
                { "[Jobs]\n=1", "c:2: unknown key \"\"; known are Workers=" },
                { "[Jobs]\nWorkers", "c:2: neither a section nor Key=value: \"Workers\"; known are Workers=" },
                { "[Jobs",
                  "c:1: neither a section nor Key=value: \"[Jobs\"; known are Pool, Tenants, Bind, Docker, Jobs, Encryption" },
                { "[Jobs]\nWorkers=x", "c:2: \"x\" is not valid for Workers=: a whole number, 0 to 256" },
                { "[Jobs]\nWorkers=", "c:2: \"\" is not valid for Workers=: a whole number, 0 to 256" },
                { "[Jobs]\nWorkers=-1", "c:2: \"-1\" is not valid for Workers=: a whole number, 0 to 256" },
                { "[Jobs]\nWorkers=257", "c:2: \"257\" is not valid for Workers=: a whole number, 0 to 256" },
                { "[Jobs]\nWorkers=1 # two", "c:2: \"1 # two\" is not valid for Workers=: a whole number, 0 to 256" },
                { "[Pool]\nDefault=A\x1b[31m",
                  "c:2: \"A\\x1b[31m\" is not valid for Default=: 1 to 32 of a-z 0-9 -, beginning with a letter" },
                { "[Pool]\nMaxOverprovision=0",
                  "c:2: \"0\" is not valid for MaxOverprovision=: a whole number, 1 to 1000000" },
                { "[Encryption]\nArgon2Memory=31K", "c:2: \"31K\" is not valid for Argon2Memory=: a size, 32K to 4G" },
                { "[Encryption]\nArgon2Memory=5G", "c:2: \"5G\" is not valid for Argon2Memory=: a size, 32K to 4G" },
                { "[Encryption]\nArgon2MemoryTotal=1",
                  "c:2: \"1\" is not valid for Argon2MemoryTotal=: a size, at least 32K" },
                { "[Encryption]\nArgon2Iterations=3",
                  "c:2: \"3\" is not valid for Argon2Iterations=: 0 (measured) or a whole number, at least 4" },
                { "[Encryption]\nKeyCommand=vault",
                  "c:2: \"vault\" is not valid for KeyCommand=: an absolute path and arguments, in double quotes if "
                  "need be" },
                { "[Encryption]\nKeyCommand=/bin/x \"open",
                  "c:2: \"/bin/x \"open\" is not valid for KeyCommand=: an absolute path and arguments, in double "
                  "quotes if need be" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(config_done) Config config = {};
                Error err = {};

                assert_int_equal(config_set_defaults(&config), 0);
                assert_row(config_parse(&config, "c", rows[i].text, &err) == -EINVAL, rows[i].text);
                assert_string_equal(err.text, rows[i].error);
        }
}

static void test_no_file_is_the_defaults(void **state) {
        _cleanup_(config_done) Config config = {};

        assert_int_equal(config_load("none", &config, NULL), 0);
        assert_string_equal(config.default_pool, "default");
        config_done(&config);
        assert_int_equal(config_load("no/folder/either", &config, NULL), 0);
}

static void test_drop_ins_come_after_in_order(void **state) {
        _cleanup_(config_done) Config config = {};
        Error err = {};

        put("c", "[Pool]\nDefault=a\nMaxOverprovision=1\n[Jobs]\nWorkers=1\n");
        put("c.d/10-b.conf", "[Pool]\nDefault=b\nMaxOverprovision=2\n");
        put("c.d/20-a.conf", "[Pool]\nDefault=c\n");
        put("c.d/99.conf.bak", "nonsense");
        put("c.d/.hidden.conf", "nonsense");
        put("c.d/.conf", "nonsense");
        int r = config_load("c", &config, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(r, 0);
        assert_string_equal(config.default_pool, "c");
        assert_int_equal(config.overprovision_max, 2);
        assert_int_equal(config.workers_max, 1);
        assert_int_equal(unlink("c"), 0); /* drop-ins alone */
        config_done(&config);
        assert_int_equal(config_load("c", &config, &err), 0);
        assert_string_equal(config.default_pool, "c");
        assert_int_equal(config.workers_max, 0);
}

static void test_a_bad_file_is_not_skipped(void **state) {
        Config config = { .workers_max = 77 };
        Error err = {};

        put("c", "[Pool]\n");
        put("c.d/30.conf", "[Pool]\nDefault=\n");
        assert_int_equal(config_load("c", &config, &err), -EINVAL);
        assert_non_null(strstr(err.text, "c.d/30.conf:2: "));
        assert_int_equal(unlink("c.d/30.conf"), 0);

        assert_int_equal(file_write_atomic(AT_FDCWD, "c", "[Pool]\0Default=x", 16, 0600), 0);
        assert_int_equal(config_load("c", &config, &err), -EINVAL);
        assert_string_equal(err.text, "c holds a NUL byte");

        assert_int_equal(unlink("c"), 0);
        assert_int_equal(mkdir("c", 0700), 0);
        assert_int_equal(config_load("c", &config, &err), -EISDIR);
        assert_string_equal(err.text, "cannot read c: Is a directory");
        assert_int_equal(rmdir("c"), 0);
        assert_int_equal(config.workers_max, 77);
}

static void test_one_passphrase_must_fit_into_the_budget(void **state) {
        Config config = {};
        Error err = {};

        put("c", "[Encryption]\nArgon2Memory=128M\nArgon2MemoryTotal=64M\n");
        assert_int_equal(config_load("c", &config, &err), -EINVAL);
        assert_string_equal(err.text, "c: Argon2Memory=128M does not fit into Argon2MemoryTotal=64M");
        put("c", "[Encryption]\nArgon2Memory=64M\nArgon2MemoryTotal=64M\n");
        assert_int_equal(config_load("c", &config, &err), 0);
        config_done(&config);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_every_key),
                cmocka_unit_test(test_bounds_belong_to_what_is_allowed),
                cmocka_unit_test(test_blanks_around_do_not_matter),
                cmocka_unit_test(test_refusals_name_the_line_and_what_is_known),
                cmocka_unit_test(test_no_file_is_the_defaults),
                cmocka_unit_test(test_drop_ins_come_after_in_order),
                cmocka_unit_test(test_a_bad_file_is_not_skipped),
                cmocka_unit_test(test_one_passphrase_must_fit_into_the_budget),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
