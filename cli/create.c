/* quarry create */

#include "client.h"
#include "create-from.h"
#include "input.h"
#include "must.h"
#include "report.h"
#include "secret.h"
#include "verbs.h"

#include <quarry/text.h>
#include <quarry/volume.h>

static const char *arg_pool, *arg_tenant, *arg_filesystem, *arg_key, *arg_key_file, *arg_kind, *arg_source, *arg_from;
static uint64_t arg_size, arg_inodes;
static bool arg_encrypt, arg_if_absent, arg_read_only, arg_noswap;
static char **arg_labels, **arg_mkfs_options;
static OptionNumber arg_uid, arg_gid, arg_mode, arg_protect;

static int option_kind(const Option *option, const char *value, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (volume_kind_from_string(value) < 0)
                return error_field(err, "--kind", "--kind: \"%s\" is none of block, bind and tmpfs",
                                   text_echo(value, echo));
        return option_string(option, value, err);
}

static int option_inodes(const Option *option, const char *value, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (number_parse(value, option->target) < 0 || *(uint64_t *) option->target == 0)
                return error_field(err, "--inodes", "--inodes: \"%s\" is no number of files", text_echo(value, echo));
        return 0;
}

const Option create_options[] = {
        { 0, "size", "SIZE", "What it can hold: 512M, 10G, 1TiB", option_size, &arg_size },
        { 0, "from", "FILE", "Filled from an image or tar archive; - is stdin", option_string, &arg_from },
        { 0, "kind", "block|bind|tmpfs", "Where its files are (block)", option_kind, &arg_kind },
        { 0, "source", "DIR", "Of a bind volume: the directory that it is", option_string, &arg_source },
        { 0, "read-only", NULL, "Of a bind volume: nothing can be written", option_flag, &arg_read_only },
        { 0, "inodes", "N", "Of a tmpfs volume: how many files it may have", option_inodes, &arg_inodes },
        { 0, "noswap", NULL, "Of a tmpfs volume: it stays out of swap", option_flag, &arg_noswap },
        { 0, "pool", "POOL", "Pool to take it from", option_string, &arg_pool },
        { 0, "tenant", "TENANT", "Tenant that it belongs to", option_string, &arg_tenant },
        { 0, "fs", "ext4|xfs|none", "Filesystem (ext4); none: a block device", option_string, &arg_filesystem },
        { 0, "encrypt", NULL, "Encrypt it; it opens by itself on this host", option_flag, &arg_encrypt },
        { 0, "key", "host|passphrase", "Encrypt it with a key of this kind (host)", option_string, &arg_key },
        { 0, "key-file", "FILE", "Encrypt it; FILE holds the passphrase; - is stdin", option_string, &arg_key_file },
        { 0, "label", "KEY=VALUE", "Label it; may be repeated", option_label, &arg_labels },
        { 0, "uid", "USER", "Owner of its root directory, name or number", option_user, &arg_uid },
        { 0, "gid", "GROUP", "Group of its root directory, name or number", option_group, &arg_gid },
        { 0, "mode", "MODE", "Permissions of its root directory (0755)", option_mode, &arg_mode },
        { 0, "mkfs-option", "OPTION", "For mkfs, such as \"-m 1\"; may be repeated", option_list, &arg_mkfs_options },
        { 0, "protect", NULL, "Keep it from being removed", option_switch, &arg_protect },
        { 0, "no-protect", NULL, "Do not; the default", option_switch, &arg_protect },
        { 0, "if-absent", NULL, "Success if the same volume is there already", option_flag, &arg_if_absent },
        {},
};

/* [POOL:][TENANT/]NAME of the argument and the options that say the same. The rules for names are the daemon's. */
static int reference_make(const char *name, char **ret, Error *err) {
        if (arg_pool && strchr(name, ':'))
                return error_field(err, "--pool", "--pool: the pool is part of the name \"%s\" already", name);
        if (arg_tenant && strchr(name, '/'))
                return error_field(err, "--tenant", "--tenant: the tenant is part of the name \"%s\" already", name);

        const char *colon = arg_tenant ? strchr(name, ':') : NULL;
        int pool_length = colon ? (int) (colon - name) + 1 : 0;

        *ret = must_have(format_new("%s%s%.*s%s%s%s", arg_pool ?: "", arg_pool ? ":" : "", pool_length, name,
                                    arg_tenant ?: "", arg_tenant ? "/" : "", name + pool_length));
        return 0;
}

