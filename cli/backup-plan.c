#include "backup-plan.h"

#include "backup.h"
#include "child.h"
#include "must.h"
#include "report.h"
#include "volume.h"

#include <quarry/clock.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#define UNITS "/etc/systemd/system"
#define UNIT_NAME_MAX 256
#define SYSTEMCTL "/usr/bin/systemctl"
#define ANALYZE "/usr/bin/systemd-analyze"

/* --- what systemd does ------------------------------------------------------------------------------------ */

static int systemctl(const char *verb, const char *option, const char *unit, Error *err) {
        char *arguments[] = { (char *) SYSTEMCTL, (char *) verb, (char *) option, (char *) unit, NULL };
        int r = child_run_silently(SYSTEMCTL, arguments, err);

        if (r <= 0)
                return r;
        error_set(err, ERROR_FAILED, EIO, "systemctl %s%s%s ended with %d", verb, unit ? " " : "", unit ?: "", r);
        error_hint(err, "systemctl status %s", unit ?: "");
        return error_code(err);
}

/* As systemd.unit(5) has it. False if it is too long. */
static bool unit_name(const char *target, const char *expression, char buf[static UNIT_NAME_MAX]) {
        size_t n;

        buffer_format(buf, UNIT_NAME_MAX, "quarry-backup@%s:", target);
        n = strlen(buf);
        for (const char *c = expression; *c; c++) {
                bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                             *c == '_' || *c == '.';

                if (!buffer_format(buf + n, UNIT_NAME_MAX - n,
                                   *c == '/' ? "-"
                                   : plain   ? "%c"
                                             : "\\x%02x",
                                   (unsigned char) *c))
                        return false;
                n += strlen(buf + n);
        }
        return buffer_format(buf + n, UNIT_NAME_MAX - n, ".timer");
}

/* Rules are in UTC, as those of snapshots, unless one names its time zone. Returns 0 if systemd has no use for it. */
static int calendar_make(const char *expression, char **ret, Error *err) {
        _cleanup_free_ char *in_utc = must_have(format_new("%s UTC", expression));
        const char *const forms[] = { in_utc, expression };

        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                char *arguments[] = { (char *) ANALYZE, (char *) "calendar", (char *) forms[i], NULL };
                int r = child_run_silently(ANALYZE, arguments, err);

                if (r > 0)
                        continue;
                if (r == 0)
                        *ret = must_have(strdup(forms[i]));
                return r < 0 ? r : 1;
        }
        return 0;
}

static int check_rules(const char *target, const Schedule *schedule, Error *err) {
        char name[UNIT_NAME_MAX];

        for (size_t i = 0; i < schedule->n; i++) {
                const char *expression = schedule->rules[i].expression;
                _cleanup_free_ char *calendar = NULL;
                int r = calendar_make(expression, &calendar, err);

                if (r < 0)
                        return r;
                if (r == 0 || !unit_name(target, expression, name))
                        return error_field(err, "--schedule", "\"%s\" is no calendar expression that systemd can use",
                                           expression);
        }
        return 0;
}

static bool has_rule(const BackupTarget *t, const char *unit) {
        char name[UNIT_NAME_MAX];

        for (size_t i = 0; i < t->n_plans; i++)
                for (size_t j = 0; j < t->plans[i].schedule.n; j++)
                        if (unit_name(t->name, t->plans[i].schedule.rules[j].expression, name) && streq(name, unit))
                                return true;
        return false;
}

static int timer_make(const BackupTarget *t, const char *expression, Error *err) {
        char name[UNIT_NAME_MAX], path[sizeof(UNITS) + UNIT_NAME_MAX + 1];
        _cleanup_free_ char *text = NULL, *calendar = NULL;
        int r;

        unit_name(t->name, expression, name);
        buffer_format(path, sizeof(path), UNITS "/%s", name);
        if (access(path, F_OK) >= 0)
                return 0;
        r = calendar_make(expression, &calendar, err);
        if (r < 0)
                return r;
        text = must_have(format_new("# Made by quarry backup run --schedule; see quarry-backup(1).\n"
                                    "[Unit]\nDescription=Backups to %s: %s\n\n"
                                    "[Timer]\nOnCalendar=%s\nPersistent=yes\n\n"
                                    "[Install]\nWantedBy=timers.target\n",
                                    t->name, expression, calendar ?: expression));
        r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
        if (r < 0)
                return error_errno(err, r, "cannot write %s", path);
        r = systemctl("daemon-reload", NULL, NULL, err);
        return r < 0 ? r : systemctl("enable", "--now", name, err);
}

