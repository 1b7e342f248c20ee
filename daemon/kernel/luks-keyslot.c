/* Who opens a volume: the keyslots of its header, and the tokens that tell how some of them are opened. */

#include "kernel/luks-header.h"

#include <quarry/text.h>

#include <string.h>

#define AREA_SIZE UINT64_C(258048) /* of the key in 4000 stripes, whole blocks */

/* --- tokens ----------------------------------------------------------------------------------------------- */

static int token_find(struct crypt_device *header) {
        int max = crypt_token_max(CRYPT_LUKS2);

        for (int i = 0; i < max; i++) {
                const char *type = NULL;

                if (crypt_token_status(header, i, &type) >= CRYPT_TOKEN_INTERNAL && streq_ptr(type, LUKS_TOKEN_TYPE))
                        return i;
        }
        return -ENOENT;
}

static bool is_assigned(struct crypt_device *header, int token, int slot) {
        return crypt_token_is_assigned(header, token, slot) == 0;
}

/* The keyslot that a token opens; -1: none. */
static int slot_of(struct crypt_device *header, int token) {
        for (int i = 0; i < (int) KEYSLOTS_MAX; i++)
                if (is_assigned(header, token, i))
                        return i;
        return -1;
}

int luks_token_set(Luks *luks, const char *json) {
        int r, token;

        r = luks_header_load(luks);
        if (r < 0)
                return r;
        token = token_find(luks->header);
        r = token < 0 && !json ? 0 : crypt_token_json_set(luks->header, token < 0 ? CRYPT_ANY_TOKEN : token, json);
        luks_header_release(luks);
        return r < 0 ? r : 0;
}

int luks_token_get(Luks *luks, char **ret_json, int *ret_slot) {
        const char *json;
        int r, token;

        r = luks_header_load(luks);
        if (r >= 0)
                r = token_find(luks->header);
        token = r;
        if (r >= 0)
                r = crypt_token_json_get(luks->header, token, &json);
        if (r >= 0) {
                char *copy = strdup(json);

                r = copy ? 0 : -ENOMEM;
                if (copy) {
                        *ret_json = copy;
                        *ret_slot = slot_of(luks->header, token);
                }
        }
        luks_header_release(luks);
        return r;
}

int luks_token_assign(Luks *luks, int slot) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = token_find(luks->header);
        if (r >= 0)
                r = crypt_token_assign_keyslot(luks->header, r, slot);
        luks_header_release(luks);
        return r < 0 ? r : 0;
}

/* --- keyslots --------------------------------------------------------------------------------------------- */

static void slot_look(struct crypt_device *header, int number, Keyslot *ret) {
        struct crypt_pbkdf_type pbkdf = {};
        int max = crypt_token_max(CRYPT_LUKS2);

        *ret = (Keyslot) { .number = (uint32_t) number, .kind = KEYSLOT_PASSPHRASE };
        if (crypt_keyslot_get_pbkdf(header, number, &pbkdf) >= 0)
                buffer_format(ret->kdf, sizeof(ret->kdf), "%.15s", pbkdf.type);
        for (int i = 0; i < max; i++) {
                const char *type = NULL;

                if (crypt_token_status(header, i, &type) < CRYPT_TOKEN_INTERNAL || !is_assigned(header, i, number))
                        continue;
                if (streq_ptr(type, LUKS_TOKEN_TYPE)) {
                        ret->kind = KEYSLOT_HOST;
                        return;
                }
                ret->kind = KEYSLOT_FOREIGN;
                buffer_format(ret->token, sizeof(ret->token), "%.63s", type ?: "");
                text_clean(ret->token);
        }
}

static int keys_look(struct crypt_device *header, VolumeKeys *ret) {
        uint64_t metadata, keyslots;
        int r;

        r = crypt_get_metadata_size(header, &metadata, &keyslots);
        if (r < 0)
                return r;
        ret->n = 0;
        for (int i = 0; i < (int) KEYSLOTS_MAX; i++)
                if (crypt_keyslot_status(header, i) >= CRYPT_SLOT_ACTIVE)
                        slot_look(header, i, &ret->slots[ret->n++]);
        ret->room = keyslots / AREA_SIZE > ret->n ? (uint32_t) (keyslots / AREA_SIZE - ret->n) : 0;
        return 0;
}

