/* What is written is read again; and every stream that is not whole is refused. */

#include "../unit.h"

#include <quarry/fd.h>
#include <quarry/stream.h>
#include <quarry/text.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DATA 100000u
#define AT (UINT64_C(5) << 20)
#define ZEROS (UINT64_C(8) << 20)
#define LAST (UINT64_C(63) << 20)

static StreamHeader header_of(const char *since) {
        StreamHeader h = { .spec = { .size = UINT64_C(64) << 20, .fs = FILESYSTEM_EXT4, .mode = 0750, .uid = 7 },
                           .uuid = SD_ID128_MAKE(01, 02, 03, 04, 05, 06, 07, 08, 09, 0a, 0b, 0c, 0d, 0e, 0f, 10) };

        buffer_format(h.spec.tenant, sizeof(h.spec.tenant), DEFAULT_TENANT);
        buffer_format(h.spec.name, sizeof(h.spec.name), "db");
        buffer_format(h.snapshot, sizeof(h.snapshot), "two");
        if (since) {
                buffer_format(h.since_snapshot, sizeof(h.since_snapshot), "%s", since);
                h.since = SD_ID128_MAKE(11, 02, 03, 04, 05, 06, 07, 08, 09, 0a, 0b, 0c, 0d, 0e, 0f, 10);
        }
        return h;
}

static void fill(uint8_t *data) {
        for (size_t i = 0; i < DATA; i++)
                data[i] = (uint8_t) (i * 131 >> 3);
}

