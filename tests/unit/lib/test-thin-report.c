#include <quarry/text.h>
#include <quarry/thin-report.h>
#include <quarry/volume.h>

#include "../unit.h"

#define CHUNK (UINT64_C(64) << 10)

static void test_usage(void **state) {
        static const char *const bad[] = {
                "",
                " ",
                "1",
                "1 2",
                "1 2 3 4",
                "x 2 1",
                "1 2 -1",
                "1 0x2 0",
                "1 2 3",
                "16777216 2 1",
                "1 2 1x",
                "1,2,1",
                "1 2 1\t",
                "DEV MAPPED EXCL",
                "1 18446744073709551616 1",
                "1 18446744073709551615 1",
                "1 1000000000000000000000000000000 1",
        };
        ThinUsage u = { .thin_id = 7 };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(thin_usage_parse(bad[i], &u) == -EBADMSG && u.thin_id == 7, bad[i]);
        assert_int_equal(thin_usage_parse("1 786432 458752 ", &u), 0); /* thin_ls pads its columns */
        assert_int_equal(u.thin_id, 1);
        assert_int_equal(u.used, 786432);
        assert_int_equal(u.exclusive, 458752);
        assert_int_equal(thin_usage_parse("  16777215      0      0", &u), 0);
        assert_int_equal(u.thin_id, THIN_ID_MAX);
}

/* What thin_delta prints of the elements between; or the error. */
static int parse_with(ThinDeltaParser *p, const char *elements, ThinDelta *ret) {
        _cleanup_free_ char *text = format_new(
                "<superblock uuid=\"\" time=\"2\" transaction=\"0\" data_block_size=\"128\" "
                "nr_data_blocks=\"1000\">\n  <diff left=\"1\" right=\"7\">\n%s"
                "  </diff>\n</superblock>",
                elements);
        char *rest = text, *line;
        int r = 0;

        while (r >= 0 && (line = strsep(&rest, "\n")))
                r = thin_delta_parse(p, line);
        if (r >= 0)
                r = thin_delta_finish(p, ret);
        thin_delta_parser_done(p);
        return r;
}

static int parse(const char *elements, size_t keep, uint64_t size, uint64_t other, ThinDelta *ret) {
        ThinDeltaParser p = { .keep = keep, .sizes = { size, other } };

        return parse_with(&p, elements, ret);
}

#define E(kind, begin, length) "    <" kind " begin=\"" #begin "\" length=\"" #length "\"/>\n"

typedef struct Case {
        const char *elements;
        uint64_t size, other; /* chunks */
        const char *ranges;
} Case;

static void test_ranges(void **state) {
        static const Case cases[] = {
                { "", 100, 100, "" },
                { E("same", 0, 100), 100, 100, "" },
                { E("different", 5, 1), 100, 100, "5+1 " },
                /* what touches is one */
                { E("same", 0, 5) E("different", 5, 1) E("left_only", 6, 4) E("right_only", 10, 2), 100, 100, "5+7 " },
                { E("different", 5, 1) E("same", 6, 1) E("different", 7, 1), 100, 100, "5+1 7+1 " },
                { E("different", 5, 1) E("different", 7, 1), 100, 100, "5+1 7+1 " },
                { E("left_only", 0, 1) E("right_only", 99, 1), 100, 100, "0+1 99+1 " },
                /* what only one has differs, whatever is there */
                { "", 100, 120, "100+20 " },
                { "", 120, 100, "100+20 " },
                { E("different", 99, 1) E("right_only", 110, 3), 100, 120, "99+21 " },
                { E("different", 98, 12) E("same", 110, 3), 100, 120, "98+22 " },
                { E("different", 3, 1) E("right_only", 110, 3), 100, 120, "3+1 100+20 " },
                { E("different", 3, 1), 0, 5, "0+5 " },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Case *c = &cases[i];
                char text[256] = "";
                uint64_t total = 0;
                ThinDelta d = {};

                assert_row(parse(c->elements, 100, c->size * CHUNK, c->other * CHUNK, &d) == 0, c->elements);
                for (size_t j = 0; j < d.n_ranges; j++) {
                        size_t n = strlen(text);

                        buffer_format(text + n, sizeof(text) - n, "%u+%u ", (unsigned) (d.ranges[j].offset / CHUNK),
                                      (unsigned) (d.ranges[j].length / CHUNK));
                        total += d.ranges[j].length;
                }
                assert_string_equal(text, c->ranges);
                assert_int_equal(d.total, total);
                assert_int_equal(d.count, d.n_ranges);
                assert_int_equal(d.chunk_size, CHUNK);
                thin_delta_done(&d);
        }
}

