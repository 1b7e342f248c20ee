#include "broker/schedule-plan.h"

#include <quarry/text.h>

#include <search.h>

#define SECOND UINT64_C(1000000)

/* What is known of an expression: behind any time in [from, next) it elapses at next. */
struct PlanCalendar {
        char *expression; /* first: the tree compares by it */
        size_t n_rules;
        uint64_t from, next;
        PlanRule *waiting; /* to be told of it */
        PlanCalendar *before, *behind; /* among those for which somebody waits */
};

struct Plan {
        PlanEvents events;
        void *calendars; /* tree */
        PlanCalendar *asked; /* for which rules wait */
        PlanRule **heap; /* from 1 */
        size_t n, room;
        size_t n_rules;
};

static int compare_calendars(const void *a, const void *b) {
        const PlanCalendar *x = a, *y = b;

        return strcmp(x->expression, y->expression);
}

static void changed(Plan *plan) {
        if (plan->events.on_changed)
                plan->events.on_changed(plan->events.userdata);
}

/* --- the heap ------------------------------------------------------------------------------------------- */

static void heap_put(Plan *plan, size_t place, PlanRule *rule) {
        plan->heap[place] = rule;
        rule->place = place;
}

static void heap_up(Plan *plan, PlanRule *rule) {
        size_t i = rule->place;

        for (; i > 1 && plan->heap[i / 2]->next_usec > rule->next_usec; i /= 2)
                heap_put(plan, i, plan->heap[i / 2]);
        heap_put(plan, i, rule);
}

static void heap_down(Plan *plan, PlanRule *rule) {
        size_t i = rule->place;

        for (size_t child; (child = i * 2) <= plan->n; i = child) {
                if (child < plan->n && plan->heap[child + 1]->next_usec < plan->heap[child]->next_usec)
                        child++;
                if (plan->heap[child]->next_usec >= rule->next_usec)
                        break;
                heap_put(plan, i, plan->heap[child]);
        }
        heap_put(plan, i, rule);
}

static void heap_add(Plan *plan, PlanRule *rule) {
        rule->place = ++plan->n;
        heap_up(plan, rule);
}

static void heap_remove(Plan *plan, PlanRule *rule) {
        PlanRule *last = plan->heap[plan->n--];
        size_t place = rule->place;

        rule->place = 0;
        if (last == rule)
                return;
        heap_put(plan, place, last);
        heap_up(plan, last);
        heap_down(plan, last);
}

/* Room for so many more: adding to the heap cannot fail. */
static int heap_reserve(Plan *plan, size_t n) {
        size_t room = plan->room ?: 16;
        PlanRule **heap;

        while (room < plan->n_rules + n + 1)
                room *= 2;
        if (room == plan->room)
                return 0;
        heap = reallocarray(plan->heap, room, sizeof(PlanRule *));
        if (!heap)
                return -ENOMEM;
        plan->heap = heap;
        plan->room = room;
        return 0;
}

/* --- calendars ------------------------------------------------------------------------------------------ */

static PlanCalendar *calendar_find(const Plan *plan, const char *expression) {
        PlanCalendar key = { .expression = (char *) expression };
        PlanCalendar **found = tfind(&key, &plan->calendars, compare_calendars);

        return found ? *found : NULL;
}

static PlanCalendar *calendar_get(Plan *plan, const char *expression) {
        PlanCalendar *calendar = calendar_find(plan, expression);

        if (calendar)
                return calendar;
        calendar = calloc(1, sizeof(*calendar));
        if (!calendar)
                return NULL;
        calendar->expression = strdup(expression);
        if (!calendar->expression || !tsearch(calendar, &plan->calendars, compare_calendars)) {
                free(calendar->expression);
                free(calendar);
                return NULL;
        }
        return calendar;
}

static void asked_link(Plan *plan, PlanCalendar *calendar) {
        calendar->behind = plan->asked;
        if (plan->asked)
                plan->asked->before = calendar;
        plan->asked = calendar;
}

static void asked_unlink(Plan *plan, PlanCalendar *calendar) {
        if (calendar->before)
                calendar->before->behind = calendar->behind;
        else
                plan->asked = calendar->behind;
        if (calendar->behind)
                calendar->behind->before = calendar->before;
        calendar->before = calendar->behind = NULL;
}