static int timers_remove(const BackupTarget *t, Error *err) {
        _cleanup_free_ char *pattern = must_have(format_new(UNITS "/quarry-backup@%s:*.timer", t->name));
        glob_t found = {};
        int r = 0;

        if (glob(pattern, 0, NULL, &found) != 0)
                return 0;
        for (size_t i = 0; i < found.gl_pathc && r >= 0; i++) {
                const char *name = strrchr(found.gl_pathv[i], '/') + 1;

                if (has_rule(t, name))
                        continue;
                r = systemctl("disable", "--now", name, err);
                if (r >= 0 && unlink(found.gl_pathv[i]) < 0)
                        r = error_errno(err, errno, "cannot remove %s", found.gl_pathv[i]);
        }
        globfree(&found);
        return r;
}

int backup_plan_apply(const BackupTarget *t, Error *err) {
        int r;

        r = timers_remove(t, err);
        for (size_t i = 0; i < t->n_plans && r >= 0; i++)
                for (size_t j = 0; j < t->plans[i].schedule.n && r >= 0; j++)
                        r = timer_make(t, t->plans[i].schedule.rules[j].expression, err);
        return r;
}

/* --- plans ------------------------------------------------------------------------------------------------ */

static size_t plan_index(const BackupTarget *t, const char *volume) {
        size_t i = 0;

        while (i < t->n_plans && !streq(t->plans[i].volume, volume))
                i++;
        return i;
}

static void plan_put(BackupTarget *t, const char *volume, const Schedule *schedule, bool prove) {
        size_t i = plan_index(t, volume);

        if (i < t->n_plans)
                backup_plan_done(&t->plans[i]);
        if (schedule->n == 0) { /* none */
                if (i < t->n_plans)
                        t->plans[i] = t->plans[--t->n_plans];
                return;
        }
        if (i == t->n_plans)
                t->plans = must_have(reallocarray(t->plans, ++t->n_plans, sizeof(*t->plans)));
        t->plans[i] = (BackupPlan) { .volume = must_have(strdup(volume)), .schedule = *schedule, .prove = prove };
}

static int plan_set(BackupTarget *t, char **volumes, const char *rules, bool prove, Error *err) {
        Schedule schedule;
        int r;

        r = schedule_parse(rules, "--schedule", &schedule, err);
        if (r >= 0 && schedule.n > 0 && !*t->host_key && !t->key_file) {
                r = error_field(err, "--schedule",
                                "target %s asks for its passphrase on a terminal, where none is then", t->name);
                error_hint(err, "quarry backup target rm %s, and add it again, --existing --key-file FILE", t->name);
        }
        if (r >= 0)
                r = check_rules(t->name, &schedule, err);
        for (char **name = volumes; *name && r >= 0; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
                _cleanup_free_ char *reference = NULL;

                if (schedule.n > 0 || plan_index(t, *name) == t->n_plans) { /* what is gone may have one still */
                        r = volume_inspect(*name, &volume, err);
                        if (r < 0)
                                break;
                        reference = volume_reference(volume);
                }
                plan_put(t, reference ?: *name, &schedule, prove);
        }
        if (r >= 0)
                r = backup_target_save(t, err);
        return r < 0 ? r : backup_plan_apply(t, err);
}

int backup_plan_set(const char *target, char **volumes, const char *rules, bool prove) {
        _cleanup_(report_done) Report report = { .action = "cannot schedule" };
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_close_ int turn = -EBADF;
        Error err = {};

        if (backup_target_begin(target, &turn, &t, &err) < 0 || plan_set(&t, volumes, rules, prove, &err) < 0)
                return report_error("cannot schedule backups", NULL, &err);
        for (char **name = volumes; *name; name++)
                report_success(&report, *name);
        return report_finish(&report, "scheduled");
}

int backup_plan_turn(const char *target, bool wait, Error *err) {
        char turn[64];

        buffer_format(turn, sizeof(turn), "scheduled-%s", target);
        return backup_turn_take(turn, wait, err);
}

static int plan_change(const char *target, const char *volume, uint64_t began_usec, const char *failure, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_close_ int turn = -EBADF;
        bool changed = false;
        int r;

        r = backup_target_begin(target, &turn, &t, err);
        for (size_t i = 0; i < t.n_plans && r >= 0; i++) {
                BackupPlan *plan = &t.plans[i];

                if (!streq(plan->volume, volume) ||
                    (plan->began_usec == began_usec && streq_ptr(plan->failure, failure)))
                        continue;
                plan->began_usec = began_usec;
                if (began_usec == 0) { /* till then it is what the one before came to */
                        free(plan->failure);
                        plan->failure = failure ? must_have(strdup(failure)) : NULL;
                }
                changed = true;
        }
        return r < 0 || !changed ? r : backup_target_save(&t, err);
}

