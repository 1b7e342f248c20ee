#include "kernel/lvm.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include "../unit.h"

/* What lvm answers, and what it was asked: set and read by the tests. */
static const char *answer;
static int status;
static char asked[4096];

int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret);
int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret) {
        asked[0] = 0;
        for (char *const *a = argv; *a; a++) {
                size_t have = strlen(asked);

                buffer_format(asked + have, sizeof(asked) - have, "%s%s", have ? " " : "", *a);
        }
        if (status < 0)
                return status;
        ret->out = strdup(answer);
        ret->err = strdup(
                "  WARNING: This metadata update is NOT backed up.\n  Volume group \"x\" not found\n  Cannot process volume group x");
        return status;
}

static char *devices[] = { (char *) "/dev/vda", (char *) "/dev/vdb", NULL };

#define REPORT(rows) "  {\n \"report\": [ {\"pv\": [" rows "] } ], \"log\": [ ] }\n"
#define ROW(pv, vg, vg_tags, lv, size, lv_tags)                                                                       \
        "{\"pv_name\":\"" pv "\", \"vg_name\":\"" vg "\", \"vg_uuid\":\"id-" vg "\", \"vg_tags\":[" vg_tags           \
        "], \"vg_free\":\"4156555264\", \"vg_extent_size\":\"4194304\", \"vg_missing_pv_count\":0, \"lv_name\":\"" lv \
        "\", \"lv_size\":\"" size "\", \"lv_tags\":[" lv_tags "]}"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"
#define TAGS(role)                                                                                                                 \
        "\"quarry\",\"quarry.chunk=65536\",\"quarry.host=abc\",\"quarry.origin=devices\",\"quarry.pool=fast\",\"quarry.role=" role \
        "\",\"quarry.uuid=" UUID "\""
#define THREE(vg)                                                                                            \
        ROW("/dev/vda", vg, "", "cat", "67108864", TAGS("catalog"))                                          \
        "," ROW("/dev/vda", vg, "", "meta", "67108864", TAGS("metadata")) "," ROW("/dev/vda", vg, "", "dat", \
                                                                                  "1073741824", TAGS("data"))

static const sd_id128_t uuid = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);

static size_t find(const char *text, LvmPool **ret) {
        Error err = {};
        size_t n;

        answer = text;
        status = 0;
        assert_int_equal(lvm_find_pools(devices, ret, &n, &err), 0);
        return n;
}

static void test_finds_a_pool(void **state) {
        LvmPool *pools;

        assert_int_equal(find(REPORT(THREE("vg0") "," ROW("/dev/vda", "vg0", "", "root", "1", "") "," ROW(
                                      "/dev/vdb", "vg0", "", "dat", "1073741824",
                                      TAGS("data")) "," ROW("/dev/vdb", "vg0", "", "", "0",
                                                            "") "," ROW("/dev/vdc", "", "", "", "0", "")),
                              &pools),
                         1);
        assert_string_equal(pools[0].info.name, "fast");
        assert_true(sd_id128_equal(pools[0].info.uuid, uuid));
        assert_int_equal(pools[0].info.origin, POOL_DEVICES);
        assert_string_equal(pools[0].info.vg, "vg0");
        assert_string_equal(pools[0].vg_uuid, "id-vg0");
        assert_string_equal(pools[0].host, "abc");
        assert_string_equal(pools[0].catalog, "cat");
        assert_string_equal(pools[0].metadata, "meta");
        assert_string_equal(pools[0].data, "dat");
        assert_int_equal(pools[0].data_size, 1073741824);
        assert_int_equal(pools[0].chunk_size, 65536);
        assert_int_equal(strv_length(pools[0].info.devices), 2);
        assert_string_equal(pools[0].info.devices[1], "/dev/vdb");
        lvm_pools_free(pools, 1);
        assert_non_null(strstr(asked, "lvm pvs "));
        assert_non_null(strstr(asked, " --devices /dev/vda --devices /dev/vdb "));
}

static void test_two_pools_in_one_group(void **state) {
        LvmPool *pools;

        assert_int_equal(find(REPORT(THREE("vg0") "," THREE("vg1")), &pools), 2);
        lvm_pools_free(pools, 2);
        assert_int_equal(find(REPORT(""), &pools), 0);
        lvm_pools_free(pools, 0);
}

