#include <quarry/docker.h>

#include <quarry/schedule.h>
#include <quarry/text.h>

#define BLANKS " \t"
#define ID_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
#define OPTIONS_MAX 128u /* labels and all */

bool mount_id_is_valid(const char *id) {
        size_t n = strlen(id);

        return n > 0 && n <= MOUNT_ID_MAX && strspn(id, ID_CHARACTERS) == n && !strchr("_.-", *id);
}

/* --- requests -------------------------------------------------------------------------------------------- */

void docker_request_done(DockerRequest *request) {
        sd_json_variant_unref(request->json);
        *request = (DockerRequest) {};
}

static int options_dispatch(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        sd_json_variant **options = userdata;

        *options = sd_json_variant_is_null(v) ? NULL : v;
        return sd_json_variant_is_null(v) || sd_json_variant_is_object(v) ? 0 : -EINVAL;
}

int docker_request_parse(const char *body, DockerRequest *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "Name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(DockerRequest, name),
                  SD_JSON_NULLABLE },
                { "ID", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(DockerRequest, id),
                  SD_JSON_NULLABLE },
                { "Opts", _SD_JSON_VARIANT_TYPE_INVALID, options_dispatch, offsetof(DockerRequest, options),
                  SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(docker_request_done) DockerRequest request = {};
        const char *bad = NULL;

        if (body[strspn(body, " \t\r\n")] == 0) {
                int r = error_set(err, ERROR_BAD_REQUEST, 0,
                                  "the request is empty: so Docker repeats one that quarryd had when it ended");

                error_hint(err, "the same command again");
                return r;
        }
        if (sd_json_parse(body, 0, &request.json, NULL, NULL) < 0 || !sd_json_variant_is_object(request.json))
                return error_set(err, ERROR_BAD_REQUEST, 0, "the request is no JSON object");
        if (sd_json_dispatch_full(request.json, table, NULL, SD_JSON_ALLOW_EXTENSIONS, &request, &bad) < 0)
                return error_field(err, bad, "\"%s\" of the request is not what it must be, or given twice",
                                   bad ?: "?");
        *ret = request;
        request = (DockerRequest) {};
        return 0;
}

int docker_request_check_name(const DockerRequest *request, Error *err) {
        return request->name ? volume_name_check(request->name, "Name", err)
                             : error_field(err, "Name", "the request names no volume");
}

int docker_request_check_id(const DockerRequest *request, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (!request->id)
                return error_field(err, "ID", "the request has no ID of the mount");
        if (!mount_id_is_valid(request->id))
                return error_field(err, "ID",
                                   "\"%s\" is no ID of a mount: 1 to %u of A-Z a-z 0-9 _ . -, beginning with a letter "
                                   "or digit",
                                   text_echo(request->id, echo), MOUNT_ID_MAX);
        return 0;
}

/* --- options --------------------------------------------------------------------------------------------- */

void docker_options_done(DockerOptions *options) {
        volume_spec_done(&options->spec);
        *options = (DockerOptions) {};
}

static int bad_value(const char *option, const char *value, const char *rule, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, option, "option %s=%s is not valid: %s", option, text_echo(value, echo), rule);
}

/* As `-o encrypt` gives it, the value of a switch is empty. */
static int bool_parse(const char *option, const char *value, bool *ret, Error *err) {
        static const char *const yes[] = { "", "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                if (streq(value, yes[i])) {
                        *ret = true;
                        return 0;
                }
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                if (streq(value, no[i])) {
                        *ret = false;
                        return 0;
                }
        return bad_value(option, value, "true or false", err);
}

static int set_size(DockerOptions *o, const char *option, const char *value, Error *err) {
        o->has_size = true;
        return size_parse(value, &o->spec.size) < 0
                       ? bad_value(option, value, "a number with K, M, G, T or P behind it, such as 10G", err)
                       : 0;
}

static int set_fs(DockerOptions *o, const char *option, const char *value, Error *err) {
        int fs = filesystem_from_string(value);

        /* A container is given a directory. */
        if (fs < 0 || fs == FILESYSTEM_NONE)
                return bad_value(option, value, "ext4 or xfs", err);
        o->has_fs = true;
        o->spec.fs = (Filesystem) fs;
        return 0;
}

