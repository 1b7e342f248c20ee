/* quarry migrate: a volume goes to another host, while it is in use, and is put out of service here. */

#include "backup.h"
#include "child.h"
#include "client.h"
#include "must.h"
#include "report.h"
#include "transit.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a volume in use what is new is sent again and again, until it is little or no longer gets less. */
#define PASSES_MAX 10
#define LITTLE (16 * MIB)
#define STOP_SECONDS 30 /* in which its users go, behind the command that stops them */
#define FINAL_MAX 3
#define SHELL "/bin/sh"

static const char *arg_to, *arg_stop;
static bool arg_remove;

const Option migrate_options[] = {
        { 0, "to", "URL", "ssh://[USER@]HOST[:PORT][/[POOL:][TENANT/]NAME]", option_string, &arg_to },
        { 0, "stop", "COMMAND", "Run COMMAND, which ends who uses it, at the end", option_string, &arg_stop },
        { 0, "remove", NULL, "Remove it here when all of it is there", option_flag, &arg_remove },
        {},
};

/* "db" is kept as "db-migrated-1a2b3c4d". */
#define KEPT "-migrated-"
#define KEPT_LENGTH (strlen(KEPT) + 8)

static bool was_stopped; /* the command of --stop was run */

static char *kept_name(const char *name, const char *number) {
        return must_have(format_new("%.*s" KEPT "%s", (int) (VOLUME_NAME_MAX - KEPT_LENGTH), name, number));
}

/* --- before anything is made ------------------------------------------------------------------------------ */

static int check_source(const Transit *t, Error *err) {
        bool has_others;
        int r;

        if (!streq(json_string(t->volume, "kind"), "block"))
                return error_set(err, ERROR_NOT_SUPPORTED, 0,
                                 "it is a %s volume, and not in a pool: there is nothing to send",
                                 json_string(t->volume, "kind"));
        if (!streq(json_string(t->volume, "state"), "ready"))
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is %s", t->source,
                                 json_string(t->volume, "state"));
        if (!arg_remove)
                return 0;
        if (sd_json_variant_boolean(sd_json_variant_by_key(t->volume, "protected"))) {
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is protected from being removed", t->source);
                error_hint(err, "quarry update --no-protect %s", t->source);
                return error_code(err);
        }
        r = transit_has_others(t, &has_others, err);
        if (r < 0 || !has_others)
                return r;
        error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s has snapshots, which are not moved and would be lost",
                  t->source);
        error_hint(err, "without --remove it is kept here, under another name, with its snapshots");
        return error_code(err);
}

/* The pool that it will be in there, if that can be told. */
static int find_pool(Transit *t, sd_json_variant **ret, Error *err) {
        char *words[] = { "pool", "ls", NULL };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        const char *wanted = t->remote.name.pool;
        sd_json_variant *pools;
        int r;

        r = remote_call(&t->remote, words, &reply, err);
        if (r < 0)
                return r;
        pools = sd_json_variant_by_key(reply, "pools");
        for (size_t i = 0; i < sd_json_variant_elements(pools); i++) {
                sd_json_variant *pool = sd_json_variant_by_index(pools, i);

                if (streq(json_string(pool, "name"), *wanted ? wanted : DEFAULT_POOL) ||
                    (!*wanted && sd_json_variant_elements(pools) == 1))
                        *ret = sd_json_variant_ref(pool);
        }
        if (*ret || !*wanted)
                return 0;
        return error_set(err, ERROR_NO_SUCH_POOL, ENXIO, "there is no pool %s at %s", wanted, t->remote.host);
}

static int check_room(Transit *t, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *pool = NULL;
        uint64_t free, used = json_unsigned(t->volume, "usedBytes");
        char has[SIZE_TEXT_MAX], wants[SIZE_TEXT_MAX];
        int r;

        r = find_pool(t, &pool, err);
        if (r < 0 || !pool || !sd_json_variant_by_key(pool, "dataSizeBytes"))
                return r;
        free = json_unsigned(pool, "dataSizeBytes") - json_unsigned(pool, "dataUsedBytes");
        if (free >= used)
                return 0;
        error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s at %s has %s free, and %s takes %s", json_string(pool, "name"),
                  t->remote.host, size_format(free, has), t->source, size_format(used, wants));
        error_hint(err, "ssh %s quarry pool extend %s", t->remote.host, json_string(pool, "name"));
        return error_code(err);
}

