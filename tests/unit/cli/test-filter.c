/* What --filter takes, what it refuses, and which rows match. */

#include "../../../cli/filter.h"

#include <quarry/text.h>

#include <stdio.h>
#include <time.h>

#include "../unit.h"

#define DAY (24 * 3600)

static char **unused_texts(sd_json_variant *row) {
        char **texts = NULL;

        (void) strv_append(&texts, sd_json_variant_elements(sd_json_variant_by_key(row, "holds")) == 0 ? "yes" : "no");
        return texts;
}

static const Column columns[] = {
        { "name", "NAME", "", "name" },
        { "size", "SIZE", "", "sizeBytes", COLUMN_SIZE },
        { "use%", "USE%", "", "usedBytes", COLUMN_PERCENT, .beside = { "sizeBytes" } },
        { "snapshots", "SNAPS", "", "snapshots", COLUMN_NUMBER },
        { "fs", "FS", "", "filesystem", .values = "ext4 xfs none" },
        { "held", "HELD", "", "held", COLUMN_YES },
        { "unused", "UNUSED", "", "holds", COLUMN_YES, .texts = unused_texts },
        { "created", "CREATED", "", "createdAt", COLUMN_TIME },
        { "labels", "LABELS", "", "labels", .also = "label" },
        {},
};

/* 10G of ext4, half full, three snapshots, made three days ago. */
static sd_json_variant *row_make(time_t age) {
        sd_json_variant *row = NULL;
        time_t made = time(NULL) - age;
        struct tm tm;
        char text[32];

        gmtime_r(&made, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_true(sd_json_buildo(
                            &row,
                            SD_JSON_BUILD_PAIR_STRING("name", "web,2"),
                            SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", UINT64_C(10) << 30),
                            SD_JSON_BUILD_PAIR_UNSIGNED("usedBytes", UINT64_C(5) << 30),
                            SD_JSON_BUILD_PAIR_UNSIGNED("snapshots", 3),
                            SD_JSON_BUILD_PAIR_STRING("filesystem", "ext4"),
                            SD_JSON_BUILD_PAIR_EMPTY_ARRAY("holds"),
                            SD_JSON_BUILD_PAIR_STRING("createdAt", text),
                            SD_JSON_BUILD_PAIR_OBJECT("labels", SD_JSON_BUILD_PAIR_STRING("app", "web"),
                                                      SD_JSON_BUILD_PAIR_STRING("list", "a,b=c"))) >= 0);
        return row;
}

static bool matches_row(sd_json_variant *row, char *const *texts) {
        _cleanup_(filter_done) Filter filter = {};
        Error err = {};

        if (filter_parse(columns, texts, &filter, &err) < 0)
                fail_msg("%s: %s", texts[0], err.text);
        return filter_matches(&filter, row);
}

static bool matches(const char *text) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = row_make(3 * DAY);
        char *texts[] = { (char *) text, NULL };

        return matches_row(row, texts);
}

static void test_which_rows_match(void **state) {
        static const char *const yes[] = {
                "name=web*",
                "name!=db",
                "size=10G",
                "size!=11G",
                "size>9G",
                "size>=10G",
                "size<=10240M",
                "size<11G",
                "use%=50",
                "use%=50%",
                "use%>49",
                "use%<51%",
                "snapshots=3",
                "snapshots=?",
                "snapshots>2",
                "snapshots<=3",
                "snapshots!=2",
                "fs=ext4",
                "fs=ext*",
                "fs!=xfs",
                "unused",
                "unused=yes",
                "unused!=no",
                "created<7d",
                "created<1w",
                "created>2d",
                "created>=48h",
                "created<=4320m",
                "created>172800s",
                "created=20*",
                "label=app=web",
                "label=app",
                "labels=app=w*",
                "label!=app=db",
                "label!=none",
                "held=-",
                "held!=yes",
                "name=web\\,2",
                "label=list=a\\,b=c",
                "label=list=a*",
                "fs=ext4,unused",
                "fs=ext4, size>1",
                "label=app,label=list",
                "unused,unused",
        };
        static const char *const no[] = {
                "name=web",    "name!=web*", "size=11G",     "size!=10G",     "size>10G",      "size<10G",
                "size>=11G",   "size<=9G",   "use%=5",       "use%>50",       "use%<50",       "snapshots>3",
                "snapshots<3", "fs=xfs",     "fs!=ext4",     "unused=no",     "unused!=yes",   "held",
                "held=yes",    "created>7d", "created<2d",   "created>=1w",   "created=19*",   "label=app=db",
                "label=ap",    "label!=app", "label=list=a", "fs=xfs,unused", "unused,fs=xfs", "size=-",
        };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                assert_row(matches(yes[i]), yes[i]);
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                assert_row(!matches(no[i]), no[i]);
}

