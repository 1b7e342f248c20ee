/* quarry prune: rm of the volumes that nobody uses. What is listed may be in use by the time it is its turn: whether it
 * goes is for the daemon to judge, one by one. */

#include "client.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>

static bool arg_dry_run, arg_snapshots, arg_yes;

const Option prune_options[] = {
        TABLE_FILTER_OPTION,
        { 0, "dry-run", NULL, "Say what would be removed, and remove nothing", option_flag, &arg_dry_run },
        { 0, "snapshots", NULL, "Also those that have snapshots, with them", option_flag, &arg_snapshots },
        { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes },
        {},
};

typedef struct Prune {
        Report report;
        sd_json_variant *chosen, *skipped;
        uint64_t used; /* bytes of what is chosen, or of what was removed */
        bool used_is_all; /* of each it is known */
} Prune;

static void prune_done(Prune *p) {
        report_done(&p->report);
        sd_json_variant_unref(p->chosen);
        sd_json_variant_unref(p->skipped);
}

static uint64_t snapshots_of(sd_json_variant *volume) {
        return json_unsigned(volume, "snapshots");
}

static void count_used(Prune *p, sd_json_variant *volume) {
        sd_json_variant *used = sd_json_variant_by_key(volume, "usedBytes");

        p->used += sd_json_variant_unsigned(used);
        p->used_is_all = p->used_is_all && used && snapshots_of(volume) == 0; /* what they hold comes to it */
}

static void skip(Prune *p, const char *reference, const char *reason) {
        must(sd_json_variant_append_arraybo(
                        &p->skipped,
                        SD_JSON_BUILD_PAIR_STRING("object", reference),
                        SD_JSON_BUILD_PAIR_STRING("reason", reason)));
        if (arg_json)
                return;
        progress_clear();
        fflush(stdout);
        fprintf(stderr, "skipped %s: %s\n", reference, reason);
}

/* --- which they are ---------------------------------------------------------------------------------------- */

static bool is_in_pool_of(sd_json_variant *volume, sd_json_variant *pools) {
        for (size_t i = 0; i < sd_json_variant_elements(pools); i++)
                if (streq(json_string(sd_json_variant_by_index(pools, i), "name"), json_string(volume, "pool")))
                        return true;
        return false;
}

/* What is broken is for somebody to look at, and what is not whole yet, or being removed, is somebody's. */
static bool is_candidate(sd_json_variant *volume, sd_json_variant *missing_pools) {
        return volume_is_unused(volume) && streq(json_string(volume, "state"), "ready") &&
               !is_in_pool_of(volume, missing_pools);
}

static void choose(Prune *p, sd_json_variant *volume) {
        uint64_t snapshots = snapshots_of(volume);
        _cleanup_free_ char *reference = volume_reference(volume);

        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "protected")))
                skip(p, reference, "it is protected");
        else if (snapshots > 0 && !arg_snapshots) {
                _cleanup_free_ char *reason = must_have(format_new(
                        "it has %llu snapshot%s", (unsigned long long) snapshots, snapshots == 1 ? "" : "s"));
                skip(p, reference, reason);
        } else {
                must(sd_json_variant_append_array(&p->chosen, volume));
                count_used(p, volume);
        }
}

static int choose_all(Prune *p, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *rows = NULL, *last = NULL;
        Call call = { .method = API_VOLUME ".List", .collect = "volumes", .last = &last };
        int r;

        r = table_check_options(volume_columns, err);
        if (r >= 0)
                r = client_call(&call, &all, NULL, err);
        if (r < 0)
                return r;
        sd_json_variant *missing = sd_json_variant_by_key(last, "missingPools");
        volume_report_missing(&p->report, missing);
        rows = table_select(volume_columns, all);
        for (size_t i = 0; i < sd_json_variant_elements(rows); i++) {
                sd_json_variant *volume = sd_json_variant_by_index(rows, i);

                if (is_candidate(volume, missing))
                        choose(p, volume);
        }
        return 0;
}

/* --- what is said of them ---------------------------------------------------------------------------------- */

/* "2 volumes, 1.5G used" */
static void print_sum(const Prune *p, FILE *stream, size_t n) {
        char used[SIZE_TEXT_MAX];

        fprintf(stream, "%zu volume%s, %s%s used\n", n, n == 1 ? "" : "s", p->used_is_all ? "" : "at least ",
                size_format(p->used, used));
}

