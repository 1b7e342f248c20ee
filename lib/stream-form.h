#pragma once

/* What the two ends of a stream share. */

#include <quarry/stream.h>

#include <sodium.h>

#define RBD_BANNER "rbd diff v2\n"
#define RBD_BANNER_BARE "rbd diff v1\n"
#define MAGIC_HEADER UINT32_C(0x184d2a5a) /* skippable frames of zstd, by their little-endian numbers */
#define MAGIC_TRAILER UINT32_C(0x184d2a5b)
#define FRAME_HEAD 8u /* its magic and its length */
#define HEADER_BANNER "quarry stream 1\n"
#define HEADER_MAX 65536u
#define SUM_SIZE 32u

#define RECORD_HEAD (1u + 3 * 8) /* tag, length of what follows, offset, length */
#define RECORD_MAX (RECORD_HEAD + STREAM_DATA_MAX)

static inline void put_le(uint8_t *at, uint64_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; i++)
                at[i] = (uint8_t) (value >> 8 * i);
}

static inline uint64_t get_le(const uint8_t *at, unsigned bytes) {
        uint64_t value = 0;

        for (unsigned i = 0; i < bytes; i++)
                value |= (uint64_t) at[i] << 8 * i;
        return value;
}

/* What comes first, behind the banner of rbd's: from which snapshot, to which, and how large it is then. bare: of
 * version 1. Returns its size. */
size_t stream_preamble(const StreamHeader *header, bool bare, uint8_t buf[static RECORD_MAX]);

/* -ENOMEM; -EINVAL with what is wrong in *err. */
int stream_header_to_json(const StreamHeader *header, char **ret);
int stream_header_from_json(const char *text, StreamHeader *ret, Error *err);

/* A writer that goes on behind `written` bytes, which have this sum so far. */
int stream_writer_at(int fd, const crypto_generichash_state *sum, uint64_t written, uint64_t next, StreamWriter **ret,
                     Error *err);
