/* quarry diff */

#include "client.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"

#include <quarry/json.h>
#include <quarry/text.h>

static bool arg_ranges, arg_total;

const Option diff_options[] = {
        { 0, "ranges", NULL, "Print each range: OFFSET LENGTH, in bytes", option_flag, &arg_ranges },
        { 0, "total", NULL, "With --json: only how much differs", option_flag, &arg_total },
        {},
};

static unsigned long long member(sd_json_variant *reply, const char *name) {
        return json_unsigned(reply, name);
}

static void print_ranges(sd_json_variant *ranges) {
        for (size_t i = 0; i < sd_json_variant_elements(ranges); i++) {
                sd_json_variant *range = sd_json_variant_by_index(ranges, i);

                printf("%llu %llu\n", member(range, "offsetBytes"), member(range, "lengthBytes"));
        }
}

static void print_notes(FILE *stream, sd_json_variant *reply) {
        unsigned long long from = member(reply, "fromSizeBytes"), to = member(reply, "toSizeBytes");
        char was[SIZE_TEXT_MAX], is[SIZE_TEXT_MAX];

        if (from != to)
                fprintf(stream, "Their sizes differ: %s, then %s; what only one of them has is counted.\n",
                        size_format(from, was), size_format(to, is));
        if (sd_json_variant_boolean(sd_json_variant_by_key(reply, "live")))
                fprintf(stream,
                        "A volume was compared as it was in the pool at that moment; it may have changed since.\n");
}

static int print_json(char **arguments, sd_json_variant *reply) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = sd_json_variant_ref(reply);

        must(sd_json_variant_set_field_string(&document, "from", arguments[0]));
        must(sd_json_variant_set_field_string(&document, "to", arguments[1]));
        return report_document(document);
}

int verb_diff(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("comparing %s and %s", arguments[0], arguments[1]));
        bool total_only = arg_total || (!arg_ranges && !arg_json);
        Error err = {};

        if (arg_total && arg_ranges) {
                error_field(&err, "--total", "--total is without the ranges");
                return report_error(NULL, NULL, &err);
        }
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("from", arguments[0]),
                        SD_JSON_BUILD_PAIR_STRING("to", arguments[1]),
                        SD_JSON_BUILD_PAIR_BOOLEAN("totalOnly", total_only)));
        Call call = { .method = API_VOLUME ".Diff", .parameters = parameters, .what = what };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot compare", what + strlen("comparing "), &err);

        if (arg_json)
                return print_json(arguments, reply);
        if (arg_ranges) {
                print_ranges(sd_json_variant_by_key(reply, "ranges"));
                print_notes(stderr, reply);
                return EXIT_DONE;
        }
        unsigned long long count = member(reply, "rangeCount");
        _cleanup_free_ char *size = table_size(sd_json_variant_by_key(reply, "totalBytes"));
        if (count == 0)
                printf("Nothing differs.\n");
        else
                printf("%s in %llu range%s differ%s.\n", size, count, count == 1 ? "" : "s", count == 1 ? "s" : "");
        print_notes(stdout, reply);
        return EXIT_DONE;
}
