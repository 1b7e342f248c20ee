/* quarry create */

#include "client.h"
#include "must.h"
#include "report.h"
#include "secret.h"
#include "verbs.h"

#include <quarry/text.h>
#include <quarry/volume.h>

static const char *arg_pool, *arg_tenant, *arg_filesystem, *arg_key, *arg_key_file, *arg_kind, *arg_source;
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

        if (arg_size == 0 && !streq_ptr(arg_kind, "bind"))
                return error_field(err, "--size", "--size is missing: how much shall it hold? For example --size 10G");
        if (arg_filesystem && filesystem_from_string(arg_filesystem) < 0)
                return error_field(err, "--fs", "--fs: \"%s\" is none of ext4, xfs and none",
                                   text_echo(arg_filesystem, echo));
        return key_source_choose(ret_source, err);
}

static int call_create(const char *reference, KeySource source, int key_fd, sd_json_variant **ret, Error *err) {
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
                                        source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(source))),
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
                        SD_JSON_BUILD_PAIR_CONDITION(arg_if_absent, "ifAbsent", SD_JSON_BUILD_BOOLEAN(true))));

        Call call = { .method = API_VOLUME ".Create", .parameters = parameters, .what = what, .key_fd = &key_fd };
        return client_call(&call, ret, NULL, err);
}

static int create(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *reference = NULL;
        _cleanup_close_ int key_fd = -EBADF;
        KeySource source = KEY_SOURCE_NONE;
        int r;

        r = options_check(&source, err);
        if (r >= 0)
                r = reference_make(name, &reference, err);
        if (r >= 0 && source == KEY_SOURCE_PASSPHRASE) {
                _cleanup_free_ char *prompt = must_have(format_new("New passphrase for %s: ", reference));

                r = key_fd = arg_key_file ? secret_from_file(arg_key_file, err)
                                          : secret_from_terminal(prompt, true, err);
        }
        return r < 0 ? r : call_create(reference, source, key_fd, ret, err);
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
