#pragma once

/* The host key, and what it wraps: XChaCha20-Poly1305 by libsodium. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/key.h>

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

void hostkey_id(const uint8_t *key, char buf[static HOST_KEY_ID_MAX]);

/* A key of its own for this purpose, of which nobody learns the host key. */
void hostkey_derive(const uint8_t *key, const char *purpose, uint8_t ret[static HOST_KEY_SIZE]);

/* The one of this id: the present one, or an older one as far as it is given: in a file that a rotation left, in
 * HOST_KEY_FILE while the present one comes from elsewhere, or as credential "quarry.old-host-key". ERROR_WRONG_KEY if
 * this host has it not. */
int hostkey_find(char *const *key_command, const char *id, uint8_t **ret, Error *err);
int hostkey_other(const char *wanted, const char *have, Error *err); /* that error */
/* All of these, the present one first. To be freed. */
int hostkey_list(char *const *key_command, HostKey **ret, size_t *ret_n, Error *err);

/* Puts a new random key in the place of the one with this id, which is kept beside it; done already: fine. Whatever is
 * cut short, both can be found, or nothing was done. ERROR_NOT_SUPPORTED where the key does not come from the file. */
int hostkey_rotate(char *const *key_command, const char *from, Error *err);
/* Destroys a kept one. */
int hostkey_retire(char *const *key_command, const char *id, Error *err);

/* A new random volume passphrase, in locked memory; hostkey_passphrase_free() wipes. */
uint8_t *hostkey_passphrase_new(void);
uint8_t *hostkey_passphrase_alloc(void);
void hostkey_passphrase_free(uint8_t *passphrase);
DEFINE_CLEANUP(uint8_t *, hostkey_passphrase_free)

/* The LUKS2 token (JSON text) that holds the passphrase, bound to the volume's uuid as associated data:
 * {"type","keyslots","version":1,"cipher":"xchacha20-poly1305","key_id","nonce","ciphertext"}. key_id is a keyed hash
 * of the host key, to tell a wrong host key from a damaged token. keyslot: that the passphrase opens; -1: none yet. */
int hostkey_wrap(const uint8_t *key, sd_id128_t volume, const uint8_t *passphrase, int keyslot, char **ret_json,
                 Error *err);
/* With which key that was done. */
int hostkey_token_id(sd_id128_t volume, const char *json, char buf[static HOST_KEY_ID_MAX], Error *err);

/* ERROR_WRONG_KEY when the token was made with another host key, ERROR_FAILED when it is damaged. */
int hostkey_unwrap(const uint8_t *key, sd_id128_t volume, const char *json, uint8_t **ret_passphrase, Error *err);
