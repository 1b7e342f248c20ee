#include <quarry/error.h>
#include <quarry/text.h>

#include "../unit.h"

static sd_json_variant *parse(const char *text) {
        sd_json_variant *v = NULL;

        assert_int_equal(sd_json_parse(text, 0, &v, NULL, NULL), 0);
        return v;
}

static void test_set_returns_the_errno_beneath_or_the_kinds_own(void **state) {
        Error err = {};

        assert_int_equal(error_set(&err, ERROR_NO_SUCH_VOLUME, 0, "no volume %s", "db"), -ENOENT);
        assert_int_equal(err.kind, ERROR_NO_SUCH_VOLUME);
        assert_int_equal(err.number, 0);
        assert_string_equal(err.text, "no volume db");

        assert_int_equal(error_set(&err, ERROR_FAILED, -ENOSPC, "x"), -ENOSPC);
        assert_int_equal(err.number, ENOSPC);
        assert_int_equal(error_set(&err, ERROR_FAILED, ENOSPC, "x"), -ENOSPC);
        assert_int_equal(error_set(NULL, ERROR_VOLUME_BUSY, 0, "x"), -EBUSY);
        assert_true(error_set(&err, ERROR_FAILED, INT32_MIN, "x") < 0);
        assert_int_equal(error_set(&err, ERROR_FAILED, EPERM, "x"), -EPERM);
        assert_int_equal(error_set(&err, _ERROR_KIND_MAX, 0, "x"), -EIO);
        assert_int_equal(err.kind, ERROR_FAILED);
        error_set(&err, ERROR_NONE, 0, "x");
        assert_int_equal(err.kind, ERROR_FAILED);
        assert_true(error_code(NULL) < 0);
}

static void test_set_forgets_what_was_there(void **state) {
        Error err = { .step = "format", .field = "size", .hint = "try again" };

        error_set(&err, ERROR_FAILED, 0, "x");
        assert_string_equal(err.step, "");
        assert_string_equal(err.field, "");
        assert_string_equal(err.hint, "");
}

static void test_arguments_may_be_the_error_itself(void **state) {
        Error err = {};

        error_set(&err, ERROR_FAILED, 0, "inner");
        error_set(&err, ERROR_FAILED, 0, "outer: %s", err.text);
        assert_string_equal(err.text, "outer: inner");
        error_prefix(&err, "again %s", err.text);
        assert_string_equal(err.text, "again outer: inner: outer: inner");
        error_prefix(NULL, "nobody");
        error_hint(NULL, "nobody");
        error_hint(&err, "see %s", err.hint);
        assert_string_equal(err.hint, "see ");
}

