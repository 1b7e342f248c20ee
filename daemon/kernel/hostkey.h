#pragma once

/* The host key, and what it wraps: XChaCha20-Poly1305 by libsodium. */

#include <quarry/base.h>
#include <quarry/error.h>

#include <systemd/sd-id128.h>

#define HOST_KEY_FILE "/var/lib/quarry/host-key"
#define HOST_KEY_SIZE 32
#define VOLUME_PASSPHRASE_SIZE 64 /* 512 bits */

/* 32 bytes in locked memory. From the systemd credential "quarry.host-key" if there is one, else from
 * key_command (argv, prints 32 raw bytes, or their hex or base64 form), else from HOST_KEY_FILE, which is made
 * (root only, durable) if create and if none exists. */
int hostkey_load(char *const *key_command, bool create, uint8_t **ret, Error *err);
void hostkey_free(uint8_t *key); /* wipes */
DEFINE_CLEANUP(uint8_t *, hostkey_free)

/* A new random volume passphrase, in locked memory; hostkey_passphrase_free() wipes. */
uint8_t *hostkey_passphrase_new(void);
void hostkey_passphrase_free(uint8_t *passphrase);
DEFINE_CLEANUP(uint8_t *, hostkey_passphrase_free)

/* The LUKS2 token (JSON text) that holds the passphrase, bound to the volume's uuid as associated data:
 * {"type","keyslots":["0"],"version":1,"cipher":"xchacha20-poly1305","key_id","nonce","ciphertext"}. key_id
 * is a keyed hash of the host key, to tell a wrong host key from a damaged token. */
int hostkey_wrap(const uint8_t *key, sd_id128_t volume, const uint8_t *passphrase, char **ret_json, Error *err);

/* ERROR_WRONG_KEY when the token was made with another host key, ERROR_FAILED when it is damaged. */
int hostkey_unwrap(const uint8_t *key, sd_id128_t volume, const char *json, uint8_t **ret_passphrase, Error *err);
