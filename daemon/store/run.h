#pragma once

#include <sqlite3.h>

#include <quarry/error.h>
#include <quarry/schedule.h>

/* The small tables: what is kept of the rules of schedules, and the settings of the pool. */

typedef struct RunList {
        ScheduleRun *list;
        size_t n;
} RunList;

typedef struct Setting {
        char *name, *value;
} Setting;

typedef struct SettingList {
        Setting *list;
        size_t n;
} SettingList;

void run_list_done(RunList *runs);
void setting_done(Setting *setting);
void setting_list_done(SettingList *settings);

/* Reads both tables whole. */
int run_list_read(sqlite3 *db, RunList *ret_runs, SettingList *ret_settings, Error *err);

int schedule_run_write(sqlite3 *db, const ScheduleRun *run, bool goes, Error *err);
int setting_write(sqlite3 *db, const Setting *setting, Error *err);
