#include <quarry/key.h>

#include <quarry/text.h>

static const char *const sources[_HOST_KEY_SOURCE_MAX] = {
        [HOST_KEY_FROM_CREDENTIAL] = "credential",
        [HOST_KEY_FROM_COMMAND] = "command",
        [HOST_KEY_FROM_FILE] = "file",
        [HOST_KEY_OLD_CREDENTIAL] = "old_credential",
        [HOST_KEY_KEPT] = "kept",
};

static const char *const kinds[_KEYSLOT_KIND_MAX] = {
        [KEYSLOT_HOST] = "host",
        [KEYSLOT_PASSPHRASE] = "passphrase",
        [KEYSLOT_FOREIGN] = "foreign",
};

static int find(const char *const *words, int n, const char *s) {
        for (int i = 0; i < n; i++)
                if (streq_ptr(words[i], s))
                        return i;
        return -EINVAL;
}

const char *host_key_source_to_string(HostKeySource source) {
        return source < _HOST_KEY_SOURCE_MAX ? sources[source] : NULL;
}

int host_key_source_from_string(const char *s) {
        return find(sources, _HOST_KEY_SOURCE_MAX, s);
}

const char *keyslot_kind_to_string(KeyslotKind kind) {
        return kind < _KEYSLOT_KIND_MAX ? kinds[kind] : NULL;
}

int keyslot_kind_from_string(const char *s) {
        return find(kinds, _KEYSLOT_KIND_MAX, s);
}

bool host_key_id_is_valid(const char *id) {
        return strlen(id) == HOST_KEY_ID_MAX - 1 && strspn(id, "0123456789abcdef") == HOST_KEY_ID_MAX - 1;
}

const Keyslot *volume_keys_find(const VolumeKeys *keys, uint32_t number) {
        for (size_t i = 0; i < keys->n; i++)
                if (keys->slots[i].number == number)
                        return &keys->slots[i];
        return NULL;
}

int volume_keys_to_json(const VolumeKeys *keys, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *slots = NULL;
        int r = sd_json_variant_new_array(&slots, NULL, 0);

        for (size_t i = 0; i < keys->n && r >= 0; i++) {
                const Keyslot *slot = &keys->slots[i];

                r = sd_json_variant_append_arraybo(
                                &slots,
                                SD_JSON_BUILD_PAIR_UNSIGNED("number", slot->number),
                                SD_JSON_BUILD_PAIR_STRING("kind", keyslot_kind_to_string(slot->kind)),
                                SD_JSON_BUILD_PAIR_STRING("kdf", slot->kdf),
                                SD_JSON_BUILD_PAIR_CONDITION(*slot->token, "token",
                                                             SD_JSON_BUILD_STRING(slot->token)));
        }
        if (r < 0)
                return r;
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_VARIANT("keyslots", slots),
                        SD_JSON_BUILD_PAIR_UNSIGNED("room", keys->room),
                        SD_JSON_BUILD_PAIR_CONDITION(*keys->host_key, "hostKey", SD_JSON_BUILD_STRING(keys->host_key)),
                        SD_JSON_BUILD_PAIR_BOOLEAN("inKernel", keys->in_kernel),
                        SD_JSON_BUILD_PAIR_BOOLEAN("suspended", keys->suspended));
}

static int text_take(char *buf, size_t size, const char *text) {
        return buffer_format(buf, size, "%s", text ?: "") ? 0 : -EINVAL;
}

static int keyslot_from_json(sd_json_variant *v, Keyslot *ret) {
        typedef struct Parsed {
                uint32_t number;
                const char *kind, *kdf, *token;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "number", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, number),
                  SD_JSON_MANDATORY },
                { "kind", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, kind),
                  SD_JSON_MANDATORY },
                { "kdf", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, kdf),
                  SD_JSON_MANDATORY },
                { "token", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, token), 0 },
                {},
        };
        Parsed p = {};
        int r = sd_json_dispatch(v, table, 0, &p), kind;

        if (r < 0)
                return r;
        kind = keyslot_kind_from_string(p.kind);
        if (kind < 0 || p.number >= KEYSLOTS_MAX)
                return -EINVAL;
        *ret = (Keyslot) { .number = p.number, .kind = (KeyslotKind) kind };
        r = text_take(ret->kdf, sizeof(ret->kdf), p.kdf);
        return r < 0 ? r : text_take(ret->token, sizeof(ret->token), p.token);
}

