/* quarry ls, inspect, exists, rm */

#include "volume.h"

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"

#include <quarry/json.h>
#include <quarry/text.h>
#include <quarry/volume.h>

static const char *arg_pool, *arg_tenant, *arg_type;
static bool arg_dry_run, arg_lazy, arg_snapshots, arg_yes;

static int option_type(const Option *option, const char *value, Error *err) {
        if (!streq(value, "volume") && !streq(value, "snapshot") && !streq(value, "all"))
                return error_field(err, "--type", "the type is volume, snapshot or all");
        return option_string(option, value, err);
}

const Option ls_options[] = {
        { 0, "pool", "POOL", "Only volumes of this pool", option_string, &arg_pool },
        { 0, "tenant", "TENANT", "Only volumes of this tenant", option_string, &arg_tenant },
        { 0, "type", "volume|snapshot|all", "What is listed (volume)", option_type, &arg_type },
        {},
};

const Option rm_options[] = {
        { 0, "dry-run", NULL, "Say what would be removed, and remove nothing", option_flag, &arg_dry_run },
        { 0, "lazy", NULL, "If it is in use, remove it behind its last user", option_flag, &arg_lazy },
        { 0, "snapshots", NULL, "Remove its snapshots, too", option_flag, &arg_snapshots },
        { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes },
        {},
};

char *volume_reference(sd_json_variant *volume) {
        char reference[REFERENCE_MAX];

        return must_have(
                strdup(reference_format(json_string(volume, "tenant"), json_string(volume, "name"), reference)));
}

static char **name_texts(sd_json_variant *row) {
        char **texts = NULL;
        _cleanup_free_ char *reference = volume_reference(row);

        must(strv_append(&texts, reference));
        return texts;
}

static char **fs_texts(sd_json_variant *row) {
        const char *fs = json_string(row, "filesystem");
        char **texts = NULL;

        must(strv_append(&texts, *fs ? fs : json_string(row, "kind")));
        return texts;
}

/* Where its contents are to be found: its mounts, or the device of an open volume without filesystem. */
static char **mounted_texts(sd_json_variant *row) {
        sd_json_variant *holds = sd_json_variant_by_key(row, "holds");
        char **texts = NULL;

        for (size_t i = 0; i < sd_json_variant_elements(holds); i++)
                must(strv_append(&texts, json_string(sd_json_variant_by_index(holds, i), "path")));

        if (!texts && streq(json_string(row, "filesystem"), "none") &&
            sd_json_variant_boolean(sd_json_variant_by_key(row, "open"))) {
                _cleanup_free_ char *device = must_have(
                        format_new(DEVICE_LINK_ROOT "/%s/%s", json_string(row, "tenant"), json_string(row, "name")));
                must(strv_append(&texts, device));
        }
        return texts;
}

bool volume_is_unused(sd_json_variant *volume) {
        bool is_device = streq(json_string(volume, "filesystem"), "none");

        return sd_json_variant_elements(sd_json_variant_by_key(volume, "holds")) == 0 &&
               !(is_device && sd_json_variant_boolean(sd_json_variant_by_key(volume, "open")));
}

static char **unused_texts(sd_json_variant *row) {
        char **texts = NULL;

        must(strv_append(&texts, volume_is_unused(row) ? "yes" : "no"));
        return texts;
}

static char **mode_texts(sd_json_variant *row) {
        sd_json_variant *mode = sd_json_variant_by_key(row, "mode");
        char **texts = NULL;

        if (sd_json_variant_is_unsigned(mode)) {
                _cleanup_free_ char *text = must_have(
                        format_new("%04llo", (unsigned long long) sd_json_variant_unsigned(mode)));
                must(strv_append(&texts, text));
        }
        return texts;
}

static char **state_texts(sd_json_variant *row) {
        char **texts = NULL;

        must(strv_append(&texts, json_string(row, "state")));
        if (sd_json_variant_boolean(sd_json_variant_by_key(row, "stopped")))
                must(strv_append(&texts, "stopped"));
        if (sd_json_variant_boolean(sd_json_variant_by_key(row, "protected")))
                must(strv_append(&texts, "protected"));
        if (describe_is_locked(row))
                must(strv_append(&texts, "locked"));
        return texts;
}

/* Its own, or what its pool has for it. */
static char **schedule_texts(sd_json_variant *row) {
        sd_json_variant *rules = sd_json_variant_by_key(row, "scheduleRules");
        char **texts = NULL;

        for (size_t i = 0; i < sd_json_variant_elements(rules); i++) {
                sd_json_variant *rule = sd_json_variant_by_index(rules, i);
                _cleanup_free_ char *text = must_have(format_new("%s keep %llu", json_string(rule, "expression"),
                                                                 (unsigned long long) json_unsigned(rule, "keep")));

                must(strv_append(&texts, text));
        }
        if (!texts && *json_string(row, "snapshotSchedule"))
                must(strv_append(&texts, json_string(row, "snapshotSchedule")));
        return texts;
}

