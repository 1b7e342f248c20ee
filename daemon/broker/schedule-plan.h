#pragma once

/* Which rules of schedules are due when. Pure: what time it is, and when calendar expressions elapse, it is told.
 *
 * A rule is due when its expression elapses first behind its base: the time at which it ran last, or came to be. So
 * what was missed is due once. Rules whose next time is known are in a heap; others wait until somebody was asked about
 * their expression, which is done once for all that it holds for. */

#include <quarry/base.h>
#include <quarry/schedule.h>

#define PLAN_NEVER UINT64_MAX

typedef struct Plan Plan;
typedef struct PlanCalendar PlanCalendar;
typedef struct PlanRule PlanRule;

struct PlanRule {
        PlanCalendar *calendar;
        unsigned keep;
        ScheduleRun run;    /* its volume and expression, too */
        uint64_t next_usec; /* 0: not known yet */
        size_t place;       /* in the heap, from 1; 0: not there */
        bool is_due;        /* it was handed out, and did not run yet */
        PlanRule *next_waiting; /* in PlanCalendar.waiting */
};

/* The rules of a volume. */
typedef struct VolumePlan {
        Plan *plan;
        PlanRule *rules;
        size_t n;
} VolumePlan;

typedef struct PlanEvents {
        void (*on_changed)(void *userdata); /* plan_next() or plan_question() may say something else now */
        void (*on_dropped)(const ScheduleRun *run, void *userdata); /* a rule that its volume has no more */
        void *userdata;
} PlanEvents;

int plan_new(const PlanEvents *events, Plan **ret);
void plan_free(Plan *plan); /* when no volume has rules any more */
DEFINE_CLEANUP(Plan *, plan_free)

/* Gives a volume the rules of a schedule; *at, which may be NULL, has those that it has now. Of these, those that it
 * keeps stay as they are; the others are due when they elapse behind the base. -ENOMEM: nothing was changed. */
int plan_set(Plan *plan, VolumePlan **at, sd_id128_t id, const Schedule *schedule, uint64_t base_usec);
/* The volume goes; NULL is fine. */
void volume_plan_free(VolumePlan *volume);
PlanRule *volume_plan_find(const VolumePlan *volume, const char *expression); /* or NULL */

/* What is known of an earlier run; -ENOMEM. */
int plan_restore(PlanRule *rule, VolumePlan *volume, const ScheduleRun *run);

/* When the first rule is due; PLAN_NEVER. */
uint64_t plan_next(const Plan *plan);
/* One that is due, which is handed out until plan_ran(); or NULL. */
PlanRule *plan_take_due(Plan *plan, uint64_t now_usec);
/* It is due again when it elapses behind the base. */
void plan_ran(Plan *plan, PlanRule *rule, uint64_t base_usec);
/* The clock was set back: what was to wait for a time that lies in the past of another clock counts from now. */
void plan_clock_was_set(Plan *plan, uint64_t now_usec);

/* Expressions about which somebody is to be asked, and behind what time they are to elapse: at most max, with the same
 * base to the second. The strings are the plan's. Returns how many. */
size_t plan_question(Plan *plan, size_t max, uint64_t *ret_base_usec, const char **ret);
/* elapse_usec: 0 for never. */
void plan_answer(Plan *plan, const char *expression, uint64_t base_usec, uint64_t elapse_usec);
/* Whether it is known when it elapses: then it is sound. */
bool plan_knows(const Plan *plan, const char *expression);