/* Tags come with disks from elsewhere. */
static void test_doubtful_pools_are_none(void **state) {
#define BAD(tags)                                                             \
        REPORT(ROW("/dev/vda", "v", "", "cat", "1", TAGS("catalog")) "," ROW( \
                "/dev/vda", "v", "", "meta", "1", TAGS("metadata")) "," ROW("/dev/vda", "v", "", "dat", "1", tags))
        static const char *const bad[] = {
                REPORT(ROW("/dev/vda", "v", "", "cat", "1", TAGS("catalog"))),
                REPORT(THREE("v") "," ROW("/dev/vda", "v", "", "dat2", "1", TAGS("data"))),
                REPORT(ROW("/dev/vda", "v", "", "cat2", "1", TAGS("catalog")) "," THREE("v")),
                BAD("\"quarry\",\"quarry.role=data\",\"quarry.uuid=" UUID "\""),
                BAD("\"quarry\",\"quarry.role=data\",\"quarry.pool=../x\",\"quarry.chunk=65536\",\"quarry.origin=devices\",\"quarry.uuid=" UUID
                    "\""),
                BAD("\"quarry\",\"quarry.role=data\",\"quarry.pool=fast\",\"quarry.chunk=1\",\"quarry.origin=devices\",\"quarry.uuid=" UUID
                    "\""),
                BAD("\"quarry\",\"quarry.role=data\",\"quarry.pool=fast\",\"quarry.chunk=65536\",\"quarry.origin=moon\",\"quarry.uuid=" UUID
                    "\""),
                BAD("\"quarry.role=data\",\"quarry.pool=fast\",\"quarry.chunk=65536\",\"quarry.origin=vg\",\"quarry.uuid=" UUID
                    "\""),
                BAD("\"quarry\",\"quarry.role=data\",\"quarry.uuid=nonsense\""),
        };
        LvmPool *pools;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_row(find(bad[i], &pools) == 0, bad[i]);
                lvm_pools_free(pools, 0);
        }
}

static void test_remnants(void **state) {
        LvmPool pool = {};
        Error err = {};

        answer = REPORT(ROW("/dev/vda", "quarry-" UUID, "\"quarry\",\"quarry.uuid=" UUID "\"", "", "0", ""));
        assert_int_equal(lvm_find_pool(devices, uuid, &pool, &err), 0);
        assert_string_equal(pool.info.vg, "quarry-" UUID);
        assert_string_equal(pool.info.devices[0], "/dev/vda");
        assert_string_equal(pool.catalog, "");
        assert_int_equal(lvm_activate(&pool, NULL, NULL, NULL, &err), -ENODEV);
        assert_int_equal(lvm_remove_volumes(&pool, &err), 0);
        lvm_pool_done(&pool);

        answer = REPORT(ROW("/dev/vda", "v", "", "cat", "1", TAGS("catalog")));
        assert_int_equal(lvm_find_pool(devices, uuid, &pool, &err), 0);
        assert_string_equal(pool.catalog, "cat");
        assert_int_equal(lvm_remove_volumes(&pool, &err), 0);
        assert_non_null(strstr(asked, "lvm lvremove "));
        assert_non_null(strstr(asked, "--devices /dev/vda --yes v/cat"));
        lvm_pool_done(&pool);
        answer = REPORT("");
        assert_int_equal(lvm_find_pool(devices, uuid, &pool, &err), -ENXIO);
        assert_int_equal(err.kind, ERROR_NO_SUCH_POOL);
}

static void test_broken_reports(void **state) {
        static const char *const bad[] = {
                "",
                "{",
                "[]",
                "{}",
                "{\"report\":[]}",
                "{\"report\":[{\"pv\":{}}]}",
                "{\"report\":[{\"pv\":[1]}]}",
                "{\"report\":[{\"pv\":[{}]}]}",
                "{\"report\":[{\"pv\":[{\"pv_name\":1,\"vg_name\":\"\",\"vg_uuid\":\"\",\"lv_name\":\"\"}]}]}"
        };
        LvmPool *pools;
        Error err = {};
        size_t n;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                answer = bad[i];
                assert_row(lvm_find_pools(devices, &pools, &n, &err) < 0, bad[i]);
                assert_int_equal(err.kind, ERROR_FAILED);
        }
}

static void test_failures_are_told(void **state) {
        char *none[] = { NULL };
        LvmPool *pools;
        Error err = {};
        size_t n;

        answer = "";
        status = 5;
        assert_true(lvm_find_pools(devices, &pools, &n, &err) < 0);
        assert_string_equal(err.text, "lvm pvs failed: Volume group \"x\" not found Cannot process volume group x");
        status = -ETIMEDOUT;
        assert_int_equal(lvm_find_pools(devices, &pools, &n, &err), -ETIMEDOUT);
        status = -ENOENT;
        assert_int_equal(lvm_find_pools(devices, &pools, &n, &err), -ENOENT);
        status = 0;
        /* It is never run without being told where to look. */
        asked[0] = 0;
        assert_int_equal(lvm_find_pools(none, &pools, &n, &err), 0);
        assert_int_equal(n, 0);
        assert_true(lvm_create_vg(uuid, none, &err) < 0);
        assert_string_equal(asked, "");
}