const Column volume_columns[] = {
        { "name",
          "NAME",
          "Name, with the tenant unless it is \"default\"",
          "name",
          COLUMN_TEXT,
          true,
          CUT_END,
          name_texts,
          { "tenant" } },
        { "size", "SIZE", "What it can hold", "sizeBytes", COLUMN_SIZE, true },
        { "used", "USED", "Space taken in the pool", "usedBytes", COLUMN_SIZE, true },
        { "fs",
          "FS",
          "Filesystem; of what is not in the pool: its kind",
          "filesystem",
          COLUMN_TEXT,
          true,
          CUT_NOTHING,
          fs_texts,
          { "kind" },
          "ext4 xfs none bind tmpfs" },
        { "key", "KEY", "Where the key comes from, if encrypted", "encryption.keySource", COLUMN_TEXT, true,
          .values = "host passphrase" },
        { "state",
          "STATE",
          "creating, ready, removing or broken; stopped: no new space; protected; locked: no key",
          "state",
          COLUMN_TEXT,
          true,
          CUT_NOTHING,
          state_texts,
          { "stopped", "protected", "encryption" },
          "creating ready removing broken stopped protected locked" },
        { "snapshots", "SNAPS", "How many snapshots it has", "snapshots", COLUMN_NUMBER },
        { "exclusive", "EXCL", "Space that no other volume or snapshot has, as last seen", "exclusiveBytes",
          COLUMN_SIZE },
        { "schedule",
          "SCHEDULE",
          "When snapshots are made of it, and how many are kept",
          "snapshotSchedule",
          COLUMN_TEXT,
          false,
          CUT_END,
          schedule_texts,
          { "scheduleRules" } },
        { "last-snapshot", "LAST SNAPSHOT", "When its newest snapshot was made", "lastSnapshotAt", COLUMN_TIME },
        { "next-snapshot", "NEXT SNAPSHOT", "When the next is made by its schedule", "nextSnapshotAt", COLUMN_TIME },
        { "rule", "RULE", "Of a snapshot: the rule that made it", "rule" },
        { "held", "HELD", "Whether a snapshot is kept from being removed", "held", COLUMN_YES },
        { "protected", "PROTECTED", "Whether a volume is kept from being removed", "protected", COLUMN_YES },
        { "kind", "KIND", "block, bind (a directory) or tmpfs (in memory)", "kind", COLUMN_TEXT, false,
          .values = "block bind tmpfs" },
        { "source", "SOURCE", "Of a bind volume: the directory that it is", "source", COLUMN_TEXT, false, CUT_START },
        { "type", "TYPE", "volume or snapshot", "type", .values = "volume snapshot" },
        { "unused",
          "UNUSED",
          "Whether nobody holds it: neither mounted nor an open device",
          "holds",
          COLUMN_YES,
          false,
          CUT_NOTHING,
          unused_texts,
          { "filesystem", "open" } },
        { "mounted",
          "MOUNTED",
          "Where it is mounted, or its device",
          "holds",
          COLUMN_TEXT,
          true,
          CUT_START,
          mounted_texts,
          { "filesystem", "open", "tenant", "name" } },
        { "pool", "POOL", "Pool that it lies in", "pool" },
        { "tenant", "TENANT", "Tenant that it belongs to", "tenant" },
        { "labels", "LABELS", "Labels", "labels", COLUMN_TEXT, false, CUT_END, .also = "label" },
        { "created", "CREATED", "When it was made", "createdAt", COLUMN_TIME },
        { "cipher", "CIPHER", "Cipher, if encrypted", "encryption.cipher" },
        { "uid", "UID", "Owner that its root directory was given", "uid", COLUMN_NUMBER },
        { "gid", "GID", "Group that its root directory was given", "gid", COLUMN_NUMBER },
        { "mode", "MODE", "Permissions that its root directory was given", "mode", COLUMN_TEXT, false, CUT_NOTHING,
          mode_texts },
        { "open", "OPEN", "Whether its devices are open", "open", COLUMN_YES },
        { "failure", "FAILURE", "Why it is broken", "failure", COLUMN_TEXT, false, CUT_END },
        { "uuid", "UUID", "Identity", "uuid" },
        {},
};

