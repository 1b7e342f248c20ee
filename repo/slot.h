#pragma once

/* Who can open a repository: its key, wrapped by one of a host's or by a passphrase. An object for each, which is no
 * secret. */

#include <quarry/error.h>
#include <quarry/key.h>

#include <systemd/sd-id128.h>

#define REPOSITORY_KEY_SIZE 32u

typedef enum SlotKind { SLOT_HOST, SLOT_PASSPHRASE } SlotKind;

typedef struct Slot {
        SlotKind kind;
        char host_key[HOST_KEY_ID_MAX]; /* of SLOT_HOST: from which one the wrapping key is derived */
        uint64_t memory, iterations;    /* of SLOT_PASSPHRASE: Argon2id; bytes, passes */
        uint8_t salt[16];
        uint8_t nonce[24];
        uint8_t box[REPOSITORY_KEY_SIZE + 16];
} Slot;

/* What a slot of this kind is opened with: for SLOT_PASSPHRASE derived with what the slot says, to be wiped. */
int slot_derive(const Slot *slot, const char *passphrase, size_t size, uint8_t ret[static REPOSITORY_KEY_SIZE],
                Error *err);

/* Fills in nonce and box; kind and what belongs to it are the caller's. */
void slot_wrap(Slot *slot, sd_id128_t repository, const uint8_t by[static REPOSITORY_KEY_SIZE],
               const uint8_t key[static REPOSITORY_KEY_SIZE]);
/* ERROR_WRONG_KEY. */
int slot_unwrap(const Slot *slot, sd_id128_t repository, const uint8_t by[static REPOSITORY_KEY_SIZE],
                uint8_t ret[static REPOSITORY_KEY_SIZE], Error *err);

/* As the object holds it; to be freed. NULL: out of memory. */
char *slot_format(const Slot *slot);
/* ERROR_FAILED (EBADMSG). */
int slot_parse(const char *text, Slot *ret, Error *err);
