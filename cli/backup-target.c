/* quarry backup target add, ls, rm: where backups go. */

#include "backup-plan.h"
#include "backup.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"

#include <quarry/text.h>

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static const char *arg_credentials, *arg_key_file, *arg_key;
static bool arg_existing;

const Option backup_target_options[] = {
        { 0, "credentials", "FILE", "Holds access_key_id=, secret_access_key= for S3", option_string,
          &arg_credentials },
        { 0, "key", "host|passphrase", "What opens the repository (host)", option_string, &arg_key },
        { 0, "key-file", "FILE", "Its passphrase; with --key host both open it", option_string, &arg_key_file },
        { 0, "existing", NULL, "There is a repository: go on with that", option_flag, &arg_existing },
        {},
};

static char **key_texts(sd_json_variant *row) {
        char **texts = NULL;

        if (sd_json_variant_by_key(row, "hostKey"))
                must(strv_append(&texts, "host"));
        else
                must(strv_append(&texts, "passphrase"));
        return texts;
}

const Column backup_target_columns[] = {
        { "name", "NAME", "What it is called", "name", COLUMN_TEXT, true },
        { "url", "URL", "Where the repository lies", "url", COLUMN_TEXT, true, CUT_END },
        { "key", "KEY", "What opens it here", "hostKey", COLUMN_TEXT, true, .texts = key_texts },
        { "plans", "PLANS", "Volumes with a schedule", "planCount", COLUMN_NUMBER, true },
        {},
};

static sd_json_variant *describe(const BackupTarget *t) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *plans = NULL;
        sd_json_variant *v = NULL;

        must(sd_json_variant_new_array(&plans, NULL, 0));
        for (size_t i = 0; i < t->n_plans; i++) {
                _cleanup_free_ char *schedule = must_have(schedule_format(&t->plans[i].schedule));

                must(sd_json_variant_append_arraybo(
                                &plans,
                                SD_JSON_BUILD_PAIR_STRING("volume", t->plans[i].volume),
                                SD_JSON_BUILD_PAIR_STRING("schedule", schedule),
                                SD_JSON_BUILD_PAIR_BOOLEAN("prove", t->plans[i].prove),
                                SD_JSON_BUILD_PAIR_CONDITION(!!t->plans[i].failure, "failure",
                                                             SD_JSON_BUILD_STRING(t->plans[i].failure))));
        }
        must(sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_STRING("name", t->name),
                        SD_JSON_BUILD_PAIR_STRING("url", t->url),
                        SD_JSON_BUILD_PAIR_UUID("repository", t->repository),
                        SD_JSON_BUILD_PAIR_CONDITION(!!*t->host_key, "hostKey", SD_JSON_BUILD_STRING(t->host_key)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("planCount", t->n_plans),
                        SD_JSON_BUILD_PAIR_VARIANT("plans", plans)));
        return v;
}

/* --- add -------------------------------------------------------------------------------------------------- */

static char *absolute(const char *path) {
        if (!path || streq(path, "-"))
                return NULL;
        return must_have(startswith(path, BACKUP_CREDENTIAL) ? strdup(path) : realpath(path, NULL) ?: strdup(path));
}

static int check_add(const char *name, const char *url, Error *err) {
        BackupTarget there = {};
        Error none = {};

        if (arg_key && !streq(arg_key, "host") && !streq(arg_key, "passphrase"))
                return error_field(err, "--key", "--key is host or passphrase");
        if (store_check_url(url, err) < 0)
                return error_code(err);
        if (startswith(url, "s3://") && !arg_credentials)
                return error_field(err, "--credentials", "an S3 repository needs --credentials FILE");
        if (startswith(url, "file://") && arg_credentials)
                return error_field(err, "--credentials", "--credentials are of an S3 service");
        if (backup_target_load(name, &there, &none) >= 0) {
                backup_target_done(&there);
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "there is a backup target %s already", name);
        }
        if (none.kind == ERROR_NO_SUCH_VOLUME)
                return 0;
        *err = none;
        return error_code(err);
}

/* A disk for backups that is not mounted: what is meant for it lands on the one that a backup is to outlive. */
static void look_at_place(const char *url) {
        const char *path = startswith(url, "file://");
        struct stat place, root;

        if (path && stat(path, &place) >= 0 && stat("/", &root) >= 0 && place.st_dev == root.st_dev)
                fprintf(stderr,
                        "quarry: %s lies in this host's root filesystem: is the disk for backups mounted? findmnt\n",
                        path);
}

/* Who says nothing is given the host key; a passphrase alone, where a file or a terminal has it. */
static int target_add(char **words, Error *err) {
        bool by_host = !arg_key ? !arg_key_file : streq(arg_key, "host");
        _cleanup_(backup_target_done) BackupTarget t = {};
        int r;

        if (!words[1] || !words[2] || words[3])
                return error_field(err, FIELD_ARGUMENTS, "add is followed by NAME and URL");
        r = check_add(words[1], words[2], err);
        if (r < 0)
                return r;
        buffer_format(t.name, sizeof(t.name), "%s", words[1]);
        t.url = must_have(strdup(words[2]));
        t.credentials = absolute(arg_credentials);
        t.key_file = absolute(arg_key_file); /* what is typed, or comes through a pipe, is not kept */
        r = backup_session_add(&t, !arg_existing, by_host, !by_host || arg_key_file, t.key_file ?: arg_key_file, err);
        if (r >= 0 && !arg_existing)
                look_at_place(words[2]);
        return r;
}

/* --- the others ------------------------------------------------------------------------------------------- */

static int target_remove(const char *name, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_close_ int turn = -EBADF;
        int r;

        r = backup_target_begin(name, &turn, &t, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < t.n_plans; i++)
                backup_plan_done(&t.plans[i]);
        t.n_plans = 0;
        r = backup_plan_apply(&t, err);
        return r < 0 ? r : backup_target_remove(name, err);
}

static int target_list(Report *report) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *rows = NULL;
        _cleanup_strv_ char **names = NULL;
        Error err = {};
        int r;

        r = table_check_options(backup_target_columns, &err);
        if (r > 0)
                return EXIT_DONE;
        if (r >= 0)
                r = backup_target_list(&names, &err);
        if (r < 0)
                return report_error("cannot list backup targets", NULL, &err);
        must(sd_json_variant_new_array(&all, NULL, 0));
        for (char **name = names; name && *name; name++) {
                _cleanup_(backup_target_done) BackupTarget t = {};
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = NULL;
                Error failure = {};

                if (backup_target_load(*name, &t, &failure) < 0) {
                        report_failure(report, *name, &failure);
                        continue;
                }
                row = describe(&t);
                must(sd_json_variant_append_array(&all, row));
        }
        rows = table_select(backup_target_columns, all);
        for (size_t i = 0; i < sd_json_variant_elements(rows); i++)
                report_add(report, sd_json_variant_by_index(rows, i));
        if (!arg_json)
                table_print(backup_target_columns, rows);
        return report_finish(report, "targets");
}

int verb_backup_target(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot read target" };
        Error err = {};
        int r;

        if (streq(arguments[0], "ls") && !arguments[1])
                return target_list(&report);
        if (streq(arguments[0], "add"))
                r = target_add(arguments, &err);
        else if (streq(arguments[0], "rm") && arguments[1] && !arguments[2])
                r = target_remove(arguments[1], &err);
        else
                r = error_field(&err, FIELD_ARGUMENTS, "backup target is followed by add NAME URL, ls, or rm NAME");
        if (r < 0)
                return report_error("cannot change backup target", arguments[1], &err);
        report_success(&report, arguments[1]);
        return report_finish(&report, "targets");
}
