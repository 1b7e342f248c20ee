#include <quarry/pool.h>
#include <quarry/text.h>

#include "../unit.h"

#define EXTENT (4 * MIB)

static char *two_devices[] = { (char *) "/dev/vda", (char *) "/dev/vdb", NULL };
static char *same_twice[] = { (char *) "/dev/vda", (char *) "/dev/vdb", (char *) "/dev/vda", NULL };
static char *relative[] = { (char *) "vda", NULL };
static char *upwards[] = { (char *) "/dev/../etc/passwd", NULL };
static char *no_devices[] = { NULL };

static void test_words(void **state) {
        for (PoolOrigin o = 0; o < _POOL_ORIGIN_MAX; o++)
                assert_int_equal(pool_origin_from_string(pool_origin_to_string(o)), o);
        assert_int_equal(pool_origin_from_string(NULL), -EINVAL);
        assert_null(pool_state_to_string(_POOL_STATE_MAX));
        assert_null(pool_origin_to_string(_POOL_ORIGIN_MAX));
}

static void test_vg_names(void **state) {
        static const char *const good[] = { "vg0", "VG", "+x", "_x", ".x", "a-b", "a.b+c_d" };
        static const char *const bad[] = { "", "-x", ".", "..", "a b", "a/b", "ä", "a\n", "a:b", "a@b" };
        char big[129];

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_row(vg_name_is_valid(good[i]), good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!vg_name_is_valid(bad[i]), bad[i]);
        memset(big, 'v', sizeof(big));
        big[128] = 0;
        assert_false(vg_name_is_valid(big));
        big[127] = 0;
        assert_true(vg_name_is_valid(big));
}