void volume_report_missing(Report *report, sd_json_variant *pools) {
        for (size_t i = 0; i < sd_json_variant_elements(pools); i++) {
                sd_json_variant *pool = sd_json_variant_by_index(pools, i);
                const char *name = json_string(pool, "name"), *failure = json_string(pool, "failure");
                uint64_t volumes = json_unsigned(pool, "volumes");
                Error err = {};

                error_set(&err, ERROR_POOL_UNAVAILABLE, 0, "it is %s, and %s%s%s", json_string(pool, "state"),
                          volumes > 0 ? "its volumes are listed as they were before"
                                      : "its volumes are not in the list",
                          *failure ? ": " : "", failure);
                error_hint(&err, "quarry pool inspect %s", name);
                report_failure(report, name, &err);
        }
}

int verb_ls(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *all = NULL, *rows = NULL, *last = NULL;
        _cleanup_(report_done) Report report = { .action = "cannot ask pool" };
        Error err = {};

        int r = table_check_options(volume_columns, &err);
        if (r != 0)
                return r < 0 ? report_error("cannot list volumes", NULL, &err) : EXIT_DONE;

        _cleanup_strv_ char **members = table_members(volume_columns);
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_CONDITION(!!members, "fields", SD_JSON_BUILD_STRV(members)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_pool, "pool", SD_JSON_BUILD_STRING(arg_pool)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_tenant, "tenant", SD_JSON_BUILD_STRING(arg_tenant)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_type, "type", SD_JSON_BUILD_STRING(arg_type))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes", .last = &last };
        if (client_call(&call, &all, NULL, &err) < 0)
                return report_error("cannot list volumes", NULL, &err);

        rows = table_select(volume_columns, all);
        sd_json_variant *missing = sd_json_variant_by_key(last, "missingPools");
        if (arg_json) {
                for (size_t i = 0; i < sd_json_variant_elements(rows); i++)
                        report_add(&report, sd_json_variant_by_index(rows, i));
        } else if (sd_json_variant_elements(rows) > 0 || !isatty(STDOUT_FILENO))
                table_print(volume_columns, rows);
        else if (sd_json_variant_elements(all) > 0)
                puts("No volume matches.");
        else if (sd_json_variant_elements(missing) == 0 && arg_type && streq(arg_type, "snapshot"))
                puts("No snapshots yet. Make one: quarry snapshot NAME");
        else if (sd_json_variant_elements(missing) == 0)
                puts("No volumes yet. Make one: quarry create NAME --size 10G");
        volume_report_missing(&report, missing);
        return report_finish(&report, "volumes");
}

int volume_inspect(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", name)));
        Call call = { .method = API_VOLUME ".Inspect", .parameters = parameters };
        int r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        *ret = sd_json_variant_ref(sd_json_variant_by_key(reply, "volume"));
        return 0;
}

int verb_inspect(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot inspect" };
        bool first = true;

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
                Error err = {};

                if (volume_inspect(*name, &volume, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_add(&report, volume);
                if (arg_json)
                        continue;
                if (!first)
                        putchar('\n');
                first = false;
                describe_volume(volume);
        }
        return report_finish(&report, "volumes");
}

int verb_exists(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *document = NULL;
        Error err = {};

        int r = volume_inspect(arguments[0], &volume, &err);
        bool is_missing = r < 0 && error_kind_exit_code(err.kind) == EXIT_NOT_FOUND;
        if (r < 0 && !is_missing)
                return report_error("cannot look for", arguments[0], &err);

        if (arg_json) {
                must(sd_json_buildo(
                                &document,
                                SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                                SD_JSON_BUILD_PAIR_BOOLEAN("exists", !is_missing)));
                report_document(document);
        }
        return is_missing ? EXIT_NOT_FOUND : EXIT_DONE;
}

/* --- rm -------------------------------------------------------------------------------------------------- */

static int volume_remove(Report *report, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("removing %s", name));

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_lazy, "lazy", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_snapshots, "snapshots", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters, .what = what };
        int r = client_call(&call, &reply, NULL, err);
        if (r >= 0)
                report_users(report, name, "goes when its last user does", reply);
        return r;
}