int volume_keys_from_json(sd_json_variant *v, VolumeKeys *ret) {
        typedef struct Parsed {
                VolumeKeys keys;
                sd_json_variant *slots;
                const char *host_key;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "keyslots", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, slots),
                  SD_JSON_MANDATORY },
                { "room", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, keys.room), 0 },
                { "hostKey", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, host_key), 0 },
                { "inKernel", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, keys.in_kernel), 0 },
                { "suspended", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, keys.suspended), 0 },
                {},
        };
        Parsed p = {};
        size_t n;
        int r;

        r = sd_json_dispatch(v, table, 0, &p);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;
        n = sd_json_variant_elements(p.slots);
        if (n > KEYSLOTS_MAX || (p.host_key && !host_key_id_is_valid(p.host_key)))
                return -EINVAL;
        for (; p.keys.n < n; p.keys.n++) {
                r = keyslot_from_json(sd_json_variant_by_index(p.slots, p.keys.n), &p.keys.slots[p.keys.n]);
                if (r < 0)
                        return -EINVAL;
        }
        (void) text_take(p.keys.host_key, sizeof(p.keys.host_key), p.host_key);
        *ret = p.keys;
        return 0;
}

int host_keys_to_json(const HostKey *keys, size_t n, sd_json_variant **ret) {
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = sd_json_variant_append_arraybo(
                                ret,
                                SD_JSON_BUILD_PAIR_STRING("id", keys[i].id),
                                SD_JSON_BUILD_PAIR_STRING("source", host_key_source_to_string(keys[i].source)));
        return r;
}

int host_keys_from_json(sd_json_variant *v, HostKey **ret, size_t *ret_n) {
        _cleanup_free_ HostKey *list = NULL;
        size_t n = v ? sd_json_variant_elements(v) : 0;

        list = calloc(n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *key = sd_json_variant_by_index(v, i), *id = sd_json_variant_by_key(key, "id"),
                                *word = sd_json_variant_by_key(key, "source");
                int source = sd_json_variant_is_string(word) ? host_key_source_from_string(sd_json_variant_string(word))
                                                             : -EINVAL;

                if (source < 0 || !sd_json_variant_is_string(id) || !host_key_id_is_valid(sd_json_variant_string(id)))
                        return -EINVAL;
                list[i].source = (HostKeySource) source;
                (void) text_take(list[i].id, sizeof(list[i].id), sd_json_variant_string(id));
        }
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

int key_choice_to_json(const KeyChoice *choice, sd_json_variant **ret) {
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_BOOLEAN("host", choice->host),
                        SD_JSON_BUILD_PAIR_CONDITION(choice->has_slot, "slot", SD_JSON_BUILD_UNSIGNED(choice->slot)),
                        SD_JSON_BUILD_PAIR_CONDITION(*choice->id, "id", SD_JSON_BUILD_STRING(choice->id)));
}

int key_choice_from_json(sd_json_variant *v, KeyChoice *ret) {
        typedef struct Parsed {
                bool host;
                uint32_t slot; /* UINT32_MAX: none */
                const char *id;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "host", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, host), 0 },
                { "slot", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, slot), 0 },
                { "id", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, id), 0 },
                {},
        };
        Parsed p = { .slot = UINT32_MAX };
        int r = sd_json_dispatch(v, table, 0, &p);

        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;
        if ((p.slot != UINT32_MAX && p.slot >= KEYSLOTS_MAX) || (p.id && !host_key_id_is_valid(p.id)))
                return -EINVAL;
        *ret = (KeyChoice) { .host = p.host, .has_slot = p.slot != UINT32_MAX };
        ret->slot = ret->has_slot ? p.slot : 0;
        (void) text_take(ret->id, sizeof(ret->id), p.id);
        return 0;
}