static void test_specs(void **state) {
        char vg[] = "vg0", bad_vg[] = "-x", file[] = "/var/lib/p", bad_file[] = "p", up_file[] = "/a/../p";
        const struct {
                const char *field, *text; /* NULL: accepted */
                PoolSpec spec;
        } rows[] = {
                { NULL, "", { .name = "p", .devices = two_devices } },
                { NULL, "", { .name = "p", .vg = vg, .size = GIB } },
                { NULL,
                  "",
                  { .name = "p", .file = file, .size = GIB, .metadata_size = 64 * MIB, .chunk_size = 128 << 10 } },
                { NULL, "", { .name = "p", .file = file, .size = 260 * MIB } },
                { NULL, "", { .name = "p", .file = file, .size = UINT64_C(1) << 50, .metadata_size = 16 * GIB } },
                { NULL, "", { .name = "p", .devices = two_devices, .chunk_size = 64 << 10 } },
                { NULL, "", { .name = "p", .devices = two_devices, .chunk_size = GIB } },
                { "name",
                  "pool name \"P\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter",
                  { .name = "P", .devices = two_devices } },
                { "name",
                  "pool name \"\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter",
                  { .devices = two_devices } },
                { "devices",
                  "a pool is made of exactly one of: block devices, a volume group, a file",
                  { .name = "p" } },
                { "devices",
                  "a pool is made of exactly one of: block devices, a volume group, a file",
                  { .name = "p", .devices = no_devices } },
                { "devices",
                  "a pool is made of exactly one of: block devices, a volume group, a file",
                  { .name = "p", .devices = two_devices, .vg = vg } },
                { "devices",
                  "a pool is made of exactly one of: block devices, a volume group, a file",
                  { .name = "p", .vg = vg, .file = file, .size = GIB } },
                { "devices", "device \"/dev/vda\" is given twice", { .name = "p", .devices = same_twice } },
                { "devices",
                  "\"vda\" is not an absolute path without \".\", \"..\" and control characters",
                  { .name = "p", .devices = relative } },
                { "devices",
                  "\"/dev/../etc/passwd\" is not an absolute path without \".\", \"..\" and control characters",
                  { .name = "p", .devices = upwards } },
                { "file",
                  "\"p\" is not an absolute path without \".\", \"..\" and control characters",
                  { .name = "p", .file = bad_file, .size = GIB } },
                { "file",
                  "\"/a/../p\" is not an absolute path without \".\", \"..\" and control characters",
                  { .name = "p", .file = up_file, .size = GIB } },
                { "volumeGroup",
                  "volume group name \"-x\" is not valid: 1 to 127 of A-Z a-z 0-9 + _ . -, not beginning with -",
                  { .name = "p", .vg = bad_vg, .size = GIB } },
                { "sizeBytes",
                  "a pool of whole devices takes all of them: give no size",
                  { .name = "p", .devices = two_devices, .size = GIB } },
                { "sizeBytes", "a pool in a volume group or a file needs a size", { .name = "p", .vg = vg } },
                { "sizeBytes",
                  "size 259M is too small: a pool needs at least 260M",
                  { .name = "p", .file = file, .size = 259 * MIB } },
                { "sizeBytes",
                  "size 2P is too large: a pool has at most 1P",
                  { .name = "p", .file = file, .size = UINT64_C(1) << 51 } },
                { "metadataSizeBytes",
                  "metadata size 4M is not valid: 64M to 16G",
                  { .name = "p", .devices = two_devices, .metadata_size = 4 * MIB } },
                { "metadataSizeBytes",
                  "metadata size 17G is not valid: 64M to 16G",
                  { .name = "p", .devices = two_devices, .metadata_size = 17 * GIB } },
                { "chunkSizeBytes",
                  "chunk size 4K is not valid: a multiple of 64K, 64K to 1G",
                  { .name = "p", .devices = two_devices, .chunk_size = 4096 } },
                { "chunkSizeBytes",
                  "chunk size 100K is not valid: a multiple of 64K, 64K to 1G",
                  { .name = "p", .devices = two_devices, .chunk_size = 100 << 10 } },
                { "chunkSizeBytes",
                  "chunk size 2G is not valid: a multiple of 64K, 64K to 1G",
                  { .name = "p", .devices = two_devices, .chunk_size = 2 * GIB } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Error err = {};
                int r = pool_spec_validate(&rows[i].spec, &err);

                assert_string_equal(err.text, rows[i].text);
                assert_int_equal(r, rows[i].field ? -EINVAL : 0);
                assert_string_equal(err.field, rows[i].field ?: "");
        }
}

static void test_a_path_is_shorter_than_the_kernels_bound(void **state) {
        char path[4097] = "/", *devices[] = { path, NULL };

        memset(path + 1, 'x', 4094);
        assert_int_equal(pool_devices_check(devices, NULL), 0);
        path[4095] = 'x';
        assert_int_equal(pool_devices_check(devices, NULL), -EINVAL);
}

static void test_too_many_devices(void **state) {
        _cleanup_strv_ char **devices = NULL;
        Error err = {};

        for (int i = 0; i <= POOL_DEVICES_MAX; i++) {
                _cleanup_free_ char *device = format_new("/dev/d%d", i);

                assert_int_equal(pool_devices_check(devices, &err), 0);
                assert_int_equal(strv_append(&devices, device), 0);
        }
        assert_int_equal(pool_devices_check(devices, &err), -EINVAL);
        assert_string_equal(err.text, "65 devices are too many: at most 64");
}

static void test_metadata_sizes(void **state) {
        static const struct {
                uint64_t data, chunk, metadata;
        } rows[] = {
                { 0, 64 << 10, 64 * MIB },
                { GIB, 64 << 10, 64 * MIB },
                { GIB, 0, 64 * MIB },
                { 100 * GIB, 64 << 10, 150 * MIB }, /* 1,638,400 chunks of 96 bytes */
                { 100 * GIB, 128 << 10, 75 * MIB },
                { 100 * GIB, MIB, 64 * MIB },
                { UINT64_C(100) << 40, 64 << 10, 16 * GIB },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_true(pool_metadata_size(rows[i].data, rows[i].chunk) == rows[i].metadata);
}

static void assert_layout_is_sound(const PoolLayout *l, uint64_t available, uint64_t extent) {
        assert_int_equal(l->catalog % extent, 0);
        assert_int_equal(l->metadata % extent, 0);
        assert_int_equal(l->data % extent, 0);
        assert_int_equal(l->spare, l->metadata);
        assert_true(l->catalog >= POOL_CATALOG_SIZE);
        assert_true(l->data >= POOL_DATA_SIZE_MIN);
        assert_true(l->catalog + l->metadata + l->data + l->spare <= available);
}

static void test_layouts(void **state) {
        static const struct {
                uint64_t available, extent, chunk, asked, metadata, data;
        } rows[] = {
                { 256 * MIB, EXTENT, 0, 0, 64 * MIB, 64 * MIB },
                { 4 * GIB, EXTENT, 0, 0, 64 * MIB, 4 * GIB - 192 * MIB },
                { 4 * GIB - 1, EXTENT, 0, 0, 64 * MIB, 4 * GIB - 196 * MIB },
                { 4 * GIB, EXTENT, 0, 100 * MIB, 100 * MIB, 4 * GIB - 264 * MIB },
                { 4 * GIB, EXTENT, 0, 65 * MIB, 68 * MIB, 4 * GIB - 200 * MIB },
                { 4 * GIB, EXTENT, 0, 64 * MIB + 1, 68 * MIB, 4 * GIB - 200 * MIB },
                { 4 * GIB, 128 * MIB, 0, 0, 128 * MIB, 4 * GIB - 384 * MIB },
                { 100 * GIB, EXTENT, 0, 0, 152 * MIB, 100 * GIB - 368 * MIB },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                PoolSpec spec = { .chunk_size = rows[i].chunk, .metadata_size = rows[i].asked };
                PoolLayout layout = {};
                Error err = {};

                assert_int_equal(pool_layout_compute(&spec, rows[i].available, rows[i].extent, &layout, &err), 0);
                assert_int_equal(layout.metadata, rows[i].metadata);
                assert_int_equal(layout.data, rows[i].data);
                assert_layout_is_sound(&layout, rows[i].available, rows[i].extent);
        }
}

static void test_layouts_of_all_sizes_are_sound(void **state) {
        for (uint64_t available = 256 * MIB; available < UINT64_C(20) << 40; available += available / 7 + 12345)
                for (uint64_t extent = MIB; extent <= 32 * MIB; extent *= 4) {
                        PoolSpec spec = { .devices = two_devices };
                        PoolLayout layout;

                        assert_int_equal(pool_layout_compute(&spec, available, extent, &layout, NULL), 0);
                        assert_layout_is_sound(&layout, available, extent);
                }
}

static void test_a_size_asked_for_is_a_bound(void **state) {
        char vg[] = "vg0", file[] = "/f";
        PoolSpec of_vg = { .vg = vg, .size = 2 * GIB }, of_file = { .file = file, .size = 2 * GIB };
        PoolLayout layout = {};
        Error err = {};

        assert_int_equal(pool_layout_compute(&of_vg, 100 * GIB, EXTENT, &layout, &err), 0);
        assert_true(layout.catalog + layout.metadata + layout.data + layout.spare == 2 * GIB);
        assert_int_equal(pool_layout_compute(&of_vg, 2 * GIB, EXTENT, &layout, &err), 0);
        assert_int_equal(pool_layout_compute(&of_vg, GIB, EXTENT, &layout, &err), -ENOSPC);
        assert_int_equal(err.kind, ERROR_NO_SPACE);
        assert_string_equal(err.text, "volume group vg0 has 1G free, and the pool is to have 2G");
        /* LVM takes its share of the file */
        assert_int_equal(pool_layout_compute(&of_file, 2 * GIB - EXTENT, EXTENT, &layout, &err), 0);
        assert_true(layout.catalog + layout.metadata + layout.data + layout.spare == 2 * GIB - EXTENT);
}

static void test_the_smallest_file_is_enough(void **state) {
        char file[] = "/f";
        PoolSpec spec = { .name = "p", .file = file, .size = pool_size_min() };
        PoolLayout layout;

        assert_int_equal(pool_spec_validate(&spec, NULL), 0);
        /* LVM's metadata area is 1 MiB, the rest is rounded down to extents */
        assert_int_equal(pool_layout_compute(&spec, (spec.size - MIB) / EXTENT * EXTENT, EXTENT, &layout, NULL), 0);
}

static void test_too_small_devices(void **state) {
        PoolSpec spec = { .devices = two_devices };
        PoolLayout layout = { .data = 4711 };
        Error err = {};

        assert_int_equal(pool_layout_compute(&spec, 256 * MIB - 1, EXTENT, &layout, &err), -EBUSY);
        assert_int_equal(err.kind, ERROR_DEVICE_UNUSABLE);
        assert_string_equal(err.text, "252M is too small for a pool: it needs at least 256M");
        assert_int_equal(pool_layout_compute(&spec, 0, EXTENT, &layout, &err), -EBUSY);
        spec.metadata_size = 16 * GIB;
        assert_int_equal(pool_layout_compute(&spec, 4 * GIB, EXTENT, &layout, &err), -EBUSY);
        assert_string_equal(err.text, "4G is too small for a pool: it needs at least 32896M");
        assert_true(layout.data == 4711);
}

static void test_metadata_must_map_the_data_once(void **state) {
        PoolSpec spec = { .devices = two_devices, .metadata_size = 64 * MIB };
        PoolLayout layout;
        Error err = {};

        assert_int_equal(pool_layout_compute(&spec, 80 * GIB, EXTENT, &layout, &err), 0);
        assert_int_equal(pool_layout_compute(&spec, 100 * GIB, EXTENT, &layout, &err), -EINVAL);
        assert_string_equal(err.field, "metadataSizeBytes");
        assert_string_equal(err.text, "metadata of 64M is too small for 99.8G of data in chunks of 64K: at least 75M");

        spec.metadata_size = 0;
        assert_int_equal(pool_layout_compute(&spec, UINT64_C(100) << 40, EXTENT, &layout, &err), -EINVAL);
        assert_string_equal(err.field, "chunkSizeBytes");
        assert_string_equal(err.text, "chunks of 64K are too small for 100T of data: at least 512K");
        spec.metadata_size = 16 * GIB; /* more cannot be asked for */
        assert_int_equal(pool_layout_compute(&spec, UINT64_C(100) << 40, EXTENT, &layout, &err), -EINVAL);
        assert_string_equal(err.field, "chunkSizeBytes");
        spec.metadata_size = 0;
        spec.chunk_size = 512 << 10;
        assert_int_equal(pool_layout_compute(&spec, UINT64_C(100) << 40, EXTENT, &layout, &err), 0);
}

static void test_growth(void **state) {
        const PoolLayout have = { .catalog = 64 * MIB, .metadata = 64 * MIB, .data = 808 * MIB };
        static const struct {
                const char *what;
                PoolGrowth growth;
                uint64_t free, metadata, data;
        } rows[] = {
                { "all, nothing is free but the spare", {}, 64 * MIB, 64 * MIB, 808 * MIB },
                { "all, and the spare was taken by others", {}, 0, 64 * MIB, 808 * MIB },
                { "all", {}, 1064 * MIB, 64 * MIB, 1808 * MIB },
                { "all, more than the maps suffice for", {}, 100 * GIB, 152 * MIB, 100 * GIB + 568 * MIB },
                { "a size that it has", { .total = 1000 * MIB }, 64 * MIB, 64 * MIB, 808 * MIB },
                { "the same, and others took the spare", { .total = 1000 * MIB }, 0, 64 * MIB, 808 * MIB },
                { "a size", { .total = 2 * GIB }, 10 * GIB, 64 * MIB, 2 * GIB - 192 * MIB },
                { "bytes more", { .data = 100 * MIB }, 10 * GIB, 64 * MIB, 908 * MIB },
                { "no whole extents", { .data = 1 }, 10 * GIB, 64 * MIB, 812 * MIB },
                { "what is there", { .data = GIB }, 164 * MIB, 64 * MIB, 908 * MIB },
                { "nothing is there", { .data = GIB }, 64 * MIB, 64 * MIB, 808 * MIB },
                { "and less than nothing", { .data = GIB }, 0, 64 * MIB, 808 * MIB },
                { "maps", { .metadata = 64 * MIB }, 10 * GIB, 128 * MIB, 808 * MIB },
                { "maps that leave no spare", { .metadata = 64 * MIB }, 100 * MIB, 64 * MIB, 808 * MIB },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                PoolLayout layout = {};

                assert_row(pool_layout_grow(&have, &rows[i].growth, POOL_CHUNK_SIZE_DEFAULT, rows[i].free, EXTENT,
                                            &layout, NULL) == 0,
                           rows[i].what);
                assert_row(layout.metadata == rows[i].metadata, rows[i].what);
                assert_row(layout.data == rows[i].data, rows[i].what);
                assert_row(layout.catalog == have.catalog && layout.spare == layout.metadata, rows[i].what);
        }
}

static void test_growth_that_cannot_be(void **state) {
        const PoolLayout have = { .catalog = 64 * MIB, .metadata = 64 * MIB, .data = 808 * MIB };
        PoolLayout layout = { .data = 4711 };
        Error err = {};

        assert_int_equal(
                pool_layout_grow(&have, &(PoolGrowth) { .total = 900 * MIB }, 64 << 10, GIB, EXTENT, &layout, &err),
                -EINVAL);
        assert_string_equal(err.text, "the pool has 1000M, and cannot shrink to 900M");
        assert_int_equal(
                pool_layout_grow(&have, &(PoolGrowth) { .total = 4 * GIB }, 64 << 10, GIB, EXTENT, &layout, &err),
                -ENOSPC);
        assert_int_equal(err.kind, ERROR_NO_SPACE);
        assert_true(layout.data == 4711);
}

static void test_growth_is_said_in_one_way(void **state) {
        char device[] = "/dev/vdc", bad[] = "vdc", *devices[] = { device, NULL }, *names[] = { bad, NULL };

        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .devices = devices }, NULL), 0);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .total = GIB }, NULL), 0);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .data = GIB, .metadata = MIB }, NULL), 0);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) {}, NULL), -EINVAL);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .devices = devices, .total = GIB }, NULL), -EINVAL);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .total = GIB, .data = GIB }, NULL), -EINVAL);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .devices = names }, NULL), -EINVAL);
        assert_int_equal(pool_growth_validate(&(PoolGrowth) { .total = POOL_SIZE_MAX + 1 }, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_vg_names),
                cmocka_unit_test(test_specs),
                cmocka_unit_test(test_a_path_is_shorter_than_the_kernels_bound),
                cmocka_unit_test(test_too_many_devices),
                cmocka_unit_test(test_metadata_sizes),
                cmocka_unit_test(test_layouts),
                cmocka_unit_test(test_layouts_of_all_sizes_are_sound),
                cmocka_unit_test(test_a_size_asked_for_is_a_bound),
                cmocka_unit_test(test_the_smallest_file_is_enough),
                cmocka_unit_test(test_too_small_devices),
                cmocka_unit_test(test_metadata_must_map_the_data_once),
                cmocka_unit_test(test_growth),
                cmocka_unit_test(test_growth_that_cannot_be),
                cmocka_unit_test(test_growth_is_said_in_one_way),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
