#pragma once

/* What the files about LUKS2 share. */

#include "kernel/luks.h"

#include <quarry/volume.h>

#include <libcryptsetup.h>

#define LUKS_KEY_SIZE (LUKS_KEY_BITS / 8)
#define LUKS_METADATA_SIZE UINT64_C(16384) /* of one copy of the JSON header: the default */
#define LUKS_KEYSLOTS_SIZE MIB                   /* four of them, of 252 KiB each: what is not there takes no space */
#define LUKS_HEADER_USED (2 * LUKS_METADATA_SIZE + LUKS_KEYSLOTS_SIZE)

/* libcryptsetup keeps a header's device open as long as it lives, and then nobody can close that device. So
 * it is freed after each use and the header loaded anew for the next, which is cheap. */
struct Luks {
        char *path;
        struct crypt_device *header; /* or NULL */
        char *key;                   /* LUKS_KEY_SIZE bytes in libcryptsetup's safe memory, or NULL */
};

int luks_header_load(Luks *luks);
void luks_header_release(Luks *luks);
/* LUKS_HEADER_USED bytes, and waits for the disk. */
int luks_header_write(const char *device, const uint8_t *header);
struct crypt_pbkdf_type luks_pbkdf(const LuksKdf *kdf);
