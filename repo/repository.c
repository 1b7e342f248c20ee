#include "repository.h"

#include "seal.h"

#include <quarry/json.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <systemd/sd-json.h>

#define FORMAT_OBJECT "repository/format"
#define FORMAT "quarry repository"
#define VERSION 1u
#define CONTENT_MAX (CHUNK_SIZE > SEGMENT_CHUNKS * sizeof(ContentId) ? CHUNK_SIZE : SEGMENT_CHUNKS * sizeof(ContentId))
#define TEXT_MAX (UINT32_C(32) << 20) /* bytes of a manifest: one of 256 TiB has them */

/* From the repository's key, by number, see crypto_kdf_derive_from_key(). */
enum { KEY_OF_CONTENT = 1, KEY_OF_NAMES = 2, KEY_OF_TEXTS = 3 };
#define KEY_CONTEXT "QuarryRp"

typedef struct Keys {
        uint8_t content[SEAL_KEY_SIZE], names[SEAL_KEY_SIZE], texts[SEAL_KEY_SIZE], all[REPOSITORY_KEY_SIZE];
} Keys;

struct Repository {
        Store *store;
        sd_id128_t uuid;
        Keys *keys; /* in locked memory */
        char host_key[HOST_KEY_ID_MAX];
};

/* --- names ------------------------------------------------------------------------------------------------ */

char *content_id_format(const ContentId *id, char buf[static CONTENT_ID_TEXT_MAX]) {
        return sodium_bin2hex(buf, CONTENT_ID_TEXT_MAX, id->bytes, sizeof(id->bytes));
}

int content_id_parse(const char *text, ContentId *ret) {
        size_t n = 0;

        return strlen(text) == CONTENT_ID_TEXT_MAX - 1 &&
                               sodium_hex2bin(ret->bytes, sizeof(ret->bytes), text, CONTENT_ID_TEXT_MAX - 1, NULL, &n,
                                              NULL) >= 0 &&
                               n == sizeof(ret->bytes)
                       ? 0
                       : -EINVAL;
}

bool content_id_is_zeros(const ContentId *id) {
        return sodium_is_zero(id->bytes, sizeof(id->bytes));
}