int backup_plan_begin(const char *target, const char *volume, Error *err) {
        return plan_change(target, volume, clock_usec(CLOCK_REALTIME), NULL, err);
}

int backup_plan_note(const char *target, const char *volume, const char *failure, Error *err) {
        return plan_change(target, volume, 0, failure, err);
}

/* --- what one timer is about ------------------------------------------------------------------------------ */

void backup_rule_done(BackupRule *rule) {
        free(rule->target);
        free(rule->expression);
        free(rule->keep);
        free(rule->prove);
        strv_free(rule->volumes);
        *rule = (BackupRule) {};
}

static void rule_add(BackupRule *rule, const BackupPlan *plan) {
        for (size_t i = 0; i < plan->schedule.n; i++) {
                if (!streq(plan->schedule.rules[i].expression, rule->expression))
                        continue;
                rule->keep = must_have(reallocarray(rule->keep, rule->n + 1, sizeof(*rule->keep)));
                rule->prove = must_have(reallocarray(rule->prove, rule->n + 1, sizeof(*rule->prove)));
                must(strv_append(&rule->volumes, plan->volume));
                rule->keep[rule->n] = plan->schedule.rules[i].keep;
                rule->prove[rule->n++] = plan->prove;
        }
}

int backup_plan_find(const char *timer, BackupRule *ret, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        const char *colon = strchr(timer, ':');
        int r;

        if (!colon)
                return error_field(err, "--scheduled", "--scheduled: a timer is TARGET:RULE");
        BackupRule rule = { .target = must_have(strndup(timer, (size_t) (colon - timer))),
                            .expression = must_have(strdup(colon + 1)) };
        r = backup_target_load(rule.target, &t, err);
        for (size_t i = 0; i < t.n_plans && r >= 0; i++)
                rule_add(&rule, &t.plans[i]);
        if (r >= 0 && rule.n == 0)
                r = error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "nothing is scheduled by %s", timer);
        if (r < 0)
                backup_rule_done(&rule);
        else
                *ret = rule;
        return r;
}

static bool is_of_rule(const Backup *b, const BackupRule *rule, size_t i) {
        _cleanup_free_ char *reference = backup_reference(b);

        return streq_ptr(b->rule, rule->expression) && streq(reference, rule->volumes[i]) && backup_is_of_here(b);
}

/* Of those that the rule made of this volume on this host, the oldest first, and the damaged ones; but the last that
 * was proven. */
static int expire_one(BackupSession *session, const BackupList *list, const BackupRule *rule, size_t i, size_t *ret_n,
                      Error *err) {
        const Backup *last = NULL;
        size_t left = 0;
        int r = 0;

        for (size_t j = 0; j < list->n; j++)
                if (is_of_rule(&list->list[j], rule, i)) {
                        last = &list->list[j];
                        left += !list->doubted[j];
                }
        if (!last || backup_all_doubted(list, last))
                return 0;
        for (size_t j = 0; j < list->n && r >= 0; j++) {
                const Backup *b = &list->list[j];

                if (!is_of_rule(b, rule, i) ||
                    (!list->doubted[j] && (left <= rule->keep[i] || b == backup_last_proven(list, b))))
                        continue;
                r = backup_remove(session->repository, b, err);
                left -= !list->doubted[j];
                *ret_n += r >= 0;
        }
        return r;
}

int backup_plan_expire(const BackupRule *rule, Error *err) {
        _cleanup_(backup_session_done) BackupSession session = {};
        _cleanup_(backup_list_done) BackupList list = {};
        size_t n = 0, swept;
        int r;

        r = backup_session_open(rule->target, REPOSITORY_ALONE, "quarry backup run --scheduled", &session, err);
        if (r < 0 && err->kind == ERROR_VOLUME_BUSY) { /* the next run finds them */
                *err = (Error) {};
                return 0;
        }
        if (r >= 0)
                r = backup_list(session.repository, &list, err);
        for (size_t i = 0; i < rule->n && r >= 0; i++)
                r = expire_one(&session, &list, rule, i, &n, err);
        return r < 0 || n == 0 ? r : backup_sweep(&session, &swept, err);
}
