#include <quarry/text.h>
#include <quarry/volume.h>

#include "../unit.h"

static void test_allowed(void **state) {
        static const struct {
                Filesystem fs;
                const char *option, *letter, *value;
        } rows[] = {
                { FILESYSTEM_EXT4, "-m 1", "-m", "1" },
                { FILESYSTEM_EXT4, "-m1", "-m", "1" },
                { FILESYSTEM_EXT4, "-m 0", "-m", "0" },
                { FILESYSTEM_EXT4, "-m 0.5", "-m", "0.5" },
                { FILESYSTEM_EXT4, "-m 50", "-m", "50" },
                { FILESYSTEM_EXT4, "-m 50.0", "-m", "50.0" },
                { FILESYSTEM_EXT4, "-m 49.9", "-m", "49.9" },
                { FILESYSTEM_EXT4, "-b 1024", "-b", "1024" },
                { FILESYSTEM_EXT4, "-b 4096", "-b", "4096" },
                { FILESYSTEM_EXT4, "-i 16384", "-i", "16384" },
                { FILESYSTEM_EXT4, "-I 256", "-I", "256" },
                { FILESYSTEM_EXT4, "-i 1024", "-i", "1024" },
                { FILESYSTEM_EXT4, "-i 67108864", "-i", "67108864" },
                { FILESYSTEM_EXT4, "-I 128", "-I", "128" },
                { FILESYSTEM_EXT4, "-I 4096", "-I", "4096" },
                { FILESYSTEM_EXT4, "-N 1", "-N", "1" },
                { FILESYSTEM_EXT4, "-L x", "-L", "x" },
                { FILESYSTEM_EXT4, "-m 0.000001", "-m", "0.000001" },
                { FILESYSTEM_EXT4, "-J size=123456789012345678", "-J", "size=123456789012345678" },
                { FILESYSTEM_EXT4, "-N 100000", "-N", "100000" },
                { FILESYSTEM_EXT4, "-O ^has_journal", "-O", "^has_journal" },
                { FILESYSTEM_EXT4, "-O ^64bit,metadata_csum,uninit_bg", "-O", "^64bit,metadata_csum,uninit_bg" },
                { FILESYSTEM_EXT4, "-J size=4", "-J", "size=4" },
                { FILESYSTEM_EXT4, "-E stride=16,stripe-width=64", "-E", "stride=16,stripe-width=64" },
                { FILESYSTEM_EXT4, "-E lazy_itable_init=0", "-E", "lazy_itable_init=0" },
                { FILESYSTEM_EXT4, "-E packed_meta_blocks=1", "-E", "packed_meta_blocks=1" },
                { FILESYSTEM_EXT4, "-L data_1.x-y", "-L", "data_1.x-y" },
                { FILESYSTEM_EXT4, "-L 1234567890123456", "-L", "1234567890123456" },
                { FILESYSTEM_EXT4, "-T largefile4", "-T", "largefile4" },
                { FILESYSTEM_XFS, "-b size=4096", "-b", "size=4096" },
                { FILESYSTEM_XFS, "-b size=4k", "-b", "size=4k" },
                { FILESYSTEM_XFS, "-m reflink=0,bigtime=1,crc=1", "-m", "reflink=0,bigtime=1,crc=1" },
                { FILESYSTEM_XFS, "-i size=512,maxpct=10", "-i", "size=512,maxpct=10" },
                { FILESYSTEM_XFS, "-n ftype=1", "-n", "ftype=1" },
                { FILESYSTEM_XFS, "-d agcount=4", "-d", "agcount=4" },
                { FILESYSTEM_XFS, "-d su=64k,sw=4", "-d", "su=64k,sw=4" },
                { FILESYSTEM_XFS, "-l size=64m,lazy-count=1", "-l", "size=64m,lazy-count=1" },
                { FILESYSTEM_XFS, "-s size=4096", "-s", "size=4096" },
                { FILESYSTEM_XFS, "-L data", "-L", "data" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char *options[] = { (char *) rows[i].option, NULL };
                _cleanup_strv_ char **argv = NULL;
                Error err = {};

                int r = mkfs_options_parse(rows[i].fs, options, &argv, &err);
                assert_string_equal(err.text, "");
                assert_row(r == 0, rows[i].option);
                assert_int_equal(strv_length(argv), 2);
                assert_string_equal(argv[0], rows[i].letter);
                assert_string_equal(argv[1], rows[i].value);
        }
}

/* clang-format off */
static const char *const refused_ext4[] = {
        "", "-", " -m 1", "m 1", "--m 1", "-m", "-m ", "-m  1", "-m 1 ", "-m 1 -d /etc", "-m 51", "-m 50.1",
        "-m 100", "-m -1", "-m 1e1", "-m 1.", "-m .5", "-m 1,5", "-m nan", "-m 1.0000000001", "-m 1\n",
        "-b 512", "-b 8192", "-b 3000", "-b -4096", "-b 4k", "-i 512", "-i 0", "-I 100", "-I 64", "-N 0",
        "-N 4294967296", "-O journal_dev", "-O has_journal,journal_dev", "-O ^journal_dev", "-O ", "-O ^",
        "-O a,,b", "-O a,", "-O A", "-O a b", "-J device=/dev/vda", "-J size=4,device=/dev/vda",
        "-J location=1", "-J size", "-J size=", "-E root_owner=1:1", "-E offset=4096", "-E stride",
        "-E test_fs", "-E stride=16,", "-E stride=16,offset=1", "-E strid=1", "-E =1", "-E stride=-1",
        "-E stride=0x10", "-E orphan_file_size=1", "-d /etc", "-d/etc", "-F", "-n", "-S", "-U random",
        "-o Linux", "-c", "-l /etc/passwd", "-z /tmp/undo", "-M /", "-q", "-v", "-V", "-t ext2", "-L ",
        "-L 12345678901234567", "-L a b", "-L /x", "-L -x", "-L ä", "-T ../x", "-T Large", "/dev/vda",
        "-g 1", "-G 2", "-D", "-C 1024", "-e panic", "-r 0", "-j", "-m 0.0000001", "-i 1023", "-i 67108865",
        "-I 8192", "-J size=1234567890123456789",
};
/* clang-format on */

/* clang-format off */
static const char *const refused_xfs[] = {
        "-m 1", "-m uuid=00000000-0000-0000-0000-000000000001", "-b 4096", "-d file", "-d file=1",
        "-d name=/dev/vda", "-d agcount=4,name=/dev/vda", "-d size=1g", "-d rtinherit=1",
        "-l logdev=/dev/vda", "-l size=64m,logdev=/dev/vda", "-l internal=0", "-l name=/dev/vda",
        "-l file=1", "-r rtdev=/dev/vda", "-m finobt reflink=0", "-p /etc/protofile", "-c options=/etc/x", "-f", "-N", "-K", "-q",
        "-L 1234567890123", "-b size=4kk", "-b size=k", "-b size=4K ", "-i size=1.5k", "-n version=ci",
        "-O ^has_journal", "-E stride=1", "-s log=9,size=", "-d su=64k,,sw=4",
};
/* clang-format on */

static void test_refused(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(refused_ext4) + ELEMENTSOF(refused_xfs); i++) {
                bool is_ext4 = i < ELEMENTSOF(refused_ext4);
                const char *option = is_ext4 ? refused_ext4[i] : refused_xfs[i - ELEMENTSOF(refused_ext4)];
                char *options[] = { (char *) option, NULL };
                char **argv = NULL;
                Error err = {};

                int r = mkfs_options_parse(is_ext4 ? FILESYSTEM_EXT4 : FILESYSTEM_XFS, options, &argv, &err);
                assert_row(r == -EINVAL, option);
                assert_row(!argv, option);
                assert_string_equal(err.field, "mkfsOptions");
        }
}

