/* What a file is, by its first bytes. */

#include "../../../cli/image.h"

#include "../unit.h"

#include <string.h>

static uint8_t head[IMAGE_HEAD_SIZE];

static void begin(size_t at, const void *bytes, size_t size) {
        memset(head, 0, sizeof(head));
        memcpy(head + at, bytes, size);
}

static void put(size_t at, uint32_t little) {
        for (unsigned i = 0; i < 4; i++)
                head[at + i] = (uint8_t) (little >> 8 * i);
}

static void test_archives(void **state) {
        Image image;

        begin(257, "ustar\0", 6);
        image = image_recognize(head, 512);
        assert_true(image.is_tar);
        assert_null(image.what);
        assert_false(image_recognize(head, 260).is_tar);
        begin(0, "\x1f\x8b\x08", 3);
        assert_string_equal(image_recognize(head, sizeof(head)).unpacker, "gzip");
        begin(0, "\x28\xb5\x2f\xfd", 4);
        assert_string_equal(image_recognize(head, 4).unpacker, "zstd");
        assert_null(image_recognize(head, 3).unpacker);
        begin(0,
              "\xfd"
              "7zXZ\0",
              6);
        assert_string_equal(image_recognize(head, sizeof(head)).unpacker, "xz");
}

/* A boot sector before ext4 bears the sign of a partition table, and is none. */
static void test_ext(void **state) {
        Image image;

        begin(510, "\x55\xaa", 2);
        put(1024 + 4, 1000);
        put(1024 + 24, 2);
        put(1024 + 56, 0xef53);
        put(1024 + 96, 0x2c2 | 0x4);
        put(1024 + 0x150, 1);
        image = image_recognize(head, sizeof(head));
        assert_int_equal(image.fs, FILESYSTEM_EXT4);
        assert_true(image.size == ((UINT64_C(1) << 32) + 1000) * 4096);
        put(1024 + 96, 0x242);
        assert_true(image_recognize(head, sizeof(head)).size == UINT64_C(1000) * 4096);
        put(1024 + 96, 0x2);
        image = image_recognize(head, sizeof(head));
        assert_int_equal(image.fs, FILESYSTEM_NONE);
        assert_string_equal(image.what, "an ext2 or ext3 filesystem");
        put(1024 + 96, 0x8);
        assert_int_equal(image_recognize(head, sizeof(head)).fs, FILESYSTEM_NONE);
        put(1024 + 96, 0x242);
        put(1024 + 24, 60); /* no size that a block has */
        assert_int_equal(image_recognize(head, sizeof(head)).fs, FILESYSTEM_NONE);
        assert_int_equal(image_recognize(head, 1500).fs, FILESYSTEM_NONE);
}

static void test_xfs(void **state) {
        static const uint8_t super[] = { 'X', 'F', 'S', 'B', 0, 0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 2 };
        Image image;

        begin(0, super, sizeof(super));
        image = image_recognize(head, sizeof(head));
        assert_int_equal(image.fs, FILESYSTEM_XFS);
        assert_true(image.size == ((UINT64_C(1) << 32) + 2) * 4096);
        assert_int_equal(image_recognize(head, 15).fs, FILESYSTEM_NONE);
}

static void test_others(void **state) {
        begin(0, "QFI\xfb", 4);
        assert_string_equal(image_recognize(head, sizeof(head)).what, "a qcow2 image");
        begin(512, "EFI PART", 8);
        assert_string_equal(image_recognize(head, sizeof(head)).what, "a disk with a partition table (GPT)");
        begin(0, "\x5a\x2a\x4d\x18", 4);
        assert_string_equal(image_recognize(head, sizeof(head)).what, "a stream of quarry send");
        assert_string_equal(image_recognize(head, 0).what, "empty");
        begin(0, "", 0);
        assert_string_equal(image_recognize(head, sizeof(head)).what, "nothing that is known here");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_archives),
                cmocka_unit_test(test_ext),
                cmocka_unit_test(test_xfs),
                cmocka_unit_test(test_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