static int check_tenant(Transit *t, Error *err) {
        char *words[] = { "tenant", "inspect", t->remote.name.tenant, NULL };

        return !*t->remote.name.tenant || streq(t->remote.name.tenant, DEFAULT_TENANT)
                       ? 0
                       : remote_call(&t->remote, words, NULL, err);
}

static bool knows_key(sd_json_variant *keys, const char *id) {
        for (size_t i = 0; i < sd_json_variant_elements(keys); i++) {
                sd_json_variant *key = sd_json_variant_by_index(keys, i);

                if (streq(json_string(key, "id"), id) && *json_string(key, "source"))
                        return true;
        }
        return false;
}

/* What the host key opens is wrapped anew there, by whoever has that key. */
static int check_key(Transit *t, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL, *there = NULL;
        char *words[] = { "key", "status", NULL };
        const char *id;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", t->source)));
        Call call = { .method = API_KEY ".Inspect", .parameters = parameters };
        r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        id = json_string(sd_json_variant_by_key(reply, "keys"), "hostKey");
        if (!*id)
                return 0;
        r = remote_call(&t->remote, words, &there, err);
        if (r < 0 || knows_key(sd_json_variant_by_key(there, "keys"), id))
                return r;
        error_set(err, ERROR_WRONG_KEY, ENOKEY, "%s has not got host key %s, which opens %s", t->remote.host, id,
                  t->source);
        error_hint(err,
                   "give it a passphrase in the place of that, to be given there: quarry key add %s && quarry key "
                   "remove --host %s",
                   t->source, t->source);
        return error_code(err);
}

static int check_there(Transit *t, Error *err) {
        int r;

        r = transit_look_there(t, err);
        if (r >= 0 && !t->there)
                r = check_tenant(t, err);
        if (r >= 0 && !t->there)
                r = check_room(t, err);
        if (r >= 0 && *json_string(sd_json_variant_by_key(t->volume, "encryption"), "keySource"))
                r = check_key(t, err);
        return r;
}

/* --- who uses it ------------------------------------------------------------------------------------------ */

/* Whether it could be rolled back: for that nobody may use it, and whoever does is named. */
static int check_unused(const Transit *t, Error *err) {
        _cleanup_free_ char *snapshot = must_have(format_new("%s@%s", t->source, t->base.here));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot),
                            SD_JSON_BUILD_PAIR_BOOLEAN("discardCurrent", true),
                            SD_JSON_BUILD_PAIR_BOOLEAN("dryRun", true)));
        Call call = { .method = API_VOLUME ".Rollback", .parameters = parameters };
        r = client_call(&call, NULL, NULL, err);
        if (r < 0 && err->kind == ERROR_VOLUME_BUSY)
                error_hint(err, "end that, and run the same again, which sends only what is new%s",
                           arg_stop ? "" : "; or say how: --stop COMMAND");
        return r;
}

