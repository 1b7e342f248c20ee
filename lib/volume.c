#include <quarry/volume.h>

#include <quarry/text.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const filesystem_words[_FILESYSTEM_MAX] = {
        [FILESYSTEM_EXT4] = "ext4",
        [FILESYSTEM_XFS] = "xfs",
        [FILESYSTEM_NONE] = "none",
};

static const char *const key_source_words[_KEY_SOURCE_MAX] = {
        [KEY_SOURCE_NONE] = "none",
        [KEY_SOURCE_HOST] = "host",
        [KEY_SOURCE_PASSPHRASE] = "passphrase",
};

static const char *const volume_kind_words[_VOLUME_KIND_MAX] = {
        [KIND_BLOCK] = "block",
        [KIND_BIND] = "bind",
        [KIND_TMPFS] = "tmpfs",
};

static const char *const volume_state_words[_VOLUME_STATE_MAX] = {
        [VOLUME_CREATING] = "creating", [VOLUME_READY] = "ready",   [VOLUME_REMOVING] = "removing",
        [VOLUME_FREEING] = "freeing",   [VOLUME_BROKEN] = "broken",
};

static const char *const volume_role_words[_VOLUME_ROLE_MAX] = {
        [ROLE_VOLUME] = "volume",
        [ROLE_SNAPSHOT] = "snapshot",
        [ROLE_TEMPLATE] = "template",
};

static const char *word_at(const char *const words[], int max, int i) {
        return i >= 0 && i < max ? words[i] : NULL;
}

static int word_find(const char *const words[], int max, const char *s) {
        for (int i = 0; i < max; i++)
                if (streq_ptr(words[i], s))
                        return i;
        return -EINVAL;
}

const char *filesystem_to_string(Filesystem fs) {
        return word_at(filesystem_words, _FILESYSTEM_MAX, (int) fs);
}

int filesystem_from_string(const char *s) {
        return word_find(filesystem_words, _FILESYSTEM_MAX, s);
}

const char *key_source_to_string(KeySource source) {
        return word_at(key_source_words, _KEY_SOURCE_MAX, (int) source);
}

int key_source_from_string(const char *s) {
        return word_find(key_source_words, _KEY_SOURCE_MAX, s);
}

const char *volume_kind_to_string(VolumeKind kind) {
        return word_at(volume_kind_words, _VOLUME_KIND_MAX, (int) kind);
}

int volume_kind_from_string(const char *s) {
        return word_find(volume_kind_words, _VOLUME_KIND_MAX, s);
}

const char *volume_state_to_string(VolumeState state) {
        return word_at(volume_state_words, _VOLUME_STATE_MAX, (int) state);
}

int volume_state_from_string(const char *s) {
        return word_find(volume_state_words, _VOLUME_STATE_MAX, s);
}

const char *volume_role_to_string(VolumeRole role) {
        return word_at(volume_role_words, _VOLUME_ROLE_MAX, (int) role);
}

int volume_role_from_string(const char *s) {
        return word_find(volume_role_words, _VOLUME_ROLE_MAX, s);
}

void volume_spec_done(VolumeSpec *spec) {
        spec->mkfs_options = strv_free(spec->mkfs_options);
        spec->labels = strv_free(spec->labels);
        free(TAKE_PTR(spec->source));
}

int volume_spec_copy(const VolumeSpec *from, VolumeSpec *ret) {
        VolumeSpec copy = *from;

        copy.mkfs_options = copy.labels = NULL;
        copy.source = from->source ? strdup(from->source) : NULL;
        if ((from->source && !copy.source) || strv_copy(from->mkfs_options, &copy.mkfs_options) < 0 ||
            strv_copy(from->labels, &copy.labels) < 0) {
                volume_spec_done(&copy);
                return -ENOMEM;
        }
        *ret = copy;
        return 0;
}

void volume_done(Volume *volume) {
        volume_spec_done(&volume->spec);
        free(TAKE_PTR(volume->failure));
        free(TAKE_PTR(volume->rule));
        free(TAKE_PTR(volume->schedule));
        free(TAKE_PTR(volume->old_name));
}

