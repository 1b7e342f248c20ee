#pragma once

/* What a file is, by its first bytes: what a volume can be made from, and what else people try. */

#include <quarry/volume.h>

/* Where the last of the signatures ends. */
#define IMAGE_HEAD_SIZE (68u << 10)

typedef struct Image {
        bool is_tar;
        const char *unpacker;   /* that it is compressed for; NULL: it is not */
        Filesystem fs;          /* whose image it is, or FILESYSTEM_NONE */
        uint64_t size;          /* bytes that this takes */
        const char *what, *hint; /* of all else: what it is, and what to do; the hint may be NULL */
} Image;

/* n: all that there is, unless it is IMAGE_HEAD_SIZE. */
Image image_recognize(const uint8_t *head, size_t n);
