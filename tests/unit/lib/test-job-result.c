#include <quarry/job.h>
#include <quarry/text.h>

#include "../unit.h"

#define KEY_ID "0123456789abcdef0123456789abcdef"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"
static const sd_id128_t id = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);

static int parse(const char *text, JobResult *ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        assert_true(sd_json_parse(text, 0, &v, NULL, NULL) >= 0);
        return job_result_from_json(v, ret);
}

static void test_comes_back_as_it_went(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_(job_result_done) JobResult back = {};
        JobResult result = { .n_pools = 2, .n_devices = 3, .open = true, .used = UINT64_C(1) << 62 };

        result.pools = calloc(2, sizeof(PoolInfo));
        result.devices = calloc(3, sizeof(JobDevice));
        result.path = strdup("/run/quarry/mnt/team/db");
        for (size_t i = 0; i < 2; i++) {
                result.pools[i] = (PoolInfo) { .uuid = id, .vg = strdup("vg") };
                snprintf(result.pools[i].name, sizeof(result.pools[i].name), "p%zu", i);
        }
        for (size_t i = 0; i < 3; i++)
                result.devices[i] = (JobDevice) { .uuid = id, .used = i };

        result.users = strdup("used by sleep (pid 7)");
        result.damage = strdup("bad checksum in superblock");
        result.kept = strdup("vg/old");
        result.devices[1].content = id;
        result.devices[1].unchanged = true;
        result.elapses = calloc(2, sizeof(uint64_t));
        result.elapses[result.n_elapses++] = 0;
        result.elapses[result.n_elapses++] = UINT64_C(1795708800000000);
        result.thin_ids = calloc(2, sizeof(uint32_t));
        result.thin_ids[result.n_thin_ids++] = THIN_ID_MAX;
        result.thin_ids[result.n_thin_ids++] = 0;
        result.thin_ids_are_known = true;
        result.thins = calloc(2, sizeof(*result.thins));
        result.thins[result.n_thins++] = (ThinUsage) { .thin_id = THIN_ID_MAX, .used = 3, .exclusive = 2 };
        result.thins[result.n_thins++] = (ThinUsage) {};
        result.delta = (ThinDelta) {
                .chunk_size = 64, .total = 640, .count = 5, .n_ranges = 2, .ranges = calloc(2, sizeof(ThinRange))
        };
        result.delta.ranges[1] = (ThinRange) { .offset = 64, .length = 128 };
        result.keys = (VolumeKeys) { .n = 2, .room = 2, .host_key = KEY_ID, .suspended = true };
        result.keys.slots[0] = (Keyslot) { .number = 31, .kind = KEYSLOT_HOST, .kdf = "pbkdf2" };
        result.keys.slots[1] = (Keyslot) { .kind = KEYSLOT_FOREIGN, .kdf = "argon2id", .token = "systemd-tpm2" };
        result.host_keys = calloc(2, sizeof(HostKey));
        result.host_keys[result.n_host_keys++] = (HostKey) { KEY_ID, HOST_KEY_FROM_FILE };
        result.host_keys[result.n_host_keys++] = (HostKey) { KEY_ID, HOST_KEY_KEPT };
        assert_non_null(finding_add(&result.findings, FINDING_STRAY_LOCK, "lock", "left over"));

        assert_true(job_result_to_json(&result, &v) >= 0);
        assert_int_equal(job_result_from_json(v, &back), 0);
        assert_memory_equal(&back.keys, &result.keys, sizeof(VolumeKeys));
        assert_int_equal(back.n_host_keys, 2);
        assert_memory_equal(back.host_keys, result.host_keys, 2 * sizeof(HostKey));
        assert_string_equal(back.users, result.users);
        assert_string_equal(back.damage, result.damage);
        assert_string_equal(back.kept, result.kept);
        assert_int_equal(back.n_thin_ids, 2);
        assert_int_equal(back.thin_ids[0], THIN_ID_MAX);
        assert_int_equal(back.n_thins, 2);
        assert_memory_equal(&back.thins[0], &result.thins[0], sizeof(ThinUsage));
        assert_int_equal(back.delta.chunk_size, 64);
        assert_int_equal(back.delta.total, 640);
        assert_int_equal(back.delta.count, 5);
        assert_int_equal(back.delta.n_ranges, 2);
        assert_memory_equal(back.delta.ranges, result.delta.ranges, 2 * sizeof(ThinRange));
        assert_int_equal(back.findings.n, 1);
        assert_string_equal(back.findings.items[0].object, "lock");
        assert_int_equal(back.n_pools, 2);
        assert_string_equal(back.pools[1].name, "p1");
        assert_string_equal(back.pools[1].vg, "vg");
        assert_int_equal(back.n_devices, 3);
        assert_int_equal(back.devices[2].used, 2);
        assert_true(sd_id128_equal(back.devices[1].content, id) && back.devices[1].unchanged);
        assert_true(sd_id128_is_null(back.devices[2].content) && !back.devices[2].unchanged);
        assert_int_equal(back.n_elapses, 2);
        assert_true(back.elapses[0] == 0 && back.elapses[1] == UINT64_C(1795708800000000));
        assert_true(sd_id128_equal(back.devices[2].uuid, id));
        assert_string_equal(back.path, result.path);
        assert_true(back.open);
        assert_true(back.used == result.used);
        job_result_done(&result);
        job_result_done(&result);
}

