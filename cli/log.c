/* quarry log */

#include "client.h"
#include "event.h"
#include "must.h"
#include "report.h"
#include "verbs.h"
#include "when.h"

#include <quarry/clock.h>
#include <quarry/journal.h>
#include <quarry/json.h>
#include <quarry/text.h>

static uint64_t arg_since, arg_until, arg_lines; /* 0: not said */

static int option_when(const Option *option, const char *value, Error *err) {
        char field[sizeof(err->field)], echo[TEXT_ECHO_MAX];

        if (when_parse(value, clock_usec(CLOCK_REALTIME), option->target) >= 0)
                return 0;
        buffer_format(field, sizeof(field), "--%s", option->name);
        return error_field(err, field,
                           "%s: \"%s\" is no time: write a day such as 2026-11-27 or '2026-11-27 06:30', in UTC, or "
                           "how long ago it is, with s, m, h, d or w, such as 2h",
                           field, text_echo(value, echo));
}

static int option_lines(const Option *option, const char *value, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (number_parse(value, option->target) >= 0 && arg_lines > 0)
                return 0;
        return error_field(err, "--lines", "--lines: \"%s\" is no number of events, such as 20",
                           text_echo(value, echo));
}

const Option log_options[] = {
        { 0, "since", "TIME", "Only what happened then or later", option_when, &arg_since },
        { 0, "until", "TIME", "Only what happened then or before", option_when, &arg_until },
        { 'n', "lines", "N", "Only the last N of them", option_lines, &arg_lines },
        EVENT_POOL_OPTION,
        EVENT_TENANT_OPTION,
        {},
};

/* userdata: the array that --json prints at the end. Stops where nobody reads. */
static int show(sd_json_variant *event, void *userdata) {
        if (arg_json) {
                must(sd_json_variant_append_array(userdata, event));
                return 0;
        }
        _cleanup_free_ char *line = event_sentence(event);
        return puts(line) < 0;
}

/* --- from the journal ------------------------------------------------------------------------------------ */

/* As the daemon takes names; only it knows whose member somebody is: for others than root a name without a tenant is
 * one of any. */
static int filter_init(const char *volume, EventFilter *f, Error *err) {
        const char *tenant = event_options.tenant ?: geteuid() == 0 ? DEFAULT_TENANT : "";
        int r = 0;

        if (volume)
                r = event_filter_parse(volume, FIELD_ARGUMENTS, f, err);
        if (r >= 0 && event_options.pool)
                r = pool_name_check(event_options.pool, "--pool", err);
        if (r >= 0 && event_options.tenant)
                r = tenant_name_check(event_options.tenant, "--tenant", err);
        if (r < 0)
                return r;
        if (volume && isempty(f->volume.tenant))
                buffer_format(f->volume.tenant, sizeof(f->volume.tenant), "%s", tenant);
        buffer_format(f->pool, sizeof(f->pool), "%s", event_options.pool ?: "");
        buffer_format(f->tenant, sizeof(f->tenant), "%s", event_options.tenant ?: "");
        return 0;
}

static int on_entry(const Event *event, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *object = NULL;

        must(event_to_json(event, &object));
        return show(object, userdata);
}

static int log_from_journal(char *const *volumes, sd_json_variant **events, Error *err) {
        size_t n = volumes[0] ? strv_length(volumes) : 1;
        _cleanup_free_ EventFilter *filters = must_have(calloc(n, sizeof(*filters)));
        JournalQuery query = { .filters = filters, .n = n, .since = arg_since, .until = arg_until, .limit = arg_lines };
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = filter_init(volumes[i], &filters[i], err);
        return r < 0 ? r : journal_read(&query, on_entry, events, err);
}

/* --- from the daemon ------------------------------------------------------------------------------------- */

static bool is_in_time(sd_json_variant *event) {
        uint64_t at = json_unsigned(event, "timeUsec");

        return at >= arg_since && (arg_until == 0 || at <= arg_until);
}

static int log_from_daemon(char *const *volumes, sd_json_variant **events, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *parameters = event_parameters(volumes);
        Call call = { .method = API_EVENT ".List", .parameters = parameters };
        uint64_t fit = 0, skip;
        int r;

        r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        fputs("quarry: these are the last events since quarryd was started; the system journal has all\n", stderr);
        sd_json_variant *all = sd_json_variant_by_key(reply, "events");
        size_t n = sd_json_variant_elements(all);
        for (size_t i = 0; i < n; i++)
                fit += is_in_time(sd_json_variant_by_index(all, i));
        skip = arg_lines > 0 && fit > arg_lines ? fit - arg_lines : 0;
        for (size_t i = 0; i < n && r == 0; i++) {
                sd_json_variant *event = sd_json_variant_by_index(all, i);

                if (!is_in_time(event))
                        continue;
                if (skip > 0)
                        skip--;
                else
                        r = show(event, events);
        }
        return 0;
}

/* The journal is that of quarryd.service: what another daemon does is not in it, or not told apart. */
static bool asks_daemon(void) {
        return getenv("QUARRY_SOCKET") || !journal_is_readable();
}

int verb_log(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *events = NULL, *document = NULL;
        Error err = {};
        int r;

        if (arg_until > 0 && arg_since > arg_until) {
                error_field(&err, "--until", "--until: that is before what --since says");
                return report_error(NULL, NULL, &err);
        }
        must(sd_json_variant_new_array(&events, NULL, 0));
        r = (asks_daemon() ? log_from_daemon : log_from_journal)(arguments, &events, &err);
        if (r < 0)
                return report_error("cannot show what happened", NULL, &err);
        if (!arg_json)
                return EXIT_DONE;
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("events", events)));
        return report_document(document);
}
