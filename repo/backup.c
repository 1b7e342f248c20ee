#include "backup.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-json.h>

#define BACKUPS "backups"
#define PROOFS "proofs"

void backup_done(Backup *b) {
        volume_spec_done(&b->spec);
        free(b->rule);
        free(b->segments);
        *b = (Backup) {};
}

void backup_proof_done(BackupProof *p) {
        free(p->text);
        *p = (BackupProof) {};
}

bool backup_id_is_valid(const char *id) {
        return strlen(id) == BACKUP_ID_MAX - 1 && strspn(id, "0123456789abcdef") == BACKUP_ID_MAX - 1;
}

size_t backup_count_segments(uint64_t device_size) {
        return (size_t) ((device_size + SEGMENT_SIZE - 1) / SEGMENT_SIZE);
}

size_t backup_chunk_size(const Backup *b, uint64_t n) {
        uint64_t left = b->device_size - n * CHUNK_SIZE;

        return left < CHUNK_SIZE ? (size_t) left : CHUNK_SIZE;
}

uint64_t backup_header_size(const Backup *b) {
        return b->spec.key_source != KEY_SOURCE_NONE ? LUKS_HEADER_SIZE : 0;
}

/* --- as text ---------------------------------------------------------------------------------------------- */

static int segments_to_json(const Backup *b, sd_json_variant **ret) {
        _cleanup_strv_ char **list = NULL;
        char text[CONTENT_ID_TEXT_MAX];
        int r = 0;

        list = calloc(b->n_segments + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (size_t i = 0; i < b->n_segments && r >= 0; i++) {
                list[i] = strdup(content_id_is_zeros(&b->segments[i]) ? "" : content_id_format(&b->segments[i], text));
                r = list[i] ? 0 : -ENOMEM;
        }
        return r < 0 ? r : sd_json_variant_new_array_strv(ret, list);
}

int backup_to_json(const Backup *b, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *segments = NULL;
        const VolumeSpec *spec = &b->spec;
        int r;

        r = segments_to_json(b, &segments);
        if (r < 0)
                return r;
        r = sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_UNSIGNED("version", 1),
                        SD_JSON_BUILD_PAIR_STRING("id", b->id),
                        SD_JSON_BUILD_PAIR_UNSIGNED("atUsec", b->at_usec),
                        SD_JSON_BUILD_PAIR_STRING("host", b->host),
                        SD_JSON_BUILD_PAIR_STRING("pool", spec->pool),
                        SD_JSON_BUILD_PAIR_STRING("tenant", spec->tenant),
                        SD_JSON_BUILD_PAIR_STRING("volume", spec->name),
                        SD_JSON_BUILD_PAIR_UUID("volumeUuid", b->volume),
                        SD_JSON_BUILD_PAIR_UUID("snapshotUuid", b->snapshot),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("deviceBytes", b->device_size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(spec->fs)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->key_source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(spec->key_source))),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", spec->mode),
                        SD_JSON_BUILD_PAIR_STRV("labels", spec->labels),
                        SD_JSON_BUILD_PAIR_CONDITION(!!*b->parent, "parent", SD_JSON_BUILD_STRING(b->parent)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("readBytes", b->read),
                        SD_JSON_BUILD_PAIR_UNSIGNED("storedBytes", b->stored),
                        SD_JSON_BUILD_PAIR_CONDITION(!!*b->host_key, "hostKey", SD_JSON_BUILD_STRING(b->host_key)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!b->rule, "rule", SD_JSON_BUILD_STRING(b->rule)),
                        SD_JSON_BUILD_PAIR_VARIANT("segments", segments));
        if (r >= 0)
                r = sd_json_variant_format(v, 0, ret);
        return r < 0 ? r : 0;
}

typedef struct Parsed {
        const char *id, *host, *pool, *tenant, *name, *fs, *key_source, *parent, *rule, *host_key;
        uint64_t version;
        char **labels;
        sd_json_variant *segments;
        Backup b;
} Parsed;

static int take_segments(sd_json_variant *list, Backup *ret) {
        size_t n = sd_json_variant_elements(list);

        if (n != backup_count_segments(ret->device_size))
                return -EINVAL;
        ret->segments = calloc(n + 1, sizeof(*ret->segments));
        if (!ret->segments)
                return -ENOMEM;
        ret->n_segments = n;
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *v = sd_json_variant_by_index(list, i);
                const char *text = sd_json_variant_is_string(v) ? sd_json_variant_string(v) : "-";

                if (*text && content_id_parse(text, &ret->segments[i]) < 0)
                        return -EINVAL;
        }
        return 0;
}

