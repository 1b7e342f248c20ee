/* quarry update */

#include "must.h"
#include "option.h"
#include "report.h"
#include "unlock.h"
#include "verbs.h"

#include <quarry/text.h>

static char **arg_labels, **arg_remove_labels;
static const char *arg_key_file, *arg_schedule;
static OptionNumber arg_uid, arg_gid, arg_mode;

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
        { 0, "snapshot-schedule", "RULES", "When snapshots are made of it: RULE, RULE..., none or default",
          option_string, &arg_schedule },
        KEY_FILE_OPTION,
        {},
};

/* Prints name, or with --json the volume as it is now. */
static int report_change(const char *name, sd_json_variant *reply) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

        if (!arg_json) {
                puts(name);
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

        if (!arg_labels && !arg_remove_labels && !arg_uid.set && !arg_gid.set && !arg_mode.set && !arg_schedule) {
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
                                        !!arg_schedule, "snapshotSchedule", SD_JSON_BUILD_STRING(arg_schedule))));
        Call call = { .method = API_VOLUME ".Update", .parameters = parameters, .what = what };
        if (unlock_call(&call, arguments[0], "update", arg_key_file, &reply, NULL, &err) < 0)
                return report_error("cannot update", arguments[0], &err);
        return report_change(arguments[0], reply);
}