void volume_set_host_key(Volume *volume, const char *id) {
        (void) buffer_format(volume->host_key, sizeof(volume->host_key), "%s", id);
}

sd_id128_t volume_header_uuid(const Volume *volume) {
        return volume->spec.role == ROLE_SNAPSHOT ? volume->spec.origin : volume->uuid;
}

uint64_t volume_spec_device_size(const VolumeSpec *spec) {
        return spec->size + (spec->key_source == KEY_SOURCE_NONE ? 0 : LUKS_HEADER_SIZE);
}

uint64_t volume_device_size(const Volume *volume) {
        VolumeSpec spec = { .size = volume->spec.size, .key_source = volume->spec.key_source };

        if (volume->pending_size > spec.size)
                spec.size = volume->pending_size;
        return volume_spec_device_size(&spec);
}

static int label_key_compare(const char *a, const char *b) {
        size_t n = strcspn(a, "="), m = strcspn(b, "=");
        int c = memcmp(a, b, n < m ? n : m);

        return c != 0 ? c : n < m ? -1 : n > m;
}

static int label_compare(const void *a, const void *b) {
        return label_key_compare(*(char *const *) a, *(char *const *) b);
}

static int label_check(const char *label, Error *err) {
        const char *equals = strchr(label, '=');
        char echo[TEXT_ECHO_MAX];

        if (!equals)
                return error_field(err, "labels", "label \"%s\" is not of the form key=value", text_echo(label, echo));

        _cleanup_free_ char *key = strndup(label, (size_t) (equals - label));
        if (!key)
                return error_oom(err);
        if (!label_key_is_valid(key))
                return error_field(err, "labels",
                                   "label key \"%s\" is not valid: 1 to %d of A-Z a-z 0-9 _ . / -, beginning with a "
                                   "letter or digit",
                                   text_echo(key, echo), LABEL_KEY_MAX);
        if (!label_value_is_valid(equals + 1))
                return error_field(err, "labels",
                                   "value of label \"%s\" is not valid: at most %d bytes of UTF-8 without control "
                                   "characters",
                                   text_echo(key, echo), LABEL_VALUE_MAX);
        return 0;
}

static int label_refuse_second(const char *label, Error *err) {
        char echo[TEXT_ECHO_MAX];
        _cleanup_free_ char *key = strndup(label, strcspn(label, "="));

        if (!key)
                return error_oom(err);
        return error_field(err, "labels", "label \"%s\" is given twice", text_echo(key, echo));
}

static int labels_check_count(size_t n, Error *err) {
        if (n <= LABELS_MAX)
                return 0;
        return error_field(err, "labels", "%zu labels are too many: at most %d", n, LABELS_MAX);
}

static char **label_find(VolumeSpec *spec, const char *label) {
        for (char **l = spec->labels; l && *l; l++)
                if (label_key_compare(*l, label) == 0)
                        return l;
        return NULL;
}

static void label_remove(char **label) {
        free(*label);
        for (; *label; label++)
                label[0] = label[1];
}

bool volume_spec_is_fixed(const VolumeSpec *spec) {
        for (char *const *l = spec->labels; l && *l && spec->role == ROLE_SNAPSHOT; l++)
                if (startswith(*l, RECEIVED_LABEL "=") || startswith(*l, BACKUP_MADE_LABEL "="))
                        return true;
        return false;
}

int volume_spec_add_label(VolumeSpec *spec, const char *label, Error *err) {
        int r = labels_check_count(strv_length(spec->labels) + 1, err);
        if (r < 0)
                return r;
        r = label_check(label, err);
        if (r < 0)
                return r;

        if (label_find(spec, label))
                return label_refuse_second(label, err);
        return strv_append(&spec->labels, label) < 0 ? error_oom(err) : 0;
}