static int take(Parsed *p, Error *err) {
        VolumeSpec *spec = &p->b.spec;
        int fs = filesystem_from_string(p->fs);
        int source = p->key_source ? key_source_from_string(p->key_source) : KEY_SOURCE_NONE;
        int r = 0;

        if (p->version != 1 || fs < 0 || source < 0 || !backup_id_is_valid(p->id) ||
            (p->parent && !backup_id_is_valid(p->parent)) || !volume_name_is_valid(p->name) ||
            !tenant_name_is_valid(p->tenant) || !pool_name_is_valid(p->pool) || strlen(p->host) >= BACKUP_HOST_MAX ||
            !text_is_printable(p->host) || (p->rule && !text_is_printable(p->rule)) ||
            p->b.device_size > BACKUP_DEVICE_MAX)
                return -EINVAL;
        spec->fs = (Filesystem) fs;
        spec->key_source = (KeySource) source;
        if (p->host_key && !host_key_id_is_valid(p->host_key))
                return -EINVAL;
        buffer_format(p->b.host_key, sizeof(p->b.host_key), "%s", p->host_key ?: "");
        buffer_format(p->b.id, sizeof(p->b.id), "%s", p->id);
        buffer_format(p->b.parent, sizeof(p->b.parent), "%s", p->parent ?: "");
        buffer_format(p->b.host, sizeof(p->b.host), "%s", p->host);
        buffer_format(spec->pool, sizeof(spec->pool), "%s", p->pool);
        buffer_format(spec->tenant, sizeof(spec->tenant), "%s", p->tenant);
        buffer_format(spec->name, sizeof(spec->name), "%s", p->name);
        if (p->rule && !(p->b.rule = strdup(p->rule)))
                return -ENOMEM;
        for (char **l = p->labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(spec, *l, err);
        if (r >= 0)
                r = volume_spec_normalize(spec, err);
        if (r >= 0 && volume_spec_device_size(spec) != p->b.device_size)
                r = -EINVAL;
        return r < 0 ? r : take_segments(p->segments, &p->b);
}

int backup_from_json(const char *text, Backup *ret, Error *err) {
#define FIELD(name, type, dispatch, member, flags) { name, type, dispatch, offsetof(Parsed, member), flags }
#define STRING(name, member, flags) FIELD(name, SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, member, flags)
#define NUMBER(name, member) FIELD(name, SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, member, SD_JSON_MANDATORY)
#define NUMBER32(name, member) FIELD(name, SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, member, SD_JSON_MANDATORY)
        static const sd_json_dispatch_field table[] = {
                NUMBER("version", version),
                STRING("id", id, SD_JSON_MANDATORY),
                NUMBER("atUsec", b.at_usec),
                STRING("host", host, SD_JSON_MANDATORY),
                STRING("pool", pool, SD_JSON_MANDATORY),
                STRING("tenant", tenant, SD_JSON_MANDATORY),
                STRING("volume", name, SD_JSON_MANDATORY),
                FIELD("volumeUuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, b.volume, SD_JSON_MANDATORY),
                FIELD("snapshotUuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, b.snapshot, SD_JSON_MANDATORY),
                NUMBER("sizeBytes", b.spec.size),
                NUMBER("deviceBytes", b.device_size),
                STRING("filesystem", fs, SD_JSON_MANDATORY),
                STRING("keySource", key_source, 0),
                NUMBER32("uid", b.spec.uid),
                NUMBER32("gid", b.spec.gid),
                NUMBER32("mode", b.spec.mode),
                FIELD("labels", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_strv, labels, SD_JSON_NULLABLE),
                STRING("parent", parent, 0),
                NUMBER("readBytes", b.read),
                NUMBER("storedBytes", b.stored),
                STRING("hostKey", host_key, 0),
                STRING("rule", rule, 0),
                FIELD("segments", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, segments, SD_JSON_MANDATORY),
                {},
        };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Parsed p = {};
        int r;

        r = sd_json_parse(text, 0, &v, NULL, NULL);
        if (r >= 0)
                r = sd_json_dispatch(v, table, SD_JSON_ALLOW_EXTENSIONS, &p);
        if (r >= 0)
                r = take(&p, err);
        strv_free(p.labels);
        if (r < 0) {
                backup_done(&p.b);
                return r == -ENOMEM ? error_oom(err)
                                    : error_set(err, ERROR_FAILED, EBADMSG, "the description of a backup is damaged");
        }
        *ret = p.b;
        return 0;
}

static int proof_to_json(const BackupProof *p, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_STRING("backup", p->backup),
                        SD_JSON_BUILD_PAIR_UNSIGNED("atUsec", p->at_usec),
                        SD_JSON_BUILD_PAIR_BOOLEAN("sound", p->sound),
                        SD_JSON_BUILD_PAIR_STRING("text", p->text ?: ""));
        if (r >= 0)
                r = sd_json_variant_format(v, 0, ret);
        return r < 0 ? r : 0;
}

int backup_proof_from_json(const char *text, BackupProof *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        sd_json_variant *id, *at, *sound, *what;

        if (sd_json_parse(text, 0, &v, NULL, NULL) < 0)
                v = NULL;
        id = sd_json_variant_by_key(v, "backup");
        at = sd_json_variant_by_key(v, "atUsec");
        sound = sd_json_variant_by_key(v, "sound");
        what = sd_json_variant_by_key(v, "text");
        if (!sd_json_variant_is_string(id) || !backup_id_is_valid(sd_json_variant_string(id)) ||
            !sd_json_variant_is_unsigned(at) || !sd_json_variant_is_boolean(sound) ||
            !sd_json_variant_is_string(what) || !text_is_printable(sd_json_variant_string(what)))
                return error_set(err, ERROR_FAILED, EBADMSG, "the proof of a backup is damaged");
        *ret = (BackupProof) { .at_usec = sd_json_variant_unsigned(at),
                               .sound = sd_json_variant_boolean(sound),
                               .text = strdup(sd_json_variant_string(what)) };
        buffer_format(ret->backup, sizeof(ret->backup), "%s", sd_json_variant_string(id));
        return ret->text ? 0 : error_oom(err);
}

/* --- in the repository ------------------------------------------------------------------------------------ */

int backup_put(Repository *r, const Backup *b, Error *err) {
        const StoreOps *ops = repository_store(r)->ops;
        _cleanup_free_ char *text = NULL;
        char name[STORE_NAME_MAX];
        int n;

        if (backup_to_json(b, &text) < 0)
                return error_oom(err);
        buffer_format(name, sizeof(name), BACKUPS "/%s", b->id);
        n = ops->sync(repository_store(r), err); /* all that it names, before */
        if (n >= 0)
                n = repository_put_text(r, name, text, err);
        return n < 0 ? n : ops->sync(repository_store(r), err);
}

static int get(Repository *r, const char *name, Backup *ret, Error *err) {
        _cleanup_free_ char *text = NULL;
        int n;

        n = repository_get_text(r, name, &text, err);
        if (n <= 0)
                return n;
        n = backup_from_json(text, ret, err);
        return n < 0 ? n : 1;
}

int backup_get(Repository *r, const char *id, Backup *ret, Error *err) {
        char name[STORE_NAME_MAX];

        buffer_format(name, sizeof(name), BACKUPS "/%s", id);
        return get(r, name, ret, err);
}

static void proof_name(const BackupProof *p, char buf[static STORE_NAME_MAX]) {
        buffer_format(buf, STORE_NAME_MAX, PROOFS "/%s-%016" PRIx64, p->backup, p->at_usec);
}

/* Of this backup, all but this one. */
static int remove_proofs(Repository *r, const char *id, const char *but, Error *err) {
        Store *store = repository_store(r);
        _cleanup_strv_ char **names = NULL;
        int n;

        n = store_list(store, PROOFS, &names, err);
        for (char **name = names; name && *name && n >= 0; name++) {
                const char *own = startswith(*name, PROOFS "/");

                if (own && startswith(own, id) && !(but && streq(*name, but)))
                        n = store->ops->remove(store, *name, err);
        }
        return n;
}

int backup_put_proof(Repository *r, const BackupProof *p, Error *err) {
        Store *store = repository_store(r);
        _cleanup_free_ char *text = NULL;
        char name[STORE_NAME_MAX];
        int n;

        if (proof_to_json(p, &text) < 0)
                return error_oom(err);
        proof_name(p, name);
        n = repository_put_text(r, name, text, err);
        if (n >= 0)
                n = store->ops->sync(store, err);
        return n < 0 ? n : remove_proofs(r, p->backup, name, err);
}

int backup_has(Repository *r, const char *id, Error *err) {
        Store *store = repository_store(r);
        char name[STORE_NAME_MAX];

        buffer_format(name, sizeof(name), BACKUPS "/%s", id);
        return store->ops->has(store, name, err);
}

int backup_remove(Repository *r, const Backup *b, Error *err) {
        Store *store = repository_store(r);
        char name[STORE_NAME_MAX];
        int n;

        buffer_format(name, sizeof(name), BACKUPS "/%s", b->id);
        n = store->ops->remove(store, name, err);
        return n < 0 ? n : remove_proofs(r, b->id, NULL, err);
}

/* --- all of them ------------------------------------------------------------------------------------------ */

static int add_backup(Repository *r, const char *name, BackupList *all, Error *err) {
        Error failure = {};
        int n;

        n = get(r, name, &all->list[all->n], &failure);
        all->n += n > 0; /* else it went meanwhile, */
        if (n >= 0)
                return 0;
        error_prefix(&failure, "%s", name);
        if (failure.number != EBADMSG) {
                *err = failure;
                return n;
        }
        if (all->n_damaged++ == 0) /* or hides no other */
                all->damage = failure;
        return 0;
}

/* One that is damaged proves nothing. */
static int add_proof(Repository *r, const char *name, BackupList *all, Error *err) {
        _cleanup_free_ char *text = NULL;
        Error failure = {};
        int n;

        n = repository_get_text(r, name, &text, &failure);
        if (n > 0)
                n = backup_proof_from_json(text, &all->proofs[all->n_proofs], &failure);
        if (n >= 0)
                all->n_proofs += !!text;
        else if (failure.number != EBADMSG) {
                *err = failure;
                error_prefix(err, "%s", name);
                return n;
        }
        return 0;
}

static int by_time(const void *a, const void *b) {
        const Backup *one = a, *other = b;

        return one->at_usec != other->at_usec ? (one->at_usec > other->at_usec) - (one->at_usec < other->at_usec)
                                              : strcmp(one->id, other->id);
}

static size_t index_of(const BackupList *all, const char *id) {
        size_t i = 0;

        while (i < all->n && !(*id && streq(all->list[i].id, id)))
                i++;
        return i;
}

/* What is damaged goes from one to the next that builds on it, up to one that was proven. */
static int find_doubted(BackupList *all, Error *err) {
        _cleanup_free_ const BackupProof **proofs = calloc(all->n + 1, sizeof(*proofs));
        _cleanup_free_ size_t *parents = calloc(all->n + 1, sizeof(*parents));

        all->doubted = calloc(all->n + 1, sizeof(*all->doubted));
        if (!proofs || !parents || !all->doubted)
                return error_oom(err);
        for (size_t i = 0; i < all->n; i++) {
                proofs[i] = backup_list_proof(all, all->list[i].id);
                parents[i] = index_of(all, all->list[i].parent);
        }
        for (size_t i = 0; i < all->n; i++) {
                size_t j = i, steps = 0; /* descriptions are foreign: they may build on each other */

                while (j < all->n && !proofs[j] && steps++ < all->n)
                        j = parents[j];
                all->doubted[i] = j < all->n && proofs[j] && !proofs[j]->sound;
        }
        return 0;
}

int backup_list(Repository *r, BackupList *ret, Error *err) {
        _cleanup_strv_ char **names = NULL, **proofs = NULL;
        Store *store = repository_store(r);
        BackupList all = {};
        int n;

        n = store_list(store, BACKUPS, &names, err);
        if (n >= 0)
                n = store_list(store, PROOFS, &proofs, err);
        if (n < 0)
                return n;
        all.list = calloc(strv_length(names) + 1, sizeof(*all.list));
        all.proofs = calloc(strv_length(proofs) + 1, sizeof(*all.proofs));
        if (!all.list || !all.proofs) {
                (void) error_oom(err);
                n = -ENOMEM;
        }
        for (char **name = names; name && *name && n >= 0; name++)
                n = add_backup(r, *name, &all, err);
        for (char **name = proofs; name && *name && n >= 0; name++)
                n = add_proof(r, *name, &all, err);
        if (n >= 0) {
                qsort(all.list, all.n, sizeof(*all.list), by_time);
                n = find_doubted(&all, err);
        }
        if (n < 0) {
                backup_list_done(&all);
                return n;
        }
        *ret = all;
        return 0;
}

void backup_list_done(BackupList *list) {
        for (size_t i = 0; i < list->n; i++)
                backup_done(&list->list[i]);
        for (size_t i = 0; i < list->n_proofs; i++)
                backup_proof_done(&list->proofs[i]);
        free(list->list);
        free(list->doubted);
        free(list->proofs);
        *list = (BackupList) {};
}

const BackupProof *backup_list_proof(const BackupList *list, const char *id) {
        const BackupProof *last = NULL;

        for (size_t i = 0; i < list->n_proofs; i++)
                if (streq(list->proofs[i].backup, id) && (!last || list->proofs[i].at_usec > last->at_usec))
                        last = &list->proofs[i];
        return last;
}

int backup_get_segment(Repository *r, const Backup *b, size_t n, ContentId ret[static SEGMENT_CHUNKS], Error *err) {
        if (n < b->n_segments)
                return repository_get_content(r, &b->segments[n], ret, SEGMENT_CHUNKS * sizeof(*ret), err);
        memset(ret, 0, SEGMENT_CHUNKS * sizeof(*ret));
        return 0;
}
