#include "store/run.h"

#include "store/schema.h"
#include "store/table.h"

#include <quarry/text.h>
#include <quarry/volume.h>

/* None of a volume that was removed meanwhile. */
#define UPSERT                                                                                     \
        "INSERT INTO schedule_run (volume, rule, base_usec, at_usec, failure, snapshot, content)"  \
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM volume WHERE uuid = ?1)"   \
        " ON CONFLICT (volume, rule) DO UPDATE SET"                                                \
        " base_usec = excluded.base_usec, at_usec = excluded.at_usec, failure = excluded.failure," \
        " snapshot = excluded.snapshot, content = excluded.content"
#define DELETE "DELETE FROM schedule_run WHERE volume = ?1 AND rule = ?2"

void run_list_done(RunList *runs) {
        for (size_t i = 0; i < runs->n; i++)
                schedule_run_done(&runs->list[i]);
        free(runs->list);
        *runs = (RunList) {};
}

void setting_done(Setting *setting) {
        free(setting->name);
        free(setting->value);
        *setting = (Setting) {};
}

void setting_list_done(SettingList *settings) {
        for (size_t i = 0; i < settings->n; i++)
                setting_done(&settings->list[i]);
        free(settings->list);
        *settings = (SettingList) {};
}

/* NULL is the null id. */
static int column_id(sqlite3_stmt *s, int i, sd_id128_t *ret) {
        return sqlite3_column_type(s, i) == SQLITE_NULL ? 0 : sd_id128_from_string(table_text(s, i), ret);
}

static int run_read(sqlite3_stmt *s, void *userdata) {
        RunList *runs = userdata;
        const char *failure = table_text_or_null(s, 4);
        ScheduleRun run = { .rule = (char *) table_text(s, 1), .failure = (char *) failure };

        if (sd_id128_from_string(table_text(s, 0), &run.volume) < 0 || sqlite3_column_int64(s, 2) < 0 ||
            sqlite3_column_int64(s, 3) < 0 || column_id(s, 5, &run.snapshot) < 0 || column_id(s, 6, &run.content) < 0)
                return -EINVAL;
        run.base_usec = (uint64_t) sqlite3_column_int64(s, 2);
        run.at_usec = (uint64_t) sqlite3_column_int64(s, 3);
        if (table_list_grow(&runs->list, runs->n, sizeof(*runs->list)) < 0 ||
            schedule_run_copy(&run, &runs->list[runs->n]) < 0)
                return -ENOMEM;
        runs->n++;
        return 0;
}

static int setting_read(sqlite3_stmt *s, void *userdata) {
        SettingList *settings = userdata;
        Setting setting = { .name = strdup(table_text(s, 0)), .value = strdup(table_text(s, 1)) };

        if (!setting.name || !setting.value ||
            table_list_grow(&settings->list, settings->n, sizeof(*settings->list)) < 0) {
                setting_done(&setting);
                return -ENOMEM;
        }
        settings->list[settings->n++] = setting;
        return 0;
}

int run_list_read(sqlite3 *db, RunList *ret_runs, SettingList *ret_settings, Error *err) {
        SettingList settings = {};
        RunList runs = {};
        int r;

        r = table_each_row(db, "SELECT volume, rule, base_usec, at_usec, failure, snapshot, content FROM schedule_run",
                           "schedules", run_read, &runs, err);
        if (r >= 0)
                r = table_each_row(db, "SELECT name, value FROM setting", "settings", setting_read, &settings, err);
        if (r < 0) {
                run_list_done(&runs);
                setting_list_done(&settings);
                return r;
        }
        *ret_runs = runs;
        *ret_settings = settings;
        return 0;
}

int schedule_run_write(sqlite3 *db, const ScheduleRun *run, bool goes, Error *err) {
        char volume[UUID_TEXT_MAX], snapshot[UUID_TEXT_MAX], content[UUID_TEXT_MAX];
        sqlite3_stmt *s = NULL;

        if (sqlite3_prepare_v2(db, goes ? DELETE : UPSERT, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "write the catalog");
        sqlite3_bind_text(s, 1, uuid_format(run->volume, volume), -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, run->rule, -1, SQLITE_STATIC);
        if (!goes) {
                sqlite3_bind_int64(s, 3, (sqlite3_int64) run->base_usec);
                sqlite3_bind_int64(s, 4, (sqlite3_int64) run->at_usec);
                sqlite3_bind_text(s, 5, run->failure, -1, SQLITE_STATIC); /* NULL binds NULL */
                if (!sd_id128_is_null(run->snapshot))
                        sqlite3_bind_text(s, 6, uuid_format(run->snapshot, snapshot), -1, SQLITE_STATIC);
                if (!sd_id128_is_null(run->content))
                        sqlite3_bind_text(s, 7, uuid_format(run->content, content), -1, SQLITE_STATIC);
        }
        return table_finish(db, s, err);
}

int setting_write(sqlite3 *db, const Setting *setting, Error *err) {
        sqlite3_stmt *s = NULL;

        if (sqlite3_prepare_v2(db,
                               setting->value ? "INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)"
                                              : "DELETE FROM setting WHERE name = ?1",
                               -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "write the catalog");
        sqlite3_bind_text(s, 1, setting->name, -1, SQLITE_STATIC);
        if (setting->value)
                sqlite3_bind_text(s, 2, setting->value, -1, SQLITE_STATIC);
        return table_finish(db, s, err);
}