/* A device may end within a chunk. */
static void test_the_last_chunk_is_cut(void **state) {
        ThinDelta d = {};

        assert_int_equal(parse(E("different", 1, 1), 10, CHUNK + 512, CHUNK + 512, &d), 0);
        assert_int_equal(d.ranges[0].offset, CHUNK);
        assert_int_equal(d.total, 512);
        thin_delta_done(&d);
}

static void test_what_is_not_kept_is_counted(void **state) {
        static const char elements[] = E("different", 0, 1) E("different", 2, 1) E("different", 4, 1)
                E("different", 6, 1) E("different", 8, 1);
        for (size_t keep = 0; keep < 7; keep++) {
                ThinDelta d = {};

                assert_int_equal(parse(elements, keep, 100 * CHUNK, 100 * CHUNK, &d), 0);
                assert_int_equal(d.n_ranges, keep < 5 ? keep : 5);
                assert_int_equal(d.count, 5);
                assert_int_equal(d.total, 5 * CHUNK);
                thin_delta_done(&d);
        }
}

static void test_near_ranges_become_one(void **state) {
        static const char elements[] = E("different", 0, 1) E("different", 10, 1) E("different", 12, 1)
                E("different", 20, 1) E("different", 40, 1);
        ThinDeltaParser p = { .keep = 4, .join = true, .sizes = { 100 * CHUNK, 100 * CHUNK } };
        ThinDelta d = {};

        assert_int_equal(parse_with(&p, elements, &d), 0);
        assert_true(d.n_ranges <= 4 && d.count == d.n_ranges);
        assert_int_equal(d.ranges[0].offset, 0);
        assert_int_equal(d.ranges[d.n_ranges - 1].offset + d.ranges[d.n_ranges - 1].length, 41 * CHUNK);
        thin_delta_done(&d);
}

static void test_what_is_mapped(void **state) {
        ThinDeltaParser p = { .keep = 4, .mapped = true, .sizes = { 100 * CHUNK, 100 * CHUNK } };
        ThinDelta d = {};

        assert_int_equal(parse_with(&p, E("same", 3, 2) E("same", 90, 10), &d), 0);
        assert_int_equal(d.n_ranges, 2);
        assert_int_equal(d.total, 12 * CHUNK);
        thin_delta_done(&d);
}

static void test_what_is_not_understood(void **state) {
        static const char *const bad[] = {
                "\n",
                "    <range begin=\"0\" length=\"1\"/>\n",
                "    <different>\n",
                "    <different begin=\"1\"/>\n",
                "    <different length=\"1\"/>\n",
                E("different", 1, 0),
                E("different", -1, 1),
                E("different", x, 1),
                E("different", 18446744073709551615, 1),
                E("different", 1, 18446744073709551615),
                E("different", 281474976710655, 1),
                E("different", 5, 2) E("same", 6, 1), /* out of order */
                E("same", 6, 1) E("different", 5, 1),
                "  </diff>\n",
                "    <different begin=\"1\n",
        };
        ThinDelta d = {};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_row(parse(bad[i], 10, 100 * CHUNK, 100 * CHUNK, &d) == -EBADMSG && d.chunk_size == 0, bad[i]);
}

/* Not a word of what was cut is believed. */
static void test_the_end_must_be_there(void **state) {
        static const char *const lines[] = { "<superblock data_block_size=\"128\">", "<diff left=\"1\" right=\"2\">",
                                             "<different begin=\"1\" length=\"1\"/>", "</diff>", "</superblock>" };
        for (size_t n = 0; n <= ELEMENTSOF(lines); n++) {
                _cleanup_(thin_delta_parser_done) ThinDeltaParser p = { .keep = 10, .sizes = { GIB, GIB } };
                ThinDelta d = {};

                for (size_t i = 0; i < n; i++)
                        assert_int_equal(thin_delta_parse(&p, lines[i]), 0);
                assert_int_equal(thin_delta_finish(&p, &d), n == ELEMENTSOF(lines) ? 0 : -EBADMSG);
                thin_delta_done(&d);
        }
}

