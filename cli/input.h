#pragma once

/* Bytes that are read from their first to their last: of a file, a device or a pipe, and unpacked if they are
 * compressed. */

#include "image.h"

#include <quarry/error.h>

typedef struct Input {
        int fd;              /* they come from here, behind what is left of head */
        uint8_t *head;
        size_t n_head;
        Image image;         /* what they are, unpacked */
        const char *unpacker; /* that runs for them, or NULL: */
        int file, status;    /* what that reads, and where it is told that it did so whole; else -EBADF */
        uint64_t size;       /* of the file or device; 0: nobody knows, of a pipe */
        uint64_t at;         /* of the next byte */
} Input;

#define INPUT_NONE ((Input) { .fd = -EBADF, .file = -EBADF, .status = -EBADF })

/* path: "-" is standard input. Reads the first bytes, and starts the unpacker; the caller frees it in any case. */
int input_open(const char *path, Input *ret, Error *err);
void input_done(Input *source);

/* Returns the number of bytes, less than size only before the end, 0 there. */
ssize_t input_read(Input *source, uint8_t *buf, size_t size, Error *err);
/* What can be had of them without waiting for more than one. */
ssize_t input_read_some(Input *source, uint8_t *buf, size_t size, Error *err);
/* Goes on behind a hole, which holds zeros. Where nobody knows of holes, nothing. */
void input_skip_hole(Input *source);
/* Bytes of the file, of size, that are done with; of a pipe, those that were read of what is in it. */
uint64_t input_position(const Input *source);