static int run_stop(Error *err) {
        char *words[] = { "sh", "-c", (char *) arg_stop, NULL };
        int r, status;
        pid_t child;

        r = child_start(SHELL, words, -EBADF, STDERR_FILENO, &child, err);
        if (r < 0)
                return r;
        status = child_wait(child);
        if (child_caught())
                return error_set(err, ERROR_FAILED, ECANCELED, "it was ended by a signal");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        return error_set(err, ERROR_FAILED, 0, "the command of --stop ended with %d",
                         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int stop(const Transit *t, Error *err) {
        uint64_t end;
        int r;

        if (arg_stop) {
                was_stopped = true;
                r = run_stop(err);
                if (r < 0)
                        return r;
        }
        end = clock_usec(CLOCK_MONOTONIC) + STOP_SECONDS * UINT64_C(1000000);
        while ((r = check_unused(t, err)) < 0 && err->kind == ERROR_VOLUME_BUSY) {
                if (!arg_stop || child_caught() || clock_usec(CLOCK_MONOTONIC) >= end)
                        break;
                *err = (Error) {};
                sleep(1);
        }
        return r;
}

/* --- labels and the like ---------------------------------------------------------------------------------- */

static void add_label(const Transit *t, const char *key, const char *value, char ***words) {
        const char *there = json_string(sd_json_variant_by_key(t->there, "labels"), key);
        _cleanup_free_ char *label = must_have(format_new("%s=%s", key, value)), *quoted = remote_quote(label);

        if (streq(there, value) || streq(key, RECEIVED_LABEL))
                return;
        if (!quoted) {
                fprintf(stderr, "quarry: label %s is not taken over: it has characters that shells read differently\n",
                        key);
                return;
        }
        must(strv_append(words, "--label"));
        must(strv_append(words, quoted));
}

/* What a stream does not say of its volume, as it is by now. */
static int take_over(Transit *t, Error *err) {
        sd_json_variant *labels = sd_json_variant_by_key(t->volume, "labels");
        const char *schedule = json_string(t->volume, "snapshotSchedule");
        _cleanup_strv_ char **words = NULL;

        must(strv_append(&words, "update"));
        must(strv_append(&words, t->target));
        for (size_t i = 0; i + 1 < sd_json_variant_elements(labels); i += 2)
                add_label(t, sd_json_variant_string(sd_json_variant_by_index(labels, i)),
                          sd_json_variant_string(sd_json_variant_by_index(labels, i + 1)), &words);
        if (sd_json_variant_boolean(sd_json_variant_by_key(t->volume, "protected")))
                must(strv_append(&words, "--protect"));
        if (*schedule) {
                _cleanup_free_ char *quoted = remote_quote(schedule);

                must(strv_append(&words, "--snapshot-schedule"));
                must(strv_append(&words, quoted ?: "default"));
        }
        return strv_length(words) > 2 ? remote_call(&t->remote, words, NULL, err) : 0;
}

/* --- the end ---------------------------------------------------------------------------------------------- */

static int rename_as(const Transit *t, const char *from, const char *to, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        char reference[REFERENCE_MAX];

        reference_format(json_string(t->volume, "tenant"), from, reference);
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", reference),
                            SD_JSON_BUILD_PAIR_STRING("name", to)));
        Call call = { .method = API_VOLUME ".Rename", .parameters = parameters };
        return client_call(&call, NULL, NULL, err);
}

/* As it is now, under the name that it is to have. */
static int look_again(Transit *t, const char *name, Error *err) {
        _cleanup_free_ char *uuid = must_have(strdup(json_string(t->volume, "uuid")));
        _cleanup_free_ char *before = must_have(strdup(json_string(t->volume, "name")));
        int r;

        r = transit_look_here(t, uuid, err);
        if (r < 0 || streq(json_string(t->volume, "name"), name))
                return r;
        return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s was given the name %s meanwhile, by somebody else",
                         before, json_string(t->volume, "name"));
}

/* By its name: of two who move one volume at once, or rename it, only the first finds it so. */
static int rename_to(Transit *t, const char *name, Error *err) {
        _cleanup_free_ char *before = must_have(strdup(json_string(t->volume, "name")));
        Error later = {};
        int r, q;

        r = rename_as(t, before, name, err);
        if (r < 0 && err->kind != ERROR_NO_SUCH_VOLUME)
                return r;
        q = look_again(t, name, &later);
        if (q < 0)
                *err = later;
        if (q < 0 && r >= 0) /* another one had taken the name by then, and gets it back */
                (void) rename_as(t, name, before, &later);
        return q;
}

/* Nobody uses it, and the volume there is what it is. Returns 1 if that is so. */
static int is_moved(const Transit *t, Error *err) {
        uint64_t left;
        int r;

        r = check_unused(t, err);
        if (r >= 0)
                r = transit_left(t, &left, err);
        return r < 0 ? r : left == 0;
}

/* Back from the name that it is kept by, if that is what it is called. */
static int give_back(Transit *t, const char *name, const char *kept, Error *err) {
        _cleanup_free_ char *uuid = must_have(strdup(json_string(t->volume, "uuid")));
        int r;

        r = transit_look_here(t, uuid, err);
        return r < 0 || !streq(json_string(t->volume, "name"), kept) ? r : rename_to(t, name, err);
}

/* Behind this nobody finds it by its name. Whoever did so just before is found here, and then it is not done. */
static int put_away(Transit *t, Error *err) {
        _cleanup_free_ char *before = must_have(strdup(json_string(t->volume, "name"))), *kept = NULL;
        Error later = {};
        int r;

        kept = kept_name(before, transit_number(t->base.here, TRANSIT_PREFIX));
        r = rename_to(t, kept, err);
        if (r < 0 && !error_is_unreachable(err)) /* nothing was done */
                return r;
        if (r >= 0)
                r = is_moved(t, err);
        if (r > 0 || give_back(t, before, kept, &later) >= 0)
                return r;
        error_set(err, ERROR_FAILED, later.number, "volume %s may be called %s now: %s", before, kept, later.text);
        error_hint(err, "run the same again");
        return error_code(err);
}