static void test_empty(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        JobResult result = {}, back = { .open = true };

        assert_true(job_result_to_json(&result, &v) >= 0);
        assert_int_equal(job_result_from_json(v, &back), 0);
        assert_false(back.open);
        assert_false(back.thin_ids_are_known); /* another thing than that there are none */
        result.thin_ids_are_known = true;
        v = sd_json_variant_unref(v);
        assert_true(job_result_to_json(&result, &v) >= 0);
        assert_int_equal(job_result_from_json(v, &back), 0);
        assert_true(back.thin_ids_are_known);
        assert_int_equal(back.n_thin_ids, 0);
        assert_int_equal(back.n_pools, 0);
        assert_null(back.pools);
        job_result_done(&back);
        assert_int_equal(parse("{}", &back), 0);
        assert_int_equal(parse("{\"pools\":[],\"devices\":[]}", &back), 0);
        assert_null(back.devices);
}

static void test_rules(void **state) {
        static const char *const bad[] = {
                "null",
                "[]",
                "5",
                "{\"unknown\":1}",
                "{\"path\":\"relative\"}",
                "{\"path\":\"/run/../etc\"}",
                "{\"path\":5}",
                "{\"open\":1}",
                "{\"users\":1}",
                "{\"thinIds\":[-1]}",
                "{\"thinIds\":[16777216]}",
                "{\"thinIds\":{}}",
                "{\"findings\":[{\"kind\":\"strayLock\"}]}",
                "{\"findings\":[{\"kind\":\"unheardOf\",\"object\":\"a\",\"message\":\"b\"}]}",
                "{\"usedBytes\":-1}",
                "{\"usedBytes\":\"5\"}",
                "{\"pools\":{}}",
                "{\"pools\":[5]}",
                "{\"pools\":[{\"name\":\"p\",\"uuid\":\"" UUID "\",\"origin\":\"vg\"},{}]}",
                "{\"devices\":5}",
                "{\"devices\":[5]}",
                "{\"devices\":[{\"uuid\":\"" UUID "\"}]}",
                "{\"devices\":[{\"usedBytes\":5}]}",
                "{\"devices\":[{\"uuid\":\"" UUID "\",\"usedBytes\":5},{\"uuid\":\"" UUID "\",\"usedBytes\":-5}]}",
                "{\"devices\":[{\"uuid\":\"" UUID "\",\"usedBytes\":5,\"more\":1}]}",
                "{\"devices\":[{\"uuid\":\"00000000-0000-0000-0000-000000000000\",\"usedBytes\":5}]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                JobResult result = { .used = 4711 };

                assert_row(parse(bad[i], &result) == -EINVAL, bad[i]);
                assert_int_equal(result.used, 4711);
                assert_null(result.pools);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_comes_back_as_it_went),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_rules),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
