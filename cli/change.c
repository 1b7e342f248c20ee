/* quarry update, rename, resize */

#include "client.h"
#include "must.h"
#include "option.h"
#include "report.h"
#include "terminal.h"
#include "unlock.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>
#include <quarry/volume.h>

static char **arg_labels, **arg_remove_labels;
static const char *arg_key_file, *arg_schedule;
static bool arg_yes, arg_dry_run;
static OptionNumber arg_uid, arg_gid, arg_mode, arg_protect;

/* "key=value" sets, "key-" removes. */
static int option_label_change(const Option *option, const char *value, Error *err) {
        size_t n = strlen(value);

        if (strchr(value, '=') || n < 2 || value[n - 1] != '-')
                return option_label(option, value, err);
        _cleanup_free_ char *key = must_have(strndup(value, n - 1));
        return must(strv_append(&arg_remove_labels, key));
}

#define KEY_FILE_OPTION { 0, "key-file", "FILE", "FILE holds the passphrase; - is stdin", option_string, &arg_key_file }

const Option update_options[] = {
        { 0, "label", "KEY=VALUE", "Set a label; KEY- removes it; may be repeated", option_label_change, &arg_labels },
        { 0, "uid", "USER", "New owner of its root directory, name or number", option_user, &arg_uid },
        { 0, "gid", "GROUP", "New group of its root directory, name or number", option_group, &arg_gid },
        { 0, "mode", "MODE", "New permissions of its root directory", option_mode, &arg_mode },
        { 0, "protect", NULL, "Keep it from being removed", option_switch, &arg_protect },
        { 0, "no-protect", NULL, "Let it be removed again", option_switch, &arg_protect },
        { 0, "snapshot-schedule", "RULES", "RULE, RULE...; none; or default: the pool's", option_string,
          &arg_schedule },
        KEY_FILE_OPTION,
        {},
};

const Option resize_options[] = {
        KEY_FILE_OPTION,
        { 0, "dry-run", NULL, "Only say what would be done", option_flag, &arg_dry_run },
        { 'y', "yes", NULL, "Do not ask before a volume shrinks", option_flag, &arg_yes },
        {},
};

/* Prints text, or with --json the volume as it is now. */
static int report_change(const char *text, sd_json_variant *reply) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

        if (!arg_json) {
                puts(text);
                return EXIT_DONE;
        }
        must(sd_json_buildo(
                        &document, SD_JSON_BUILD_PAIR_VARIANT("volume", sd_json_variant_by_key(reply, "volume"))));
        return report_document(document);
}

int verb_update(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("changing %s", arguments[0]));
        Error err = {};

        if (!arg_labels && !arg_remove_labels && !arg_uid.set && !arg_gid.set && !arg_mode.set && !arg_protect.set &&
            !arg_schedule) {
                error_field(&err, FIELD_ARGUMENTS, "update: say what is to be changed");
                error_hint(&err, "quarry help update");
                return report_error(NULL, NULL, &err);
        }
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_labels, "labels", SD_JSON_BUILD_STRV(arg_labels)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!arg_remove_labels, "removeLabels", SD_JSON_BUILD_STRV(arg_remove_labels)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_uid.set, "uid", SD_JSON_BUILD_UNSIGNED(arg_uid.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_gid.set, "gid", SD_JSON_BUILD_UNSIGNED(arg_gid.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_mode.set, "mode", SD_JSON_BUILD_UNSIGNED(arg_mode.value)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        arg_protect.set, "protected", SD_JSON_BUILD_BOOLEAN(arg_protect.value != 0)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!arg_schedule, "snapshotSchedule", SD_JSON_BUILD_STRING(arg_schedule))));
        Call call = { .method = API_VOLUME ".Update", .parameters = parameters, .what = what };
        if (unlock_call(&call, arguments[0], arg_key_file, &reply, NULL, &err) < 0)
                return report_error("cannot update", arguments[0], &err);
        return report_change(arguments[0], reply);
}

int verb_rename(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("renaming %s", arguments[0]));
        Error err = {};

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                        SD_JSON_BUILD_PAIR_STRING("name", arguments[1])));
        Call call = { .method = API_VOLUME ".Rename", .parameters = parameters, .what = what };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot rename", arguments[0], &err);

        _cleanup_free_ char *name = volume_reference(sd_json_variant_by_key(reply, "volume"));
        return report_change(name, reply);
}

