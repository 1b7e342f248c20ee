#include "seal.h"

#include <sodium.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3
#define HEAD crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define OVERHEAD (HEAD + crypto_secretstream_xchacha20poly1305_ABYTES)

size_t seal_bound(size_t size) {
        return ZSTD_compressBound(size) + OVERHEAD;
}

static int bad(const char *name, Error *err) {
        return error_set(err, ERROR_FAILED, EBADMSG, "object %s is damaged, or was made with another key", name);
}

int seal(const uint8_t key[static SEAL_KEY_SIZE], const char *name, const void *data, size_t size, uint8_t *buf,
         size_t *ret_size, Error *err) {
        crypto_secretstream_xchacha20poly1305_state state;
        _cleanup_free_ uint8_t *packed = malloc(ZSTD_compressBound(size));
        size_t n;

        if (!packed)
                return error_oom(err);
        n = ZSTD_compress(packed, ZSTD_compressBound(size), data, size, LEVEL);
        if (ZSTD_isError(n))
                return error_set(err, ERROR_FAILED, EIO, "cannot compress: %s", ZSTD_getErrorName(n));
        (void) crypto_secretstream_xchacha20poly1305_init_push(&state, buf, key);
        (void) crypto_secretstream_xchacha20poly1305_push(&state, buf + HEAD, NULL, packed, n, (const uint8_t *) name,
                                                          strlen(name),
                                                          crypto_secretstream_xchacha20poly1305_TAG_FINAL);
        sodium_memzero(&state, sizeof(state));
        *ret_size = n + OVERHEAD;
        return 0;
}

int seal_open(const uint8_t key[static SEAL_KEY_SIZE], const char *name, const uint8_t *sealed, size_t size, void *buf,
              size_t room, size_t *ret_size, Error *err) {
        crypto_secretstream_xchacha20poly1305_state state;
        _cleanup_free_ uint8_t *packed = NULL;
        unsigned char tag = 0;
        size_t n;
        int r;

        if (size <= OVERHEAD)
                return bad(name, err);
        packed = malloc(size);
        if (!packed)
                return error_oom(err);
        r = crypto_secretstream_xchacha20poly1305_init_pull(&state, sealed, key);
        if (r >= 0)
                r = crypto_secretstream_xchacha20poly1305_pull(&state, packed, NULL, &tag, sealed + HEAD, size - HEAD,
                                                               (const uint8_t *) name, strlen(name));
        sodium_memzero(&state, sizeof(state));
        if (r < 0 || tag != crypto_secretstream_xchacha20poly1305_TAG_FINAL)
                return bad(name, err);
        n = ZSTD_decompress(buf, room, packed, size - OVERHEAD);
        if (ZSTD_isError(n))
                return bad(name, err);
        *ret_size = n;
        return 0;
}
