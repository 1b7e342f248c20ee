#include <quarry/pool.h>
#include <quarry/text.h>

#include "../unit.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"
#define WHOLE "\"name\":\"p\",\"uuid\":\"" UUID "\",\"origin\":\"devices\""

static int parse(const char *text, PoolInfo *ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        assert_true(sd_json_parse(text, 0, &v, NULL, NULL) >= 0);
        return pool_info_from_json(v, ret);
}

static void test_comes_back_as_it_went(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        PoolInfo info = {
                .name = "fast",
                .uuid = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef), .origin = POOL_FILE,
                                      .vg = strdup("quarry-fast"), .file = strdup("/var/lib/a b/ü"),
                                      .chunk_size = 128 << 10, .data_size = 100, .data_used = 99,
                                      .metadata_size = UINT64_C(1) << 60, .metadata_used = 7,
                };
        _cleanup_(pool_info_done) PoolInfo back = {};

        assert_int_equal(strv_append(&info.devices, "/dev/loop0"), 0);
        assert_true(pool_info_to_json(&info, &v) >= 0);
        assert_int_equal(pool_info_from_json(v, &back), 0);
        assert_string_equal(back.name, info.name);
        assert_true(sd_id128_equal(back.uuid, info.uuid));
        assert_int_equal(back.origin, POOL_FILE);
        assert_string_equal(back.vg, info.vg);
        assert_string_equal(back.file, info.file);
        assert_true(strv_equal(back.devices, info.devices));
        assert_true(back.chunk_size == info.chunk_size && back.data_size == 100 && back.data_used == 99);
        assert_true(back.metadata_size == info.metadata_size && back.metadata_used == 7);
        pool_info_done(&info);
        pool_info_done(&info);
}

static void test_names_of_the_members(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = NULL;
        PoolInfo info = { .name = "p" };

        assert_true(pool_info_to_json(&info, &v) >= 0);
        assert_true(sd_json_variant_format(v, 0, &text) >= 0);
        assert_string_equal(text,
                            "{\"name\":\"p\",\"uuid\":\"00000000-0000-0000-0000-000000000000\",\"origin\":\"devices\","
                            "\"devices\":[],\"chunkSizeBytes\":0,\"dataSizeBytes\":0,\"dataUsedBytes\":0,"
                            "\"metadataSizeBytes\":0,\"metadataUsedBytes\":0,\"roomBytes\":0}");
}

static void test_only_the_identity_is_needed(void **state) {
        _cleanup_(pool_info_done) PoolInfo info = {};

        assert_int_equal(parse("{" WHOLE "}", &info), 0);
        assert_string_equal(info.name, "p");
        assert_null(info.vg);
        assert_null(info.file);
}

static void test_every_member_has_its_type(void **state) {
        static const char *const members[] = {
                "name",           "uuid",          "origin",        "volumeGroup",       "devices",
                "file",           "dataSizeBytes", "dataUsedBytes", "metadataSizeBytes", "metadataUsedBytes",
                "chunkSizeBytes",
        };

        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                PoolInfo info = {};

                assert_true(sd_json_parse("{" WHOLE "}", 0, &v, NULL, NULL) >= 0);
                assert_true(sd_json_variant_set_field_boolean(&v, members[i], true) >= 0);
                assert_row(pool_info_from_json(v, &info) == -EINVAL, members[i]);
        }
}

static void test_rules(void **state) {
        static const char *const bad[] = {
                "null",
                "[]",
                "5",
                "{}",
                "{\"name\":\"p\",\"uuid\":\"" UUID "\"}",
                "{\"name\":\"p\",\"origin\":\"vg\"}",
                "{\"uuid\":\"" UUID "\",\"origin\":\"vg\"}",
                "{\"name\":\"P\",\"uuid\":\"" UUID "\",\"origin\":\"vg\"}",
                "{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"uuid\":\"" UUID "\",\"origin\":\"vg\"}",
                "{\"name\":\"p\",\"uuid\":\"x\",\"origin\":\"vg\"}",
                "{\"name\":\"p\",\"uuid\":\"00000000-0000-0000-0000-000000000000\",\"origin\":\"vg\"}",
                "{\"name\":\"p\",\"uuid\":\"" UUID "\",\"origin\":\"tape\"}",
                "{" WHOLE ",\"unknown\":1}",
                "{" WHOLE ",\"volumeGroup\":\"-x\"}",
                "{" WHOLE ",\"volumeGroup\":5}",
                "{" WHOLE ",\"devices\":\"/dev/vda\"}",
                "{" WHOLE ",\"devices\":[5]}",
                "{" WHOLE ",\"devices\":[\"vda\"]}",
                "{" WHOLE ",\"devices\":[\"/dev/vda\",\"/dev/../x\"]}",
                "{" WHOLE ",\"file\":\"/f\"}", /* not a file's pool */
                "{\"name\":\"p\",\"uuid\":\"" UUID "\",\"origin\":\"file\",\"file\":\"f\"}",
                "{" WHOLE ",\"chunkSizeBytes\":4096}",
                "{" WHOLE ",\"chunkSizeBytes\":-1}",
                "{" WHOLE ",\"dataSizeBytes\":\"5\"}",
                "{" WHOLE ",\"dataSizeBytes\":1.5}",
                "{" WHOLE ",\"dataSizeBytes\":5,\"dataUsedBytes\":6}",
                "{" WHOLE ",\"metadataSizeBytes\":5,\"metadataUsedBytes\":6}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                PoolInfo info = { .name = "untouched" };

                assert_row(parse(bad[i], &info) == -EINVAL, bad[i]);
                assert_string_equal(info.name, "untouched");
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_comes_back_as_it_went),
                cmocka_unit_test(test_names_of_the_members),
                cmocka_unit_test(test_only_the_identity_is_needed),
                cmocka_unit_test(test_every_member_has_its_type),
                cmocka_unit_test(test_rules),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