static void test_refusals_say_what_is_allowed(void **state) {
        static const struct {
                Filesystem fs;
                const char *option, *text;
        } rows[] = {
                { FILESYSTEM_EXT4, "-d /etc",
                  "mkfs option \"-d /etc\" is not one of those allowed for ext4: -b -i -I -N -m -O -J -E -L -T" },
                { FILESYSTEM_XFS, "-p\x1b[0m",
                  "mkfs option \"-p\\x1b[0m\" is not one of those allowed for xfs: -b -m -i -n -d -l -s -L" },
                { FILESYSTEM_EXT4, "-m 60", "value of mkfs option \"-m 60\" is not valid: -m takes 0 to 50 percent" },
                { FILESYSTEM_XFS, "-l logdev=/dev/vda",
                  "value of mkfs option \"-l logdev=/dev/vda\" is not valid: -l takes KEY=NUMBER separated by commas, "
                  "with the keys size su sunit lazy-count version" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char *options[] = { (char *) rows[i].option, NULL };
                Error err = {};

                assert_int_equal(mkfs_options_parse(rows[i].fs, options, NULL, &err), -EINVAL);
                assert_string_equal(err.text, rows[i].text);
        }
}

static void test_several_make_one_flat_list(void **state) {
        char *options[] = { (char *) "-m 1", (char *) "-O^has_journal", (char *) "-b 4096", NULL };
        const char *expected[] = { "-m", "1", "-O", "^has_journal", "-b", "4096", NULL };
        _cleanup_strv_ char **argv = NULL;

        assert_int_equal(mkfs_options_parse(FILESYSTEM_EXT4, options, &argv, NULL), 0);
        assert_true(strv_equal(argv, (char *const *) expected));
}

static void test_one_bad_one_spoils_all(void **state) {
        char *options[] = { (char *) "-m 1", (char *) "-d /etc", NULL };
        char **argv = NULL;

        assert_int_equal(mkfs_options_parse(FILESYSTEM_EXT4, options, &argv, NULL), -EINVAL);
        assert_null(argv);
}

static void test_none_and_too_many(void **state) {
        char *options[MKFS_OPTIONS_MAX + 2] = {}, **argv = NULL;

        assert_int_equal(mkfs_options_parse(FILESYSTEM_NONE, NULL, &argv, NULL), 0);
        assert_int_equal(mkfs_options_parse(FILESYSTEM_EXT4, options, &argv, NULL), 0);
        assert_null(argv);

        options[0] = (char *) "-m 1";
        assert_int_equal(mkfs_options_parse(FILESYSTEM_NONE, options, NULL, NULL), -EINVAL);
        for (size_t i = 0; i < MKFS_OPTIONS_MAX; i++)
                options[i] = (char *) "-m 1";
        assert_int_equal(mkfs_options_parse(FILESYSTEM_EXT4, options, NULL, NULL), 0);
        assert_int_equal(mkfs_options_parse(FILESYSTEM_NONE, options, NULL, NULL), -EINVAL);
        options[MKFS_OPTIONS_MAX] = (char *) "-m 1";
        assert_int_equal(mkfs_options_parse(FILESYSTEM_EXT4, options, NULL, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_allowed),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_refusals_say_what_is_allowed),
                cmocka_unit_test(test_several_make_one_flat_list),
                cmocka_unit_test(test_one_bad_one_spoils_all),
                cmocka_unit_test(test_none_and_too_many),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