static void print_chosen(const Prune *p, FILE *stream) {
        size_t n = sd_json_variant_elements(p->chosen);

        for (size_t i = 0; i < n; i++) {
                sd_json_variant *volume = sd_json_variant_by_index(p->chosen, i);
                _cleanup_free_ char *extent = volume_extent(volume), *reference = volume_reference(volume);
                uint64_t snapshots = snapshots_of(volume);

                fprintf(stream, arg_dry_run ? "would remove %s (%s" : "  %s  (%s", reference, extent);
                if (snapshots > 0)
                        fprintf(stream, ", and %llu snapshot%s", (unsigned long long) snapshots,
                                snapshots == 1 ? "" : "s");
                fputs(")\n", stream);
        }
        print_sum(p, stream, n);
}

static int finish(Prune *p, const char *field) {
        must(sd_json_buildo(
                        &p->report.members,
                        SD_JSON_BUILD_PAIR_CONDITION(!!p->skipped, "skipped", SD_JSON_BUILD_VARIANT(p->skipped)),
                        SD_JSON_BUILD_PAIR_CONDITION(!p->skipped, "skipped", SD_JSON_BUILD_EMPTY_ARRAY),
                        SD_JSON_BUILD_PAIR_UNSIGNED("usedBytes", p->used)));
        return report_finish(&p->report, field);
}

/* --- removing ---------------------------------------------------------------------------------------------- */

/* By its UUID: another one may have its name by now. */
static int remove_one(sd_json_variant *volume, const char *reference, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("removing %s", reference));

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", json_string(volume, "uuid")),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_snapshots, "snapshots", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters, .what = what };
        return client_call(&call, NULL, NULL, err);
}

static void remove_chosen(Prune *p) {
        p->used = 0;
        p->used_is_all = true;
        for (size_t i = 0; i < sd_json_variant_elements(p->chosen); i++) {
                sd_json_variant *volume = sd_json_variant_by_index(p->chosen, i);
                _cleanup_free_ char *reference = volume_reference(volume);
                Error err = {};

                if (remove_one(volume, reference, &err) >= 0) {
                        report_success(&p->report, reference);
                        count_used(p, volume);
                } else if (err.kind == ERROR_VOLUME_BUSY) /* or was protected, or got a snapshot */
                        skip(p, reference, err.text);
                else if (err.kind == ERROR_NO_SUCH_VOLUME)
                        skip(p, reference, "somebody else has removed it");
                else
                        report_failure(&p->report, reference, &err);
        }
}

/* Shows what there is to lose. */
static bool is_wanted(const Prune *p) {
        bool asks = !arg_yes && terminal_can_ask();
        size_t n = sd_json_variant_elements(p->chosen);

        if (asks || !arg_json)
                print_chosen(p, stderr);
        if (!asks)
                return true;
        _cleanup_free_ char *question = must_have(
                n == 1 ? strdup("Remove this volume and everything in it?")
                       : format_new("Remove these %zu volumes and everything in them?", n));
        return terminal_confirm(question);
}

/* Nobody is there to see what goes: then it was said before, or it is said that all may. */
static int check_meant(Error *err) {
        int r;

        if (arg_dry_run || arg_yes || table_options.filters || terminal_can_ask())
                return 0;
        r = error_field(err, FIELD_ARGUMENTS, "prune: without a terminal it needs a filter, or --yes for all volumes");
        error_hint(err, "quarry prune --dry-run");
        return r;
}

int verb_prune(char **arguments) {
        _cleanup_(prune_done) Prune p = { .report = { .action = "cannot ask pool" }, .used_is_all = true };
        Error err = {};

        if (check_meant(&err) < 0)
                return report_error(NULL, NULL, &err);
        if (choose_all(&p, &err) < 0)
                return report_error("cannot prune", NULL, &err);
        if (arg_dry_run) {
                for (size_t i = 0; i < sd_json_variant_elements(p.chosen); i++)
                        report_add(&p.report, sd_json_variant_by_index(p.chosen, i));
                if (!arg_json && p.chosen)
                        print_chosen(&p, stdout);
                return finish(&p, "wouldRemove");
        }
        if (!p.chosen) {
                if (!arg_json && isatty(STDOUT_FILENO))
                        puts("Nothing is to be removed.");
                return finish(&p, "removed");
        }
        if (!is_wanted(&p)) {
                error_set(&err, ERROR_FAILED, ECANCELED, "nothing was removed");
                return report_error(NULL, NULL, &err);
        }
        p.report.action = "cannot remove";
        remove_chosen(&p);
        return finish(&p, "removed");
}