static void test_long_text_is_cut(void **state) {
        char big[5000];
        Error err = {};

        memset(big, 'a', sizeof(big) - 1);
        big[sizeof(big) - 1] = 0;
        error_set(&err, ERROR_FAILED, 0, "%s", big);
        assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
        error_prefix(&err, "%s", big);
        assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
        error_hint(&err, "%s", big);
        assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
        error_field(&err, big, "%s", big);
        assert_int_equal(strlen(err.field), sizeof(err.field) - 1);
        error_errno(&err, EIO, "%s", big);
        assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_text_can_always_travel_as_json(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Error err = {};

        error_field(&err, "de\xffvice", "device \"%s\"", "/dev/\xc3\x28\x1b[31m\n");
        error_hint(&err, "%s", "\xe2\x82");
        assert_true(text_is_printable(err.text));
        assert_true(error_to_json(&err, &v) >= 0);
}

static void test_errno_says_why(void **state) {
        Error err = {};

        assert_int_equal(error_errno(&err, ENOENT, "cannot open %s", "/x"), -ENOENT);
        assert_string_equal(err.text, "cannot open /x: No such file or directory");
        assert_int_equal(error_errno(&err, EPERM, "cannot"), -EPERM);
        assert_string_equal(err.text, "cannot: Operation not permitted");
        assert_int_equal(error_errno(&err, 0, "cannot"), -EIO);
        assert_string_equal(err.text, "cannot");
        assert_int_equal(error_errno(&err, -EACCES, "cannot open"), -EACCES);
        assert_string_equal(err.text, "cannot open: Permission denied");
        assert_int_equal(error_oom(&err), -ENOMEM);
}

static void test_field_names_the_field(void **state) {
        Error err = {};

        assert_int_equal(error_field(&err, "sizeBytes", "too small"), -EINVAL);
        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        assert_string_equal(err.field, "sizeBytes");
}

static void test_every_kind_has_a_name_a_code_and_a_sentence(void **state) {
        char name[100];

        for (ErrorKind kind = ERROR_NONE + 1; kind < _ERROR_KIND_MAX; kind++) {
                Error err = { .kind = kind };

                snprintf(name, sizeof(name), "io.quarry.Volume.%s", error_kind_name(kind));
                assert_int_equal(error_kind_from_name(name), kind);
                assert_int_equal(error_kind_from_name(error_kind_name(kind)), kind);
                assert_true(error_kind_exit_code(kind) >= EXIT_FAILED && error_kind_exit_code(kind) <= EXIT_EXISTS);
                assert_true(error_kind_http_status(kind) >= 400 && error_kind_http_status(kind) < 600);
                assert_true(strlen(error_kind_sentence(kind)) > 5);
                assert_true(error_code(&err) < 0);
        }
        assert_int_equal(error_kind_from_name("io.quarry.Volume.Nonsense"), ERROR_NONE);
        assert_int_equal(error_kind_from_name(""), ERROR_NONE);
        assert_int_equal(error_kind_from_name(NULL), ERROR_NONE);
        assert_int_equal(error_kind_exit_code(ERROR_NO_SUCH_VOLUME), EXIT_NOT_FOUND);
        assert_int_equal(error_kind_exit_code(ERROR_NO_SPACE), EXIT_SPACE);
        assert_int_equal(error_kind_exit_code(ERROR_VOLUME_BUSY), EXIT_IN_USE);
        assert_int_equal(error_kind_exit_code(ERROR_VOLUME_EXISTS), EXIT_EXISTS);
        assert_int_equal(error_kind_http_status(ERROR_BAD_REQUEST), 400);
        assert_int_equal(error_kind_http_status(ERROR_NO_SUCH_VOLUME), 404);
        assert_int_equal(error_kind_http_status(ERROR_NONE), 200);
}

static void test_crosses_the_border_whole(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Error err = {}, back = {};

        error_set(&err, ERROR_DEVICE_UNUSABLE, EPERM, "/dev/vda is mounted");
        error_hint(&err, "umount /dev/vda");
        strcpy(err.step, "claim");
        err.undo_failed = true;
        strcpy(err.field, "devices");
        assert_true(error_to_json(&err, &v) >= 0);
        error_from_json(&back, "io.quarry.Worker.DeviceUnusable", v);
        assert_memory_equal(&err, &back, sizeof(err));
}

static void test_empty_members_stay_at_home(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Error err = {};

        error_set(&err, ERROR_NO_POOL, 0, "%s", "");
        assert_true(error_to_json(&err, &v) >= 0);
        assert_int_equal(sd_json_variant_elements(v), 2);
        assert_string_equal(sd_json_variant_string(sd_json_variant_by_key(v, "message")), "There is no pool yet");
}

static void test_from_json_believes_nothing(void **state) {
        static const struct {
                const char *name, *json;
                ErrorKind kind;
                int number;
                const char *text;
        } rows[] = {
                { "io.quarry.Volume.NoSuchVolume", "{}", ERROR_NO_SUCH_VOLUME, 0, "No such volume" },
                { "io.quarry.Volume.NoSuchVolume", "[1,2]", ERROR_NO_SUCH_VOLUME, 0, "No such volume" },
                { "x.NoSpace", "{\"message\":5,\"errorNumber\":\"28\",\"hint\":[]}", ERROR_NO_SPACE, 0,
                  "Not enough space" },
                { "x.Failed", "{\"message\":\"a\\u001b[31mb\\n\",\"errorNumber\":-5}", ERROR_FAILED, 0, "a?[31mb?" },
                { "x.Failed", "{\"message\":\"a\",\"errorNumber\":99999999999}", ERROR_FAILED, 0, "a" },
                { "x.Failed", "{\"message\":\"a\",\"errorNumber\":28}", ERROR_FAILED, 28, "a" },
                { "x.Failed", "{\"message\":\"a\",\"errorNumber\":1}", ERROR_FAILED, 1, "a" },
                { "x.Failed", "{\"message\":\"a\",\"errorNumber\":4095}", ERROR_FAILED, 4095, "a" },
                { "x.Failed", "{\"message\":\"a\",\"errorNumber\":4096}", ERROR_FAILED, 0, "a" },
                { "x.Failed", "{\"message\":\"a\",\"undoFailed\":\"yes\"}", ERROR_FAILED, 0, "a" },
                { "x.y\nz", "{}", ERROR_FAILED, 0, "Unknown error x.y\\x0az" },
                { "x.y", "{\"message\":\"from a newer daemon\"}", ERROR_FAILED, 0, "from a newer daemon" },
                { "", "{}", ERROR_FAILED, 0, "Unknown error without a name" },
                { NULL, "null", ERROR_FAILED, 0, "Unknown error without a name" },
                { "org.varlink.service.PermissionDenied", "{}", ERROR_PERMISSION_DENIED, 0, "Permission denied" },
                { "org.varlink.service.InvalidParameter", "{\"parameter\":\"sizeBytes\"}", ERROR_BAD_REQUEST, 0,
                  "A field of the request is not valid: sizeBytes" },
                { "org.varlink.service.MethodNotFound", "{\"method\":\"x\"}", ERROR_NOT_SUPPORTED, 0,
                  "The daemon does not have this method" },
                { "io.systemd.System", "{\"origin\":\"linux\",\"errno\":13}", ERROR_FAILED, 13,
                  "The operation failed: Permission denied" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = parse(rows[i].json);
                Error err = { .hint = "old" };

                error_from_json(&err, rows[i].name, v);
                assert_int_equal(err.kind, rows[i].kind);
                assert_int_equal(err.number, rows[i].number);
                assert_string_equal(err.text, rows[i].text);
                assert_string_equal(err.hint, "");
                assert_false(err.undo_failed);
        }
        error_from_json(NULL, "x.Failed", NULL);
}

static void test_from_json_cuts_what_is_too_long(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char big[3000];
        Error err = {};

        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = 0;
        assert_true(sd_json_buildo(
                                    &v,
                                    SD_JSON_BUILD_PAIR_STRING("message", big),
                                    SD_JSON_BUILD_PAIR_STRING("step", big),
                                    SD_JSON_BUILD_PAIR_STRING("field", big)) >= 0);
        error_from_json(&err, "io.quarry.Volume.Failed", v);
        assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
        assert_int_equal(strlen(err.step), sizeof(err.step) - 1);
        assert_int_equal(strlen(err.field), sizeof(err.field) - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set_returns_the_errno_beneath_or_the_kinds_own),
                cmocka_unit_test(test_set_forgets_what_was_there),
                cmocka_unit_test(test_arguments_may_be_the_error_itself),
                cmocka_unit_test(test_long_text_is_cut),
                cmocka_unit_test(test_text_can_always_travel_as_json),
                cmocka_unit_test(test_errno_says_why),
                cmocka_unit_test(test_field_names_the_field),
                cmocka_unit_test(test_every_kind_has_a_name_a_code_and_a_sentence),
                cmocka_unit_test(test_crosses_the_border_whole),
                cmocka_unit_test(test_empty_members_stay_at_home),
                cmocka_unit_test(test_from_json_believes_nothing),
                cmocka_unit_test(test_from_json_cuts_what_is_too_long),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