static int end_move(Transit *t, Error *err) {
        _cleanup_free_ char *name = must_have(strdup(json_string(t->volume, "name")));

        for (unsigned n = 0; n < FINAL_MAX; n++) {
                int r = is_moved(t, err);

                if (r == 0)
                        r = transit_pass(t, err);
                if (r >= 0)
                        r = look_again(t, name, err);
                if (r >= 0)
                        r = take_over(t, err);
                if (r >= 0 && child_caught())
                        r = error_set(err, ERROR_FAILED, ECANCELED, "it was ended by a signal");
                if (r >= 0)
                        r = put_away(t, err);
                if (r != 0)
                        return r;
        }
        return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "somebody goes on writing to volume %s", t->source);
}

/* --- the way there ---------------------------------------------------------------------------------------- */

static int send_passes(Transit *t, Error *err) {
        uint64_t left, before = UINT64_MAX;
        int r = 0;

        for (unsigned n = 0; n < PASSES_MAX; n++) {
                if (child_caught())
                        return error_set(err, ERROR_FAILED, ECANCELED, "it was ended by a signal");
                r = transit_left(t, &left, err);
                if (r < 0 || left == 0 || (n > 0 && (left <= LITTLE || left > before / 2)))
                        return r;
                r = transit_pass(t, err);
                if (r < 0)
                        return r;
                before = left;
        }
        return r;
}

static int move(Transit *t, Error *err) {
        int r;

        r = check_source(t, err);
        if (r >= 0)
                r = check_there(t, err);
        if (r >= 0)
                r = send_passes(t, err);
        if (r >= 0)
                r = stop(t, err);
        if (r >= 0)
                r = end_move(t, err);
        return r;
}

/* --- one that was cut short at its very end --------------------------------------------------------------- */

/* The volume is not there under its name, but as it is kept, with the snapshot that went last. */
static int find_kept(Transit *t, const char *name, const char *tenant, Error *err) {
        _cleanup_free_ char *prefix = kept_name(name, "");
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *list = NULL;
        Error later = {};

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("type", "snapshot")));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        if (client_call(&call, &list, NULL, &later) < 0)
                return error_code(err);
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                const char *full = json_string(s, "name"), *snapshot = snapshot_name_of(full),
                           *last = transit_number(snapshot, TRANSIT_PREFIX);
                _cleanup_free_ char *kept = must_have(strndup(full, strcspn(full, "@"))), *reference = NULL;

                if (!last || !streq(transit_number(kept, prefix) ?: "", last) ||
                    !streq(json_string(s, "tenant"), tenant))
                        continue;
                *err = (Error) {};
                buffer_format(t->base.here, sizeof(t->base.here), "%s", snapshot);
                reference = must_have(format_new("%s/%s", tenant, kept));
                return transit_look_here(t, reference, err);
        }
        return error_code(err);
}

/* Returns 1 if it is to be gone on with at its end. */
static int source_find(Transit *t, const Reference *ref, const char *name, Error *err) {
        int r;

        r = transit_look_here(t, name, err);
        if (r >= 0 || err->kind != ERROR_NO_SUCH_VOLUME)
                return r;
        r = find_kept(t, ref->name, *ref->tenant ? ref->tenant : DEFAULT_TENANT, err);
        return r < 0 ? r : 1;
}

/* All of it was there when it was renamed. If nobody wrote to it since, nothing is left to do but to tidy, whatever was
 * done to what is there: returns 1. Else it is as it was before. */
static int go_on(Transit *t, const char *name, Error *err) {
        char last[SNAPSHOT_NAME_MAX + 1];
        Error later = {};
        int r;

        buffer_format(last, sizeof(last), "%s", t->base.here);
        r = transit_look_there(t, &later);
        if (r < 0 && later.kind != ERROR_VOLUME_EXISTS) {
                *err = later;
                error_hint(err, "until the same is run again, it is called %s", t->source);
                return r;
        }
        if (r >= 0 && streq(t->base.here, last)) {
                t->settled = true;
                if (is_moved(t, &later) > 0)
                        return 1;
        }
        return rename_to(t, name, err);
}

