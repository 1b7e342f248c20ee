#include "slot.h"

#include <quarry/json.h>
#include <quarry/text.h>

#include <sodium.h>
#include <string.h>
#include <systemd/sd-json.h>

/* Who wrote a repository must not make whoever opens it take all memory, or an hour. */
#define MEMORY_MAX (UINT64_C(4) << 30)
#define ITERATIONS_MAX 64u

/* The wrapping key is used for this repository alone. */
static void context_make(const Slot *slot, sd_id128_t repository, uint8_t buf[static 17]) {
        buf[0] = (uint8_t) slot->kind;
        memcpy(buf + 1, repository.bytes, 16);
}

int slot_derive(const Slot *slot, const char *passphrase, size_t size, uint8_t ret[static REPOSITORY_KEY_SIZE],
                Error *err) {
        if (crypto_pwhash(ret, REPOSITORY_KEY_SIZE, passphrase, size, slot->salt, slot->iterations,
                          (size_t) slot->memory, crypto_pwhash_ALG_ARGON2ID13) < 0)
                return error_errno(err, ENOMEM, "cannot derive the key of the repository from its passphrase");
        return 0;
}

void slot_wrap(Slot *slot, sd_id128_t repository, const uint8_t by[static REPOSITORY_KEY_SIZE],
               const uint8_t key[static REPOSITORY_KEY_SIZE]) {
        uint8_t context[17];

        context_make(slot, repository, context);
        randombytes_buf(slot->nonce, sizeof(slot->nonce));
        (void) crypto_aead_xchacha20poly1305_ietf_encrypt(slot->box, NULL, key, REPOSITORY_KEY_SIZE, context,
                                                          sizeof(context), NULL, slot->nonce, by);
}

int slot_unwrap(const Slot *slot, sd_id128_t repository, const uint8_t by[static REPOSITORY_KEY_SIZE],
                uint8_t ret[static REPOSITORY_KEY_SIZE], Error *err) {
        uint8_t context[17];

        context_make(slot, repository, context);
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, slot->box, sizeof(slot->box), context,
                                                       sizeof(context), slot->nonce, by) < 0)
                return error_set(err, ERROR_WRONG_KEY, EKEYREJECTED, "the %s does not open the repository",
                                 slot->kind == SLOT_HOST ? "host key" : "passphrase");
        return 0;
}

static void hex(const uint8_t *data, size_t size, char *buf) {
        (void) sodium_bin2hex(buf, 2 * size + 1, data, size);
}

char *slot_format(const Slot *slot) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char salt[2 * sizeof(slot->salt) + 1], nonce[2 * sizeof(slot->nonce) + 1], box[2 * sizeof(slot->box) + 1];
        bool host = slot->kind == SLOT_HOST;
        char *text = NULL;
        int r;

        hex(slot->salt, sizeof(slot->salt), salt);
        hex(slot->nonce, sizeof(slot->nonce), nonce);
        hex(slot->box, sizeof(slot->box), box);
        r = sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_STRING("kind", host ? "host" : "passphrase"),
                        SD_JSON_BUILD_PAIR_CONDITION(host, "hostKey", SD_JSON_BUILD_STRING(slot->host_key)),
                        SD_JSON_BUILD_PAIR_CONDITION(!host, "memory", SD_JSON_BUILD_UNSIGNED(slot->memory)),
                        SD_JSON_BUILD_PAIR_CONDITION(!host, "iterations", SD_JSON_BUILD_UNSIGNED(slot->iterations)),
                        SD_JSON_BUILD_PAIR_CONDITION(!host, "salt", SD_JSON_BUILD_STRING(salt)),
                        SD_JSON_BUILD_PAIR_STRING("nonce", nonce),
                        SD_JSON_BUILD_PAIR_STRING("box", box));
        if (r >= 0)
                r = sd_json_variant_format(v, 0, &text);
        return r < 0 ? NULL : text;
}

static bool unhex(sd_json_variant *v, const char *name, uint8_t *buf, size_t size) {
        sd_json_variant *text = sd_json_variant_by_key(v, name);
        size_t n = 0;

        return sd_json_variant_is_string(text) && strlen(sd_json_variant_string(text)) == 2 * size &&
               sodium_hex2bin(buf, size, sd_json_variant_string(text), 2 * size, NULL, &n, NULL) >= 0 && n == size;
}

static bool parse(sd_json_variant *v, Slot *ret) {
        sd_json_variant *kind = sd_json_variant_by_key(v, "kind"), *id = sd_json_variant_by_key(v, "hostKey");
        const char *what = sd_json_variant_is_string(kind) ? sd_json_variant_string(kind) : "";

        if (!unhex(v, "nonce", ret->nonce, sizeof(ret->nonce)) || !unhex(v, "box", ret->box, sizeof(ret->box)))
                return false;
        if (streq(what, "host")) {
                ret->kind = SLOT_HOST;
                return sd_json_variant_is_string(id) && host_key_id_is_valid(sd_json_variant_string(id)) &&
                       buffer_format(ret->host_key, sizeof(ret->host_key), "%s", sd_json_variant_string(id));
        }
        ret->kind = SLOT_PASSPHRASE;
        ret->memory = json_unsigned(v, "memory");
        ret->iterations = json_unsigned(v, "iterations");
        return streq(what, "passphrase") && unhex(v, "salt", ret->salt, sizeof(ret->salt)) &&
               ret->memory >= crypto_pwhash_MEMLIMIT_MIN && ret->memory <= MEMORY_MAX &&
               ret->iterations >= crypto_pwhash_OPSLIMIT_MIN && ret->iterations <= ITERATIONS_MAX;
}

int slot_parse(const char *text, Slot *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Slot slot = {};

        if (sd_json_parse(text, 0, &v, NULL, NULL) < 0 || !sd_json_variant_is_object(v) || !parse(v, &slot))
                return error_set(err, ERROR_FAILED, EBADMSG, "a key of the repository is damaged");
        *ret = slot;
        return 0;
}
