/* quarry clone, rollback */

#include "client.h"
#include "must.h"
#include "report.h"
#include "terminal.h"
#include "unlock.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/text.h>

static const char *arg_key_file;
static bool arg_discard, arg_dry_run, arg_yes;
static char **arg_labels;

const Option clone_options[] = {
        { 0, "label", "KEY=VALUE", "Label it; may be repeated", option_label, &arg_labels },
        { 0, "key-file", "FILE", "FILE holds the passphrase; - is stdin", option_string, &arg_key_file },
        {},
};

const Option rollback_options[] = {
        { 0, "discard-current", NULL, "Keep nothing of what the volume is now", option_flag, &arg_discard },
        { 0, "dry-run", NULL, "Say what would be done, and do nothing", option_flag, &arg_dry_run },
        { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes },
        {},
};

static int clone(const char *snapshot, const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("cloning %s", snapshot));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", snapshot),
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_labels, "labels", SD_JSON_BUILD_STRV(arg_labels))));
        Call call = { .method = API_VOLUME ".Clone", .parameters = parameters, .what = what };
        return unlock_call(&call, snapshot, arg_key_file, ret, NULL, err);
}

int verb_clone(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *document = NULL;
        Error err = {};

        if (clone(arguments[0], arguments[1], &reply, &err) < 0)
                return report_error("cannot clone", arguments[0], &err);
        if (!arg_json) {
                puts(arguments[1]);
                return EXIT_DONE;
        }
        must(sd_json_buildo(
                        &document,
                        SD_JSON_BUILD_PAIR_VARIANT("volume", sd_json_variant_by_key(reply, "volume"))));
        return report_document(document);
}

/* --- rollback --------------------------------------------------------------------------------------------- */

static sd_json_variant *rollback_parameters(const char *name) {
        sd_json_variant *parameters = NULL;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_discard, "discardCurrent", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_dry_run, "dryRun", SD_JSON_BUILD_BOOLEAN(true))));
        return parameters;
}

static int dry_run(const char *name) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *snapshot = NULL, *document = NULL,
                                                          *parameters = rollback_parameters(name);
        Call call = { .method = API_VOLUME ".Rollback", .parameters = parameters };
        Error err = {};
        int r;

        r = client_call(&call, NULL, NULL, &err);
        if (r >= 0)
                r = volume_inspect(name, &snapshot, &err);
        if (r < 0)
                return report_error("cannot roll back to", name, &err);
        if (!arg_json) {
                printf("would roll back to %s, and %s what the volume is now\n", name,
                       arg_discard ? "discard" : "keep as a snapshot");
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("wouldRollBack", snapshot)));
        return report_document(document);
}

static bool rollback_is_wanted(const char *name) {
        _cleanup_free_ char *question = must_have(
                format_new("Let the volume be what %s is, and %s?", name,
                           arg_discard ? "lose what it is now" : "keep what it is now as a snapshot"));

        return terminal_confirm(question);
}

int verb_rollback(char **arguments) {
        _cleanup_free_ char *what = must_have(format_new("rolling back to %s", arguments[0]));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        Error err = {};

        if (arg_dry_run)
                return dry_run(arguments[0]);
        if (!arg_yes && terminal_can_ask() && !rollback_is_wanted(arguments[0])) {
                error_set(&err, ERROR_FAILED, ECANCELED, "nothing was changed");
                return report_error(NULL, NULL, &err);
        }
        parameters = rollback_parameters(arguments[0]);
        Call call = { .method = API_VOLUME ".Rollback", .parameters = parameters, .what = what };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot roll back to", arguments[0], &err);
        if (arg_json)
                return report_document(reply);

        sd_json_variant *kept = sd_json_variant_by_key(reply, "snapshot");
        if (kept && !sd_json_variant_is_null(kept)) {
                _cleanup_free_ char *reference = volume_reference(kept);
                puts(reference);
        }
        return EXIT_DONE;
}
