/* quarry status */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/config.h>
#include <quarry/pool.h>
#include <quarry/text.h>

#include <grp.h>
#include <stdarg.h>

/* What is wrong, as {"object","message","hint"}. */
typedef struct Status {
        sd_json_variant *problems;
} Status;

static void status_done(Status *status) {
        sd_json_variant_unref(status->problems);
}

_printf_(4, 5) static void add(Status *status, const char *object, const char *message, const char *hint, ...) {
        _cleanup_free_ char *what_to_do = NULL;
        va_list ap;

        va_start(ap, hint);
        int n = vasprintf(&what_to_do, hint, ap);
        va_end(ap);
        must(n < 0 ? -ENOMEM : 0);
        must(sd_json_variant_append_arraybo(
                        &status->problems,
                        SD_JSON_BUILD_PAIR_STRING("object", object),
                        SD_JSON_BUILD_PAIR_STRING("message", message),
                        SD_JSON_BUILD_PAIR_STRING("hint", what_to_do)));
}

static void look_at_pool(Status *status, sd_json_variant *pool) {
        const char *name = describe_string(pool, "name"), *state = describe_string(pool, "state");
        const char *space = describe_string(pool, "space"), *advice = describe_string(pool, "advice");
        _cleanup_free_ char *object = must_have(format_new("pool %s", name));

        if (!streq(state, "active")) {
                const char *failure = describe_string(pool, "failure");
                _cleanup_free_ char *message = must_have(
                        format_new("it is %s%s%s", state, *failure ? ": " : "", failure));

                if (*advice)
                        add(status, object, message, "%s", advice);
                else
                        add(status, object, message, "quarry pool inspect %s", name);
        }
        if (*space && !streq(space, "ok")) {
                _cleanup_free_ char *message = must_have(
                        format_new("its space is %s: %s", space, pool_space_meaning(space)));
                char buf[SPACE_ADVICE_MAX];

                add(status, object, message, "%s",
                    pool_space_advice(name, pool_origin_from_string(describe_string(pool, "origin")), buf));
        }
}

static void look_at_rules(Status *status, sd_json_variant *volume, const char *reference) {
        sd_json_variant *rules = sd_json_variant_by_key(volume, "scheduleRules");

        for (size_t i = 0; i < sd_json_variant_elements(rules); i++) {
                sd_json_variant *rule = sd_json_variant_by_index(rules, i);
                _cleanup_free_ char *message = NULL;

                if (!*describe_string(rule, "failure"))
                        continue;
                message = must_have(format_new("no snapshot by the rule \"%s\" at %s: %s",
                                               describe_string(rule, "expression"), describe_string(rule, "lastRunAt"),
                                               describe_string(rule, "failure")));
                add(status, reference, message, "quarry snapshot %s; it is tried again at %s", reference,
                    describe_string(rule, "nextRunAt"));
        }
}

static const char *const volume_members[] = { "name",    "tenant",  "pool",          "state",
                                              "failure", "stopped", "scheduleRules", NULL };

static void look_at_volume(Status *status, sd_json_variant *volume) {
        const char *state = describe_string(volume, "state"), *failure = describe_string(volume, "failure");
        _cleanup_free_ char *reference = volume_reference(volume);

        if (streq(state, "broken") || streq(state, "removing")) {
                _cleanup_free_ char *message = must_have(
                        format_new("it is %s%s%s", state, *failure ? ": " : "", failure));
                add(status, reference, message, "quarry inspect %s; quarry rm %s", reference, reference);
        }
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "stopped")))
                add(status, reference, "it gets no new space, because its pool has none", "quarry pool inspect %s",
                    describe_string(volume, "pool"));
        look_at_rules(status, volume, reference);
}

/* Whoever may see nothing gets empty lists, which must not look as if all were well. */
static int check_caller(Error *err) {
        const struct group *group = getgrnam(ADMIN_GROUP);

        if (geteuid() == 0 || (group && group_member(group->gr_gid)))
                return 0;
        error_set(err, ERROR_PERMISSION_DENIED, EPERM, "only administrators see the pools and volumes");
        error_hint(err, "run it as root or as a member of group " ADMIN_GROUP);
        return error_code(err);
}

/* Which columns say how it stands with a pool. */
static const Column columns[] = {
        { "name", "POOL", "Name", "name", COLUMN_TEXT, true, CUT_END },
        { "state", "STATE", "State", "state", COLUMN_TEXT, true },
        { "size", "SIZE", "Space", "dataSizeBytes", COLUMN_SIZE, true },
        { "use%",
          "USE%",
          "Share taken",
          "dataUsedBytes",
          COLUMN_PERCENT,
          true,
          CUT_NOTHING,
          NULL,
          { "dataSizeBytes" } },
        { "space", "SPACE", "How it stands with it", "space", COLUMN_TEXT, true },
        { "volumes", "VOLUMES", "Volumes", "volumes", COLUMN_NUMBER, true },
        {},
};

static void print_problems(sd_json_variant *problems) {
        const char *bold = terminal_style(stdout, STYLE_BOLD), *end = terminal_style(stdout, STYLE_END);

        for (size_t i = 0; i < sd_json_variant_elements(problems); i++) {
                sd_json_variant *problem = sd_json_variant_by_index(problems, i);

                printf("%s%s%s%s: %s\n  what to do: %s\n", i == 0 ? "\n" : "", bold, describe_string(problem, "object"),
                       end, describe_string(problem, "message"), describe_string(problem, "hint"));
        }
        if (sd_json_variant_elements(problems) == 0)
                puts("\nAll is well.");
}

int verb_status(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *pools = NULL, *volumes = NULL, *parameters = NULL,
                                                          *document = NULL;
        _cleanup_(status_done) Status status = {};
        Error err = {};

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("type", "all"),
                        SD_JSON_BUILD_PAIR("fields", SD_JSON_BUILD_STRV((char **) volume_members))));
        Call list_pools = { .method = API_POOL ".List", .collect = "pools" };
        Call list_volumes = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        if (client_call(&list_pools, &pools, NULL, &err) < 0 || client_call(&list_volumes, &volumes, NULL, &err) < 0)
                return report_error("cannot tell how it stands", NULL, &err);
        if (sd_json_variant_elements(pools) == 0 && check_caller(&err) < 0)
                return report_error("cannot tell how it stands", NULL, &err);

        must(sd_json_variant_new_array(&status.problems, NULL, 0));
        for (size_t i = 0; i < sd_json_variant_elements(pools); i++)
                look_at_pool(&status, sd_json_variant_by_index(pools, i));
        for (size_t i = 0; i < sd_json_variant_elements(volumes); i++)
                look_at_volume(&status, sd_json_variant_by_index(volumes, i));

        if (arg_json) {
                must(sd_json_buildo(
                                &document,
                                SD_JSON_BUILD_PAIR_VARIANT("pools", pools),
                                SD_JSON_BUILD_PAIR_VARIANT("problems", status.problems)));
                report_document(document);
        } else {
                if (sd_json_variant_elements(pools) > 0)
                        table_print(columns, pools);
                else
                        puts("No pools.");
                print_problems(status.problems);
        }
        return sd_json_variant_elements(status.problems) == 0 ? EXIT_DONE : EXIT_FAILED;
}
