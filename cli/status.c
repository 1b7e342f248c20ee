/* quarry status */

#include "backup-plan.h"
#include "backup.h"
#include "describe.h"
#include "must.h"
#include "overview.h"
#include "report.h"
#include "table.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"
#include "when.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/pool.h>
#include <quarry/tenant.h>
#include <quarry/text.h>

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>

#define DAY (UINT64_C(24) * 3600)
#define LONG_USEC (6 * UINT64_C(3600) * 1000000) /* for which hardly any backup takes: its target may not answer */
#define NEAR_PART 10u /* a limit of which a 10th is left is near */

/* What is wrong, and what is going to be, as {"object","message","hint"}. */
typedef struct Status {
        sd_json_variant *problems, *notices;
        sd_json_variant *backups;
        BackupTarget *targets; /* root's to read; who is not root is not told of them */
        size_t n_targets;
} Status;

static void status_done(Status *status) {
        sd_json_variant_unref(status->problems);
        sd_json_variant_unref(status->notices);
        sd_json_variant_unref(status->backups);
        for (size_t i = 0; i < status->n_targets; i++)
                backup_target_done(&status->targets[i]);
        free(status->targets);
}

_printf_(4, 5) static void add(sd_json_variant **list, const char *object, const char *message, const char *hint, ...) {
        _cleanup_free_ char *what_to_do = NULL;
        va_list ap;

        va_start(ap, hint);
        int n = vasprintf(&what_to_do, hint, ap);
        va_end(ap);
        must(n < 0 ? -ENOMEM : 0);
        must(sd_json_variant_append_arraybo(
                        list,
                        SD_JSON_BUILD_PAIR_STRING("object", object),
                        SD_JSON_BUILD_PAIR_STRING("message", message),
                        SD_JSON_BUILD_PAIR_STRING("hint", what_to_do)));
}

static void look_at_space(Status *status, sd_json_variant *pool, const char *object) {
        const char *name = json_string(pool, "name"), *space = json_string(pool, "space");
        int origin = pool_origin_from_string(json_string(pool, "origin"));
        sd_json_variant *lasts = sd_json_variant_by_key(pool, "fullInSeconds");
        uint64_t seconds = sd_json_variant_unsigned(lasts);
        _cleanup_free_ char *when = overview_full_in(pool), *message = NULL;
        char buf[SPACE_ADVICE_MAX];

        if (*space && !streq(space, "ok")) {
                message = must_have(format_new("its space is %s: %s", space, pool_space_meaning(space)));
                add(&status->problems, object, message, "%s", pool_space_advice(name, origin, buf));
        } else if (lasts && seconds < 7 * DAY) {
                message = must_have(format_new("it is full in %s, if it fills as within the last day", when));
                add(seconds < DAY ? &status->problems : &status->notices, object, message, "%s; quarry df",
                    pool_space_advice(name, origin, buf));
        }
}

static void look_at_pool(Status *status, sd_json_variant *pool) {
        const char *name = json_string(pool, "name"), *state = json_string(pool, "state");
        const char *advice = json_string(pool, "advice");
        _cleanup_free_ char *object = must_have(format_new("pool %s", name));

        if (!streq(state, "active")) {
                const char *failure = json_string(pool, "failure");
                _cleanup_free_ char *message = must_have(
                        format_new("it is %s%s%s", state, *failure ? ": " : "", failure));

                if (*advice)
                        add(&status->problems, object, message, "%s", advice);
                else
                        add(&status->problems, object, message, "quarry pool inspect %s", name);
        }
        look_at_space(status, pool, object);
}

/* Whether its tenant may have no more snapshots, which is what a rule fails of then. */
static bool tenant_is_full(const Overview *o, sd_json_variant *volume) {
        static const char *const limits[] = { "maxSnapshots", "maxUsedBytes" };

        for (size_t i = 0; i < sd_json_variant_elements(o->tenants); i++) {
                sd_json_variant *tenant = sd_json_variant_by_index(o->tenants, i);
                uint64_t use, most;

                if (!streq(json_string(tenant, "name"), json_string(volume, "tenant")) ||
                    !streq(json_string(tenant, "pool"), json_string(volume, "pool")))
                        continue;
                for (size_t j = 0; j < ELEMENTSOF(limits); j++)
                        if (overview_limit(tenant, limits[j], &use, &most) && use >= most)
                                return true;
        }
        return false;
}

