#pragma once

/* Backups that are made by themselves: a target's file says of which volumes and when, and for each of its rules there
 * is a systemd timer, quarry-backup@TARGET:RULE.timer. */

#include <quarry/backup-target.h>

/* What one timer is about. */
typedef struct BackupRule {
        char *target, *expression;
        unsigned *keep; /* of each volume */
        char **volumes;
        bool *prove;
        size_t n;
} BackupRule;

void backup_rule_done(BackupRule *rule);

/* timer: "TARGET:RULE", what is between the @ and the suffix of its unit, unescaped. */
int backup_plan_find(const char *timer, BackupRule *ret, Error *err);
/* Removes what is older than what the rule keeps, and what only that needed. */
int backup_plan_expire(const BackupRule *rule, Error *err);

/* All rules of a target go one after the other. Returns what is held meanwhile; -EAGAIN: one is under way, unless
 * wait. */
int backup_plan_turn(const char *target, bool wait, Error *err);
/* That one of its backups begins, of which nobody tells if it is killed, */
int backup_plan_begin(const char *target, const char *volume, Error *err);
/* and what became of it; failure: NULL: it was made. */
int backup_plan_note(const char *target, const char *volume, const char *failure, Error *err);

/* rules: as a schedule of snapshots, or "none". target: NULL: the only one. Returns the exit code. */
int backup_plan_set(const char *target, char **volumes, const char *rules, bool prove);

/* Timers for the rules that the target has now, and none for others. none: for none. */
int backup_plan_apply(const BackupTarget *target, Error *err);