static void test_what_is_not_known_is_neither_less_nor_more(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = NULL;
        static const char *const no[] = { "size<1P", "size>=0", "use%<100", "snapshots>=0", "created<9999w", "size=0" };
        static const char *const yes[] = { "size=-", "created=-", "size!=1G", "name=-", "fs=-", "unused" };

        assert_int_equal(sd_json_variant_new_object(&row, NULL, 0), 0);
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                assert_row(!matches_row(row, (char *[]) { (char *) no[i], NULL }), no[i]);
        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                assert_row(matches_row(row, (char *[]) { (char *) yes[i], NULL }), yes[i]);
}

/* Of what is to come, how far it is. */
static void test_a_time_is_compared_by_its_distance(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *next = row_make(-2 * 3600);

        assert_true(matches_row(next, (char *[]) { (char *) "created<3h", NULL }));
        assert_false(matches_row(next, (char *[]) { (char *) "created<1h", NULL }));
        assert_true(matches_row(next, (char *[]) { (char *) "created>1h", (char *) "created<1d", NULL }));
        assert_false(matches_row(next, (char *[]) { (char *) "created>1h", (char *) "created>1d", NULL }));
        assert_true(matches_row(next, NULL));
}

static void test_what_makes_no_sense_is_refused_with_what_does(void **state) {
        static const struct {
                const char *text, *part;
        } rows[] = {
                { "colour=red",
                  "there is no column \"colour\"; there are: name, size, use%, snapshots, fs, held, unused, created, "
                  "labels, label" },
                { "fs=xfs,colour=red", "there is no column \"colour\"" },
                { "=red", "there is no column \"\"" },
                { "", "\"\" is not COLUMN=VALUE, nor one of: held, unused" },
                { "unused,", "\"\" is not COLUMN=VALUE, nor one of: held, unused; a comma" },
                { "name", "\"name\" is not COLUMN=VALUE" },
                { "unusde", "\"unusde\" is not COLUMN=VALUE" },
                { "label=list=a,b",
                  "\"b\" is not COLUMN=VALUE, nor one of: held, unused; a comma that belongs to a value "
                  "is written \\," },
                { "name!", "\"name!\" is not COLUMN=VALUE" },
                { "size=big", "size: \"big\" is not a size: write a number with K, M, G, T or P, such as 10G" },
                { "size>", "size: \"\" is not a size" },
                { "size>-1", "size: \"-1\" is not a size" },
                { "size=1*", "is not a size" },
                { "size>-", "is not a size" },
                { "size==1G", "size: \"=1G\" is not a size" },
                { "size<>1G", "is not a size" },
                { "snapshots>many", "snapshots: \"many\" is not a number" },
                { "snapshots=many", "is not a number" },
                { "use%>half", "use%: \"half\" is not a number of percent" },
                { "created<7",
                  "created: \"7\" is not a span of time: write a number with s, m, h, d or w, such as 7d" },
                { "created<d", "is not a span of time" },
                { "created<", "is not a span of time" },
                { "created<7y", "is not a span of time" },
                { "created<-7d", "is not a span of time" },
                { "created<2026-01-01", "is not a span of time" },
                { "created<99999999999999999999d", "is not a span of time" },
                { "created<18446744073709551615w", "is not a span of time" },
                { "created=7d", "created: \"7d\" is not a time; for its age write created<7d or created>7d" },
                { "fs=ntfs", "fs is one of: ext4 xfs none; not \"ntfs\"" },
                { "fs=", "fs is one of: ext4 xfs none; not \"\"" },
                { "fs!=n?", "fs is one of" },
                { "held=maybe", "held is one of: yes no; not \"maybe\"" },
                { "fs>ext4", "fs is no size, number or time: it can be compared with = and !=, not with >" },
                { "label<=app", "not with <=" },
                { "unused<1", "not with <" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Filter filter = {};
                Error err = {};

                assert_row(filter_parse(columns, (char *[]) { (char *) "unused", (char *) rows[i].text, NULL }, &filter,
                                        &err) == -EINVAL,
                           rows[i].text);
                assert_row(strstr(err.text, rows[i].part) != NULL, err.text);
                assert_string_equal(err.field, "--filter");
                assert_int_equal(filter.n, 0);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_which_rows_match),
                cmocka_unit_test(test_what_is_not_known_is_neither_less_nor_more),
                cmocka_unit_test(test_a_time_is_compared_by_its_distance),
                cmocka_unit_test(test_what_makes_no_sense_is_refused_with_what_does),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
