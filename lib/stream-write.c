/* Writing a stream: a record, compressed, is one frame. */

#include "stream-form.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <assert.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 1 /* what is sent is read as fast as disks are */

struct StreamWriter {
        crypto_generichash_state sum;
        ZSTD_CCtx *zstd;
        uint64_t written, next; /* bytes of the stream; where the next record may begin */
        int fd;
        bool is_bare; /* without lengths of records, frames and sums */
        uint8_t plain[RECORD_MAX], frame[ZSTD_COMPRESSBOUND(RECORD_MAX)];
};

void stream_writer_free(StreamWriter *w) {
        if (!w)
                return;
        ZSTD_freeCCtx(w->zstd);
        free(w);
}

uint64_t stream_written(const StreamWriter *w) {
        return w ? w->written : 0;
}

static int put(StreamWriter *w, const void *data, size_t size, Error *err) {
        int r;

        crypto_generichash_update(&w->sum, data, size);
        r = write_all(w->fd, data, size);
        if (r < 0)
                return error_errno(err, r, "cannot write the stream");
        w->written += size;
        return 0;
}

static int put_skippable(StreamWriter *w, uint32_t magic, const void *data, size_t size, Error *err) {
        uint8_t head[FRAME_HEAD];
        int r;

        put_le(head, magic, 4);
        put_le(head + 4, size, 4);
        r = put(w, head, sizeof(head), err);
        return r < 0 ? r : put(w, data, size, err);
}

/* What is in plain. */
static int put_frame(StreamWriter *w, size_t size, Error *err) {
        if (w->is_bare)
                return put(w, w->plain, size, err);
        size_t n = ZSTD_compress2(w->zstd, w->frame, sizeof(w->frame), w->plain, size);

        if (ZSTD_isError(n))
                return error_set(err, ERROR_FAILED, EIO, "cannot compress: %s", ZSTD_getErrorName(n));
        return put(w, w->frame, n, err);
}

int stream_writer_at(int fd, const crypto_generichash_state *sum, uint64_t written, uint64_t next, StreamWriter **ret,
                     Error *err) {
        StreamWriter *w = calloc(1, sizeof(*w));

        if (!w)
                return error_oom(err);
        w->sum = *sum;
        w->written = written;
        w->next = next;
        w->fd = fd;
        w->zstd = ZSTD_createCCtx();
        if (!w->zstd) {
                stream_writer_free(w);
                return error_oom(err);
        }
        (void) ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
        (void) ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
        *ret = w;
        return 0;
}

static int write_header(StreamWriter *w, const StreamHeader *header, Error *err) {
        _cleanup_free_ char *json = NULL, *text = NULL;
        int r;

        if (w->is_bare)
                return put_frame(w, stream_preamble(header, true, w->plain), err);
        r = stream_header_to_json(header, &json);
        text = r < 0 ? NULL : format_new(HEADER_BANNER "%s", json);
        if (!text)
                return error_oom(err);
        r = put_skippable(w, MAGIC_HEADER, text, strlen(text), err);
        return r < 0 ? r : put_frame(w, stream_preamble(header, false, w->plain), err);
}

int stream_writer_new(int fd, const StreamHeader *header, bool for_rbd, StreamWriter **ret, Error *err) {
        _cleanup_(stream_writer_freep) StreamWriter *w = NULL;
        crypto_generichash_state sum;
        int r;

        if (sodium_init() < 0)
                return error_set(err, ERROR_FAILED, EIO, "libsodium does not start");
        crypto_generichash_init(&sum, NULL, 0, SUM_SIZE);
        r = stream_writer_at(fd, &sum, 0, 0, &w, err);
        if (r < 0 || !w)
                return r;
        w->is_bare = for_rbd;
        r = write_header(w, header, err);
        if (r >= 0)
                *ret = TAKE_PTR(w);
        return r;
}

int stream_write(StreamWriter *w, uint64_t offset, uint64_t length, const uint8_t *data, Error *err) {
        assert(length > 0 && (!data || length <= STREAM_DATA_MAX) && offset >= w->next);
        w->next = offset + length;
        size_t n = 1, size = data ? (size_t) length : 0;

        w->plain[0] = data ? 'w' : 'z';
        if (!w->is_bare) {
                put_le(w->plain + n, 16 + size, 8);
                n += 8;
        }
        put_le(w->plain + n, offset, 8);
        put_le(w->plain + n + 8, length, 8);
        n += 16;
        if (data)
                memcpy(w->plain + n, data, size);
        return put_frame(w, n + size, err);
}

int stream_write_end(StreamWriter *w, Error *err) {
        uint8_t sum[SUM_SIZE];
        crypto_generichash_state so_far;
        int r;

        w->plain[0] = 'e';
        r = put_frame(w, 1, err);
        if (r < 0 || w->is_bare)
                return r;
        so_far = w->sum;
        crypto_generichash_final(&so_far, sum, sizeof(sum));
        return put_skippable(w, MAGIC_TRAILER, sum, sizeof(sum), err);
}