static void calendar_unref(Plan *plan, PlanCalendar *calendar) {
        if (calendar->n_rules > 0)
                return;
        tdelete(calendar, &plan->calendars, compare_calendars);
        free(calendar->expression);
        free(calendar);
}

/* --- rules ---------------------------------------------------------------------------------------------- */

static void rule_plan(Plan *plan, PlanRule *rule) {
        PlanCalendar *calendar = rule->calendar;
        uint64_t base = rule->run.base_usec;

        if (base >= calendar->from && base < calendar->next) {
                rule->next_usec = calendar->next;
                heap_add(plan, rule);
                return;
        }
        rule->next_usec = 0;
        if (!calendar->waiting)
                asked_link(plan, calendar);
        rule->next_waiting = calendar->waiting;
        calendar->waiting = rule;
}

static void rule_unplan(Plan *plan, PlanRule *rule) {
        PlanCalendar *calendar = rule->calendar;

        if (rule->place > 0) {
                heap_remove(plan, rule);
                return;
        }
        for (PlanRule **at = &calendar->waiting; *at; at = &(*at)->next_waiting)
                if (*at == rule) {
                        *at = rule->next_waiting;
                        rule->next_waiting = NULL;
                        if (!calendar->waiting)
                                asked_unlink(plan, calendar);
                        return;
                }
}

static void rule_done(Plan *plan, PlanRule *rule) {
        rule_unplan(plan, rule);
        rule->calendar->n_rules--;
        calendar_unref(plan, rule->calendar);
        schedule_run_done(&rule->run);
        plan->n_rules--;
}

PlanRule *volume_plan_find(const VolumePlan *volume, const char *expression) {
        for (size_t i = 0; volume && i < volume->n; i++)
                if (streq(volume->rules[i].run.rule, expression))
                        return &volume->rules[i];
        return NULL;
}

void volume_plan_free(VolumePlan *volume) {
        if (!volume)
                return;
        for (size_t i = 0; i < volume->n; i++)
                rule_done(volume->plan, &volume->rules[i]);
        free(volume->rules);
        free(volume);
}

static int volume_plan_new(Plan *plan, sd_id128_t id, const Schedule *schedule, uint64_t base_usec,
                           const VolumePlan *earlier, VolumePlan **ret) {
        VolumePlan *volume = calloc(1, sizeof(*volume));

        if (!volume)
                return -ENOMEM;
        volume->plan = plan;
        volume->rules = calloc(schedule->n, sizeof(*volume->rules));
        if (!volume->rules || heap_reserve(plan, schedule->n) < 0) {
                volume_plan_free(volume);
                return -ENOMEM;
        }
        for (; volume->n < schedule->n; volume->n++) {
                const ScheduleRule *from = &schedule->rules[volume->n];
                const PlanRule *same = volume_plan_find(earlier, from->expression);
                ScheduleRun run = { .volume = id, .rule = (char *) from->expression, .base_usec = base_usec };
                PlanRule *rule = &volume->rules[volume->n];

                if (schedule_run_copy(same ? &same->run : &run, &rule->run) < 0)
                        break;
                rule->calendar = calendar_get(plan, from->expression);
                if (!rule->calendar) {
                        schedule_run_done(&rule->run);
                        break;
                }
                rule->keep = from->keep;
                rule->is_due = same && same->is_due;
                rule->calendar->n_rules++;
                plan->n_rules++;
                if (!rule->is_due)
                        rule_plan(plan, rule);
        }
        if (volume->n < schedule->n) {
                volume_plan_free(volume);
                return -ENOMEM;
        }
        *ret = volume;
        return 0;
}

int plan_set(Plan *plan, VolumePlan **at, sd_id128_t id, const Schedule *schedule, uint64_t base_usec) {
        VolumePlan *volume = NULL;
        int r;

        if (schedule->n > 0) {
                r = volume_plan_new(plan, id, schedule, base_usec, *at, &volume);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; *at && i < (*at)->n && plan->events.on_dropped; i++)
                if (!volume_plan_find(volume, (*at)->rules[i].run.rule))
                        plan->events.on_dropped(&(*at)->rules[i].run, plan->events.userdata);
        volume_plan_free(*at);
        *at = volume;
        changed(plan);
        return 0;
}

