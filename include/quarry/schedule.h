#pragma once

/* When snapshots are made of a volume, and how many are kept: "hourly keep 24, Mon..Fri *-*-* 08:00 keep 10". */

#include <quarry/base.h>
#include <quarry/error.h>

#include <systemd/sd-id128.h>

#define SCHEDULE_RULES_MAX 16u
#define SCHEDULE_KEEP_MAX 1000u
#define SCHEDULE_EXPRESSION_MAX 120

/* What is typed for "no snapshots", also where the pool has a schedule. */
#define SCHEDULE_NONE "none"

/* What is typed for "as the pool has it". */
#define SCHEDULE_DEFAULT "default"

typedef struct ScheduleRule {
        char expression[SCHEDULE_EXPRESSION_MAX + 1]; /* systemd.time(7); names the rule: each is there once */
        unsigned keep;
} ScheduleRule;

typedef struct Schedule {
        ScheduleRule rules[SCHEDULE_RULES_MAX];
        size_t n; /* 0: none */
} Schedule;

/* Whether it has the letters that a calendar expression is made of and cannot be taken for an option; what it means
 * only systemd knows. */
bool schedule_expression_is_valid(const char *s);

/* ERROR_BAD_REQUEST with the rule that is broken, for the request's field of this name. */
int schedule_parse(const char *s, const char *field, Schedule *ret, Error *err);

/* As schedule_parse() reads it back; NULL: out of memory. */
char *schedule_format(const Schedule *schedule);

/* What is kept of a rule of a volume. */
typedef struct ScheduleRun {
        sd_id128_t volume;
        char *rule;         /* its expression */
        uint64_t base_usec; /* it is due when that elapses first behind this: CLOCK_REALTIME, microseconds */
        uint64_t at_usec;   /* when it ran last; 0: never */
        char *failure;      /* why it failed then, or NULL */
        sd_id128_t snapshot; /* the last that it made; null: none */
        sd_id128_t content; /* what the volume held when an image was made, see JobDevice; null: not known */
} ScheduleRun;

void schedule_run_done(ScheduleRun *run);
int schedule_run_copy(const ScheduleRun *from, ScheduleRun *ret); /* -ENOMEM */

/* What the names of a rule's snapshots begin with: "hourly-", or "auto-" if the expression is not a plain word. */
#define SCHEDULE_PREFIX_MAX 24
char *schedule_prefix(const char *expression, char buf[static SCHEDULE_PREFIX_MAX + 1]);