static int labels_normalize(VolumeSpec *spec, Error *err) {
        size_t n = strv_length(spec->labels);
        int r = labels_check_count(n, err);

        for (size_t i = 0; i < n && r >= 0; i++)
                r = label_check(spec->labels[i], err);
        if (r < 0 || n == 0)
                return r;

        qsort(spec->labels, n, sizeof(char *), label_compare);
        for (size_t i = 1; i < n; i++)
                if (label_compare(&spec->labels[i - 1], &spec->labels[i]) == 0)
                        return label_refuse_second(spec->labels[i], err);
        return 0;
}

static int full_name_check(const VolumeSpec *spec, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (spec->role != ROLE_SNAPSHOT)
                return volume_name_check(spec->name, "volume", err);
        if (sd_id128_is_null(spec->origin) || !full_name_is_valid(spec->name))
                return error_field(err, "volume", "\"%s\" is not the name of a snapshot", text_echo(spec->name, echo));
        return 0;
}

static int names_check(const VolumeSpec *spec, Error *err) {
        int r = full_name_check(spec, err);

        if (r >= 0 && !(spec->role == ROLE_TEMPLATE && streq(spec->tenant, TEMPLATE_TENANT)))
                r = tenant_name_check(spec->tenant, "volume", err);
        if (r >= 0 && !isempty(spec->pool))
                r = pool_name_check(spec->pool, "volume", err);
        return r;
}

static int owner_check(const VolumeSpec *spec, Error *err) {
        if (spec->uid == (uid_t) -1)
                return error_field(err, "uid", "uid %u is reserved", (unsigned) spec->uid);
        if (spec->gid == (gid_t) -1)
                return error_field(err, "gid", "gid %u is reserved", (unsigned) spec->gid);
        if (spec->mode > 07777)
                return error_field(err, "mode", "mode %#o is not valid: at most 07777", (unsigned) spec->mode);
        return 0;
}

int volume_spec_normalize(VolumeSpec *spec, Error *err) {
        int r = names_check(spec, err);

        if (r < 0)
                return r;
        if (!filesystem_to_string(spec->fs))
                return error_field(err, "filesystem", "the filesystem must be ext4, xfs or none");
        if (!volume_role_to_string(spec->role))
                return error_field(err, "role", "the role must be volume, snapshot or template");
        if (!key_source_to_string(spec->key_source))
                return error_field(err, "keySource", "the key source must be host or passphrase");

        r = volume_spec_normalize_kind(spec, err);
        if (r >= 0)
                r = owner_check(spec, err);
        if (r >= 0)
                r = mkfs_options_parse(spec->fs, spec->mkfs_options, NULL, err);
        if (r >= 0)
                r = labels_normalize(spec, err);
        return r;
}

void volume_update_done(VolumeUpdate *update) {
        update->labels = strv_free(update->labels);
        update->remove_labels = strv_free(update->remove_labels);
        free(TAKE_PTR(update->schedule));
}

/* Each key once in all of the request: what comes of a key that is both set and removed would be a guess. */
static int label_changes_check(const VolumeUpdate *update, Error *err) {
        for (char **l = update->labels; l && *l; l++) {
                for (char **other = l + 1; *other; other++)
                        if (label_key_compare(*l, *other) == 0)
                                return label_refuse_second(*l, err);
                for (char **key = update->remove_labels; key && *key; key++)
                        if (label_key_compare(*l, *key) == 0)
                                return label_refuse_second(*l, err);
        }
        for (char **key = update->remove_labels; key && *key; key++)
                if (!label_key_is_valid(*key)) {
                        char echo[TEXT_ECHO_MAX];

                        return error_field(err, "removeLabels", "\"%s\" is not the key of a label",
                                           text_echo(*key, echo));
                }
        return 0;
}