int plan_restore(PlanRule *rule, VolumePlan *volume, const ScheduleRun *run) {
        ScheduleRun copy;

        if (schedule_run_copy(run, &copy) < 0)
                return -ENOMEM;
        schedule_run_done(&rule->run);
        rule->run = copy;
        if (!rule->is_due) {
                rule_unplan(volume->plan, rule);
                rule_plan(volume->plan, rule);
                changed(volume->plan);
        }
        return 0;
}

/* --- what is due ------------------------------------------------------------------------------------------ */

uint64_t plan_next(const Plan *plan) {
        return plan->n > 0 ? plan->heap[1]->next_usec : PLAN_NEVER;
}

PlanRule *plan_take_due(Plan *plan, uint64_t now_usec) {
        PlanRule *rule = plan->n > 0 ? plan->heap[1] : NULL;

        if (!rule || rule->next_usec > now_usec)
                return NULL;
        heap_remove(plan, rule);
        rule->is_due = true;
        return rule;
}

void plan_ran(Plan *plan, PlanRule *rule, uint64_t base_usec) {
        rule->is_due = false;
        rule->run.base_usec = base_usec;
        rule_unplan(plan, rule); /* it may have been dropped and made anew while its snapshot was made */
        rule_plan(plan, rule);
        changed(plan);
}

static void forget_answer(const void *node, VISIT visit, void *userdata) {
        PlanCalendar *calendar = *(PlanCalendar *const *) node;
        uint64_t now = *(uint64_t *) userdata;

        if (visit != postorder && visit != leaf)
                return;
        calendar->from = calendar->next = 0;
        for (PlanRule *rule = calendar->waiting; rule; rule = rule->next_waiting)
                if (rule->run.base_usec > now)
                        rule->run.base_usec = now;
}

void plan_clock_was_set(Plan *plan, uint64_t now_usec) {
        twalk_r(plan->calendars, forget_answer, &now_usec);
        while (plan->n > 0) {
                PlanRule *rule = plan->heap[1];

                heap_remove(plan, rule);
                if (rule->run.base_usec > now_usec)
                        rule->run.base_usec = now_usec;
                rule_plan(plan, rule); /* nothing is known: it waits */
        }
        changed(plan);
}

/* --- asking ----------------------------------------------------------------------------------------------- */

static uint64_t first_base(const PlanCalendar *calendar) {
        uint64_t first = PLAN_NEVER;

        for (const PlanRule *rule = calendar->waiting; rule; rule = rule->next_waiting)
                if (rule->run.base_usec < first)
                        first = rule->run.base_usec;
        return first;
}

size_t plan_question(Plan *plan, size_t max, uint64_t *ret_base_usec, const char **ret) {
        uint64_t first = PLAN_NEVER;
        size_t n = 0;

        for (const PlanCalendar *c = plan->asked; c; c = c->behind)
                if (first_base(c) < first)
                        first = first_base(c);
        for (const PlanCalendar *c = plan->asked; c && n < max; c = c->behind)
                if (first_base(c) / SECOND == first / SECOND)
                        ret[n++] = c->expression;
        *ret_base_usec = first / SECOND * SECOND;
        return n;
}

void plan_answer(Plan *plan, const char *expression, uint64_t base_usec, uint64_t elapse_usec) {
        PlanCalendar *calendar = calendar_find(plan, expression);
        PlanRule *waiting;

        if (!calendar)
                return;
        /* An expression that elapses several times a second is printed by the second. */
        calendar->from = base_usec;
        calendar->next = elapse_usec == 0 ? PLAN_NEVER : elapse_usec > base_usec ? elapse_usec : base_usec + SECOND;
        waiting = TAKE_PTR(calendar->waiting);
        if (waiting)
                asked_unlink(plan, calendar);
        while (waiting) {
                PlanRule *next = waiting->next_waiting;

                waiting->next_waiting = NULL;
                rule_plan(plan, waiting);
                waiting = next;
        }
        changed(plan);
}

bool plan_knows(const Plan *plan, const char *expression) {
        const PlanCalendar *calendar = calendar_find(plan, expression);

        return calendar && calendar->next > 0 && calendar->next != PLAN_NEVER;
}

int plan_new(const PlanEvents *events, Plan **ret) {
        Plan *plan = calloc(1, sizeof(*plan));

        if (!plan)
                return -ENOMEM;
        plan->events = *events;
        *ret = plan;
        return 0;
}

void plan_free(Plan *plan) {
        if (!plan)
                return;
        free(plan->heap);
        free(plan);
}