static int set_encrypt(DockerOptions *o, const char *option, const char *value, Error *err) {
        bool encrypt;
        int r;

        r = bool_parse(option, value, &encrypt, err);
        if (r < 0)
                return r;
        o->is_plain = !encrypt;
        if (encrypt)
                o->spec.key_source = KEY_SOURCE_HOST;
        return 0;
}

static int set_key(DockerOptions *o, const char *option, const char *value, Error *err) {
        int r;

        if (streq(value, "host"))
                o->spec.key_source = KEY_SOURCE_HOST;
        else {
                r = bad_value(option, value, "host, since a container engine has nobody to ask for a passphrase", err);
                error_hint(err, "make the volume with quarry create --key passphrase; it can be used while it is open");
                return r;
        }
        return 0;
}

static int id_parse(const char *option, const char *value, uint32_t *ret, Error *err) {
        uint64_t number;

        if (number_parse(value, &number) < 0 || number >= UINT32_MAX)
                return bad_value(option, value, "a number: names are not looked up, as the image has its own", err);
        *ret = (uint32_t) number;
        return 0;
}

static int set_uid(DockerOptions *o, const char *option, const char *value, Error *err) {
        o->has_uid = true;
        return id_parse(option, value, &o->spec.uid, err);
}

static int set_gid(DockerOptions *o, const char *option, const char *value, Error *err) {
        o->has_gid = true;
        return id_parse(option, value, &o->spec.gid, err);
}

static int set_mode(DockerOptions *o, const char *option, const char *value, Error *err) {
        uint32_t mode = 0;

        o->has_mode = true;
        if (mode_parse(value, &mode) < 0)
                return bad_value(option, value, "octal, at most 07777", err);
        o->spec.mode = mode;
        return 0;
}

/* "-m 1 -O ^has_journal": each begins with a minus. */
static int set_mkfs(DockerOptions *o, const char *option, const char *value, Error *err) {
        _cleanup_free_ char *copy = strdup(value), *one = NULL;

        if (!copy)
                return error_oom(err);
        for (char *rest = copy, *word; (word = strsep(&rest, BLANKS)) || one;) {
                char *joined;

                if (word && !*word)
                        continue;
                if (one && (!word || *word == '-')) {
                        if (strv_append(&o->spec.mkfs_options, one) < 0)
                                return error_oom(err);
                        free(TAKE_PTR(one));
                }
                if (!word)
                        break;
                joined = format_new("%s%s%s", one ?: "", one ? " " : "", word);
                if (!joined)
                        return error_oom(err);
                free(one);
                one = joined;
        }
        return 0;
}

static int set_pool(DockerOptions *o, const char *option, const char *value, Error *err) {
        int r = pool_name_check(value, option, err);

        if (r >= 0)
                buffer_format(o->spec.pool, sizeof(o->spec.pool), "%s", value);
        return r;
}

static int set_kind(DockerOptions *o, const char *option, const char *value, Error *err) {
        int kind = volume_kind_from_string(value);

        if (kind < 0)
                return bad_value(option, value, "block, bind or tmpfs", err);
        o->spec.kind = (VolumeKind) kind;
        return 0;
}

static int set_source(DockerOptions *o, const char *option, const char *value, Error *err) {
        free(o->spec.source);
        o->spec.source = strdup(value);
        return o->spec.source ? 0 : error_oom(err);
}

static int set_read_only(DockerOptions *o, const char *option, const char *value, Error *err) {
        return bool_parse(option, value, &o->spec.read_only, err);
}

static int set_inodes(DockerOptions *o, const char *option, const char *value, Error *err) {
        return number_parse(value, &o->spec.inodes) < 0 || o->spec.inodes == 0
                       ? bad_value(option, value, "a number of files", err)
                       : 0;
}

static int set_noswap(DockerOptions *o, const char *option, const char *value, Error *err) {
        return bool_parse(option, value, &o->spec.noswap, err);
}

static int set_protect(DockerOptions *o, const char *option, const char *value, Error *err) {
        return bool_parse(option, value, &o->spec.protected, err);
}

static int set_schedule(DockerOptions *o, const char *option, const char *value, Error *err) {
        Schedule schedule;

        o->schedule = value;
        return schedule_parse(value, option, &schedule, err);
}

