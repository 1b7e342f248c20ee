#pragma once

/* What a repository holds, as nobody else can read it or change it unseen: compressed by zstd, encrypted by libsodium's
 * secretstream (XChaCha20-Poly1305), and bound to the name that it has. */

#include <quarry/error.h>

#define SEAL_KEY_SIZE 32u

/* Bytes that size bytes have at most when they are sealed. */
size_t seal_bound(size_t size);

/* buf: of seal_bound(size) bytes. *ret_size: bytes of it that were used. */
int seal(const uint8_t key[static SEAL_KEY_SIZE], const char *name, const void *data, size_t size, uint8_t *buf,
         size_t *ret_size, Error *err);

/* The inverse. buf: of room bytes; *ret_size: bytes that it was. ERROR_FAILED (EBADMSG) if it is not what was sealed
 * under this name with this key, or larger than room. */
int seal_open(const uint8_t key[static SEAL_KEY_SIZE], const char *name, const uint8_t *sealed, size_t size, void *buf,
              size_t room, size_t *ret_size, Error *err);