/* --- the verb --------------------------------------------------------------------------------------------- */

/* Where nothing is said it is called there as here. */
static char *target_of(const Transit *t, const Reference *ref) {
        const Reference *there = &t->remote.name;
        char text[REFERENCE_MAX];

        if (!*there->name)
                return must_have(strdup(reference_format(json_string(t->volume, "tenant"), ref->name, text)));
        return must_have(format_new("%s%s%s%s%s", there->pool, *there->pool ? ":" : "", there->tenant,
                                    *there->tenant ? "/" : "", there->name));
}

/* Tidying the other end takes a while, in which somebody may have used it under its new name. What is left of its
 * snapshots is ours, and goes with it. */
static int source_remove(const Transit *t, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        bool has_others;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", json_string(t->volume, "uuid")),
                            SD_JSON_BUILD_PAIR_BOOLEAN("snapshots", true)));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters };
        r = transit_has_others(t, &has_others, err);
        if (r >= 0 && has_others)
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "somebody made a snapshot of it meanwhile");
        if (r >= 0)
                r = is_moved(t, err);
        if (r == 0)
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "somebody wrote to it meanwhile");
        if (r > 0)
                r = client_call(&call, NULL, NULL, err);
        if (r < 0)
                error_prefix(err, "all of it is at %s, and %s is still here", t->remote.host, t->source);
        return r;
}

/* What was looked at before it was ours may be what another one has just done: so it is looked at again. Only root can
 * lock there; to others their second one may say what it cannot make sense of. */
static int turn_take(Transit *t, const Reference *ref, const char *name, int *ret, Error *err) {
        _cleanup_free_ char *turn = must_have(format_new("migrate-%s", json_string(t->volume, "uuid")));
        int r;

        if (geteuid() == 0) {
                r = backup_turn_take(turn, false, err);
                if (r < 0)
                        return r == -EAGAIN ? error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                                                        "another quarry migrate of it is under way")
                                            : r;
                *ret = r;
        }
        *t->base.here = 0;
        return source_find(t, ref, name, err);
}

static int migrate(Transit *t, const char *name, Error *err) {
        _cleanup_close_ int turn = -EBADF;
        Reference ref;
        int r;

        r = reference_parse(name, FIELD_ARGUMENTS, &ref, err);
        if (r >= 0 && *ref.snapshot)
                r = error_field(err, FIELD_ARGUMENTS, "%s is a snapshot: volumes are moved", name);
        if (r >= 0)
                r = remote_parse(arg_to, &t->remote, err);
        if (r < 0)
                return r;
        child_catch_signals();
        r = source_find(t, &ref, name, err);
        if (r >= 0)
                r = turn_take(t, &ref, name, &turn, err);
        if (r < 0)
                return r;
        t->target = target_of(t, &ref);
        if (r > 0)
                r = go_on(t, ref.name, err);
        if (r == 0)
                r = move(t, err);
        if (r < 0)
                return r;
        transit_tidy(t, arg_remove);
        if (!arg_remove)
                return 0;
        r = source_remove(t, err);
        if (r >= 0)
                transit_tidy_there(t, false);
        return r;
}

static int report(const Transit *t, const char *name) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

        if (!arg_json) {
                puts(t->target);
                if (!arg_remove)
                        fprintf(stderr, "%s is now %s; when it is not needed any more: quarry rm --snapshots %s\n",
                                name, t->source, t->source);
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", name),
                            SD_JSON_BUILD_PAIR_STRING("host", t->remote.host),
                            SD_JSON_BUILD_PAIR_STRING("received", t->target),
                            SD_JSON_BUILD_PAIR_CONDITION(!arg_remove, "kept", SD_JSON_BUILD_STRING(t->source)),
                            SD_JSON_BUILD_PAIR_UNSIGNED("passes", t->passes)));
        return report_document(document);
}

int verb_migrate(char **arguments) {
        _cleanup_(transit_done) Transit t = {};
        Error err = {};
        int r;

        r = arg_to ? migrate(&t, arguments[0], &err) : error_field(&err, "--to", "--to: say where it is to go");
        if (r >= 0)
                return report(&t, arguments[0]);
        r = report_error("cannot move", arguments[0], &err);
        if (was_stopped && !arg_json)
                fprintf(stderr, "quarry: what the command of --stop has ended is to be started again\n");
        remote_done(&t.remote);
        child_end_by_signal();
        return r;
}