static void look_at_rules(const Overview *o, Status *status, sd_json_variant *volume, const char *reference) {
        sd_json_variant *rules = sd_json_variant_by_key(volume, "scheduleRules");

        for (size_t i = 0; i < sd_json_variant_elements(rules); i++) {
                sd_json_variant *rule = sd_json_variant_by_index(rules, i);
                _cleanup_free_ char *message = NULL;

                if (!*json_string(rule, "failure"))
                        continue;
                message = must_have(format_new("no snapshot by the rule \"%s\" at %s: %s",
                                               json_string(rule, "expression"), json_string(rule, "lastRunAt"),
                                               json_string(rule, "failure")));
                if (tenant_is_full(o, volume))
                        add(&status->problems, reference, message,
                            "quarry tenant inspect %s; remove snapshots, or have the limit raised; it is tried again "
                            "at %s",
                            json_string(volume, "tenant"), json_string(rule, "nextRunAt"));
                else
                        add(&status->problems, reference, message, "quarry snapshot %s; it is tried again at %s",
                            reference, json_string(rule, "nextRunAt"));
        }
}

static const char *const volume_fields[] = {
        "name",      "tenant",        "pool",       "state", "failure", "waitsForUsers", "stopped",
        "stoppedBy", "scheduleRules", "encryption", "open",  "labels",  "createdAt",     NULL
};

static void look_at_volume(const Overview *o, Status *status, sd_json_variant *volume) {
        const char *state = json_string(volume, "state"), *failure = json_string(volume, "failure");
        bool waits = sd_json_variant_boolean(sd_json_variant_by_key(volume, "waitsForUsers"));
        _cleanup_free_ char *reference = volume_reference(volume);

        if (streq(state, "broken") || (streq(state, "removing") && *failure && !waits)) {
                _cleanup_free_ char *message = must_have(
                        format_new("it is %s%s%s", state, *failure ? ": " : "", failure));
                add(&status->problems, reference, message, "quarry inspect %s; quarry rm %s", reference, reference);
        } else if (streq(state, "removing"))
                add(&status->notices, reference, "it is being removed, behind its last user",
                    "quarry inspect %s tells where it is mounted", reference);
        if (streq(json_string(volume, "stoppedBy"), "tenant"))
                add(&status->problems, reference, "it gets no new space, because its tenant uses more than it may",
                    "quarry tenant inspect %s; quarry trim %s", json_string(volume, "tenant"), reference);
        else if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "stopped")))
                add(&status->problems, reference, "it gets no new space, because its pool has none",
                    "quarry df; quarry trim %s", reference);
        /* Who waits for its key cannot be ended, and the host could not be stopped. */
        if (describe_is_locked(volume) && sd_json_variant_boolean(sd_json_variant_by_key(volume, "open")))
                add(&status->notices, reference, "it is locked while it is in use: whoever reads or writes it waits",
                    "quarry key unlock %s", reference);
        look_at_rules(o, status, volume, reference);
}

/* --- limits ----------------------------------------------------------------------------------------------- */

/* In the order of TenantLimit. */
static const char *const limit_options[] = {
#define LIMIT_OPTION(limit, member, word, option) option,
        TENANT_LIMITS(LIMIT_OPTION)
#undef LIMIT_OPTION
};

static const char *const limit_words[] = {
#define LIMIT_WORD(limit, member, word, option) word,
        TENANT_LIMITS(LIMIT_WORD)
#undef LIMIT_WORD
};

static char *amount_text(const char *limit, uint64_t amount) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        if (!strstr(limit, "Bytes"))
                return must_have(format_new("%llu", (unsigned long long) amount));
        must(sd_json_variant_new_unsigned(&v, amount));
        return table_size(v);
}

/* Who gets the number next would be a member. */
static void look_at_members(Status *status, sd_json_variant *tenant, const char *object, const char *option,
                            bool (*exists)(uint32_t id)) {
        _cleanup_free_ char *field = must_have(format_new("%ss", option));
        sd_json_variant *ids = sd_json_variant_by_key(tenant, field);

        for (size_t i = 0; i < sd_json_variant_elements(ids); i++) {
                uint32_t id = (uint32_t) sd_json_variant_unsigned(sd_json_variant_by_index(ids, i));
                _cleanup_free_ char *message = NULL;

                if (exists(id))
                        continue;
                message = must_have(
                        format_new("its member %s %u is none of this host: who gets this number is one", option, id));
                add(&status->notices, object, message, "quarry tenant update %s --pool %s --remove-%s %u",
                    json_string(tenant, "name"), json_string(tenant, "pool"), option, id);
        }
}

static bool user_exists(uint32_t id) {
        return getpwuid(id);
}

static bool group_exists(uint32_t id) {
        return getgrgid(id);
}

