/* What the host key wraps: a volume's random passphrase, in a token of its LUKS2 header. */

#include "kernel/hostkey.h"

#include "kernel/luks.h"

#include <quarry/text.h>
#include <quarry/volume.h>

#include <sodium.h>

#define TOKEN_TYPE LUKS_TOKEN_TYPE
#define TOKEN_CIPHER "xchacha20-poly1305"
#define TOKEN_VERSION 1
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define CIPHERTEXT_SIZE (VOLUME_PASSPHRASE_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)

_Static_assert(HOST_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the host key is the cipher's key");

/* A token copied into another volume's header does not open there. */
#define ASSOCIATED_SIZE (sizeof(TOKEN_TYPE) + UUID_TEXT_MAX + 1)
static unsigned long long associated_format(sd_id128_t volume, char buf[static ASSOCIATED_SIZE]) {
        char text[UUID_TEXT_MAX];

        buffer_format(buf, ASSOCIATED_SIZE, TOKEN_TYPE ":%s", uuid_format(volume, text));
        return strlen(buf);
}

static int token_build(const char *key_id, int keyslot, const uint8_t *nonce, const uint8_t *ciphertext, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *keyslots = NULL;
        char number[16];
        int r;

        buffer_format(number, sizeof(number), "%d", keyslot);
        r = sd_json_variant_new_array(&keyslots, NULL, 0);
        if (r >= 0 && keyslot >= 0)
                r = sd_json_variant_append_arrayb(&keyslots, SD_JSON_BUILD_STRING(number));
        if (r < 0)
                return r;
        r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("type", TOKEN_TYPE),
                           SD_JSON_BUILD_PAIR_VARIANT("keyslots", keyslots),
                           SD_JSON_BUILD_PAIR_INTEGER("version", TOKEN_VERSION),
                           SD_JSON_BUILD_PAIR_STRING("cipher", TOKEN_CIPHER),
                           SD_JSON_BUILD_PAIR_STRING("key_id", key_id),
                           SD_JSON_BUILD_PAIR_BASE64("nonce", nonce, NONCE_SIZE),
                           SD_JSON_BUILD_PAIR_BASE64("ciphertext", ciphertext, CIPHERTEXT_SIZE));
        return r < 0 ? r : sd_json_variant_format(v, 0, ret);
}

int hostkey_wrap(const uint8_t *key, sd_id128_t volume, const uint8_t *passphrase, int keyslot, char **ret_json,
                 Error *err) {
        uint8_t nonce[NONCE_SIZE], ciphertext[CIPHERTEXT_SIZE];
        char key_id[HOST_KEY_ID_MAX], associated[ASSOCIATED_SIZE];
        unsigned long long n = associated_format(volume, associated);
        int r;

        hostkey_id(key, key_id);
        randombytes_buf(nonce, sizeof(nonce));
        crypto_aead_xchacha20poly1305_ietf_encrypt(ciphertext, NULL, passphrase, VOLUME_PASSPHRASE_SIZE,
                                                   (const uint8_t *) associated, n, NULL, nonce, key);
        r = token_build(key_id, keyslot, nonce, ciphertext, ret_json);
        return r < 0 ? error_errno(err, r, "cannot build the volume's token") : 0;
}

typedef struct Token {
        const char *type, *cipher, *key_id;
        uint64_t version;
        sd_json_variant *nonce, *ciphertext;
} Token;

static const sd_json_dispatch_field token_fields[] = {
        { "type", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, type), SD_JSON_MANDATORY },
        { "version", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Token, version), SD_JSON_MANDATORY },
        { "cipher", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, cipher), SD_JSON_MANDATORY },
        { "key_id", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, key_id), SD_JSON_MANDATORY },
        { "nonce", SD_JSON_VARIANT_STRING, sd_json_dispatch_variant_noref, offsetof(Token, nonce), SD_JSON_MANDATORY },
        { "ciphertext", SD_JSON_VARIANT_STRING, sd_json_dispatch_variant_noref, offsetof(Token, ciphertext),
          SD_JSON_MANDATORY },
        {},
};

static int bytes_decode(sd_json_variant *v, uint8_t *buf, size_t size) {
        _cleanup_free_ void *bytes = NULL;
        size_t n;
        int r;

        r = sd_json_variant_unbase64(v, &bytes, &n);
        if (r < 0)
                return r;
        if (n != size)
                return -EBADMSG;
        memcpy(buf, bytes, size);
        return 0;
}

static int token_decrypt(const Token *token, const uint8_t *key, sd_id128_t volume, uint8_t *passphrase) {
        uint8_t nonce[NONCE_SIZE], ciphertext[CIPHERTEXT_SIZE];
        char associated[ASSOCIATED_SIZE];
        unsigned long long n = associated_format(volume, associated);

        if (bytes_decode(token->nonce, nonce, sizeof(nonce)) < 0 ||
            bytes_decode(token->ciphertext, ciphertext, sizeof(ciphertext)) < 0 ||
            crypto_aead_xchacha20poly1305_ietf_decrypt(passphrase, NULL, NULL, ciphertext, sizeof(ciphertext),
                                                       (const uint8_t *) associated, n, nonce, key) < 0)
                return -EBADMSG;
        return 0;
}

static int token_damaged(sd_id128_t volume, Error *err) {
        char text[UUID_TEXT_MAX];

        return error_set(err, ERROR_FAILED, EBADMSG,
                         "the token with the wrapped key in the header of volume %s is damaged, or of another volume",
                         uuid_format(volume, text));
}

static int token_parse(sd_id128_t volume, const char *json, sd_json_variant **ret, Token *ret_token, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Token token = {};

        if (sd_json_parse(json, 0, &v, NULL, NULL) < 0 ||
            sd_json_dispatch(v, token_fields, SD_JSON_ALLOW_EXTENSIONS, &token) < 0 || !streq(token.type, TOKEN_TYPE))
                return token_damaged(volume, err);
        if (token.version != TOKEN_VERSION || !streq(token.cipher, TOKEN_CIPHER))
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "the volume's token has version %llu and cipher %s: made by a newer quarry",
                                 (unsigned long long) token.version, token.cipher);
        if (!host_key_id_is_valid(token.key_id))
                return token_damaged(volume, err);
        *ret = TAKE_PTR(v);
        *ret_token = token;
        return 0;
}

int hostkey_token_id(sd_id128_t volume, const char *json, char buf[static HOST_KEY_ID_MAX], Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Token token;
        int r;

        r = token_parse(volume, json, &v, &token, err);
        if (r >= 0)
                buffer_format(buf, HOST_KEY_ID_MAX, "%s", token.key_id);
        return r;
}

int hostkey_unwrap(const uint8_t *key, sd_id128_t volume, const char *json, uint8_t **ret_passphrase, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char key_id[HOST_KEY_ID_MAX];
        uint8_t *passphrase;
        Token token;
        int r;

        r = token_parse(volume, json, &v, &token, err);
        if (r < 0)
                return r;
        hostkey_id(key, key_id);
        if (!streq(token.key_id, key_id))
                return hostkey_other(token.key_id, key_id, err);

        passphrase = hostkey_passphrase_alloc();
        if (!passphrase)
                return error_oom(err);
        if (token_decrypt(&token, key, volume, passphrase) < 0) {
                hostkey_passphrase_free(passphrase);
                return token_damaged(volume, err);
        }
        *ret_passphrase = passphrase;
        return 0;
}
