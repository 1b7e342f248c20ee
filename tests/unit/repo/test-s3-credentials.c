/* The file that says how to get into an S3 service. */

#include "../../../repo/s3-credentials.h"
#include "../unit.h"

#include <quarry/text.h>

static void accepted(const char *text, const char *id, const char *secret, const char *token) {
        _cleanup_(s3_credentials_done) S3Credentials c = {};
        Error err = {};

        if (s3_credentials_parse(text, &c, &err) < 0)
                fail_msg("%s", err.text);
        assert_string_equal(c.access_key_id, id);
        assert_string_equal(c.secret_access_key, secret);
        assert_string_equal(c.session_token, token);
}

static void refused(const char *text, const char *why) {
        S3Credentials c = {};
        Error err = {};

        assert_int_equal(s3_credentials_parse(text, &c, &err), -EINVAL);
        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        assert_string_equal(err.text, why);
        assert_non_null(strstr(err.hint, "access_key_id = ID"));
        assert_null(strstr(err.text, "geheim"));
        assert_string_equal(c.secret_access_key, "");
}

static void test_lines(void **state) {
        accepted("access_key_id = ID\nsecret_access_key = a/b+c=\n", "ID", "a/b+c=", "");
        accepted("secret_access_key=s\naccess_key_id=ID", "ID", "s", "");
        accepted("  access_key_id\t=  ID \r\n# remark\n; remark\n\nsecret_access_key =s\r\nsession_token = t\r\n", "ID",
                 "s", "t");
}

static void test_profiles_of_aws(void **state) {
        accepted("[default]\naws_access_key_id = ID\naws_secret_access_key = s\nregion = eu-west-1\n", "ID", "s", "");
        accepted("[other]\naws_access_key_id = X\naws_secret_access_key = y\n[default]\naws_access_key_id = ID\n"
                 "aws_secret_access_key = s\naws_session_token = t\n[third]\nwhat\naws_access_key_id = Z\n",
                 "ID", "s", "t");
        refused("[other]\naws_access_key_id = ID\naws_secret_access_key = geheim\n",
                "access_key_id: it is missing, or not one of S3");
}

static void test_what_is_refused(void **state) {
        _cleanup_free_ char *lengthy = NULL;

        refused("", "access_key_id: it is missing, or not one of S3");
        refused("access_key_id = ID\n", "secret_access_key: it is missing, or not one of S3");
        refused("access_key_id = ID\nsecret_access_key =\n", "secret_access_key: it is missing, or not one of S3");
        refused("access_key_id = ID\nsecret_access_key = geh eim\n",
                "secret_access_key: it is missing, or not one of S3");
        refused("access_key_id = ID\nsecret_access_key = geheim\nsession_token = geheim\x01\n",
                "session_token: it is not one of S3");
        refused("access_key_id = ID\nsecret_access_key = geheim\nsecret_access_key = geheim\n",
                "line 3: secret_access_key stands there twice");
        refused("access_key_id = ID\ngeheim\n", "line 2 is not NAME = VALUE");
        lengthy = format_new("access_key_id = %0300d\nsecret_access_key = geheim\n", 0);
        refused(lengthy, "line 1: access_key_id is too long");
        free(lengthy);
        lengthy = format_new("secret_access_key = geheim\n%09000d\n", 0);
        refused(lengthy, "line 2 is too long");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_profiles_of_aws),
                cmocka_unit_test(test_what_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