/* A limit that is reached is what it is for: only more than it allows is a problem. */
static void look_at_tenant(Status *status, sd_json_variant *tenant, bool is_member) {
        const char *name = json_string(tenant, "name"), *pool = json_string(tenant, "pool");
        _cleanup_free_ char *object = must_have(format_new("tenant %s", name));

        for (int i = 0; i < _TENANT_LIMIT_MAX; i++) {
                const char *limit = tenant_limit_to_string((TenantLimit) i);
                uint64_t use, most;

                if (!overview_limit(tenant, limit, &use, &most) || most == 0 || use < most - most / NEAR_PART)
                        continue;
                _cleanup_free_ char *use_text = amount_text(limit, use), *most_text = amount_text(limit, most);
                _cleanup_free_ char *message = must_have(
                        format_new("it has %s of the %s %s that it may have in pool %s", use_text, most_text,
                                   limit_words[i], pool));
                if (is_member)
                        add(use > most ? &status->problems : &status->notices, object, message,
                            "quarry df --all; an administrator can raise it");
                else
                        add(use > most ? &status->problems : &status->notices, object, message,
                            "quarry tenant update %s --pool %s %s; quarry df --all --filter tenant=%s", name, pool,
                            limit_options[i], name);
        }
        if (is_member)
                return;
        look_at_members(status, tenant, object, "user", user_exists);
        look_at_members(status, tenant, object, "group", group_exists);
}

static void print_list(sd_json_variant *list, const char *title, Style style) {
        const char *begin = terminal_style(stdout, style), *end = terminal_style(stdout, STYLE_END);

        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *entry = sd_json_variant_by_index(list, i);

                printf("%s%s%s%s%s: %s\n  what to do: %s\n", i == 0 ? "\n" : "", i == 0 ? title : "", begin,
                       json_string(entry, "object"), end, json_string(entry, "message"), json_string(entry, "hint"));
        }
}

static void take_targets(Status *status) {
        _cleanup_strv_ char **names = NULL;
        Error ignored = {};

        if (backup_target_list(&names, &ignored) < 0)
                return;
        status->targets = must_have(calloc(strv_length(names) + 1, sizeof(*status->targets)));
        for (char **name = names; name && *name; name++) {
                Error err = {};

                if (backup_target_load(*name, &status->targets[status->n_targets], &err) < 0)
                        add(&status->problems, *name, err.text, "quarry backup target ls");
                else
                        status->n_targets++;
        }
}

/* NULL: not known. */
static const char *target_of(const Status *status, sd_json_variant *snapshot) {
        for (size_t i = 0; i < status->n_targets; i++)
                if (backup_image_is_of(snapshot, status->targets[i].repository))
                        return status->targets[i].name;
        return NULL;
}

/* Each that has a backup: the snapshot that was made for the last says of when it is. */
static void look_at_backup(Status *status, sd_json_variant *snapshot) {
        sd_json_variant *labels = sd_json_variant_by_key(snapshot, "labels");
        const char *proven = json_string(labels, BACKUP_PROVEN_LABEL);
        uint64_t at = 0, seconds = 0;
        char id[BACKUP_ID_MAX];

        if (!*json_string(labels, BACKUP_LABEL) || !backup_image_id(snapshot, id) ||
            when_parse(json_string(snapshot, "createdAt"), 0, &at) < 0)
                return;
        _cleanup_free_ char *reference = volume_reference(snapshot), *made = backup_ago(at), *ago = NULL;
        const char *target = target_of(status, snapshot);
        reference[strcspn(reference, "@")] = 0;
        if (streq(proven, BACKUP_DAMAGED)) {
                ago = must_have(strdup("DAMAGED"));
                add(&status->problems, reference, "its last backup is DAMAGED, as a proof of it showed",
                    "quarry backup run --full %s%s%s", reference, target ? " --to " : "", target ?: "");
        } else if (*proven && number_parse(proven, &seconds) >= 0)
                ago = backup_ago(seconds * 1000000);
        must(sd_json_variant_append_arraybo(
                        &status->backups,
                        SD_JSON_BUILD_PAIR_STRING("volume", reference),
                        SD_JSON_BUILD_PAIR_STRING("id", id),
                        SD_JSON_BUILD_PAIR_CONDITION(!!target, "target", SD_JSON_BUILD_STRING(target)),
                        SD_JSON_BUILD_PAIR_STRING("createdAt", json_string(snapshot, "createdAt")),
                        SD_JSON_BUILD_PAIR_STRING("made", made),
                        SD_JSON_BUILD_PAIR_STRING("proven", ago ?: "not yet")));
}

static bool has_volume(const Overview *o, const char *wanted) {
        for (size_t i = 0; i < sd_json_variant_elements(o->volumes); i++) {
                _cleanup_free_ char *reference = volume_reference(sd_json_variant_by_index(o->volumes, i));

                if (streq(reference, wanted))
                        return true;
        }
        return false;
}

