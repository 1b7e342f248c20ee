/* What a stream says of its volume. */

#include "stream-form.h"

#include <quarry/text.h>

#include <string.h>

void stream_header_done(StreamHeader *header) {
        volume_spec_done(&header->spec);
        *header = (StreamHeader) {};
}

bool stream_header_equal(const StreamHeader *a, const StreamHeader *b) {
        const VolumeSpec *one = &a->spec, *other = &b->spec;

        return sd_id128_equal(a->uuid, b->uuid) && sd_id128_equal(a->since, b->since) &&
               streq(a->snapshot, b->snapshot) && streq(a->since_snapshot, b->since_snapshot) &&
               streq(one->name, other->name) && one->size == other->size && one->fs == other->fs &&
               one->key_source == other->key_source && one->uid == other->uid && one->gid == other->gid &&
               one->mode == other->mode;
}

/* In version 2 a record says how long it is. Returns the size of its head. */
static size_t put_head(uint8_t *at, char tag, size_t length, bool bare) {
        at[0] = (uint8_t) tag;
        if (bare)
                return 1;
        put_le(at + 1, length, 8);
        return 9;
}

static size_t put_name(uint8_t *at, char tag, const char *name, bool bare) {
        size_t n = strnlen(name, SNAPSHOT_NAME_MAX), head = put_head(at, tag, 4 + n, bare);

        put_le(at + head, n, 4);
        memcpy(at + head + 4, name, n);
        return head + 4 + n;
}

size_t stream_preamble(const StreamHeader *header, bool bare, uint8_t buf[static RECORD_MAX]) {
        size_t n = strlen(RBD_BANNER);

        for (size_t i = 0; i < n; i++)
                buf[i] = (uint8_t) (bare ? RBD_BANNER_BARE : RBD_BANNER)[i];
        if (*header->since_snapshot)
                n += put_name(buf + n, 'f', header->since_snapshot, bare);
        n += put_name(buf + n, 't', header->snapshot, bare);
        n += put_head(buf + n, 's', 8, bare);
        put_le(buf + n, volume_spec_device_size(&header->spec), 8);
        return n + 8;
}

int stream_header_to_json(const StreamHeader *h, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        const VolumeSpec *spec = &h->spec;
        bool has_since = !sd_id128_is_null(h->since);
        int r;

        r = sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_STRING("volume", spec->name),
                        SD_JSON_BUILD_PAIR_STRING("snapshot", h->snapshot),
                        SD_JSON_BUILD_PAIR_UUID("uuid", h->uuid),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        has_since, "sinceSnapshot", SD_JSON_BUILD_STRING(h->since_snapshot)),
                        SD_JSON_BUILD_PAIR_CONDITION(has_since, "since", SD_JSON_BUILD_UUID(h->since)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(spec->fs)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->key_source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(spec->key_source))),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", spec->mode));
        if (r >= 0)
                r = sd_json_variant_format(v, 0, ret);
        return r < 0 ? r : 0;
}

typedef struct Words {
        const char *volume, *snapshot, *since, *filesystem, *key_source;
} Words;

static int take_words(const Words *w, StreamHeader *ret, Error *err) {
        int source = w->key_source ? key_source_from_string(w->key_source) : KEY_SOURCE_NONE;
        int fs = filesystem_from_string(w->filesystem);

        if (fs < 0 || source < 0)
                return error_field(err, "stream", "it is of a filesystem or an encryption that is not known here");
        if (!volume_name_is_valid(w->volume) || !snapshot_name_is_valid(w->snapshot) ||
            (w->since && !snapshot_name_is_valid(w->since)))
                return error_field(err, "stream", "it names a volume or snapshot as none can be called");
        ret->spec.fs = (Filesystem) fs;
        ret->spec.key_source = (KeySource) source;
        buffer_format(ret->spec.name, sizeof(ret->spec.name), "%s", w->volume);
        buffer_format(ret->snapshot, sizeof(ret->snapshot), "%s", w->snapshot);
        buffer_format(ret->since_snapshot, sizeof(ret->since_snapshot), "%s", w->since ?: "");
        return 0;
}

int stream_header_from_json(const char *text, StreamHeader *ret, Error *err) {
        typedef struct Parsed {
                Words words;
                StreamHeader header;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, words.volume),
                  SD_JSON_MANDATORY },
                { "snapshot", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, words.snapshot),
                  SD_JSON_MANDATORY },
                { "uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, header.uuid),
                  SD_JSON_MANDATORY },
                { "sinceSnapshot", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, words.since),
                  0 },
                { "since", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, header.since), 0 },
                { "sizeBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, header.spec.size),
                  SD_JSON_MANDATORY },
                { "filesystem", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(Parsed, words.filesystem), SD_JSON_MANDATORY },
                { "keySource", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(Parsed, words.key_source), 0 },
                { "uid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, header.spec.uid),
                  SD_JSON_MANDATORY },
                { "gid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, header.spec.gid),
                  SD_JSON_MANDATORY },
                { "mode", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, header.spec.mode),
                  SD_JSON_MANDATORY },
                {},
        };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Parsed p = {};
        int r;

        r = sd_json_parse(text, 0, &v, NULL, NULL);
        if (r == -ENOMEM)
                return error_oom(err);
        if (r < 0 || sd_json_dispatch(v, table, SD_JSON_ALLOW_EXTENSIONS, &p) < 0)
                return error_field(err, "stream", "what it says of its volume cannot be read");
        r = take_words(&p.words, &p.header, err);
        if (r >= 0 && (!p.words.since) != sd_id128_is_null(p.header.since))
                r = error_field(err, "stream", "it says only half of since when it is");
        buffer_format(p.header.spec.tenant, sizeof(p.header.spec.tenant), "%s", DEFAULT_TENANT);
        if (r >= 0)
                r = volume_spec_normalize(&p.header.spec, err);
        if (r < 0)
                stream_header_done(&p.header);
        else
                *ret = p.header;
        return r;
}
