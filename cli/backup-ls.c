/* quarry backup ls */

#include "backup.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"
#include "when.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <inttypes.h>

static const char *arg_from;

const Option backup_ls_options[] = {
        { 0, "from", "TARGET", "Which target; not needed if there is one only", option_string, &arg_from },
        {},
};

/* "3 days ago", "not yet", "DAMAGED: ..." */
static char **proof_texts(sd_json_variant *row) {
        sd_json_variant *sound = sd_json_variant_by_key(row, "sound");
        _cleanup_free_ char *text = NULL;
        char **texts = NULL;
        uint64_t usec;

        if (!sound)
                text = must_have(strdup("not yet"));
        else if (!sd_json_variant_boolean(sound))
                text = must_have(format_new("DAMAGED: %s", json_string(row, "proof")));
        else if (when_parse(json_string(row, "provenAt"), 0, &usec) >= 0)
                text = backup_ago(usec);
        if (text)
                must(strv_append(&texts, text));
        return texts;
}

const Column backup_columns[] = {
        { "id", "ID", "What it is called", "id", COLUMN_TEXT, true },
        { "volume", "VOLUME", "Of which volume", "volume", COLUMN_TEXT, true, CUT_END },
        { "time", "TIME", "When its image was made, in UTC", "createdAt", COLUMN_TIME, true },
        { "size", "SIZE", "Size of the volume", "sizeBytes", COLUMN_SIZE, true },
        { "read", "READ", "What was read of it", "readBytes", COLUMN_SIZE, true },
        { "stored", "STORED", "What was new in the repository, as it lies there", "storedBytes", COLUMN_SIZE, true },
        { "proven", "PROVEN", "When a restore of it was checked and compared", "provenAt", COLUMN_TEXT, true, CUT_END,
          .texts = proof_texts, .beside = { "sound", "proof" } },
        { "host", "HOST", "Of which host", "host", COLUMN_TEXT, false },
        { "pool", "POOL", "Of which pool", "pool", COLUMN_TEXT, false },
        { "fs", "FS", "Filesystem", "filesystem", COLUMN_TEXT, false },
        { "parent", "PARENT", "The backup on which it built", "parent", COLUMN_TEXT, false },
        { "rule", "RULE", "The rule of a schedule that made it", "rule", COLUMN_TEXT, false },
        {},
};

char *backup_ago(uint64_t usec) {
        uint64_t now = clock_usec(CLOCK_REALTIME), seconds = now > usec ? (now - usec) / 1000000 : 0;
        const struct {
                uint64_t seconds;
                const char *word;
        } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" } };

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                uint64_t n = seconds / units[i].seconds;

                if (n > 0)
                        return must_have(format_new("%" PRIu64 " %s%s ago", n, units[i].word, n == 1 ? "" : "s"));
        }
        return must_have(strdup("just now"));
}

int verb_backup_ls(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *rows = NULL;
        _cleanup_(report_done) Report report = { .action = "cannot list" };
        _cleanup_(backup_session_done) BackupSession session = {};
        _cleanup_(backup_list_done) BackupList list = {};
        Error err = {};
        int r;

        table_options.sort = table_options.sort ?: "time";
        r = table_check_options(backup_columns, &err);
        if (r > 0)
                return EXIT_DONE;
        if (r >= 0)
                r = backup_session_look(arg_from, &session, &err);
        if (r >= 0)
                r = backup_list(session.repository, &list, &err);
        if (r < 0)
                return report_error("cannot list backups", NULL, &err);
        must(sd_json_variant_new_array(&all, NULL, 0));
        for (size_t i = 0; i < list.n; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = NULL;

                row = backup_describe(&list.list[i], backup_list_proof(&list, list.list[i].id));
                if (backup_is_of_one(&list.list[i], arguments))
                        must(sd_json_variant_append_array(&all, row));
        }
        if (list.n_damaged > 0)
                report_failure(&report, session.target.name, &list.damage);
        for (char **volume = arguments; *volume; volume++) {
                Error none = {};

                if (backup_check_named(&list, *volume, &none) < 0)
                        report_failure(&report, *volume, &none);
        }
        rows = table_select(backup_columns, all);
        if (!arg_json)
                table_print(backup_columns, rows);
        for (size_t i = 0; i < sd_json_variant_elements(rows); i++)
                report_add(&report, sd_json_variant_by_index(rows, i));
        return report_finish(&report, "backups");
}
