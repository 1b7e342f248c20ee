#include <quarry/pool.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include "../unit.h"

#define A128 A64 A64
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const sd_id128_t volume = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);
static const sd_id128_t pool = SD_ID128_MAKE(fe, dc, ba, 98, 76, 54, 32, 10, fe, dc, ba, 98, 76, 54, 32, 10);
#define VOLUME_UUID "01234567-89ab-cdef-0123-456789abcdef"
#define POOL_UUID "fedcba98-7654-3210-fedc-ba9876543210"

static void test_volume_names(void **state) {
        static const char *const good[] = { "a", "0", "Z", "db-1", "a.b_c-d", "a..b", A64, A128, "com.example.x" };
        static const char *const bad[] = { "",    ".",   "..",    "-a",    "_a",  ".a", "a b",  "a/b",  "a:b",
                                           "a@b", "a\n", "a\x1b", "größe", "a,b", "a*", "a\\b", "../x", A128 "a" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_row(volume_name_is_valid(good[i]), good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!volume_name_is_valid(bad[i]), bad[i]);
        assert_false(volume_name_is_valid(NULL));
}

static void test_pool_and_tenant_names(void **state) {
        static const char *const good[] = { "a", "default", "team-1", "a--", A32 };
        static const char *const bad[] = { "", "A", "1a", "-a", "a.b", "a_b", "a b", "a/b", "..", "\xc3\xa4", A32 "a" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_row(pool_name_is_valid(good[i]) && tenant_name_is_valid(good[i]), good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!pool_name_is_valid(bad[i]) && !tenant_name_is_valid(bad[i]), bad[i]);
}

static void test_labels(void **state) {
        char big[LABEL_VALUE_MAX + 2];

        assert_true(label_key_is_valid("com.docker.compose.project"));
        assert_true(label_key_is_valid("example.com/owner"));
        assert_true(label_key_is_valid(A128));
        static const char *const bad[] = { "", "=", "a=b", "a b", ".a", "-a", "ä", "a\n", A128 "a" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!label_key_is_valid(bad[i]), bad[i]);

        memset(big, 'v', sizeof(big));
        big[LABEL_VALUE_MAX + 1] = 0;
        assert_false(label_value_is_valid(big));
        big[LABEL_VALUE_MAX] = 0;
        assert_true(label_value_is_valid(big));
        assert_true(label_value_is_valid(""));
        assert_true(label_value_is_valid("a = b, größe"));
        assert_false(label_value_is_valid("a\nb"));
        assert_false(label_value_is_valid("\xff"));
}

static void test_refusals_say_the_rule(void **state) {
        Error err = {};

        assert_int_equal(volume_name_check("a b", "volume", &err), -EINVAL);
        assert_string_equal(err.field, "volume");
        assert_string_equal(
                err.text, "volume name \"a b\" is not valid: 1 to 128 of A-Z a-z 0-9 _ . -, beginning with a letter or "
                          "digit");
        volume_name_check("x\x1b[31m\n" A128, "volume", &err);
        assert_non_null(strstr(err.text, "\"x\\x1b[31m\\x0aaaaaaa"));
        assert_non_null(strstr(err.text, "...\" is not valid"));
        assert_int_equal(tenant_name_check("Team", "tenant", &err), -EINVAL);
        assert_string_equal(err.text,
                            "tenant name \"Team\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter");
        assert_int_equal(pool_name_check("", "pool", &err), -EINVAL);
        assert_int_equal(pool_name_check("default", "pool", &err), 0);
        assert_int_equal(tenant_name_check("default", "tenant", &err), 0);
        assert_int_equal(volume_name_check("db", "volume", &err), 0);
}

static void test_references(void **state) {
        static const struct {
                const char *text, *pool, *tenant, *name; /* name NULL: refused */
        } rows[] = {
                { "db", "", "", "db" },
                { "team/db", "", "team", "db" },
                { "fast:db", "fast", "", "db" },
                { "fast:team/db", "fast", "team", "db" },
                { A32 ":" A32 "/" A128, A32, A32, A128 },
                { "" },
                { ":" },
                { "/" },
                { ":/" },
                { ":db" },
                { "/db" },
                { "fast:" },
                { "fast:/db" },
                { "team/" },
                { "fast:team/" },
                { "a/b/c" },
                { "a:b:c" },
                { "team/fast:db" },
                { ".." },
                { "../etc" },
                { "team/.." },
                { "team/../db" },
                { "Team/db" },
                { "Fast:db" },
                { " db" },
                { "db " },
                { "d\nb" },
                { A32 "a:db" },
                { A32 "a/db" },
                { A128 "a" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Reference ref = { .name = "untouched" };
                Error err = {};
                int r = reference_parse(rows[i].text, "volume", &ref, &err);

                if (!rows[i].name) {
                        assert_row(r == -EINVAL && err.kind == ERROR_BAD_REQUEST, rows[i].text);
                        assert_string_equal(err.field, "volume");
                        assert_string_equal(ref.name, "untouched");
                        continue;
                }
                assert_row(r == 0, rows[i].text);
                assert_string_equal(ref.pool, rows[i].pool);
                assert_string_equal(ref.tenant, rows[i].tenant);
                assert_string_equal(ref.name, rows[i].name);
        }
}

static void test_snapshot_references(void **state) {
        static const struct {
                const char *text, *pool, *tenant, *name, *snapshot; /* name NULL: refused, with this field */
        } rows[] = {
                { "db@monday", "", "", "db", "monday" },
                { "fast:team/db@x", "fast", "team", "db", "x" },
                { "db@" A64, "", "", "db", A64 },
                { "db@20261126T153000Z", "", "", "db", "20261126T153000Z" },
                { A128 "@" A64, "", "", A128, A64 },
                { "@" },
                { "db@" },
                { "@monday" },
                { "db@a@b" },
                { "db@@" },
                { "db@a/b" },
                { "db@fast:a" },
                { "db@.." },
                { "db@-a" },
                { "db@ a" },
                { "db@" A64 "a" },
                { A128 "a@a" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Reference ref = { .name = "untouched" };
                Error err = {};
                int r = reference_parse(rows[i].text, "volume", &ref, &err);

                if (!rows[i].name) {
                        assert_row(r == -EINVAL && err.kind == ERROR_BAD_REQUEST, rows[i].text);
                        assert_string_equal(err.field, "volume");
                        assert_string_equal(ref.name, "untouched");
                        continue;
                }
                assert_row(r == 0, rows[i].text);
                assert_string_equal(ref.pool, rows[i].pool);
                assert_string_equal(ref.tenant, rows[i].tenant);
                assert_string_equal(ref.name, rows[i].name);
                assert_string_equal(ref.snapshot, rows[i].snapshot);
        }
}

static void test_snapshot_names(void **state) {
        Error err = {};

        assert_true(snapshot_name_is_valid(A64));
        assert_false(snapshot_name_is_valid(A64 "a"));
        assert_false(snapshot_name_is_valid(""));
        assert_false(snapshot_name_is_valid("a@b"));
        assert_false(snapshot_name_is_valid(NULL));
        assert_int_equal(snapshot_name_check("monday", "name", &err), 0);
        assert_int_equal(snapshot_name_check("-", "name", &err), -EINVAL);
        assert_string_equal(err.field, "name");
        assert_string_equal(
                err.text, "snapshot name \"-\" is not valid: 1 to 64 of A-Z a-z 0-9 _ . -, beginning with a letter or "
                          "digit");
}

static void test_full_names(void **state) {
        static const char *const bad[] = { "",      "db",   "@",        "db@",           "@a", "a@b@c", "a/b@c",
                                           "a@b/c", "..@a", A128 "a@a", A128 "@" A64 "a" };
        char name[FULL_NAME_MAX + 1];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!full_name_is_valid(bad[i]), bad[i]);
        full_name_format("db", "monday", name);
        assert_string_equal(name, "db@monday");
        assert_true(full_name_is_valid(name));
        assert_string_equal(snapshot_name_of(name), "monday");
        full_name_format("db", "", name);
        assert_string_equal(name, "db");
        assert_null(snapshot_name_of(name));
        full_name_format(A128, A64, name);
        assert_string_equal(name, A128 "@" A64);
        assert_true(full_name_is_valid(name));
}

static void test_derived_names(void **state) {
        char name[KERNEL_NAME_MAX], path[MOUNT_PATH_MAX], catalog[CATALOG_PATH_MAX], uuid[UUID_TEXT_MAX];

        assert_string_equal(uuid_format(volume, uuid), VOLUME_UUID);
        volume_thin_name(volume, name);
        assert_string_equal(name, "quarry-" VOLUME_UUID);
        volume_crypt_name(volume, name);
        assert_string_equal(name, "quarry-" VOLUME_UUID "-crypt");
        pool_kernel_name(pool, name);
        assert_string_equal(name, "quarry-" POOL_UUID);
        pool_catalog_path(pool, catalog);
        assert_string_equal(catalog, "/run/quarry/catalog/" POOL_UUID);
        volume_mount_path("team", "db", path);
        assert_string_equal(path, "/run/quarry/mnt/team/db");
        volume_device_link("team", "db", path);
        assert_string_equal(path, "/dev/quarry/team/db");
        volume_mount_path(A32, A128, path);
        assert_string_equal(path, "/run/quarry/mnt/" A32 "/" A128);
        volume_mount_path(A32, A128 "@" A64, path);
        assert_string_equal(path, "/run/quarry/mnt/" A32 "/" A128 "@" A64);
}

static void test_kernel_names_lead_back(void **state) {
        static const char *const bad[] = {
                "",
                "quarry-",
                "quarry-" VOLUME_UUID "-",
                "quarry-" VOLUME_UUID "-crypt2",
                "quarry-" VOLUME_UUID "x",
                "quarry-0123456789abcdef0123456789abcdef",
                "quarry-0123456789abcdef0123456789abcdef-crypt",
                "quarry-01234567-89AB-cdef-0123-456789abcdef",
                "quarry-00000000-0000-0000-0000-000000000000",
                "Quarry-" VOLUME_UUID,
                "vg-" VOLUME_UUID,
                VOLUME_UUID,
        };
        char name[KERNEL_NAME_MAX];
        sd_id128_t id = {};

        volume_thin_name(volume, name);
        assert_int_equal(volume_uuid_from_kernel_name(name, &id), 0);
        assert_true(sd_id128_equal(id, volume));
        volume_crypt_name(pool, name);
        assert_int_equal(volume_uuid_from_kernel_name(name, &id), 0);
        assert_true(sd_id128_equal(id, pool));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(volume_uuid_from_kernel_name(bad[i], &id) == -EINVAL, bad[i]);
}

static void test_kernel_uuids(void **state) {
        static const char *const bad[] = {
                "",
                "QUARRY-",
                "QUARRY-" POOL_UUID,
                "QUARRY-" POOL_UUID "-",
                "QUARRY-" POOL_UUID "-thin",
                "QUARRY-" POOL_UUID "-thin-",
                "QUARRY-" POOL_UUID "--" VOLUME_UUID,
                "QUARRY-" POOL_UUID "-THIN-" VOLUME_UUID,
                "QUARRY-" POOL_UUID "-thinthin-" VOLUME_UUID,
                "QUARRY-" POOL_UUID "-thin-" VOLUME_UUID "x",
                "QUARRY-" POOL_UUID "xthin-" VOLUME_UUID,
                "quarry-" POOL_UUID "-thin-" VOLUME_UUID,
                "LVM-" POOL_UUID "-thin-" VOLUME_UUID,
                "CRYPT-LUKS2-" POOL_UUID "-thin-" VOLUME_UUID,
        };
        char text[KERNEL_UUID_MAX], kind[8];
        sd_id128_t p = {}, v = {};

        kernel_uuid_format(pool, "thin", volume, text);
        assert_string_equal(text, "QUARRY-" POOL_UUID "-thin-" VOLUME_UUID);
        assert_int_equal(kernel_uuid_parse(text, &p, kind, &v), 0);
        assert_true(sd_id128_equal(p, pool) && sd_id128_equal(v, volume));
        assert_string_equal(kind, "thin");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(kernel_uuid_parse(bad[i], &p, kind, &v) == -EINVAL, bad[i]);
        assert_string_equal(kind, "thin");
        kernel_uuid_format(pool, "abcdefgh", volume, text); /* as much of a kind as fits */
        assert_int_equal(kernel_uuid_parse(text, &p, kind, &v), 0);
        assert_string_equal(kind, "abcdefg");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_volume_names),   cmocka_unit_test(test_pool_and_tenant_names),
                cmocka_unit_test(test_labels),         cmocka_unit_test(test_refusals_say_the_rule),
                cmocka_unit_test(test_references),     cmocka_unit_test(test_snapshot_references),
                cmocka_unit_test(test_snapshot_names), cmocka_unit_test(test_full_names),
                cmocka_unit_test(test_derived_names),  cmocka_unit_test(test_kernel_names_lead_back),
                cmocka_unit_test(test_kernel_uuids),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
