#pragma once

/* Parsers of what thin_ls(8), thin_delta(8) and thin_dump(8) print. Pure: the caller runs them, and gives each line. */

#include <quarry/base.h>

/* What a thin device takes, in bytes. */
typedef struct ThinUsage {
        uint32_t thin_id;
        uint64_t used; /* shared ones included */
        uint64_t exclusive; /* of these: what no other device has */
} ThinUsage;

/* Of thin_ls --no-headers --format DEV,MAPPED_BYTES,EXCLUSIVE_BYTES. -EBADMSG. */
int thin_usage_parse(const char *line, ThinUsage *ret);

typedef struct ThinRange {
        uint64_t offset, length; /* bytes */
} ThinRange;

/* Where two thin devices have not the same blocks of the pool. */
typedef struct ThinDelta {
        uint64_t chunk_size; /* bytes; 0: nothing is known */
        uint64_t total; /* bytes in all ranges, */
        uint64_t count; /* and how many these are */
        ThinRange *ranges; /* in order, none touches the next; those that were to be kept */
        size_t n_ranges;
} ThinDelta;

void thin_delta_done(ThinDelta *delta);

/* Takes the lines of thin_delta. Zeroed but for keep and the sizes at first. */
typedef struct ThinDeltaParser {
        size_t keep; /* so many ranges; the others are only counted, */
        bool join; /* or those that are nearest to each other become one, with what lies between */
        bool mapped; /* of a device and itself: what it has, in the place of what differs */
        uint64_t sizes[2]; /* of the devices, bytes: what only one of them has differs */
        ThinDelta delta;
        ThinRange last; /* that may still grow */
        uint64_t gap; /* bytes that may lie between two that are one */
        uint64_t next; /* where the next element may begin */
        unsigned place; /* in the grammar */
} ThinDeltaParser;

/* -EBADMSG, -ENOMEM. */
int thin_delta_parse(ThinDeltaParser *parser, const char *line);
/* Behind the last line. The delta is the caller's then. -EBADMSG if the end is missing, -ENOMEM. */
int thin_delta_finish(ThinDeltaParser *parser, ThinDelta *ret);
void thin_delta_parser_done(ThinDeltaParser *parser);

/* Takes the lines of thin_dump of some devices, one after the other: how many different blocks of the pool these have
 * together. Each that the pool has is a bit. Zeroed at first but for data_size: in a snapshot of the metadata it is not
 * told. */
typedef struct ThinUnion {
        uint64_t data_size; /* of the pool, bytes */
        uint64_t chunk_size; /* bytes */
        uint8_t *seen; /* which were, */
        uint64_t n_seen; /* and so many */
        bool is_open; /* between begin and end of a dump */
} ThinUnion;

void thin_union_done(ThinUnion *u);
/* -EBADMSG, -ENOMEM. */
int thin_union_parse(ThinUnion *u, const char *line);
