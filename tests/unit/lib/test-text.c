#include <quarry/text.h>

#include "../unit.h"

#define K UINT64_C(1024)

static void test_size_parse(void **state) {
        static const struct {
                const char *text;
                int result;
                uint64_t bytes;
        } rows[] = {
                { "0", 0, 0 },
                { "4096", 0, 4096 },
                { "4096B", 0, 4096 },
                { "10G", 0, 10 * K * K * K },
                { "512M", 0, 512 * K * K },
                { "1.5G", 0, 3 * K * K * K / 2 },
                { "0.5K", 0, 512 },
                { "1.0009765625K", 0, 1025 },
                { "1TiB", 0, K * K * K * K },
                { "1TB", 0, K * K * K * K },
                { "2P", 0, 2 * K * K * K * K * K },
                { "100KB", 0, 100 * K },
                { "10g", 0, 10 * K * K * K },
                { "10gib", 0, 10 * K * K * K },
                { "007K", 0, 7 * K },
                { "9223372036854775807", 0, INT64_MAX },
                { "9223372036854775808", -ERANGE, 0 },
                { "8191.999P", 0, UINT64_C(9223370910954868965) },
                { "8192P", -ERANGE, 0 },
                { "99999999999999999999999999999999999999999999G", -ERANGE, 0 },
                { "1.99999999999999999999999999999999999999999P", 0, UINT64_C(2251799813685247) },
                { "-1", -ERANGE, 0 },
                { "-10G", -ERANGE, 0 },
                { "-", -EINVAL, 0 },
                { "-G", -EINVAL, 0 },
                { "--1", -EINVAL, 0 },
                { "+1", -EINVAL, 0 },
                { "", -EINVAL, 0 },
                { "G", -EINVAL, 0 },
                { "abc", -EINVAL, 0 },
                { "1X", -EINVAL, 0 },
                { "1E", -EINVAL, 0 },
                { "1Gi", -EINVAL, 0 },
                { "1GG", -EINVAL, 0 },
                { "1iB", -EINVAL, 0 },
                { "1 G", -EINVAL, 0 },
                { " 1G", -EINVAL, 0 },
                { "1G ", -EINVAL, 0 },
                { "1G\n", -EINVAL, 0 },
                { "1.5", -EINVAL, 0 },
                { "1.5B", -EINVAL, 0 },
                { "1.G", -EINVAL, 0 },
                { ".5G", -EINVAL, 0 },
                { "1.5.5G", -EINVAL, 0 },
                { "1,5G", -EINVAL, 0 },
                { "0x10", -EINVAL, 0 },
                { "1e3", -EINVAL, 0 },
                { "nan", -EINVAL, 0 },
                { "inf", -EINVAL, 0 },
                { "\xd9\xa1", -EINVAL, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t bytes = 4711;

                assert_row(size_parse(rows[i].text, &bytes) == rows[i].result, rows[i].text);
                assert_row(bytes == (rows[i].result < 0 ? 4711 : rows[i].bytes), rows[i].text);
        }
}

static void test_size_format(void **state) {
        static const struct {
                uint64_t bytes;
                const char *people, *exact;
        } rows[] = {
                { 0, "0B", "0B" },
                { 1, "1B", "1B" },
                { 1023, "1023B", "1023B" },
                { K, "1K", "1K" },
                { 1536, "1.5K", "1536B" },
                { 1040, "1.02K", "1040B" },
                { 9267, "9.05K", "9267B" },
                { 10813, "10.6K", "10813B" },
                { 103014, "101K", "103014B" },
                { K * K - 1, "1M", "1048575B" },
                { 512 * K * K, "512M", "512M" },
                { 1000 * K * K, "1000M", "1000M" },
                { 1025 * K * K, "1G", "1025M" },
                { 1244 * K * K, "1.21G", "1244M" },
                { 15667 * K * K, "15.3G", "15667M" },
                { 3 * K * K * K / 2, "1.5G", "1536M" },
                { 4097, "4K", "4097B" },
                { K * K * K * K, "1T", "1T" },
                { UINT64_C(1) << 50, "1P", "1P" },
                { UINT64_C(1) << 61, "2E", "2048P" },
                { UINT64_MAX, "16E", "18446744073709551615B" },
        };
        char buf[SIZE_TEXT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                assert_string_equal(size_format(rows[i].bytes, buf), rows[i].people);
                assert_string_equal(size_format_exact(rows[i].bytes, buf), rows[i].exact);
        }
}

static void test_number_parse(void **state) {
        uint64_t n = 7;

        assert_int_equal(number_parse("0", &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(number_parse("18446744073709551615", &n), 0);
        assert_true(n == UINT64_MAX);
        n = 7;
        assert_int_equal(number_parse("18446744073709551616", &n), -ERANGE);
        assert_int_equal(number_parse("99999999999999999999999", &n), -ERANGE);
        assert_int_equal(number_parse("99999999999999999999999x", &n), -EINVAL);
        static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "1K", "0x1", "1.0" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(number_parse(bad[i], &n) == -EINVAL, bad[i]);
        assert_int_equal(n, 7);
}

static void test_mode_parse(void **state) {
        uint32_t mode = 7;

        assert_int_equal(mode_parse("755", &mode), 0);
        assert_int_equal(mode, 0755);
        assert_int_equal(mode_parse("0700", &mode), 0);
        assert_int_equal(mode, 0700);
        assert_int_equal(mode_parse("01777", &mode), 0);
        assert_int_equal(mode, 01777);
        assert_int_equal(mode_parse("7777", &mode), 0);
        assert_int_equal(mode, 07777);
        assert_int_equal(mode_parse("0", &mode), 0);
        assert_int_equal(mode, 0);
        static const char *const bad[] = { "", "8", "0o755", "u+x", "-755", "10000", "77777777777777777777", "75 5" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(mode_parse(bad[i], &mode) == -EINVAL, bad[i]);
        assert_int_equal(mode, 0);
}

static void test_natural_order(void **state) {
        /* Each is before the next. */
        static const char *const rows[] = { "",
                                            "1",
                                            "2",
                                            "10",
                                            "a",
                                            "a0",
                                            "a01",
                                            "a1",
                                            "a1b2",
                                            "a1b10",
                                            "a2",
                                            "a10",
                                            "a10b",
                                            "b",
                                            "web2",
                                            "web2-x",
                                            "web10",
                                            "web99999999999999999999999",
                                            "web100000000000000000000000" };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (size_t j = 0; j < ELEMENTSOF(rows); j++) {
                        int c = natural_compare(rows[i], rows[j]);

                        assert_row(i == j ? c == 0 : (c < 0) == (i < j), rows[i]);
                }
}

static void test_buffer_format_tells_when_it_cut(void **state) {
        char buf[6];

        assert_true(buffer_format(buf, sizeof(buf), "%s", ""));
        assert_true(buffer_format(buf, sizeof(buf), "%s", "12345"));
        assert_false(buffer_format(buf, sizeof(buf), "%s", "123456"));
        assert_string_equal(buf, "12345");
}

static void test_clean_and_printable(void **state) {
        static const struct {
                const char *text, *clean;
        } rows[] = {
                { "", "" },
                { "plain ~", "plain ~" },
                { "größe 数 😀", "größe 数 😀" },
                { "a\nb\tc\x7f", "a?b?c?" },
                { "\x1b[31mred", "?[31mred" },
                { "\xc2\xa0\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80",
                  "\xc2\xa0\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80" },
                { "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" }, /* the first and the last */
                { "\xc2\x80\xc2\x9f", "????" },
                { "\xed\xbf\xbf", "???" },
                { "\xe1\x80x", "??x" },
                { "c1 \xc2\x9b here", "c1 ?? here" }, /* CSI as one character */
                { "\xff\xfe", "??" },
                { "\xc3", "?" }, /* cut */
                { "\xe2\x82", "??" },
                { "\xc0\xaf", "??" }, /* overlong */
                { "\xe0\x80\xaf", "???" },
                { "\xf0\x80\x80\xaf", "????" },
                { "\xed\xa0\x80", "???" }, /* surrogate */
                { "\xf4\x90\x80\x80", "????" }, /* above U+10FFFF */
                { "\xf5\x80\x80\x80", "????" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char buf[64];

                strcpy(buf, rows[i].text);
                text_clean(buf);
                assert_string_equal(buf, rows[i].clean);
                assert_row(text_is_printable(rows[i].text) == streq(rows[i].text, rows[i].clean), rows[i].clean);
        }
}

static void test_echo(void **state) {
        char buf[TEXT_ECHO_MAX], big[301];

        assert_string_equal(text_echo("a b", buf), "a b");
        assert_string_equal(text_echo("a\nb\x1b", buf), "a\\x0ab\\x1b");
        memset(big, 'x', 300);
        big[300] = 0;
        assert_int_equal(strlen(text_echo(big, buf)), 43);
        assert_string_equal(buf + 40, "...");
        big[40] = 0;
        assert_string_equal(text_echo(big, buf), big);
        memset(big, '\xff', 300); /* the longest that can come out */
        assert_int_equal(strlen(text_echo(big, buf)), 163);
}

static void test_plain_paths(void **state) {
        static const char *const good[] = { "/dev/vda", "/a", "/a/...", "/a/.b", "/a b/ü", "/dev/disk/by-id/x:1" };
        static const char *const bad[] = { "",       "/",       "a",   "./a",   "/a/",   "//a",     "/a//b",
                                           "/a/./b", "/a/../b", "/..", "/a/..", "/a\nb", "/a/\xff", "/." };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_row(path_is_plain(good[i]), good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(!path_is_plain(bad[i]), bad[i]);
}

static void test_strings(void **state) {
        assert_string_equal(startswith("quarry-x", "quarry-"), "x");
        assert_string_equal(startswith("abc", ""), "abc");
        assert_null(startswith("quar", "quarry"));
        assert_true(streq_ptr(NULL, NULL));
        assert_false(streq_ptr(NULL, ""));
        assert_true(isempty(NULL));
        _cleanup_free_ char *s = format_new("%d-%s", 4, "x");
        assert_string_equal(s, "4-x");
}

static void test_lists(void **state) {
        _cleanup_strv_ char **a = NULL, **b = NULL;
        char *empty[] = { NULL };

        assert_int_equal(strv_length(NULL), 0);
        assert_true(strv_equal(NULL, empty));
        assert_int_equal(strv_append(&a, "one"), 0);
        assert_int_equal(strv_append(&a, "two"), 0);
        assert_int_equal(strv_length(a), 2);
        assert_null(a[2]);
        assert_true(strv_contains(a, "two"));
        assert_false(strv_contains(a, "three"));
        assert_false(strv_contains(NULL, "one"));
        assert_int_equal(strv_copy(a, &b), 0);
        assert_true(strv_equal(a, b));
        assert_ptr_not_equal(a[0], b[0]);
        b[1][0] = 'T';
        assert_false(strv_equal(a, b));
        b[1][0] = 't';
        b[0][0] = 'O';
        assert_false(strv_equal(a, b));
        b[0][0] = 'o';
        assert_true(strv_equal(a, b));
        assert_int_equal(strv_append(&b, "three"), 0);
        assert_false(strv_equal(a, b));
        b[0][0] = 'O';
        assert_string_equal(a[0], "one");
        assert_null(strv_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_size_parse),
                cmocka_unit_test(test_size_format),
                cmocka_unit_test(test_number_parse),
                cmocka_unit_test(test_mode_parse),
                cmocka_unit_test(test_natural_order),
                cmocka_unit_test(test_buffer_format_tells_when_it_cut),
                cmocka_unit_test(test_clean_and_printable),
                cmocka_unit_test(test_echo),
                cmocka_unit_test(test_plain_paths),
                cmocka_unit_test(test_strings),
                cmocka_unit_test(test_lists),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
