/* What quarry and quarry-s3 say to each other. */

#include "../unit.h"

#include <quarry/s3.h>
#include <quarry/text.h>

#include <stdio.h>
#include <sys/socket.h>

static int ends[2];

static int open_ends(void **state) {
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int close_ends(void **state) {
        (void) close(ends[0]);
        return close(ends[1]);
}

static void test_message_arrives_as_it_was_sent(void **state) {
        _cleanup_(s3_message_done) S3Message m = {};

        assert_int_equal(s3_message_send(ends[0], S3_PUT, "chunks/one", "a\0b", 3), 0);
        assert_int_equal(s3_message_receive(ends[1], &m), 1);
        assert_int_equal(m.op, S3_PUT);
        assert_string_equal(m.name, "chunks/one");
        assert_int_equal(m.size, 3);
        assert_memory_equal(m.data, "a\0b", 4);
        s3_message_done(&m);
        assert_int_equal(s3_message_send(ends[0], S3_DONE, NULL, NULL, 0), 0);
        assert_int_equal(s3_message_receive(ends[1], &m), 1);
        assert_int_equal(m.op, S3_DONE);
        assert_string_equal(m.name, "");
        assert_int_equal(m.size, 0);
}

static void test_error_arrives_whole_and_clean(void **state) {
        _cleanup_(s3_message_done) S3Message m = {};
        Error err = {}, got = {};

        error_set(&err, ERROR_NO_SPACE, 0, "there is none");
        error_hint(&err, "make some");
        assert_int_equal(s3_error_send(ends[0], &err), 0);
        assert_int_equal(s3_message_receive(ends[1], &m), 1);
        assert_int_equal(s3_error_take(&m, &got), -ENOSPC);
        assert_int_equal(got.kind, ERROR_NO_SPACE);
        assert_string_equal(got.text, "there is none");
        assert_string_equal(got.hint, "make some");
        s3_message_done(&m);

        assert_int_equal(s3_message_send(ends[0], S3_FAILED, "NoSuchKind", "\033[31m\0\n", 7), 0);
        assert_int_equal(s3_message_receive(ends[1], &m), 1);
        assert_int_equal(s3_error_take(&m, &got), -EIO);
        assert_string_equal(got.text, "?[31m");
        assert_string_equal(got.hint, "?");
}

static void test_what_is_no_message_is_refused(void **state) {
        static const uint8_t wrong[][12] = {
                { 0 },                                             /* no such op */
                { _S3_OP_MAX },
                { S3_GET, 0, 0, 0, S3_NAME_MAX + 1 },              /* too long a name */
                { S3_GET, 0, 0, 0, 1, 0, 0, 0, 1 },                /* has no data */
                { S3_DONE, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x40 },      /* one more than the largest object */
                { S3_DONE, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255 },
        };
        S3Message m = {};

        assert_int_equal(s3_message_send(ends[0], S3_GET, NULL, "x", 1), -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                assert_int_equal(send(ends[0], wrong[i], sizeof(wrong[i]), 0), sizeof(wrong[i]));
                assert_int_equal(s3_message_receive(ends[1], &m), -EBADMSG);
        }
        assert_int_equal(send(ends[0], "\3\0\0\0\2\0\0\0\0\0\0\0\0a", 14, 0), 14); /* a name with NUL */
        assert_int_equal(s3_message_receive(ends[1], &m), -EBADMSG);
        assert_null(m.data);
}

static void test_end_is_said_and_half_a_message_is_none(void **state) {
        S3Message m = {};

        assert_int_equal(send(ends[0], "\3\0\0\0\2\0\0\0\0\0\0\0a", 13, 0), 13);
        assert_int_equal(shutdown(ends[0], SHUT_WR), 0);
        assert_int_equal(s3_message_receive(ends[1], &m), -EBADMSG);
        assert_int_equal(s3_message_receive(ends[1], &m), 0);
        assert_int_equal(shutdown(ends[1], SHUT_RD), 0);
        assert_int_equal(s3_message_send(ends[1], S3_GET, "a", NULL, 0), 0);
        assert_int_equal(shutdown(ends[0], SHUT_RDWR), 0);
        assert_int_equal(s3_message_send(ends[1], S3_GET, "a", NULL, 0), -EPIPE); /* and no signal */
}

static void test_names(void **state) {
        static const char *const good[] = { "chunks/0a", "config", "a/b/c", "a..b/_-.x", "0" };
        static const char *const bad[] = { "",     "/",    "/a",  "a/",  "a//b",     ".",
                                           "a/..", "../a", "a b", "a%b", "\xc3\xa4", "a\n" };
        char longest[S3_NAME_MAX + 2] = {};

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_true(s3_name_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(s3_name_is_valid(bad[i]));
        memset(longest, 'a', S3_NAME_MAX);
        assert_true(s3_name_is_valid(longest));
        longest[S3_NAME_MAX] = 'a';
        assert_false(s3_name_is_valid(longest));
}

static S3Place place_of(const char *endpoint, const char *region, const char *bucket, const char *prefix) {
        S3Place place = { .patience = S3_PATIENCE };

        (void) buffer_format(place.endpoint, sizeof(place.endpoint), "%s", endpoint);
        (void) buffer_format(place.region, sizeof(place.region), "%s", region);
        (void) buffer_format(place.bucket, sizeof(place.bucket), "%s", bucket);
        (void) buffer_format(place.prefix, sizeof(place.prefix), "%s", prefix);
        return place;
}

static void place_refused(S3Place place, const char *field) {
        Error err = {};

        assert_int_equal(s3_place_check(&place, &err), -EINVAL);
        assert_string_equal(err.field, field);
}

static void test_places(void **state) {
        static const char *const endpoints[] = {
                "",           "s3.example",  "ftp://a",    "http://", "http:///x", "https://u@a", "https://a/?x",
                "https://a/", "https://a b", "https://a#b"
        };
        S3Place place = place_of("https://s3.example:9000/storage", S3_REGION, "depot", "a/b");

        assert_int_equal(s3_place_check(&place, NULL), 0);
        place = place_of("http://[::1]:9000", "eu-west-1", "my.depot-1", "");
        assert_int_equal(s3_place_check(&place, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(endpoints); i++)
                place_refused(place_of(endpoints[i], S3_REGION, "depot", ""), "endpoint");
        place_refused(place_of("http://a", "", "depot", ""), "region");
        place_refused(place_of("http://a", "a:b", "depot", ""), "region");
        place_refused(place_of("http://a", S3_REGION, "de", ""), "bucket");
        place_refused(place_of("http://a", S3_REGION, "a/b", ""), "bucket");
        place_refused(place_of("http://a", S3_REGION, "...", ""), "bucket");
        place_refused(place_of("http://a", S3_REGION, "depot", "/a"), "prefix");
        place_refused(place_of("http://a", S3_REGION, "depot", "a/../b"), "prefix");
        memset(place.bucket, 'a', sizeof(place.bucket)); /* without an end */
        place_refused(place, "bucket");
        place = place_of("http://a", S3_REGION, "depot", "");
        place.patience = 0;
        place_refused(place, "patience");
}

#define WITH_ENDS(f) cmocka_unit_test_setup_teardown(f, open_ends, close_ends)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_ENDS(test_message_arrives_as_it_was_sent),
                WITH_ENDS(test_error_arrives_whole_and_clean),
                WITH_ENDS(test_what_is_no_message_is_refused),
                WITH_ENDS(test_end_is_said_and_half_a_message_is_none),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_places),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