bool content_id_equal(const ContentId *a, const ContentId *b) {
        return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void content_object_name(const ContentId *id, char buf[static STORE_NAME_MAX]) {
        char text[CONTENT_ID_TEXT_MAX];

        buffer_format(buf, STORE_NAME_MAX, "data/%s", content_id_format(id, text));
}

static bool is_zeros(const uint8_t *data, size_t size) {
        return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

void repository_name_content(const Repository *r, const void *data, size_t size, ContentId *ret) {
        *ret = (ContentId) {};
        if (!is_zeros(data, size))
                (void) crypto_generichash(ret->bytes, sizeof(ret->bytes), data, size, r->keys->names,
                                          sizeof(r->keys->names));
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static int repository_new(Store *store, Repository **ret, Error *err) {
        Repository *r = calloc(1, sizeof(*r));

        if (!r || sodium_init() < 0) {
                free(r);
                store_free(store);
                (void) error_oom(err);
                return -ENOMEM;
        }
        r->store = store;
        r->keys = sodium_malloc(sizeof(*r->keys));
        if (!r->keys) {
                repository_free(r);
                (void) error_oom(err);
                return -ENOMEM;
        }
        *ret = r;
        return 0;
}

void repository_free(Repository *r) {
        if (!r)
                return;
        sodium_free(r->keys);
        store_free(r->store);
        free(r);
}

sd_id128_t repository_uuid(const Repository *r) {
        return r->uuid;
}

Store *repository_store(const Repository *r) {
        return r->store;
}

const char *repository_host_key(const Repository *r) {
        return r->host_key;
}

static void derive(Keys *k) {
        (void) crypto_kdf_derive_from_key(k->content, sizeof(k->content), KEY_OF_CONTENT, KEY_CONTEXT, k->all);
        (void) crypto_kdf_derive_from_key(k->names, sizeof(k->names), KEY_OF_NAMES, KEY_CONTEXT, k->all);
        (void) crypto_kdf_derive_from_key(k->texts, sizeof(k->texts), KEY_OF_TEXTS, KEY_CONTEXT, k->all);
}

/* One of a host's is called by its key: each has one. */
static void slot_name(const Slot *slot, char buf[static STORE_NAME_MAX]) {
        char salt[sizeof(slot->salt) * 2 + 1];

        if (slot->kind == SLOT_HOST)
                buffer_format(buf, STORE_NAME_MAX, "keys/host-%s", slot->host_key);
        else
                buffer_format(buf, STORE_NAME_MAX, "keys/passphrase-%s",
                              sodium_bin2hex(salt, sizeof(salt), slot->salt, sizeof(slot->salt)));
}

int repository_add_key(Repository *r, const RepositoryKeySource *keys, bool by_host, Error *err) {
        Slot slot = { .kind = by_host ? SLOT_HOST : SLOT_PASSPHRASE,
                      .memory = keys->argon2_memory,
                      .iterations = keys->argon2_iterations };
        _cleanup_free_ char *text = NULL;
        uint8_t by[REPOSITORY_KEY_SIZE];
        char name[STORE_NAME_MAX];
        int n;

        randombytes_buf(slot.salt, sizeof(slot.salt));
        n = by_host ? keys->host(r->uuid, NULL, by, slot.host_key, err)
                    : slot_derive(&slot, keys->passphrase, keys->passphrase_size, by, err);
        if (n < 0)
                return n;
        slot_wrap(&slot, r->uuid, by, r->keys->all);
        sodium_memzero(by, sizeof(by));
        text = slot_format(&slot);
        if (!text)
                return error_oom(err);
        slot_name(&slot, name);
        n = r->store->ops->put(r->store, name, text, strlen(text), err);
        if (n >= 0)
                n = r->store->ops->sync(r->store, err);
        if (n >= 0 && by_host)
                buffer_format(r->host_key, sizeof(r->host_key), "%s", slot.host_key);
        return n;
}

/* The last object: without it, what is there is no repository yet. */
static int put_format(Repository *r, Error *err) {
        char text[256], uuid[SD_ID128_UUID_STRING_MAX];

        buffer_format(text, sizeof(text),
                      "{\"format\":\"" FORMAT "\",\"version\":%u,\"uuid\":\"%s\",\"chunkBytes\":%u,"
                      "\"segmentChunks\":%u}\n",
                      VERSION, sd_id128_to_uuid_string(r->uuid, uuid), CHUNK_SIZE, SEGMENT_CHUNKS);
        int n = r->store->ops->put(r->store, FORMAT_OBJECT, text, strlen(text), err);
        return n < 0 ? n : r->store->ops->sync(r->store, err);
}

int repository_make(Store *store, const RepositoryKeySource *keys, Repository **ret, Error *err) {
        _cleanup_(repository_freep) Repository *r = NULL;
        int n;

        n = repository_new(store, &r, err);
        if (n < 0)
                return n;
        n = store->ops->has(store, FORMAT_OBJECT, err);
        if (n > 0)
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "there is a repository already");
        if (n >= 0 && sd_id128_randomize(&r->uuid) < 0)
                n = error_errno(err, EIO, "no random bytes");
        if (n < 0)
                return n;
        randombytes_buf(r->keys->all, sizeof(r->keys->all));
        derive(r->keys);
        if (keys->host)
                n = repository_add_key(r, keys, true, err);
        if (n >= 0 && keys->passphrase)
                n = repository_add_key(r, keys, false, err);
        if (n >= 0)
                n = put_format(r, err);
        if (n < 0)
                return n;
        *ret = TAKE_PTR(r);
        return 0;
}

static int get_plain(Repository *r, const char *name, char **ret, Error *err) {
        uint8_t *data = NULL;
        size_t size = 0;
        int n;

        n = r->store->ops->get(r->store, name, &data, &size, err);
        if (n <= 0)
                return n;
        *ret = realloc(data, size + 1);
        if (!*ret) {
                free(data);
                (void) error_oom(err);
                return -ENOMEM;
        }
        (*ret)[size] = 0;
        return 1;
}

static int read_format(Repository *r, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = NULL;
        sd_json_variant *format, *uuid;
        int n;

        n = get_plain(r, FORMAT_OBJECT, &text, err);
        if (n == 0)
                return error_set(err, ERROR_FAILED, ENOENT, "there is no repository");
        if (n < 0)
                return n;
        if (sd_json_parse(text, 0, &v, NULL, NULL) < 0)
                v = NULL;
        format = sd_json_variant_by_key(v, "format");
        uuid = sd_json_variant_by_key(v, "uuid");
        if (!sd_json_variant_is_string(format) || !streq(sd_json_variant_string(format), FORMAT) ||
            !sd_json_variant_is_string(uuid) || sd_id128_from_string(sd_json_variant_string(uuid), &r->uuid) < 0)
                return error_set(err, ERROR_FAILED, EBADMSG,
                                 FORMAT_OBJECT " is damaged, or is no repository of quarry");
        if (json_unsigned(v, "version") != VERSION || json_unsigned(v, "chunkBytes") != CHUNK_SIZE ||
            json_unsigned(v, "segmentChunks") != SEGMENT_CHUNKS)
                return error_set(err, ERROR_NOT_SUPPORTED, 0,
                                 "the repository is of version %" PRIu64 ", which this quarry does not know",
                                 json_unsigned(v, "version"));
        return 0;
}

/* Returns 1 if it opens the repository. */
static int try_slot(Repository *r, const char *name, const RepositoryKeySource *keys, Error *err) {
        uint8_t by[REPOSITORY_KEY_SIZE];
        _cleanup_free_ char *text = NULL;
        char host_key[HOST_KEY_ID_MAX] = "";
        Slot slot;
        int n;

        n = get_plain(r, name, &text, err);
        if (n <= 0)
                return n;
        n = slot_parse(text, &slot, err);
        if (n < 0)
                return n;
        if (slot.kind == SLOT_HOST ? !keys->host : !keys->passphrase)
                return 0;
        n = slot.kind == SLOT_HOST ? keys->host(r->uuid, slot.host_key, by, host_key, err)
                                   : slot_derive(&slot, keys->passphrase, keys->passphrase_size, by, err);
        if (n >= 0)
                n = slot_unwrap(&slot, r->uuid, by, r->keys->all, err);
        sodium_memzero(by, sizeof(by));
        if (n < 0)
                return n;
        buffer_format(r->host_key, sizeof(r->host_key), "%s", host_key);
        return 1;
}

/* One that does not open it is no failure as long as another does. */
static int unlock(Repository *r, const RepositoryKeySource *keys, Error *err) {
        _cleanup_strv_ char **names = NULL;
        Error failure = {};
        int n;

        n = store_list(r->store, "keys", &names, err);
        if (n < 0)
                return n;
        for (char **name = names; name && *name; name++)
                if (try_slot(r, *name, keys, &failure) > 0)
                        return 0;
        if (failure.kind == ERROR_NONE)
                return error_set(err, ERROR_WRONG_KEY, EKEYREJECTED, "the repository has no key of this kind");
        *err = failure;
        return error_code(err);
}

int repository_open(Store *store, const RepositoryKeySource *keys, Repository **ret, Error *err) {
        _cleanup_(repository_freep) Repository *r = NULL;
        int n;

        n = repository_new(store, &r, err);
        if (n >= 0)
                n = read_format(r, err);
        if (n >= 0)
                n = unlock(r, keys, err);
        if (n < 0)
                return n;
        derive(r->keys);
        *ret = TAKE_PTR(r);
        return 0;
}

/* --- contents --------------------------------------------------------------------------------------------- */

/* Returns 1 if it is there; prove: and whole. */
static int has_content(Repository *r, const char *name, const ContentId *id, size_t size, bool prove, Error *err) {
        _cleanup_free_ uint8_t *buf = NULL;
        Error damage = {};
        int n;

        n = r->store->ops->has(r->store, name, err);
        if (n <= 0 || !prove)
                return n;
        buf = malloc(size);
        if (!buf)
                return error_oom(err);
        n = repository_get_content(r, id, buf, size, &damage);
        if (n >= 0 || damage.number == EBADMSG)
                return n >= 0;
        *err = damage;
        return n;
}

int piece_failure(const Piece *p, Error *err) {
        if (p->failure.kind == ERROR_NONE)
                return 0;
        *err = p->failure;
        return error_code(err);
}

void piece_check(const Repository *r, Piece *p) {
        ContentId is;

        p->failure = (Error) {};
        repository_name_content(r, p->data, p->size, &is);
        if (!content_id_equal(&is, &p->id))
                error_set(&p->failure, ERROR_FAILED, EBADMSG, "it is not what its name says");
}

static int seal_piece(const Repository *r, Piece *p, Error *err) {
        char name[STORE_NAME_MAX];

        if (!p->sealed)
                p->sealed = malloc(seal_bound(CONTENT_MAX));
        if (!p->sealed)
                return error_oom(err);
        content_object_name(&p->id, name);
        return seal(r->keys->content, name, p->data, p->size, p->sealed, &p->n_sealed, err);
}

void piece_seal(const Repository *r, Piece *p) {
        ContentId known = p->id;

        p->failure = (Error) {};
        p->n_sealed = 0;
        repository_name_content(r, p->data, p->size, &p->id);
        if (!content_id_is_zeros(&p->id) && !content_id_equal(&p->id, &known))
                (void) seal_piece(r, p, &p->failure);
}

int repository_put_piece(Repository *r, Piece *p, bool prove, uint64_t *ret_stored, Error *err) {
        char name[STORE_NAME_MAX];
        int n;

        *ret_stored = 0;
        n = piece_failure(p, err);
        if (n < 0)
                return n;
        if (content_id_is_zeros(&p->id))
                return 0;
        content_object_name(&p->id, name);
        n = has_content(r, name, &p->id, p->size, prove, err);
        if (n != 0)
                return n < 0 ? n : 0;
        if (p->n_sealed == 0)
                n = seal_piece(r, p, err);
        if (n >= 0)
                n = r->store->ops->put(r->store, name, p->sealed, p->n_sealed, err);
        if (n >= 0)
                *ret_stored = p->n_sealed;
        return n;
}

int repository_put_content(Repository *r, const void *data, size_t size, bool prove, ContentId *ret,
                           uint64_t *ret_stored, Error *err) {
        Piece p = { .data = (uint8_t *) data, .size = size };
        uint64_t stored;
        int n;

        piece_seal(r, &p);
        n = repository_put_piece(r, &p, prove, &stored, err);
        *ret = p.id;
        if (ret_stored)
                *ret_stored = stored;
        free(p.sealed);
        return n;
}

int repository_fetch_piece(Repository *r, Piece *p, Error *err) {
        char name[STORE_NAME_MAX];
        int n;

        free(TAKE_PTR(p->sealed));
        content_object_name(&p->id, name);
        n = r->store->ops->get(r->store, name, &p->sealed, &p->n_sealed, err);
        return n == 0 ? error_set(err, ERROR_FAILED, EBADMSG, "object %s is not there", name) : n;
}

void piece_open(const Repository *r, Piece *p) {
        char name[STORE_NAME_MAX];
        size_t n = 0;

        p->failure = (Error) {};
        content_object_name(&p->id, name);
        if (seal_open(r->keys->content, name, p->sealed, p->n_sealed, p->data, p->size, &n, &p->failure) < 0)
                return;
        if (n == p->size)
                piece_check(r, p);
        if (n != p->size || p->failure.kind != ERROR_NONE)
                error_set(&p->failure, ERROR_FAILED, EBADMSG, "object %s is not what its name says", name);
}

int repository_get_content(Repository *r, const ContentId *id, void *buf, size_t length, Error *err) {
        Piece p = { .id = *id, .data = buf, .size = length };
        int n;

        if (content_id_is_zeros(id)) {
                memset(buf, 0, length);
                return 0;
        }
        n = repository_fetch_piece(r, &p, err);
        if (n >= 0) {
                piece_open(r, &p);
                n = piece_failure(&p, err);
        }
        free(p.sealed);
        return n;
}

/* --- texts ------------------------------------------------------------------------------------------------ */

int repository_put_text(Repository *r, const char *name, const char *text, Error *err) {
        size_t size = strlen(text), sealed;
        _cleanup_free_ uint8_t *buf = malloc(seal_bound(size));
        int n;

        if (!buf)
                return error_oom(err);
        n = seal(r->keys->texts, name, text, size, buf, &sealed, err);
        if (n >= 0 && sealed > STORE_OBJECT_MAX)
                n = error_set(err, ERROR_FAILED, EFBIG, "%s is too large", name);
        return n < 0 ? n : r->store->ops->put(r->store, name, buf, sealed, err);
}

int repository_get_text(Repository *r, const char *name, char **ret, Error *err) {
        _cleanup_free_ uint8_t *sealed = NULL;
        _cleanup_free_ char *text = NULL;
        size_t n_sealed, size = 0;
        int n;

        n = r->store->ops->get(r->store, name, &sealed, &n_sealed, err);
        if (n <= 0)
                return n;
        text = malloc(TEXT_MAX + 1);
        if (!text)
                return error_oom(err);
        n = seal_open(r->keys->texts, name, sealed, n_sealed, text, TEXT_MAX, &size, err);
        if (n < 0)
                return n;
        text[size] = 0;
        if (strlen(text) != size)
                return error_set(err, ERROR_FAILED, EBADMSG, "object %s is damaged", name);
        *ret = realloc(text, size + 1);
        if (*ret)
                TAKE_PTR(text);
        return *ret ? 1 : error_oom(err);
}