static int set_from(DockerOptions *o, const char *option, const char *value, Error *err) {
        if (!full_name_is_valid(value))
                return bad_value(option, value, "NAME@SNAPSHOT", err);
        o->from = value;
        return 0;
}

/* THE list. label.KEY is beside it, for any KEY. */
static const struct {
        const char *name;
        int (*set)(DockerOptions *o, const char *option, const char *value, Error *err);
} rows[] = {
        { "size", set_size },       { "fs", set_fs },
        { "encrypt", set_encrypt }, { "key", set_key },
        { "uid", set_uid },         { "gid", set_gid },
        { "mode", set_mode },       { "mkfs", set_mkfs },
        { "pool", set_pool },       { "kind", set_kind },
        { "source", set_source },   { "read-only", set_read_only },
        { "inodes", set_inodes },   { "noswap", set_noswap },
        { "protect", set_protect }, { "snapshot-schedule", set_schedule },
        { "from", set_from },
};

static int unknown_option(const char *option, Error *err) {
        char known[256] = "", echo[TEXT_ECHO_MAX];

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                size_t n = strlen(known);

                buffer_format(known + n, sizeof(known) - n, "%s, ", rows[i].name);
        }
        return error_field(err, "Opts", "there is no option \"%s\"; known are %slabel.KEY", text_echo(option, echo),
                           known);
}

static int set_label(DockerOptions *o, const char *key, const char *value, Error *err) {
        _cleanup_free_ char *label = format_new("%s=%s", key, value);

        return label ? volume_spec_add_label(&o->spec, label, err) : error_oom(err);
}

/* Of two values either could be meant. */
static bool is_said_before(sd_json_variant *object, size_t i, const char *option) {
        for (size_t k = 0; k < i; k += 2)
                if (streq(sd_json_variant_string(sd_json_variant_by_index(object, k)), option))
                        return true;
        return false;
}

static int set_option(DockerOptions *o, const char *option, const char *value, Error *err) {
        const char *key = startswith(option, "label.");

        if (key)
                return set_label(o, key, value, err);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (streq(option, rows[i].name))
                        return rows[i].set(o, option, value, err);
        return unknown_option(option, err);
}

/* A clone is what its snapshot is. */
static int check_clone(const DockerOptions *o, Error *err) {
        const VolumeSpec *s = &o->spec;

        if (!o->from || (!o->has_size && !o->has_fs && !o->has_uid && !o->has_gid && !o->has_mode && !s->mkfs_options &&
                         s->key_source == KEY_SOURCE_NONE && s->kind == KIND_BLOCK && !s->source && !s->read_only &&
                         s->inodes == 0 && !s->noswap && !s->protected))
                return 0;
        return error_field(err, "from",
                           "a volume made from a snapshot is as that is: only label.KEY, pool and snapshot-schedule go "
                           "with option from");
}

int docker_options_parse(sd_json_variant *object, DockerOptions *ret, Error *err) {
        _cleanup_(docker_options_done) DockerOptions o = DOCKER_OPTIONS_DEFAULT;
        size_t n = sd_json_variant_elements(object);
        char echo[TEXT_ECHO_MAX];
        int r = 0;

        if (n / 2 > OPTIONS_MAX)
                return error_field(err, "Opts", "%zu options are too many: at most %u", n / 2, OPTIONS_MAX);
        for (size_t i = 0; i + 1 < n && r >= 0; i += 2) {
                const char *option = sd_json_variant_string(sd_json_variant_by_index(object, i));
                sd_json_variant *value = sd_json_variant_by_index(object, i + 1);

                r = !sd_json_variant_is_string(value) ? error_field(err, "Opts", "the value of an option is no string")
                    : is_said_before(object, i, option)
                            ? error_field(err, "Opts", "an option is given twice, \"%s\"", text_echo(option, echo))
                            : set_option(&o, option, sd_json_variant_string(value), err);
        }
        if (r >= 0 && o.is_plain && o.spec.key_source != KEY_SOURCE_NONE)
                r = error_field(err, "encrypt", "options encrypt=false and key contradict each other");
        if (r >= 0)
                r = check_clone(&o, err);
        if (r < 0)
                return r;
        *ret = o;
        o = (DockerOptions) {};
        return 0;
}
