/* quarry check */

#include "client.h"
#include "must.h"
#include "report.h"
#include "verbs.h"

#include <quarry/text.h>

static void check(Report *report, const char *name) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("checking %s", name));
        Error err = {};

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", name)));
        Call call = { .method = API_VOLUME ".Check", .parameters = parameters, .what = what };
        if (client_call(&call, NULL, NULL, &err) < 0)
                report_failure(report, name, &err);
        else
                report_success(report, name);
}

int verb_check(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot vouch for" };

        for (char **name = arguments; *name; name++)
                check(&report, *name);
        return report_finish(&report, "sound");
}