/* --- size ------------------------------------------------------------------------------------------------- */

static uint64_t size_of(sd_json_variant *volume) {
        return json_unsigned(volume, "sizeBytes");
}

/* SIZE, +SIZE or -SIZE: the last two are for the daemon to add, since the size may change meanwhile. */
static int size_change_parse(const char *text, const char **ret_field, uint64_t *ret, Error *err) {
        char echo[TEXT_ECHO_MAX];

        *ret_field = *text == '+' ? "addBytes" : *text == '-' ? "subtractBytes" : "sizeBytes";
        if (size_parse(text + (*text == '+' || *text == '-'), ret) >= 0 && *ret > 0)
                return 0;
        return error_field(err, FIELD_ARGUMENTS,
                           "\"%s\" is not a size: write 10G, or +10G for as much more, or -10G for as much less",
                           text_echo(text, echo));
}

/* What comes of it, as it looks now. */
static uint64_t size_after(uint64_t now, const char *field, uint64_t bytes) {
        uint64_t size = streq(field, "addBytes") ? now + bytes : streq(field, "sizeBytes") ? bytes : now - bytes;

        if (streq(field, "subtractBytes") && bytes >= now)
                return 0;
        return (size + MIB - 1) / MIB * MIB;
}

static int resize_tell(const char *name, uint64_t now, uint64_t size, const char *field, uint64_t bytes, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL, *parameters = NULL;
        char from[SIZE_TEXT_MAX], to[SIZE_TEXT_MAX];
        int r;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_UNSIGNED(field, bytes),
                        SD_JSON_BUILD_PAIR_BOOLEAN("dryRun", true)));
        Call call = { .method = API_VOLUME ".Resize", .parameters = parameters };
        r = client_call(&call, NULL, NULL, err);
        if (r < 0)
                return r;
        if (!arg_json) {
                printf("would resize %s from %s to %s%s\n", name, size_format_exact(now, from),
                       size_format_exact(size, to), size < now ? ", if what it holds leaves room for that" : "");
                return 0;
        }
        must(sd_json_buildo(
                        &document,
                        SD_JSON_BUILD_PAIR_STRING("wouldResize", name),
                        SD_JSON_BUILD_PAIR_UNSIGNED("fromBytes", now),
                        SD_JSON_BUILD_PAIR_UNSIGNED("toBytes", size)));
        (void) report_document(document);
        return 0;
}

/* Returns 1 to go on; 0: it was only to be said. */
static int resize_announce(const char *name, const char *field, uint64_t bytes, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
        char from[SIZE_TEXT_MAX], to[SIZE_TEXT_MAX];
        int r;

        if (!arg_dry_run && (arg_yes || !terminal_can_ask()))
                return 1;
        r = volume_inspect(name, &volume, err);
        if (r < 0)
                return r;
        uint64_t now = size_of(volume), size = size_after(now, field, bytes);

        if (arg_dry_run)
                return resize_tell(name, now, size, field, bytes, err);
        if (size >= now)
                return 1;
        _cleanup_free_ char *question = must_have(format_new(
                "Shrink %s from %s to %s?", name, size_format_exact(now, from), size_format_exact(size, to)));
        return terminal_confirm(question) ? 1 : error_set(err, ERROR_FAILED, ECANCELED, "nothing was changed");
}

int verb_resize(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("resizing %s", arguments[0]));
        char text[SIZE_TEXT_MAX];
        const char *field;
        uint64_t bytes;
        Error err = {};
        int r;

        r = size_change_parse(arguments[1], &field, &bytes, &err);
        if (r >= 0)
                r = resize_announce(arguments[0], field, bytes, &err);
        if (r <= 0)
                return r < 0 ? report_error("cannot resize", arguments[0], &err) : EXIT_DONE;
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                        SD_JSON_BUILD_PAIR_UNSIGNED(field, bytes)));
        Call call = { .method = API_VOLUME ".Resize", .parameters = parameters, .what = what };
        if (unlock_call(&call, arguments[0], arg_key_file, &reply, NULL, &err) < 0)
                return report_error("cannot resize", arguments[0], &err);

        return report_change(size_format_exact(size_of(sd_json_variant_by_key(reply, "volume")), text), reply);
}