/* Why the daemon would refuse, as far as its description tells. */
static int removal_check(sd_json_variant *volume, Error *err) {
        sd_json_variant *hold = sd_json_variant_by_index(sd_json_variant_by_key(volume, "holds"), 0);

        uint64_t snapshots = json_unsigned(volume, "snapshots");
        _cleanup_free_ char *reference = volume_reference(volume);

        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "held"))) {
                error_set(err, ERROR_VOLUME_BUSY, 0, "it is held");
                error_hint(err, "quarry release %s", reference);
                return error_code(err);
        }
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "protected"))) {
                error_set(err, ERROR_VOLUME_BUSY, 0, "it is protected from being removed");
                error_hint(err, "quarry update --no-protect %s", reference);
                return error_code(err);
        }
        if (snapshots > 0 && !arg_snapshots) {
                error_set(err, ERROR_VOLUME_BUSY, 0, "it has %llu snapshot%s", (unsigned long long) snapshots,
                          snapshots == 1 ? "" : "s");
                error_hint(err, "quarry rm --snapshots %s", reference);
                return error_code(err);
        }
        if (!hold)
                return 0;
        error_set(err, ERROR_VOLUME_BUSY, 0, "it is in use: mounted at %s", json_string(hold, "path"));
        const char *path = json_string(hold, "path");
        error_hint(err, "quarry umount %s", streq(path, json_string(volume, "mountPoint")) ? reference : path);
        return error_code(err);
}

char *volume_extent(sd_json_variant *volume) {
        sd_json_variant *bytes = sd_json_variant_by_key(volume, "usedBytes");
        _cleanup_free_ char *size = table_size(sd_json_variant_by_key(volume, "sizeBytes")), *used = table_size(bytes);

        if (streq(json_string(volume, "kind"), "bind"))
                return must_have(format_new("%s, which stays as it is", json_string(volume, "source")));
        return must_have(format_new("%s%s%s%s", size, bytes ? ", " : "", bytes ? used : "", bytes ? " used" : ""));
}

/* The volume and, with --snapshots, those of its snapshots. */
static int removal_list(sd_json_variant *volume, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL, *parameters = NULL, *all = NULL;
        const char *name = json_string(volume, "name");

        if (arg_snapshots && json_unsigned(volume, "snapshots") > 0) {
                must(sd_json_buildo(
                                &parameters,
                                SD_JSON_BUILD_PAIR_STRING("pool", json_string(volume, "pool")),
                                SD_JSON_BUILD_PAIR_STRING("tenant", json_string(volume, "tenant")),
                                SD_JSON_BUILD_PAIR_STRING("type", "snapshot")));
                Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
                int r = client_call(&call, &all, NULL, err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < sd_json_variant_elements(all); i++) {
                sd_json_variant *snapshot = sd_json_variant_by_index(all, i);
                const char *of = json_string(snapshot, "name");

                if (strncmp(of, name, strlen(name)) == 0 && of[strlen(name)] == '@')
                        must(sd_json_variant_append_array(&list, snapshot));
        }
        must(sd_json_variant_append_array(&list, volume));
        *ret = TAKE_PTR(list);
        return 0;
}

static int dry_run_one(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *list = NULL;
        int r;

        r = volume_inspect(name, &volume, err);
        if (r >= 0)
                r = removal_list(volume, &list, err);
        for (size_t i = 0; r >= 0 && i < sd_json_variant_elements(list); i++)
                r = removal_check(sd_json_variant_by_index(list, i), err);
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

static int dry_run(char **names) {
        _cleanup_(report_done) Report report = { .action = "cannot remove" };

        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
                Error err = {};

                if (dry_run_one(*name, &list, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                        sd_json_variant *volume = sd_json_variant_by_index(list, i);
                        _cleanup_free_ char *extent = volume_extent(volume), *reference = volume_reference(volume);

                        report_add(&report, volume);
                        if (!arg_json)
                                printf("would remove %s (%s)\n", reference, extent);
                }
        }
        return report_finish(&report, "wouldRemove");
}

/* Shows what there is to lose. What cannot be removed anyway is left for the removal itself to report. */
static bool removal_is_wanted(char **names) {
        size_t n = 0;

        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
                Error err = {};

                if (volume_inspect(*name, &volume, &err) < 0)
                        continue;
                _cleanup_free_ char *extent = volume_extent(volume);
                fprintf(stderr, "  %s  (%s)\n", *name, extent);
                n++;
        }
        if (n == 0)
                return true;

        _cleanup_free_ char *question = must_have(
                n == 1 ? strdup("Remove this volume and everything in it?")
                       : format_new("Remove these %zu volumes and everything in them?", n));
        return terminal_confirm(question);
}

int verb_rm(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot remove" };

        if (arg_dry_run)
                return dry_run(arguments);
        if (!arg_yes && terminal_can_ask() && !removal_is_wanted(arguments)) {
                Error err = {};

                error_set(&err, ERROR_FAILED, ECANCELED, "nothing was removed");
                return report_error(NULL, NULL, &err);
        }

        for (char **name = arguments; *name; name++) {
                Error err = {};

                if (volume_remove(&report, *name, &err) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, "removed");
}
