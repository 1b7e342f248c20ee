#pragma once

/* What is told of keys: the host's, and those that open a volume. None of it is secret. */

#include <quarry/base.h>

#include <systemd/sd-json.h>

/* Tells one host key from another: hex digits. */
#define HOST_KEY_ID_MAX 33

typedef enum HostKeySource {
        HOST_KEY_FROM_CREDENTIAL,
        HOST_KEY_FROM_COMMAND,
        HOST_KEY_FROM_FILE,
        HOST_KEY_KEPT, /* an older one, in a file that a rotation left until nobody needs it */
        HOST_KEY_OLD_CREDENTIAL,
        _HOST_KEY_SOURCE_MAX,
} HostKeySource;

typedef struct HostKey {
        char id[HOST_KEY_ID_MAX];
        HostKeySource source;
} HostKey;

typedef enum KeyslotKind {
        KEYSLOT_HOST,
        KEYSLOT_PASSPHRASE,
        KEYSLOT_FOREIGN, /* somebody else's token says how it is opened */
        _KEYSLOT_KIND_MAX,
} KeyslotKind;

typedef struct Keyslot {
        uint32_t number;
        KeyslotKind kind;
        char kdf[16];
        char token[64]; /* type of the foreign token, or empty */
} Keyslot;

#define KEYSLOTS_MAX 32u

/* What the LUKS2 header of a volume says. */
typedef struct VolumeKeys {
        Keyslot slots[KEYSLOTS_MAX];
        size_t n;
        uint32_t room;                  /* for so many more */
        char host_key[HOST_KEY_ID_MAX]; /* by which its key is wrapped, or empty */
        bool in_kernel;                 /* the volume is open, */
        bool suspended;                 /* or still is while its key is taken from the kernel */
} VolumeKeys;

/* Which key a job is about. */
typedef struct KeyChoice {
        bool host;             /* the host's */
        bool has_slot;
        uint32_t slot;
        char id[HOST_KEY_ID_MAX]; /* of a host key */
} KeyChoice;

const char *host_key_source_to_string(HostKeySource source);
int host_key_source_from_string(const char *s);
const char *keyslot_kind_to_string(KeyslotKind kind);
int keyslot_kind_from_string(const char *s);
bool host_key_id_is_valid(const char *id);

/* The slot of this number, or NULL. */
const Keyslot *volume_keys_find(const VolumeKeys *keys, uint32_t number);

/* -EINVAL or -ENOMEM. */
int volume_keys_to_json(const VolumeKeys *keys, sd_json_variant **ret);
int volume_keys_from_json(sd_json_variant *v, VolumeKeys *ret);
int host_keys_to_json(const HostKey *keys, size_t n, sd_json_variant **ret);
int host_keys_from_json(sd_json_variant *v, HostKey **ret, size_t *ret_n);
int key_choice_to_json(const KeyChoice *choice, sd_json_variant **ret);
int key_choice_from_json(sd_json_variant *v, KeyChoice *ret);
