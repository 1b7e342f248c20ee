#include <quarry/fd.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include "../unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void test_fields(void **state) {
        char text[] =
                "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
                "37 35 0:5 / /proc rw - proc proc rw\n"
                "38 35 254:17 /data /run/quarry/mnt/team/db rw,nosuid,nodev shared:1 master:2 propagate_from:3 - xfs "
                "/dev/mapper/quarry-x-crypt rw\n"
                "39 35 0:4 mnt:[4026531840] /run/ns rw - nsfs nsfs rw\n";
        char *rest = text;
        MountEntry e;

        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_int_equal(e.id, 36);
        assert_true(e.device == makedev(98, 0));
        assert_string_equal(e.root, "/mnt1");
        assert_string_equal(e.target, "/mnt2");
        assert_string_equal(e.options, "rw,noatime");
        assert_string_equal(e.fstype, "ext3");
        assert_string_equal(e.source, "/dev/root");
        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_string_equal(e.target, "/proc");
        assert_string_equal(e.fstype, "proc");
        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_true(e.device == makedev(254, 17));
        assert_string_equal(e.root, "/data");
        assert_string_equal(e.source, "/dev/mapper/quarry-x-crypt");
        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_string_equal(e.root, "mnt:[4026531840]");
        assert_int_equal(mountinfo_next(&rest, &e), 0);
        assert_int_equal(mountinfo_next(&rest, &e), 0);
}

static void test_escapes(void **state) {
        char text[] = "1 1 0:1 /a\\040b /tab\\011new\\012line\\134end\\04 rw - fuse.x host:/a\\040b rw";
        char *rest = text;
        MountEntry e;

        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_string_equal(e.root, "/a b");
        assert_string_equal(e.target, "/tab\tnew\nline\\end\\04");
        assert_string_equal(e.fstype, "fuse.x");
        assert_string_equal(e.source, "host:/a b");
        assert_int_equal(mountinfo_next(&rest, &e), 0);
}

static void test_only_three_octal_digits_are_an_escape(void **state) {
        char text[] = "1 1 0:1 \\377\\177\\300 /\\000\\400\\0x1\\08\\18\\x40\\/40\\048 rw - a b c\n";
        char *rest = text;
        MountEntry e;

        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_string_equal(e.root, "\xff\x7f\xc0");
        assert_string_equal(e.target, "/\\000\\400\\0x1\\08\\18\\x40\\/40\\048");
}

static void test_source_may_be_empty(void **state) {
        char text[] = "1 1 0:1 / /x rw - tmpfs  rw\n";
        char *rest = text;
        MountEntry e;

        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_string_equal(e.source, "");
}

static void test_bad_lines_are_skipped(void **state) {
        static const char *const bad[] = {
                " ",
                "x",
                "1 1 0:1",
                "1 1 0:1 / /x rw",
                "1 1 0:1 / /x rw -",
                "1 1 0:1 / /x rw - ext4",
                "1 1 0:1 / /x rw - ext4 /dev/x",
                "x 1 0:1 / /x rw - a b c",
                "1 x 0:1 / /x rw - a b c",
                "1 1 0-1 / /x rw - a b c",
                "1 1 0: / /x rw - a b c",
                "1 1 x:1 / /x rw - a b c",
                "1 1 0:1  /x rw - a b c",
                "1 1 0:1 / x rw - a b c",
                "1 1 0:1 / /x  - a b c",
                "1 1 0:1 / /x rw -  b c",
                "-1 1 0:1 / /x rw - a b c",
                "4294967296 1 0:1 / /x rw - a b c",
                "1 1 4294967296:1 / /x rw - a b c",
                "1 1 0:1 - /x rw a b c d",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *text = format_new("%s\n2 1 0:1 / /ok rw - a b c\n", bad[i]);
                char *rest = text;
                MountEntry e = { .id = 77 };

                assert_row(mountinfo_next(&rest, &e) == -EINVAL, bad[i]);
                assert_int_equal(e.id, 77);
                assert_row(mountinfo_next(&rest, &e) == 1, bad[i]);
                assert_string_equal(e.target, "/ok");
        }
}

static void test_an_empty_line_is_no_end(void **state) {
        char text[] = "\n1 1 0:1 / /x rw - a b c\n", nothing[] = "", *rest = text;
        MountEntry e;

        assert_int_equal(mountinfo_next(&rest, &e), -EINVAL);
        assert_int_equal(mountinfo_next(&rest, &e), 1);
        assert_int_equal(mountinfo_next(&rest, &e), 0);
        rest = nothing;
        assert_int_equal(mountinfo_next(&rest, &e), 0);
}

static void test_this_hosts_own(void **state) {
        _cleanup_free_ char *text = NULL;
        bool found = false;
        MountEntry e;
        struct stat st;
        int r;

        assert_int_equal(stat("/proc", &st), 0);
        assert_int_equal(file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 24, &text, NULL), 0);
        char *rest = text;
        while ((r = mountinfo_next(&rest, &e)) > 0)
                if (streq(e.target, "/proc")) {
                        assert_true(e.device == st.st_dev);
                        assert_string_equal(e.fstype, "proc");
                        found = true;
                }
        assert_int_equal(r, 0);
        assert_true(found);
}

static void test_options(void **state) {
        assert_true(mount_options_contain("rw,nosuid,nodev", "rw"));
        assert_true(mount_options_contain("rw,nosuid,nodev", "nosuid"));
        assert_true(mount_options_contain("rw,nosuid,nodev", "nodev"));
        assert_true(mount_options_contain("ro", "ro"));
        assert_false(mount_options_contain("rw,nosuid,nodev", "no"));
        assert_false(mount_options_contain("rw,nosuid,nodev", "suid"));
        assert_false(mount_options_contain("rw,nosuid,nodev", "nodevs"));
        assert_false(mount_options_contain("", "rw"));
        assert_false(mount_options_contain("errors=ro", "ro"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fields),
                cmocka_unit_test(test_escapes),
                cmocka_unit_test(test_only_three_octal_digits_are_an_escape),
                cmocka_unit_test(test_source_may_be_empty),
                cmocka_unit_test(test_bad_lines_are_skipped),
                cmocka_unit_test(test_an_empty_line_is_no_end),
                cmocka_unit_test(test_this_hosts_own),
                cmocka_unit_test(test_options),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