static int open_stream(void) {
        int fd = memfd_create("stream", MFD_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

/* From that record on. */
static void write_records(StreamWriter *w, unsigned first) {
        static uint8_t data[DATA];
        Error err = {};

        fill(data);
        if (first < 1)
                assert_int_equal(stream_write(w, 0, DATA, data, &err), 0);
        if (first < 2)
                assert_int_equal(stream_write(w, AT, ZEROS, NULL, &err), 0);
        if (first < 3)
                assert_int_equal(stream_write(w, LAST, DATA, data, &err), 0);
        assert_int_equal(stream_write_end(w, &err), 0);
}

static int write_stream(const char *since) {
        StreamHeader header = header_of(since);
        StreamWriter *w = NULL;
        int fd = open_stream();
        Error err = {};

        assert_int_equal(stream_writer_new(fd, &header, false, &w, &err), 0);
        write_records(w, 0);
        assert_int_equal(stream_written(w), lseek(fd, 0, SEEK_END));
        stream_writer_free(w);
        return fd;
}

/* Returns how many records there are, or the error; the reader stays for who wants to go on with it. */
static int read_stream(int fd, StreamReader **ret, Error *err) {
        StreamHeader header = {};
        StreamRecord record;
        int r, n = 0;

        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        r = stream_reader_new(fd, ret, &header, err);
        stream_header_done(&header);
        while (r >= 0 && (r = stream_read(*ret, &record, err)) > 0)
                n++;
        return r < 0 ? r : n;
}

static void test_there_and_back(void **state) {
        static uint8_t data[DATA];
        int fd = write_stream("one");
        StreamReader *reader = NULL;
        StreamHeader header = {}, wanted = header_of("one");
        StreamRecord record;
        Error err = {};

        fill(data);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(stream_reader_new(fd, &reader, &header, &err), 0);
        assert_string_equal(header.spec.name, "db");
        assert_string_equal(header.snapshot, "two");
        assert_string_equal(header.since_snapshot, "one");
        assert_true(sd_id128_equal(header.uuid, wanted.uuid) && sd_id128_equal(header.since, wanted.since));
        assert_int_equal(header.spec.size, wanted.spec.size);
        assert_int_equal(header.spec.mode, 0750);
        assert_int_equal(stream_read(reader, &record, &err), 1);
        assert_int_equal(record.length, DATA);
        assert_memory_equal(record.data, data, DATA);
        assert_int_equal(stream_read(reader, &record, &err), 1);
        assert_null(record.data);
        assert_int_equal(record.offset, AT);
        assert_int_equal(record.length, ZEROS);
        assert_int_equal(stream_read(reader, &record, &err), 1);
        assert_int_equal(stream_read(reader, &record, &err), 0);
        stream_header_done(&header);
        stream_reader_free(reader);
        close(fd);
}

/* Cut at any byte: refused, and gone on with it is as if it never had been. */
static void test_cut_and_gone_on_with(void **state) {
        int whole = write_stream(NULL);
        size_t size = (size_t) lseek(whole, 0, SEEK_END);
        _cleanup_free_ uint8_t *bytes = malloc(size), *again = malloc(size);
        static const uint64_t ends[] = { 0, DATA, AT + ZEROS, LAST + DATA };
        unsigned resumed = 0;

        assert_true(bytes && again);
        assert_int_equal(pread(whole, bytes, size, 0), size);
        for (size_t cut = 0; cut < size; cut++) {
                StreamReader *reader = NULL;
                StreamWriter *w = NULL;
                int fd = open_stream();
                uint64_t offset;
                Error err = {};

                assert_int_equal(write_all(fd, bytes, cut), 0);
                assert_int_equal(read_stream(fd, &reader, &err), -EBADMSG);
                if (reader) {
                        assert_int_equal(stream_writer_resume(reader, fd, &w, &offset, &err), 0);
                        for (unsigned i = 0; i < ELEMENTSOF(ends); i++)
                                if (ends[i] == offset) {
                                        write_records(w, i);
                                        resumed |= 1u << i;
                                }
                        assert_int_equal(lseek(fd, 0, SEEK_END), size);
                        assert_int_equal(pread(fd, again, size, 0), size);
                        assert_memory_equal(again, bytes, size);
                        stream_writer_free(w);
                }
                stream_reader_free(reader);
                close(fd);
        }
        assert_int_equal(resumed, 15);
        close(whole);
}

static void test_any_flipped_bit(void **state) {
        int whole = write_stream(NULL);
        size_t size = (size_t) lseek(whole, 0, SEEK_END);

        for (size_t i = 0; i < size; i++) {
                StreamReader *reader = NULL;
                Error err = {};
                uint8_t byte;

                assert_int_equal(pread(whole, &byte, 1, (off_t) i), 1);
                byte ^= (uint8_t) (1u << i % 8);
                assert_int_equal(pwrite(whole, &byte, 1, (off_t) i), 1);
                assert_true(read_stream(whole, &reader, &err) < 0);
                assert_true(!isempty(err.text));
                byte ^= (uint8_t) (1u << i % 8);
                assert_int_equal(pwrite(whole, &byte, 1, (off_t) i), 1);
                stream_reader_free(reader);
        }
        close(whole);
}

static void test_more_behind_its_end(void **state) {
        int fd = write_stream(NULL);
        StreamReader *reader = NULL;
        Error err = {};

        assert_int_equal(lseek(fd, 0, SEEK_END) > 0, 1);
        assert_int_equal(write_all(fd, "x", 1), 0);
        assert_int_equal(read_stream(fd, &reader, &err), -EBADMSG);
        stream_reader_free(reader);
        close(fd);
}

/* As Ceph's MergeDiff.cc reads it. */
static void test_bare_for_ceph(void **state) {
        static const char wanted[] = "rbd diff v1\n"
                                     "f\3\0\0\0one"
                                     "t\3\0\0\0two"
                                     "s\0\0\0\4\0\0\0\0"
                                     "w\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0data"
                                     "z\0\0\x50\0\0\0\0\0\0\0\x80\0\0\0\0\0"
                                     "e";
        StreamHeader header = header_of("one");
        StreamWriter *w = NULL;
        char have[256] = "";
        int fd = open_stream();
        Error err = {};

        assert_int_equal(stream_writer_new(fd, &header, true, &w, &err), 0);
        assert_int_equal(stream_write(w, 0, 4, (const uint8_t *) "data", &err), 0);
        assert_int_equal(stream_write(w, AT, ZEROS, NULL, &err), 0);
        assert_int_equal(stream_write_end(w, &err), 0);
        assert_int_equal(pread(fd, have, sizeof(have), 0), sizeof(wanted) - 1);
        assert_memory_equal(have, wanted, sizeof(wanted) - 1);
        stream_writer_free(w);
        close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_cut_and_gone_on_with),
                cmocka_unit_test(test_any_flipped_bit), cmocka_unit_test(test_more_behind_its_end),
                cmocka_unit_test(test_bare_for_ceph),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