int volume_spec_update(VolumeSpec *spec, const VolumeUpdate *update, Error *err) {
        int r = label_changes_check(update, err);

        for (char **key = update->remove_labels; key && *key; key++) {
                char **there = label_find(spec, *key);

                if (there)
                        label_remove(there);
        }
        for (char **l = update->labels; l && *l && r >= 0; l++) {
                char **there = label_find(spec, *l);

                if (there)
                        label_remove(there);
                r = volume_spec_add_label(spec, *l, err);
        }
        if (r < 0)
                return r;
        if (update->has_uid)
                spec->uid = update->uid;
        if (update->has_gid)
                spec->gid = update->gid;
        if (update->has_mode)
                spec->mode = update->mode;
        if (update->has_protected)
                spec->protected = update->protected;
        return volume_spec_normalize(spec, err);
}

static const char *list_text(char *const *list, char *buf, size_t size) {
        size_t n = 0;

        if (strv_length(list) == 0)
                return "none";
        for (*buf = 0; *list && n < size; list++, n += strlen(buf + n))
                if (!buffer_format(buf + n, size - n, "%s\"%s\"", n > 0 ? " " : "", *list))
                        break;
        return buf;
}

static const char *lists_differ(const char *field, char *const *have, char *const *want, char *buf, size_t size) {
        char a[200], b[200];

        (void) buffer_format(buf, size, "%s, asked for %s", list_text(have, a, sizeof(a)),
                             list_text(want, b, sizeof(b)));
        return field;
}

_printf_(4, 5) static const char *values_differ(const char *field, char *buf, size_t size, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(buf, size, format, ap);
        va_end(ap);
        return field;
}

/* Of what only bind or tmpfs volumes have. */
static const char *kind_difference(const VolumeSpec *have, const VolumeSpec *want, char *buf, size_t size) {
        if (have->read_only != want->read_only)
                return values_differ("mode of use", buf, size, "%s, asked for %s",
                                     have->read_only ? "read-only" : "writable",
                                     want->read_only ? "read-only" : "writable");
        if (have->inodes != want->inodes)
                return values_differ("number of inodes", buf, size, "%" PRIu64 ", asked for %" PRIu64, have->inodes,
                                     want->inodes);
        if (have->noswap != want->noswap)
                return values_differ("use of swap", buf, size, "%s, asked for %s", have->noswap ? "none" : "allowed",
                                     want->noswap ? "none" : "allowed");
        return NULL;
}

const char *volume_spec_difference(const VolumeSpec *have, const VolumeSpec *want, char *buf, size_t size) {
        char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];
        const char *field;

        if (have->kind != want->kind)
                return values_differ("kind", buf, size, "%s, asked for %s", volume_kind_to_string(have->kind),
                                     volume_kind_to_string(want->kind));
        if (!streq_ptr(have->source, want->source) && have->source)
                return values_differ("source", buf, size, "%s, asked for %s", have->source, want->source);
        if (have->size != want->size)
                return values_differ("size", buf, size, "%s, asked for %s", size_format_exact(have->size, a),
                                     size_format_exact(want->size, b));
        if (have->fs != want->fs)
                return values_differ("filesystem", buf, size, "%s, asked for %s", filesystem_to_string(have->fs),
                                     filesystem_to_string(want->fs));
        if (have->key_source != want->key_source)
                return values_differ("key source", buf, size, "%s, asked for %s",
                                     key_source_to_string(have->key_source), key_source_to_string(want->key_source));
        if (have->uid != want->uid)
                return values_differ("uid", buf, size, "%u, asked for %u", have->uid, want->uid);
        if (have->gid != want->gid)
                return values_differ("gid", buf, size, "%u, asked for %u", have->gid, want->gid);
        if (have->mode != want->mode)
                return values_differ("mode", buf, size, "%04o, asked for %04o", have->mode, want->mode);
        if (!strv_equal(have->mkfs_options, want->mkfs_options))
                return lists_differ("mkfs options", have->mkfs_options, want->mkfs_options, buf, size);
        if (!strv_equal(have->labels, want->labels))
                return lists_differ("labels", have->labels, want->labels, buf, size);
        field = kind_difference(have, want, buf, size);
        if (field)
                return field;
        if (have->protected != want->protected)
                return values_differ("protection", buf, size, "%s, asked for %s", have->protected ? "on" : "off",
                                     want->protected ? "on" : "off");
        return NULL;
}
