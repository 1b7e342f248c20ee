/* quarry doctor */

#include "client.h"
#include "must.h"
#include "report.h"
#include "terminal.h"
#include "verbs.h"

#include <quarry/json.h>

static bool arg_fix;

const Option doctor_options[] = {
        { 0, "fix", NULL, "Repair what is safe to repair", option_flag, &arg_fix },
        {},
};

static bool is_true(sd_json_variant *finding, const char *name) {
        return sd_json_variant_boolean(sd_json_variant_by_key(finding, name));
}

static void print_finding(sd_json_variant *finding) {
        const char *bold = terminal_style(stdout, STYLE_BOLD), *end = terminal_style(stdout, STYLE_END);
        sd_json_variant *hint = sd_json_variant_by_key(finding, "hint");

        printf("%s%s%s: %s\n", bold, json_string(finding, "object"), end, json_string(finding, "message"));
        if (is_true(finding, "fixed"))
                puts("  fixed");
        else if (sd_json_variant_is_string(hint))
                printf("  what to do: %s\n", sd_json_variant_string(hint));
        else if (is_true(finding, "fixable"))
                puts("  what to do: quarry doctor --fix");
}

int verb_doctor(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        size_t left = 0;
        Error err = {};

        must(sd_json_buildo(
                        &parameters, SD_JSON_BUILD_PAIR_CONDITION(arg_fix, "fix", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_DOCTOR ".Examine", .parameters = parameters };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot examine the host", NULL, &err);

        sd_json_variant *findings = sd_json_variant_by_key(reply, "findings");
        size_t n = sd_json_variant_elements(findings);
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *finding = sd_json_variant_by_index(findings, i);

                if (!is_true(finding, "fixed"))
                        left++;
                if (!arg_json)
                        print_finding(finding);
        }
        if (arg_json)
                report_document(reply);
        else if (n == 0)
                printf("All is well: %llu pools, %llu volumes.\n", (unsigned long long) json_unsigned(reply, "pools"),
                       (unsigned long long) json_unsigned(reply, "volumes"));
        return left == 0 ? EXIT_DONE : EXIT_FAILED;
}
