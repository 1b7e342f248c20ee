#include <quarry/backup-target.h>
#include <quarry/text.h>

#include "../members.h"

#define UUID "01020304-0506-0708-090a-0b0c0d0e0f10"
#define KEY "0123456789abcdef0123456789abcdef"
#define PLAN "{\"volume\":\"acme/db\",\"schedule\":\"daily keep 7\",\"prove\":true}"
#define BEGUN \
        "{\"volume\":\"web\",\"schedule\":\"none\",\"prove\":false,\"failure\":\"full\",\"beganUsec\":1796000000000000}"
#define ENDED(member, value) "[{\"volume\":\"a\",\"schedule\":\"none\",\"prove\":true,\"" member "\":" value "}]"
#define FULL                                                                                                       \
        "{\"url\":\"file:///srv/backup\",\"credentials\":\"/etc/c\",\"keyFile\":\"/etc/k\",\"repository\":\"" UUID \
        "\",\"hostKey\":\"" KEY "\",\"plans\":[" PLAN "," BEGUN "]}"
#define LEAST "{\"url\":\"s3://b?endpoint=https://x\",\"repository\":\"" UUID "\",\"plans\":[]}"

static void test_all_of_it(void **state) {
        BackupTarget t = {};
        Error err = {};

        if (backup_target_parse("home", FULL, &t, &err) < 0)
                fail_msg("%s", err.text);
        assert_string_equal(t.name, "home");
        assert_string_equal(t.url, "file:///srv/backup");
        assert_string_equal(t.credentials, "/etc/c");
        assert_string_equal(t.key_file, "/etc/k");
        assert_string_equal(t.host_key, KEY);
        assert_int_equal(t.repository.bytes[15], 0x10);
        assert_int_equal(t.n_plans, 2);
        assert_string_equal(t.plans[0].volume, "acme/db");
        assert_int_equal(t.plans[0].schedule.rules[0].keep, 7);
        assert_true(t.plans[0].prove);
        assert_int_equal(t.plans[1].schedule.n, 0);
        assert_false(t.plans[1].prove);
        assert_true(!t.plans[0].failure && t.plans[0].began_usec == 0);
        assert_string_equal(t.plans[1].failure, "full");
        assert_int_equal(t.plans[1].began_usec, 1796000000000000);
        backup_target_done(&t);
        assert_null(t.url);
}

static void test_what_may_be_left_out(void **state) {
        BackupTarget t = {};
        Error err = {};

        assert_int_equal(backup_target_parse("home", LEAST, &t, &err), 0);
        assert_true(!t.credentials && !t.key_file && !*t.host_key && t.n_plans == 0);
        backup_target_done(&t);
}

static void refused(const char *text) {
        BackupTarget t = { .n_plans = 77 };
        Error err = {};

        assert_row(backup_target_parse("home", text, &t, &err) < 0, text);
        assert_row(err.kind == ERROR_FAILED || err.kind == ERROR_BAD_REQUEST, text);
        assert_row(*err.text && text_is_printable(err.text), text);
        assert_row(t.n_plans == 77 && !t.url && !t.plans, text);
}

static void test_what_is_refused(void **state) {
        static const struct {
                const char *name, *value;
        } rows[] = {
                { "url", NULL },
                { "url", "7" },
                { "url", "null" },
                { "credentials", "7" },
                { "credentials", "\"etc/c\"" },
                { "credentials", "\"/etc/../c\"" },
                { "credentials", "\"/etc/\\u001b\"" },
                { "credentials", "\"\"" },
                { "keyFile", "\"k\"" },
                { "keyFile", "[]" },
                { "repository", NULL },
                { "repository", "\"here\"" },
                { "repository", "7" },
                { "hostKey", "\"\"" },
                { "hostKey", "\"0123\"" },
                { "hostKey", "7" },
                { "hostKey", "\"0123456789abcdef0123456789abcdeg\"" },
                { "hostKey", "\"0123456789abcdef0123456789abcdef0\"" },
                { "plans", NULL },
                { "plans", "{}" },
                { "plans", "[7]" },
                { "plans", "[{}]" },
                { "plans", "[null]" },
                { "plans", ENDED("failure", "7") },
                { "plans", ENDED("beganUsec", "\"now\"") },
                { "plans", ENDED("beganUsec", "-1") },
                { "plans", "[" PLAN ",{}]" },
                { "plans", "[{\"volume\":\"db\",\"schedule\":\"daily keep 7\"}]" },
                { "plans", "[{\"volume\":\"db\",\"schedule\":\"daily\",\"prove\":true}]" },
                { "plans", "[{\"volume\":7,\"schedule\":\"daily keep 7\",\"prove\":true}]" },
                { "plans", "[{\"volume\":\"\",\"schedule\":\"daily keep 7\",\"prove\":true}]" },
                { "plans", "[{\"volume\":\"a b\",\"schedule\":\"daily keep 7\",\"prove\":true}]" },
                { "plans", "[{\"volume\":\"--all\",\"schedule\":\"daily keep 7\",\"prove\":true}]" },
                { "more", "1" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *changed = member_replace(FULL, rows[i].name, rows[i].value);
                refused(changed);
        }
        refused("");
        refused("7");
        refused("[]");
        for (size_t n = 0; n < strlen(FULL); n++) {
                _cleanup_free_ char *cut = strndup(FULL, n);
                refused(cut);
        }
}

static void test_names(void **state) {
        Error err = {};
        BackupTarget t = {};

        assert_true(backup_target_name_is_valid("home-2"));
        assert_false(backup_target_name_is_valid(""));
        assert_false(backup_target_name_is_valid("../x"));
        assert_false(backup_target_name_is_valid("012345678901234567890123456789012"));
        assert_int_equal(backup_target_load("../x", &t, &err), -EINVAL);
        assert_string_equal(err.field, "NAME");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_of_it),
                cmocka_unit_test(test_what_may_be_left_out),
                cmocka_unit_test(test_what_is_refused),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