int luks_keys_look(Luks *luks, VolumeKeys *ret) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = keys_look(luks->header, ret);
        luks_header_release(luks);
        return r;
}

int luks_keyslot_add(Luks *luks, const LuksKdf *kdf, const void *passphrase, size_t size) {
        struct crypt_pbkdf_type pbkdf = luks_pbkdf(kdf);
        int r;

        if (!luks->key)
                return -ENOKEY;
        r = luks_header_load(luks);
        if (r >= 0)
                r = crypt_set_pbkdf_type(luks->header, &pbkdf);
        if (r >= 0)
                r = crypt_keyslot_add_by_volume_key(luks->header, CRYPT_ANY_SLOT, luks->key, LUKS_KEY_SIZE, passphrase,
                                                    size);
        luks_header_release(luks);
        return r;
}

/* libcryptsetup writes over a keyslot before the header says that it is gone: a token tells meanwhile that it opens
 * nothing any more. */
#define REMOVED_TYPE "quarry-removed"

static int removal_begin(struct crypt_device *header, int slot) {
        char json[80];

        buffer_format(json, sizeof(json), "{\"type\":\"" REMOVED_TYPE "\",\"keyslots\":[\"%d\"]}", slot);
        return crypt_token_json_set(header, CRYPT_ANY_TOKEN, json);
}

/* What told how it is opened goes behind it: a token without keyslot opens nothing. */
static int slot_remove(struct crypt_device *header, int slot) {
        int max = crypt_token_max(CRYPT_LUKS2), r;
        bool of_slot[KEYSLOTS_MAX] = {};

        for (int i = 0; i < max && i < (int) KEYSLOTS_MAX; i++)
                of_slot[i] = crypt_token_status(header, i, NULL) >= CRYPT_TOKEN_INACTIVE &&
                             is_assigned(header, i, slot);
        r = crypt_keyslot_destroy(header, slot);
        for (int i = 0; i < max && i < (int) KEYSLOTS_MAX && r >= 0; i++)
                if (of_slot[i] && slot_of(header, i) < 0)
                        r = crypt_token_json_set(header, i, NULL);
        return r;
}

int luks_keyslot_remove(Luks *luks, int slot) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = removal_begin(luks->header, slot);
        if (r >= 0)
                r = slot_remove(luks->header, slot);
        luks_header_release(luks);
        return r < 0 ? r : 0;
}

/* Whoever has removed the others meanwhile with other means is not locked out. */
static int removals_finish(struct crypt_device *header) {
        int max = crypt_token_max(CRYPT_LUKS2), n = 0;

        for (int i = 0; i < max; i++) {
                const char *type = NULL;
                int r, slot;

                if (crypt_token_status(header, i, &type) < CRYPT_TOKEN_INACTIVE || !streq_ptr(type, REMOVED_TYPE))
                        continue;
                slot = slot_of(header, i);
                r = slot >= 0 && crypt_keyslot_status(header, slot) != CRYPT_SLOT_ACTIVE_LAST
                            ? slot_remove(header, slot)
                            : crypt_token_json_set(header, i, NULL);
                if (r < 0)
                        return r;
                n++;
        }
        return n;
}

int luks_removals_finish(Luks *luks) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = removals_finish(luks->header);
        luks_header_release(luks);
        return r;
}

static int keyslots_destroy(struct crypt_device *header) {
        int max = crypt_keyslot_max(CRYPT_LUKS2), r;

        for (int i = 0; i < max; i++)
                if (crypt_keyslot_status(header, i) != CRYPT_SLOT_INACTIVE) {
                        r = crypt_keyslot_destroy(header, i);
                        if (r < 0)
                                return r;
                }
        return 0;
}

int luks_destroy_keyslots(Luks *luks) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = keyslots_destroy(luks->header);
        luks_header_release(luks);
        return r;
}
