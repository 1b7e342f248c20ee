#include "../unit.h"

#include <quarry/docker.h>
#include <quarry/text.h>

static sd_json_variant *parse(const char *json) {
        sd_json_variant *v = NULL;

        assert_true(sd_json_parse(json, 0, &v, NULL, NULL) >= 0);
        return v;
}

static void test_ids_name_files(void **state) {
        static const char *const good[] = { "a", "0", "A_.-9",
                                            "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b16" };
        static const char *const bad[] = { "", ".", "..", ".mounted", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4" };
        char longest[MOUNT_ID_MAX + 2] = "";

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_row(mount_id_is_valid(good[i]), good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!mount_id_is_valid(bad[i]), bad[i]);
        memset(longest, 'a', MOUNT_ID_MAX);
        assert_true(mount_id_is_valid(longest));
        longest[MOUNT_ID_MAX] = 'a';
        assert_false(mount_id_is_valid(longest));
}

static void test_requests(void **state) {
        static const char *const bad[] = { "",
                                           " \n",
                                           "{",
                                           "[]",
                                           "null",
                                           "5",
                                           "{\"Name\":5}",
                                           "{\"ID\":[]}",
                                           "{\"Opts\":[]}",
                                           "{\"Opts\":\"x\"}",
                                           "{\"Name\":\"a\"} {}" };
        _cleanup_(docker_request_done) DockerRequest request = {};
        Error err = {};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_row(docker_request_parse(bad[i], &request, &err) == -EINVAL, bad[i]);
                assert_int_equal(err.kind, ERROR_BAD_REQUEST);
                assert_null(request.json);
        }
        assert_int_equal(
                docker_request_parse("{\"Name\":\"db\",\"ID\":null,\"Opts\":null,\"More\":{}}", &request, &err), 0);
        assert_string_equal(request.name, "db");
        assert_null(request.id);
        assert_null(request.options);
        assert_int_equal(docker_request_check_name(&request, &err), 0);
        assert_int_equal(docker_request_check_id(&request, &err), -EINVAL);
        assert_string_equal(err.field, "ID");
}

static void test_options_become_a_volume(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = parse(
                "{\"size\":\"1.5G\",\"fs\":\"xfs\",\"encrypt\":\"\",\"key\":\"host\",\"uid\":\"999\",\"gid\":\"0\","
                "\"mode\":\"1777\",\"mkfs\":\" -m  reflink=0 -L x -i size=512 \",\"pool\":\"fast\","
                "\"protect\":\"yes\",\"label.a.b/c\":\"d=e\",\"snapshot-schedule\":\"hourly keep 3\"}");
        _cleanup_(docker_options_done) DockerOptions o = DOCKER_OPTIONS_DEFAULT;
        Error err = {};

        assert_int_equal(docker_options_parse(v, &o, &err), 0);
        assert_int_equal(o.spec.size, GIB + GIB / 2);
        assert_int_equal(o.spec.fs, FILESYSTEM_XFS);
        assert_int_equal(o.spec.key_source, KEY_SOURCE_HOST);
        assert_true(o.has_size && o.has_fs && o.has_uid && o.has_gid && o.has_mode && o.spec.protected);
        assert_int_equal(o.spec.uid, 999);
        assert_int_equal(o.spec.mode, 01777);
        assert_true(strv_equal(o.spec.mkfs_options, (char *[]) { "-m reflink=0", "-L x", "-i size=512", NULL }));
        assert_true(strv_equal(o.spec.labels, (char *[]) { "a.b/c=d=e", NULL }));
        assert_string_equal(o.spec.pool, "fast");
        assert_string_equal(o.schedule, "hourly keep 3");
}

static void test_no_options_are_the_defaults(void **state) {
        _cleanup_(docker_options_done) DockerOptions o = DOCKER_OPTIONS_DEFAULT;

        assert_int_equal(docker_options_parse(NULL, &o, NULL), 0);
        assert_false(o.has_size || o.has_fs || o.has_uid || o.has_gid || o.has_mode || o.from || o.schedule);
        assert_int_equal(o.spec.kind, KIND_BLOCK);
        assert_int_equal(o.spec.key_source, KEY_SOURCE_NONE);
}

static void test_refusals_name_the_option(void **state) {
        static const struct {
                const char *json, *field, *text;
        } rows[] = {
                { "{\"sise\":\"1G\"}", "Opts",
                  "there is no option \"sise\"; known are size, fs, encrypt, key, uid, gid, "
                  "mode, mkfs, pool, kind, source, read-only, inodes, noswap, protect, snapshot-schedule, from, label.KEY" },
                { "{\"size\":\"-1\"}", "size", "option size=-1 is not valid" },
                { "{\"size\":1}", "Opts", "no string" },
                { "{\"fs\":\"none\"}", "fs", "ext4 or xfs" },
                { "{\"encrypt\":\"si\"}", "encrypt", "true or false" },
                { "{\"key\":\"passphrase\"}", "key", "nobody to ask" },
                { "{\"key\":\"host\",\"encrypt\":\"off\"}", "encrypt", "contradict" },
                { "{\"uid\":\"root\"}", "uid", "a number" },
                { "{\"gid\":\"4294967295\"}", "gid", "a number" },
                { "{\"mode\":\"8\"}", "mode", "octal" },
                { "{\"kind\":\"raw\"}", "kind", "block, bind or tmpfs" },
                { "{\"inodes\":\"0\"}", "inodes", "a number of files" },
                { "{\"label.\":\"x\"}", "labels", "label key" },
                { "{\"snapshot-schedule\":\"x\"}", "snapshot-schedule", "" },
                { "{\"from\":\"acme/db@x\"}", "from", "NAME@SNAPSHOT" },
                { "{\"from\":\"db@x\",\"uid\":\"0\"}", "from", "a volume made from a snapshot is as that is" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = parse(rows[i].json);
                _cleanup_(docker_options_done) DockerOptions o = DOCKER_OPTIONS_DEFAULT;
                Error err = {};

                assert_row(docker_options_parse(v, &o, &err) == -EINVAL, rows[i].json);
                assert_string_equal(err.field, rows[i].field);
                assert_row(strstr(err.text, rows[i].text), err.text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ids_name_files),           cmocka_unit_test(test_requests),
                cmocka_unit_test(test_options_become_a_volume),  cmocka_unit_test(test_no_options_are_the_defaults),
                cmocka_unit_test(test_refusals_name_the_option),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
