#pragma once

/* A snapshot as a stream of bytes: Ceph's rbd diff format, version 2 (doc/dev/rbd-diff.rst in its sources), each record
 * in a zstd frame of its own (RFC 8878) with its checksum. Before and behind them stand skippable frames: what quarry
 * needs to know of the volume, as JSON, and the BLAKE2b-256 of all bytes before it. zstd -d leaves these out. */

#include <quarry/error.h>
#include <quarry/volume.h>

/* Bytes of contents in one record, at most. */
#define STREAM_DATA_MAX (UINT32_C(1) << 20)

typedef struct StreamHeader {
        VolumeSpec spec; /* of the volume: name, size, fs, key_source, uid, gid, mode */
        char snapshot[SNAPSHOT_NAME_MAX + 1];
        sd_id128_t uuid; /* of the snapshot where it was made first; the same contents have the same, on every host */
        char since_snapshot[SNAPSHOT_NAME_MAX + 1]; /* only what differs from this one; empty: all there is */
        sd_id128_t since;
} StreamHeader;

void stream_header_done(StreamHeader *header);
bool stream_header_equal(const StreamHeader *a, const StreamHeader *b);

/* --- writing ---------------------------------------------------------------------------------------------- */

typedef struct StreamWriter StreamWriter;

/* Writes the header to fd, which is borrowed. for_rbd: version 1 of the format, bare, which is what rbd import-diff and
 * merge-diff take as a file; nothing here reads it. */
int stream_writer_new(int fd, const StreamHeader *header, bool for_rbd, StreamWriter **ret, Error *err);
void stream_writer_free(StreamWriter *w);
DEFINE_CLEANUP(StreamWriter *, stream_writer_free)

/* A record: data of length bytes, at most STREAM_DATA_MAX, at offset of the thin device; data NULL: zeros, of any
 * length. In the order of their offsets. */
int stream_write(StreamWriter *w, uint64_t offset, uint64_t length, const uint8_t *data, Error *err);
/* Behind the last: without it a stream is cut short. */
int stream_write_end(StreamWriter *w, Error *err);
uint64_t stream_written(const StreamWriter *w); /* bytes; of none 0 */

/* --- reading ---------------------------------------------------------------------------------------------- */

typedef struct StreamReader StreamReader;

typedef struct StreamRecord {
        uint64_t offset, length; /* bytes */
        const uint8_t *data; /* until the next is read; NULL: zeros */
} StreamRecord;

/* Reads the header from fd, which is borrowed; *ret_header is the caller's. A stream that is damaged, cut short or of
 * another kind is refused (ERROR_BAD_REQUEST) with the byte at which that is seen. */
int stream_reader_new(int fd, StreamReader **ret, StreamHeader *ret_header, Error *err);
void stream_reader_free(StreamReader *s);
DEFINE_CLEANUP(StreamReader *, stream_reader_free)

/* Returns 1 with the next record; 0 behind the last, once all that was read was proven whole. */
int stream_read(StreamReader *s, StreamRecord *ret, Error *err);

/* Goes on with a stream that was cut short: behind the last whole record that the reader saw, of which *ret_offset is
 * the end. fd is that of the reader's, and is truncated and written to. */
int stream_writer_resume(const StreamReader *s, int fd, StreamWriter **ret, uint64_t *ret_offset, Error *err);
