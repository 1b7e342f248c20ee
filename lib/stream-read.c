/* Reading a stream, whoever made it: nothing in it is believed, and what it takes of memory is bounded. */

#include "stream-form.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define INPUT_SIZE (128u * 1024)
#define WINDOW_LOG 21 /* more than a record needs no writer remembers */

struct StreamReader {
        crypto_generichash_state sum, sum_whole; /* of what was taken, and of that up to the last whole record */
        ZSTD_DCtx *zstd;
        uint64_t taken, whole, next, device_size; /* bytes: the same two; where the next record may begin; of all */
        size_t begin, end; /* of what is not taken in input */
        StreamHeader header;
        int fd;
        uint8_t input[INPUT_SIZE], plain[RECORD_MAX];
};

void stream_reader_free(StreamReader *s) {
        if (!s)
                return;
        ZSTD_freeDCtx(s->zstd);
        stream_header_done(&s->header);
        free(s);
}

static int damaged(const StreamReader *s, Error *err, const char *what) {
        return error_set(err, ERROR_BAD_REQUEST, EBADMSG, "the stream is damaged at byte %" PRIu64 ": %s", s->taken,
                         what);
}

static int cut_short(const StreamReader *s, Error *err) {
        return error_set(err, ERROR_BAD_REQUEST, EBADMSG, "the stream is cut short at byte %" PRIu64, s->taken);
}

/* At least one byte in input; 0 at the end. */
static int fill(StreamReader *s, Error *err) {
        ssize_t n;

        if (s->begin < s->end)
                return 1;
        do
                n = read(s->fd, s->input, sizeof(s->input));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return error_errno(err, errno, "cannot read the stream");
        s->begin = 0;
        s->end = (size_t) n;
        return n > 0;
}

static void take(StreamReader *s, size_t n) {
        crypto_generichash_update(&s->sum, s->input + s->begin, n);
        s->begin += n;
        s->taken += n;
}

static int take_bytes(StreamReader *s, uint8_t *ret, size_t size, Error *err) {
        while (size > 0) {
                int r = fill(s, err);
                size_t n;

                if (r <= 0)
                        return r < 0 ? r : cut_short(s, err);
                n = s->end - s->begin < size ? s->end - s->begin : size;
                memcpy(ret, s->input + s->begin, n);
                take(s, n);
                ret += n;
                size -= n;
        }
        return 0;
}

/* Returns the length of what is in it. */
static int take_skippable(StreamReader *s, uint32_t magic, uint32_t max, Error *err) {
        uint8_t head[FRAME_HEAD] = {};
        uint64_t length;
        int r;

        r = take_bytes(s, head, sizeof(head), err);
        if (r < 0)
                return r;
        length = get_le(head + 4, 4);
        return get_le(head, 4) != magic || length > max ? damaged(s, err, "another kind of frame is due")
                                                        : (int) length;
}

/* Into plain, one frame: returns its size. */
static int take_frame(StreamReader *s, Error *err) {
        ZSTD_outBuffer out = { s->plain, sizeof(s->plain), 0 };
        size_t left;

        (void) ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only);
        do {
                ZSTD_inBuffer in;
                int r = fill(s, err);

                if (r <= 0)
                        return r < 0 ? r : cut_short(s, err);
                in = (ZSTD_inBuffer) { s->input + s->begin, s->end - s->begin, 0 };
                left = ZSTD_decompressStream(s->zstd, &out, &in);
                if (ZSTD_isError(left))
                        return damaged(s, err, ZSTD_getErrorName(left));
                take(s, in.pos);
                if (left > 0 && out.pos == out.size && in.pos == 0)
                        return damaged(s, err, "a record is too long");
        } while (left > 0);
        return (int) out.pos;
}

static void note_whole(StreamReader *s) {
        s->sum_whole = s->sum;
        s->whole = s->taken;
}

/* --- what it is of ---------------------------------------------------------------------------------------- */

/* Somebody took another file, or has one of another format; or the sender failed before its first byte. */
static int no_stream(Error *err, const char *what) {
        error_set(err, ERROR_BAD_REQUEST, EBADMSG, "%s", what);
        error_hint(err, "a stream is what quarry send NAME@SNAPSHOT writes, with --format stream, the default");
        return error_code(err);
}

