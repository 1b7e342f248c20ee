/* quarry snapshot, hold, release */

#include "client.h"
#include "must.h"
#include "report.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/text.h>

static const char *arg_name;

const Option snapshot_options[] = {
        { 0, "name", "NAME", "Name of the snapshots; else made of the time", option_string, &arg_name },
        {},
};

/* All at one instant, or none. Prints each. */
int verb_snapshot(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_(report_done) Report report = { .action = "cannot make a snapshot" };
        _cleanup_free_ char *what = must_have(format_new("making a snapshot of %s", arguments[0]));
        const char *object = arguments[1] ? NULL : arguments[0];
        Error err = {};

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRV("volumes", arguments),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_name, "name", SD_JSON_BUILD_STRING(arg_name))));
        Call call = { .method = API_VOLUME ".Snapshot", .parameters = parameters, .what = what };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error(object ? "cannot make a snapshot of" : "cannot make the snapshots", object, &err);

        sd_json_variant *made = sd_json_variant_by_key(reply, "snapshots");
        for (size_t i = 0; i < sd_json_variant_elements(made); i++) {
                sd_json_variant *snapshot = sd_json_variant_by_index(made, i);
                _cleanup_free_ char *name = volume_reference(snapshot);

                report_add(&report, snapshot);
                if (!arg_json)
                        puts(name);
        }
        return report_finish(&report, "snapshots");
}

static int hold(char **names, const char *method, const char *action, const char *field) {
        _cleanup_(report_done) Report report = { .action = action };

        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
                Error err = {};

                must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", *name)));
                Call call = { .method = method, .parameters = parameters };
                if (client_call(&call, NULL, NULL, &err) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, field);
}

int verb_hold(char **arguments) {
        return hold(arguments, API_VOLUME ".Hold", "cannot hold", "held");
}

int verb_release(char **arguments) {
        return hold(arguments, API_VOLUME ".Release", "cannot release", "released");
}
