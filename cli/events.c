/* quarry events */

#include "client.h"
#include "event.h"
#include "must.h"
#include "report.h"
#include "verbs.h"

#include <quarry/json.h>

#include <inttypes.h>
#include <signal.h>

const Option events_options[] = { EVENT_POOL_OPTION, EVENT_TENANT_OPTION, {} };

/* Whoever reads may wait for this line, and nothing else ends a command whose output goes nowhere. */
static void line_end(void) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return;
        fprintf(stderr, "quarry: cannot write the output: %s\n", strerror(errno));
        exit(EXIT_FAILED);
}

static void print_json(sd_json_variant *object) {
        must(sd_json_variant_dump(object, SD_JSON_FORMAT_NEWLINE, stdout, NULL));
        line_end();
}

static void tell_lost(uint64_t n) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *object = NULL;

        if (n == 0)
                return;
        if (!arg_json) {
                fprintf(stderr, "quarry: %" PRIu64 " events are missing here: they were not read in time\n", n);
                return;
        }
        must(sd_json_buildo(&object, SD_JSON_BUILD_PAIR_UNSIGNED("lost", n)));
        print_json(object);
}

static void on_part(sd_json_variant *parameters) {
        sd_json_variant *event = sd_json_variant_by_key(parameters, "event");

        tell_lost(json_unsigned(parameters, "lost"));
        if (!event)
                return;
        if (arg_json) {
                print_json(event);
                return;
        }
        _cleanup_free_ char *line = event_sentence(event);
        puts(line);
        line_end();
}

int verb_events(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = event_parameters(arguments);
        Call call = { .method = API_EVENT ".Subscribe", .parameters = parameters, .on_part = on_part };
        Error err = {};

        (void) signal(SIGPIPE, SIG_DFL); /* whoever started it may have ignored it */
        return client_call(&call, NULL, NULL, &err) < 0 ? report_error("cannot follow the events", NULL, &err)
                                                        : EXIT_DONE;
}