/* --key-file alone is a passphrase, --encrypt alone is the host's key. */
static int key_source_choose(KeySource *ret, Error *err) {
        int source = arg_key_file ? KEY_SOURCE_PASSPHRASE : arg_encrypt ? KEY_SOURCE_HOST : KEY_SOURCE_NONE;
        char echo[TEXT_ECHO_MAX];

        if (arg_key) {
                source = key_source_from_string(arg_key);
                if (source != KEY_SOURCE_HOST && source != KEY_SOURCE_PASSPHRASE)
                        return error_field(err, "--key", "--key: \"%s\" is neither host nor passphrase",
                                           text_echo(arg_key, echo));
        }
        if (source == KEY_SOURCE_HOST && arg_key_file)
                return error_field(err, "--key-file", "--key-file: the host's key needs no file");

        *ret = (KeySource) source;
        return 0;
}

static int options_check(KeySource *ret_source, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (arg_size == 0 && !streq_ptr(arg_kind, "bind") && !arg_from)
                return error_field(err, "--size", "--size is missing: how much shall it hold? For example --size 10G");
        if (arg_filesystem && filesystem_from_string(arg_filesystem) < 0)
                return error_field(err, "--fs", "--fs: \"%s\" is none of ext4, xfs and none",
                                   text_echo(arg_filesystem, echo));
        if (arg_from && arg_kind && !streq(arg_kind, "block"))
                return error_field(err, "--from", "--from: only what is on a device of the pool is made with contents");
        if (arg_from && arg_if_absent)
                return error_field(err, "--if-absent", "--if-absent: what is there need not hold what %s does",
                                   arg_from);
        if (arg_from && arg_key_file && streq(arg_from, "-") && streq(arg_key_file, "-"))
                return error_field(err, "--key-file", "--key-file: standard input cannot be the passphrase and --from");
        return key_source_choose(ret_source, err);
}

/* --- contents --------------------------------------------------------------------------------------------- */

static bool is_device(void) {
        return streq_ptr(arg_filesystem, "none");
}

/* Of an archive everything else is as always. */
static int archive_check(const Input *source, Error *err) {
        if (is_device())
                return error_field(err, "--fs", "--fs: the files of an archive need a filesystem");
        if (arg_size > 0)
                return 0;
        error_field(err, "--size", "--size is missing: how much shall it hold? For example --size 10G");
        if (source->size > 0 && !source->unpacker) {
                char size[SIZE_TEXT_MAX];

                error_hint(err, "the archive has %s", size_format(source->size, size));
        }
        return error_code(err);
}

/* It is what it is: what would make it something else is refused. */
static int image_check(const Input *source, KeySource key, Error *err) {
        const Image *image = &source->image;
        const char *fs = filesystem_to_string(image->fs);

        if (image->fs == FILESYSTEM_NONE && !is_device()) {
                error_set(err, ERROR_NOT_SUPPORTED, EBADMSG,
                          "%s is %s, and neither an image of ext4 or XFS nor an archive",
                          streq(arg_from, "-") ? "standard input" : arg_from, image->what ?: "compressed twice");
                if (image->hint)
                        error_hint(err, "%s", image->hint);
                else if (image->what && source->image.size == 0 && !streq(image->what, "empty"))
                        error_hint(err, "a block device that holds these very bytes is made with --fs none");
                return error_code(err);
        }
        if (key != KEY_SOURCE_NONE) {
                error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                          "an image is written as it is: only what is made of files can be encrypted");
                error_hint(err,
                           "quarry create PLAIN --from %s; quarry export PLAIN | quarry create NAME --size SIZE "
                           "--encrypt --from -",
                           arg_from);
                return error_code(err);
        }
        if (arg_filesystem && !is_device() && !streq(arg_filesystem, fs))
                return error_field(err, "--fs", "--fs: the image has %s", fs);
        if (arg_uid.set || arg_gid.set || arg_mode.set)
                return error_field(err,
                                   arg_uid.set   ? "--uid"
                                   : arg_gid.set ? "--gid"
                                                 : "--mode",
                                   "owner and permissions are those of the image");
        return arg_mkfs_options ? error_field(err, "--mkfs-option", "--mkfs-option: no filesystem is made") : 0;
}