static void test_owner(void **state) {
        LvmPool *pools;
        Error err = {};

        assert_int_equal(find(REPORT(THREE("v")), &pools), 1);
        asked[0] = 0;
        assert_int_equal(lvm_set_host(pools, "abc", &err), 0);
        assert_string_equal(asked, "");
        assert_int_equal(lvm_set_host(pools, "def", &err), 0);
        assert_non_null(strstr(asked, "--deltag quarry.host=abc --addtag quarry.host=def v/cat v/meta v/dat"));
        assert_int_equal(lvm_set_host(pools, NULL, &err), 0);
        assert_non_null(strstr(asked, "--deltag quarry.host=def v/cat"));
        assert_int_equal(lvm_set_host(pools, "abc", &err), 0); /* as an undo does */
        assert_non_null(strstr(asked, "--addtag quarry.host=abc v/cat"));
        lvm_pools_free(pools, 1);
}

#define GENERATION(n) ",\"quarry.generation=" n "\""
#define META(lv, tags) "," ROW("/dev/vda", "v", "", lv, "67108864", TAGS("metadata") tags)

static void test_the_last_repair_counts(void **state) {
        static const char *const reports[] = {
                REPORT(THREE("v") META("meta-1", GENERATION("1")) META("meta-10", GENERATION("10"))
                               META("meta-2", GENERATION("2"))),
                REPORT(ROW("/dev/vda", "v", "", "meta-10", "67108864", TAGS("metadata") GENERATION("10"))
                               META("meta-2", GENERATION("2")) META("meta-1", GENERATION("1")) "," THREE("v")),
        };
        static const char *const doubtful[] = {
                REPORT(THREE("v") META("other", "")),
                REPORT(THREE("v") META("meta-1", GENERATION("1")) META("meta-one", GENERATION("1"))),
                REPORT(THREE("v") META("meta-1", GENERATION("-1"))),
        };
        LvmPool *pools;
        Error err = {};

        for (size_t i = 0; i < ELEMENTSOF(reports); i++) {
                assert_int_equal(find(reports[i], &pools), 1);
                assert_string_equal(pools->metadata, "meta-10");
                assert_true(pools->generation == 10);
                assert_int_equal(strv_length(pools->old_metadata), 3);
                assert_int_equal(lvm_deactivate(pools, &err), 0);
                assert_non_null(strstr(asked, "--activate n v/cat v/meta-10 v/dat v/"));
                assert_int_equal(lvm_remove_volumes(pools, &err), 0);
                for (char **old = pools->old_metadata; *old; old++)
                        assert_non_null(strstr(asked, *old));
                lvm_pools_free(pools, 1);
        }
        for (size_t i = 0; i < ELEMENTSOF(doubtful); i++) {
                assert_row(find(doubtful[i], &pools) == 0, doubtful[i]);
                lvm_pools_free(pools, 0);
        }
}

static void test_a_spare(void **state) {
        LvmPool *pools;
        Error err = {};
        dev_t device;

        assert_int_equal(
                find(REPORT(THREE("v") "," ROW("/dev/vda", "v", "", "new", "67108864", TAGS("spare"))), &pools), 1);
        assert_string_equal(pools->metadata, "meta");
        assert_string_equal(pools->spare, "new");
        assert_int_equal(lvm_take_spare(pools, &err), 0);
        assert_non_null(strstr(asked, "--deltag quarry.role=spare --addtag quarry.role=metadata --addtag "
                                      "quarry.generation=1 v/new"));
        assert_int_equal(lvm_remove_spare(pools, &err), 0);
        assert_non_null(strstr(asked, "--yes v/new"));
        assert_string_equal(pools->spare, "");

        asked[0] = 0;
        pools->vg_free = pools->metadata_size - 1;
        assert_int_equal(lvm_make_spare(pools, "abc", &device, &err), -ENOSPC);
        assert_int_equal(err.kind, ERROR_NO_SPACE);
        assert_string_equal(err.hint, "give it another disk: vgextend v DEVICE");
        assert_int_equal(strv_append(&pools->old_metadata, "meta-0"), 0);
        assert_int_equal(lvm_make_spare(pools, "abc", &device, &err), -ENOSPC);
        assert_non_null(strstr(err.hint, "lvremove v/meta-0"));
        assert_string_equal(asked, "");
        lvm_pools_free(pools, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_finds_a_pool),
                cmocka_unit_test(test_two_pools_in_one_group),
                cmocka_unit_test(test_doubtful_pools_are_none),
                cmocka_unit_test(test_remnants),
                cmocka_unit_test(test_broken_reports),
                cmocka_unit_test(test_failures_are_told),
                cmocka_unit_test(test_owner),
                cmocka_unit_test(test_the_last_repair_counts),
                cmocka_unit_test(test_a_spare),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
