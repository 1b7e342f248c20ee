#include "event.h"

#include "must.h"

#include <quarry/json.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <inttypes.h>
#include <pwd.h>
#include <time.h>

#define MSEC_USEC UINT64_C(1000)
#define SECOND_USEC UINT64_C(1000000)

EventOptions event_options;

sd_json_variant *event_parameters(char *const *volumes) {
        sd_json_variant *parameters = NULL;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_CONDITION(volumes[0] != NULL, "volumes",
                                                     SD_JSON_BUILD_STRV((char **) volumes)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!event_options.pool, "pool",
                                                     SD_JSON_BUILD_STRING(event_options.pool)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!event_options.tenant, "tenant",
                                                     SD_JSON_BUILD_STRING(event_options.tenant))));
        return parameters;
}

/* --- one line -------------------------------------------------------------------------------------------- */

static char *time_of(sd_json_variant *event) {
        time_t at = (time_t) (json_unsigned(event, "timeUsec") / SECOND_USEC);
        struct tm tm = {};
        char text[32] = "";

        if (gmtime_r(&at, &tm))
                (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        return must_have(strdup(text));
}

static char *user_of(sd_json_variant *event) {
        uint64_t uid = json_unsigned(event, "callerUid");
        const struct passwd *user;

        if (!sd_json_variant_by_key(event, "callerUid"))
                return must_have(strdup(streq(json_string(event, "type"), "suppressed") ? "others" : "quarryd"));
        user = getpwuid((uid_t) uid);
        return must_have(user ? strdup(user->pw_name) : format_new("uid %" PRIu64, uid));
}

/* A verb says itself whether it is about a pool or a tenant. */
static char *object_of(sd_json_variant *event) {
        const char *verb = json_string(event, "verb"), *pool = json_string(event, "pool"),
                   *tenant = json_string(event, "tenant"), *volume = json_string(event, "volume"),
                   *snapshot = json_string(event, "snapshot");
        bool is_default = isempty(tenant) || streq(tenant, DEFAULT_TENANT);

        if (*volume)
                return must_have(format_new(" %s%s%s%s%s", is_default ? "" : tenant, is_default ? "" : "/", volume,
                                            *snapshot ? "@" : "", snapshot));
        if (*tenant)
                return must_have(format_new(startswith(verb, "tenant ") ? " %s" : " in tenant %s", tenant));
        if (*pool)
                return must_have(format_new(startswith(verb, "pool ") ? " %s" : " in pool %s", pool));
        return must_have(strdup(""));
}

static char *details_of(sd_json_variant *event) {
        static const char *const sizing[] = { "create", "clone", "resize" };
        const char *verb = json_string(event, "verb"), *new_name = json_string(event, "newName"),
                   *source = json_string(event, "source"), *changes = json_string(event, "changes");
        uint64_t size = json_unsigned(event, "sizeBytes");
        char text[SIZE_TEXT_MAX];
        bool is_sized = false;

        for (size_t i = 0; i < ELEMENTSOF(sizing); i++)
                is_sized = is_sized || (size > 0 && streq(verb, sizing[i]));
        return must_have(format_new("%s%s%s%s%s%s%s%s%s", *new_name ? " to " : "", new_name, *source ? " from " : "",
                                    source, *changes ? " " : "", changes, is_sized ? " (" : "",
                                    is_sized ? size_format(size, text) : "", is_sized ? ")" : ""));
}

static char *duration_of(sd_json_variant *event, const char *lead) {
        uint64_t usec = json_unsigned(event, "durationUsec"), seconds = usec / SECOND_USEC;

        if (!sd_json_variant_by_key(event, "durationUsec"))
                return must_have(strdup(""));
        if (seconds == 0)
                return must_have(format_new("%s%" PRIu64 "ms", lead, usec / MSEC_USEC));
        if (seconds < 60)
                return must_have(format_new("%s%" PRIu64 ".%" PRIu64 "s", lead, seconds,
                                            usec % SECOND_USEC / (SECOND_USEC / 10)));
        return must_have(format_new("%s%" PRIu64 "m%" PRIu64 "s", lead, seconds / 60, seconds % 60));
}

static char *outcome_of(sd_json_variant *event) {
        const char *type = json_string(event, "type"), *error = json_string(event, "error"),
                   *step = json_string(event, "step");

        if (streq(type, "changed")) {
                _cleanup_free_ char *duration = duration_of(event, " in ");

                return must_have(format_new("done%s", duration));
        }
        if (streq(type, "failed")) {
                _cleanup_free_ char *duration = duration_of(event, " after ");

                return must_have(format_new("failed%s: %s%s%s", duration, error, *step ? ", while " : "", step));
        }
        return must_have(streq(type, "refused") ? format_new("refused: %s", error)
                                                : strdup(json_string(event, "message")));
}

/* Behind the user: of what nobody asked for, or of a kind that came later, the daemon's own sentence. */
static char *what_of(sd_json_variant *event) {
        const char *verb = json_string(event, "verb"), *pool = json_string(event, "pool"),
                   *tenant = json_string(event, "tenant"), *message = json_string(event, "message");

        if (streq(json_string(event, "type"), "suppressed"))
                return must_have(format_new("%" PRIu64 " more requests failed or were refused",
                                            json_unsigned(event, "suppressed")));
        if (!*verb && *tenant)
                return must_have(format_new("%s: %s", tenant, message));
        if (!*verb)
                return must_have(format_new("%s%s%s%s", *pool ? "pool " : "", pool, *pool ? ": " : "", message));

        _cleanup_free_ char *object = object_of(event), *details = details_of(event), *outcome = outcome_of(event);
        return must_have(format_new("%s%s%s: %s", verb, object, details, outcome));
}

char *event_sentence(sd_json_variant *event) {
        _cleanup_free_ char *at = time_of(event), *user = user_of(event), *what = what_of(event);
        char *line = must_have(format_new("%s %s: %s", at, user, what));

        text_clean(line);
        return line;
}