static int call_create(const char *reference, KeySource key, int key_fd, Input *source, sd_json_variant **ret,
                       Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("creating %s", reference));

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", reference),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_kind, "kind", SD_JSON_BUILD_STRING(arg_kind)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_size > 0, "sizeBytes", SD_JSON_BUILD_UNSIGNED(arg_size)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_source, "source", SD_JSON_BUILD_STRING(arg_source)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_read_only, "readOnly", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_inodes > 0, "inodes", SD_JSON_BUILD_UNSIGNED(arg_inodes)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_noswap, "noswap", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!arg_filesystem, "filesystem", SD_JSON_BUILD_STRING(arg_filesystem)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        key != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(key))),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        key_fd >= 0, "keyFileDescriptor", SD_JSON_BUILD_INTEGER(KEY_INDEX)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_labels, "labels", SD_JSON_BUILD_STRV(arg_labels)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_uid.set, "uid", SD_JSON_BUILD_UNSIGNED(arg_uid.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_gid.set, "gid", SD_JSON_BUILD_UNSIGNED(arg_gid.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_mode.set, "mode", SD_JSON_BUILD_UNSIGNED(arg_mode.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!arg_mkfs_options, "mkfsOptions", SD_JSON_BUILD_STRV(arg_mkfs_options)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        arg_protect.value != 0, "protected", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!source, "fill", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_if_absent, "ifAbsent", SD_JSON_BUILD_BOOLEAN(true))));

        Call call = { .method = API_VOLUME ".Create", .parameters = parameters, .what = what, .key_fd = &key_fd };
        return source ? create_filled(&call, reference, source, ret, err) : client_call(&call, ret, NULL, err);
}

static int call_receive(const char *reference, Input *source, sd_json_variant **ret, Error *err) {
        ImageRequest request = { .reference = reference,
                                 .size = arg_size,
                                 .is_device = is_device(),
                                 .labels = arg_labels,
                                 .protected = arg_protect.value != 0 };

        return create_imaged(&request, source, ret, err);
}

static int contents_open(Input *source, KeySource key, Error *err) {
        int r;

        r = input_open(arg_from, source, err);
        if (r < 0)
                return r;
        return source->image.is_tar ? archive_check(source, err) : image_check(source, key, err);
}

static int create(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(input_done) Input source = INPUT_NONE;
        _cleanup_free_ char *reference = NULL;
        _cleanup_close_ int key_fd = -EBADF;
        KeySource key = KEY_SOURCE_NONE;
        int r;

        r = options_check(&key, err);
        if (r >= 0)
                r = reference_make(name, &reference, err);
        if (r >= 0 && arg_from)
                r = contents_open(&source, key, err);
        if (r >= 0 && key == KEY_SOURCE_PASSPHRASE) {
                _cleanup_free_ char *prompt = must_have(format_new("New passphrase for %s: ", reference));

                r = key_fd = arg_key_file ? secret_from_file(arg_key_file, err)
                                          : secret_from_terminal(prompt, true, err);
        }
        if (r < 0)
                return r;
        return arg_from && !source.image.is_tar
                       ? call_receive(reference, &source, ret, err)
                       : call_create(reference, key, key_fd, arg_from ? &source : NULL, ret, err);
}

int verb_create(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *document = NULL;
        Error err = {};

        if (create(arguments[0], &reply, &err) < 0)
                return report_error("cannot create", arguments[0], &err);

        if (!arg_json) {
                puts(arguments[0]);
                return EXIT_DONE;
        }
        must(sd_json_buildo(
                        &document,
                        SD_JSON_BUILD_PAIR_VARIANT("volume", sd_json_variant_by_key(reply, "volume")),
                        SD_JSON_BUILD_PAIR_BOOLEAN(
                                        "existed", sd_json_variant_boolean(sd_json_variant_by_key(reply, "existed")))));
        return report_document(document);
}
