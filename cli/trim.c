/* quarry trim */

#include "client.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>

static bool arg_all;

const Option trim_options[] = {
        { 'a', "all", NULL, "All volumes that can be trimmed without a passphrase", option_flag, &arg_all },
        {},
};

static int trim(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("trimming %s", name));

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", name)));
        Call call = { .method = API_VOLUME ".Trim", .parameters = parameters, .what = what };
        return client_call(&call, ret, NULL, err);
}

static void trim_one(Report *report, const char *name) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *row = NULL;
        Error err = {};

        if (trim(name, &reply, &err) < 0) {
                report_failure(report, name, &err);
                return;
        }
        sd_json_variant *freed = sd_json_variant_by_key(reply, "freedBytes");
        must(sd_json_buildo(&row, SD_JSON_BUILD_PAIR_STRING("volume", name),
                            SD_JSON_BUILD_PAIR_VARIANT("freedBytes", freed)));
        report_add(report, row);
        if (!arg_json) {
                _cleanup_free_ char *size = table_size(freed);
                printf("%s %s\n", name, size);
        }
}

/* One without filesystem has nothing to trim; a closed one with a passphrase would need it. */
static const char *const members[] = { "name", "tenant", "filesystem", "state", "open", "encryption", NULL };

static bool can_be_trimmed(sd_json_variant *volume) {
        bool open = sd_json_variant_boolean(sd_json_variant_by_key(volume, "open"));
        sd_json_variant *encryption = sd_json_variant_by_key(volume, "encryption");

        return !streq(json_string(volume, "filesystem"), "none") && streq(json_string(volume, "state"), "ready") &&
               (open || !encryption || !streq(json_string(encryption, "keySource"), "passphrase"));
}

static int trim_all(Report *report, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *parameters = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR("fields", SD_JSON_BUILD_STRV((char **) members))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        int r = client_call(&call, &all, NULL, err);
        for (size_t i = 0; r >= 0 && i < sd_json_variant_elements(all); i++) {
                sd_json_variant *volume = sd_json_variant_by_index(all, i);
                _cleanup_free_ char *name = volume_reference(volume);

                if (can_be_trimmed(volume))
                        trim_one(report, name);
        }
        return r;
}

int verb_trim(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot trim" };
        Error err = {};

        if (arg_all == (arguments[0] != NULL)) {
                error_field(&err, FIELD_ARGUMENTS, "trim: name volumes, or give --all");
                return report_error(NULL, NULL, &err);
        }
        if (arg_all && trim_all(&report, &err) < 0)
                return report_error("cannot list volumes", NULL, &err);
        for (char **name = arguments; *name; name++)
                trim_one(&report, *name);
        return report_finish(&report, "trimmed");
}