static void look_at_plan(const Overview *o, Status *status, const char *target, const BackupPlan *plan) {
        _cleanup_free_ char *began = plan->began_usec > 0 ? backup_ago(plan->began_usec) : NULL, *message = NULL;
        _cleanup_close_ int turn = -EBADF;
        Error ignored = {};
        bool runs = false;

        if ((began || plan->failure) && !has_volume(o, plan->volume)) {
                message = must_have(format_new("it is to be backed up to %s, and there is none of that name", target));
                add(&status->problems, plan->volume, message, "quarry backup run %s --to %s --schedule none",
                    plan->volume, target);
                return;
        }
        if (began) {
                turn = backup_plan_turn(target, false, &ignored);
                runs = turn == -EAGAIN;
        }
        if (runs && clock_usec(CLOCK_REALTIME) > plan->began_usec + LONG_USEC) {
                message = must_have(format_new("its backup to %s was begun %s, and is still under way", target, began));
                add(&status->problems, plan->volume, message,
                    "systemctl status 'quarry-backup@%s:*', and look whether that target answers", target);
        } else if (began && !runs) {
                message = must_have(
                        format_new("its last backup to %s, begun %s, did not come to its end", target, began));
                add(&status->problems, plan->volume, message, "quarry backup run %s --to %s", plan->volume, target);
        } else if (plan->failure) {
                message = must_have(format_new("its last backup to %s failed: %s", target, plan->failure));
                add(&status->problems, plan->volume, message, "quarry backup run %s --to %s", plan->volume, target);
        }
}

static const Column backup_status_columns[] = {
        { "volume", "VOLUME", "Which volume", "volume", COLUMN_TEXT, true, CUT_END },
        { "backup", "LAST BACKUP", "When it was made", "made", COLUMN_TEXT, true },
        { "target", "TARGET", "Where it is", "target", COLUMN_TEXT, true },
        { "proven", "PROVEN", "When a restore of it was checked and compared", "proven", COLUMN_TEXT, true },
        {},
};

static void print(const Overview *o, const Status *status) {
        size_t n_pools = sd_json_variant_elements(o->pools);
        bool is_member = sd_json_variant_elements(o->tenants) > 0 && n_pools == 0;

        if (is_member)
                (void) table_print_beside(tenant_columns, o->tenants, "name", SIZE_MAX);
        else if (n_pools > 0)
                (void) table_print_beside(overview_pool_columns, o->pools, "pool", SIZE_MAX);
        else
                puts(OVERVIEW_EMPTY);
        if (sd_json_variant_elements(status->backups) > 0) {
                puts("");
                (void) table_print_beside(backup_status_columns, status->backups, "volume", SIZE_MAX);
        }
        print_list(status->problems, "", STYLE_RED);
        if (sd_json_variant_elements(status->problems) == 0 && (is_member || n_pools > 0))
                puts("\nAll is well.");
        print_list(status->notices, "Before long:\n", STYLE_BOLD);
}

int verb_status(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        _cleanup_(overview_done) Overview o = {};
        _cleanup_(status_done) Status status = {};
        Error err = {};

        if (overview_ask(volume_fields, &o, &err) < 0)
                return report_error("cannot tell how it stands", NULL, &err);

        must(sd_json_variant_new_array(&status.problems, NULL, 0));
        must(sd_json_variant_new_array(&status.notices, NULL, 0));
        must(sd_json_variant_new_array(&status.backups, NULL, 0));
        take_targets(&status);
        for (size_t i = 0; i < sd_json_variant_elements(o.pools); i++)
                look_at_pool(&status, sd_json_variant_by_index(o.pools, i));
        for (size_t i = 0; i < sd_json_variant_elements(o.volumes); i++) {
                look_at_volume(&o, &status, sd_json_variant_by_index(o.volumes, i));
                look_at_backup(&status, sd_json_variant_by_index(o.volumes, i));
        }
        for (size_t i = 0; i < status.n_targets; i++)
                for (size_t j = 0; j < status.targets[i].n_plans; j++)
                        look_at_plan(&o, &status, status.targets[i].name, &status.targets[i].plans[j]);
        for (size_t i = 0; i < sd_json_variant_elements(o.tenants); i++)
                look_at_tenant(&status, sd_json_variant_by_index(o.tenants, i), sd_json_variant_elements(o.pools) == 0);

        if (arg_json) {
                must(sd_json_buildo(
                                &document,
                                SD_JSON_BUILD_PAIR_VARIANT("pools", o.pools),
                                SD_JSON_BUILD_PAIR_VARIANT("tenants", o.tenants),
                                SD_JSON_BUILD_PAIR_VARIANT("backups", status.backups),
                                SD_JSON_BUILD_PAIR_VARIANT("problems", status.problems),
                                SD_JSON_BUILD_PAIR_VARIANT("notices", status.notices)));
                report_document(document);
        } else
                print(&o, &status);
        return sd_json_variant_elements(status.problems) == 0 ? EXIT_DONE : EXIT_FAILED;
}