static int read_header(StreamReader *s, Error *err) {
        _cleanup_free_ uint8_t *expected = malloc(RECORD_MAX);
        char text[HEADER_MAX + 1] = {};
        size_t banner = strlen(HEADER_BANNER), n;
        int r;

        if (!expected)
                return error_oom(err);
        r = fill(s, err);
        if (r < 0)
                return r;
        if (r == 0)
                return no_stream(err, "there is nothing: not even the beginning of a stream");
        r = take_skippable(s, MAGIC_HEADER, HEADER_MAX, err);
        if (r < 0 && s->taken == FRAME_HEAD)
                return no_stream(err, "that is no stream: it begins otherwise");
        if (r >= 0)
                r = take_bytes(s, (uint8_t *) text, (size_t) r, err);
        if (r < 0)
                return r;
        if (strncmp(text, HEADER_BANNER, banner) != 0)
                return damaged(s, err, "it is of a version that is not known here");
        r = stream_header_from_json(text + banner, &s->header, err);
        if (r < 0)
                return r;
        r = take_frame(s, err);
        if (r < 0)
                return r;
        n = stream_preamble(&s->header, false, expected);
        if ((size_t) r != n || memcmp(expected, s->plain, n) != 0)
                return damaged(s, err, "its records are of something else than it says");
        s->device_size = volume_spec_device_size(&s->header.spec);
        note_whole(s);
        return 0;
}

int stream_reader_new(int fd, StreamReader **ret, StreamHeader *ret_header, Error *err) {
        _cleanup_(stream_reader_freep) StreamReader *s = calloc(1, sizeof(*s));
        int r;

        if (sodium_init() < 0)
                return error_set(err, ERROR_FAILED, EIO, "libsodium does not start");
        if (!s)
                return error_oom(err);
        s->zstd = ZSTD_createDCtx();
        if (!s->zstd)
                return error_oom(err);
        s->fd = fd;
        (void) ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
        crypto_generichash_init(&s->sum, NULL, 0, SUM_SIZE);
        r = read_header(s, err);
        if (r < 0)
                return r;
        *ret_header = s->header;
        if (volume_spec_copy(&s->header.spec, &ret_header->spec) < 0)
                return error_oom(err);
        *ret = TAKE_PTR(s);
        return 0;
}

/* --- what it has ------------------------------------------------------------------------------------------ */

static int take_trailer(StreamReader *s, Error *err) {
        crypto_generichash_state so_far = s->sum;
        uint8_t sum[SUM_SIZE], said[SUM_SIZE];
        int r;

        crypto_generichash_final(&so_far, sum, sizeof(sum));
        r = take_skippable(s, MAGIC_TRAILER, SUM_SIZE, err);
        if (r >= 0)
                r = r == SUM_SIZE ? take_bytes(s, said, sizeof(said), err) : damaged(s, err, "its sum is no sum");
        if (r >= 0 && memcmp(sum, said, sizeof(sum)) != 0)
                r = damaged(s, err, "its sum is another");
        if (r >= 0)
                r = fill(s, err);
        return r > 0 ? damaged(s, err, "there is more behind its end") : r;
}

int stream_read(StreamReader *s, StreamRecord *ret, Error *err) {
        uint64_t length, end;
        bool is_data;
        int n;

        n = take_frame(s, err);
        if (n < 0)
                return n;
        if (n == 1 && s->plain[0] == 'e')
                return take_trailer(s, err);
        is_data = n > 0 && s->plain[0] == 'w';
        if ((size_t) n < RECORD_HEAD || (!is_data && s->plain[0] != 'z'))
                return damaged(s, err, "a record is of no kind that is known");
        ret->offset = get_le(s->plain + 9, 8);
        ret->length = length = get_le(s->plain + 17, 8);
        ret->data = is_data ? s->plain + RECORD_HEAD : NULL;
        if (get_le(s->plain + 1, 8) != (uint64_t) n - 9 || (size_t) n != RECORD_HEAD + (is_data ? length : 0) ||
            length == 0 || __builtin_add_overflow(ret->offset, length, &end) || ret->offset < s->next ||
            end > s->device_size)
                return damaged(s, err, "a record lies where none can be");
        s->next = end;
        note_whole(s);
        return 1;
}

int stream_writer_resume(const StreamReader *s, int fd, StreamWriter **ret, uint64_t *ret_offset, Error *err) {
        if (ftruncate(fd, (off_t) s->whole) < 0 || lseek(fd, (off_t) s->whole, SEEK_SET) < 0)
                return error_errno(err, errno, "cannot go on with the stream");
        *ret_offset = s->next;
        return stream_writer_at(fd, &s->sum_whole, s->whole, s->next, ret, err);
}