static void test_chunk_sizes(void **state) {
        static const struct {
                const char *sectors;
                bool valid;
        } sizes[] = { { "128", true }, { "2097152", true }, { "2097153", false }, { "0", false }, { "", false } };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *line = format_new("<superblock data_block_size=\"%s\">", sizes[i].sectors);
                ThinDeltaParser p = {};

                assert_row((thin_delta_parse(&p, line) == 0) == sizes[i].valid, line);
        }
}

/* --- several devices together ----------------------------------------------------------------------------- */

#define DUMP(elements) \
        "<superblock uuid=\"\" time=\"2\" data_block_size=\"128\" nr_data_blocks=\"0\">\n" elements "</superblock>"
#define DEVICE(elements) "  <device dev_id=\"1\" mapped_blocks=\"11\" time=\"0\">\n" elements "  </device>\n"
#define SINGLE(block) "    <single_mapping origin_block=\"7\" data_block=\"" #block "\" time=\"1\"/>\n"
#define RANGE(block, n) \
        "    <range_mapping origin_begin=\"0\" data_begin=\"" #block "\" length=\"" #n "\" time=\"0\"/>\n"

/* How many chunks, or the error. */
static int count(const char *dump) {
        _cleanup_(thin_union_done) ThinUnion u = { .data_size = 1000 * CHUNK + 1 };
        _cleanup_free_ char *text = strdup(dump);
        char *rest = text, *line;
        int r = 0;

        while (r >= 0 && (line = strsep(&rest, "\n")))
                r = thin_union_parse(&u, line);
        return r < 0 ? r : u.is_open || !u.seen ? -ENODATA : (int) u.n_seen;
}

static void test_what_is_shared_counts_once(void **state) {
        static const struct {
                const char *what, *dump;
                int chunks;
        } rows[] = {
                { "nothing", DUMP(), 0 },
                { "an empty device", DUMP(DEVICE()), 0 },
                { "one", DUMP(DEVICE(RANGE(0, 10) SINGLE(50))), 11 },
                { "two that share", DUMP(DEVICE(RANGE(0, 10) SINGLE(50)) DEVICE(RANGE(0, 10))), 11 },
                { "two that overlap", DUMP(DEVICE(RANGE(0, 10)) DEVICE(RANGE(5, 10) SINGLE(4))), 15 },
                { "two that do not", DUMP(DEVICE(RANGE(0, 10)) DEVICE(RANGE(10, 10))), 20 },
                { "what stands before them",
                  DUMP("  <def name=\"0\">\n" RANGE(3, 4) "  </def>\n" DEVICE("    <ref name=\"0\"/>\n" SINGLE(3))),
                  4 },
                { "two dumps", DUMP(DEVICE(RANGE(0, 10))) "\n" DUMP(DEVICE(RANGE(9, 2))), 11 },
                { "the last chunk", DUMP(DEVICE(SINGLE(999))), 1 },
                { "all", DUMP(DEVICE(RANGE(0, 1000))), 1000 },
                { "behind the last", DUMP(DEVICE(SINGLE(1000))), -EBADMSG },
                { "a range to behind the last", DUMP(DEVICE(RANGE(999, 2))), -EBADMSG },
                { "a length that overflows", DUMP(DEVICE(RANGE(1, 18446744073709551615))), -EBADMSG },
                { "no number", DUMP(DEVICE(SINGLE(x))), -EBADMSG },
                { "another element", DUMP(DEVICE("<thing/>\n")), -EBADMSG },
                { "no begin", DEVICE(SINGLE(1)), -EBADMSG },
                { "no end", "<superblock data_block_size=\"128\" nr_data_blocks=\"1000\">\n" DEVICE(SINGLE(1)),
                  -ENODATA },
                { "behind the end", DUMP() "\n" SINGLE(1), -EBADMSG },
                { "another pool", DUMP() "\n<superblock data_block_size=\"256\">", -EBADMSG },
                { "chunks of no size", "<superblock data_block_size=\"0\" nr_data_blocks=\"1000\">", -EBADMSG },
                { "nothing at all", "", -EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_row(count(rows[i].dump) == rows[i].chunks, rows[i].what);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_usage),
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_the_last_chunk_is_cut),
                cmocka_unit_test(test_what_is_not_kept_is_counted),
                cmocka_unit_test(test_near_ranges_become_one),
                cmocka_unit_test(test_what_is_mapped),
                cmocka_unit_test(test_what_is_not_understood),
                cmocka_unit_test(test_the_end_must_be_there),
                cmocka_unit_test(test_chunk_sizes),
                cmocka_unit_test(test_what_is_shared_counts_once),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
