#include "broker/schedule.h"

#include "broker/schedule-run.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#define ACCURACY_USEC (100 * UINT64_C(1000))
#define RETRY_USEC (60 * UINT64_C(1000000)) /* a worker that could not ask systemd */

struct Scheduler {
        Manager *manager;
        Plan *plan;
        sd_event_source *timer;  /* the first rule is due, */
        sd_event_source *advance; /* or something changed */
        sd_event_source *retry;
        int clock_fd; /* becomes readable when the clock is set */
        sd_event_source *clock;
        ScheduleQueue queue;
        bool question_is_out;
        size_t question_max; /* expressions that are asked about together: 1 when one of them is not understood */
};

static void advance_soon(Scheduler *s) {
        (void) sd_event_source_set_enabled(s->advance, SD_EVENT_ONESHOT);
}

/* --- asking when expressions elapse --------------------------------------------------------------------- */

typedef struct Question {
        Scheduler *scheduler;
        JobCalendar calendar;
} Question;

static void question_free(Question *question) {
        if (!question)
                return;
        strv_free(question->calendar.expressions);
        free(question);
}
DEFINE_CLEANUP(Question *, question_free)

/* What systemd does not understand, or not any more, never elapses. */
static void on_question_failed(Scheduler *s, const Question *question, const Error *err) {
        char **expressions = question->calendar.expressions;

        if (err->kind != ERROR_BAD_REQUEST) {
                log_failure("schedule", err, "cannot ask when snapshots are due: it is tried again");
                (void) sd_event_source_set_time_relative(s->retry, RETRY_USEC);
                (void) sd_event_source_set_enabled(s->retry, SD_EVENT_ONESHOT);
                return;
        }
        if (expressions[1]) {
                s->question_max = 1;
        } else {
                log_failure("schedule", err, "no snapshots are made by this rule");
                plan_answer(s->plan, expressions[0], question->calendar.base_usec, 0);
                s->question_max = JOB_EXPRESSIONS_MAX;
        }
        advance_soon(s);
}

static void on_answer(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        _cleanup_(question_freep) Question *question = userdata;
        char **expressions = question->calendar.expressions;
        Scheduler *s = question->scheduler;
        Error failure = {};

        s->question_is_out = false;
        if (!err && result->n_elapses != strv_length(expressions)) {
                error_set(&failure, ERROR_FAILED, EBADMSG, "the worker's answer is not as long as the question");
                err = &failure;
        }
        if (err) {
                on_question_failed(s, question, err);
                return;
        }
        for (size_t i = 0; i < result->n_elapses; i++)
                plan_answer(s->plan, expressions[i], question->calendar.base_usec, result->elapses[i]);
        advance_soon(s);
}

static int question_ask(Scheduler *s, const char *const *expressions, size_t n, uint64_t base_usec, Error *err) {
        _cleanup_(question_freep) Question *question = calloc(1, sizeof(*question));
        Job job = { .verb = JOB_HOST_CALENDAR };
        int r;

        if (!question)
                return error_oom(err);
        question->scheduler = s;
        question->calendar.base_usec = base_usec;
        for (size_t i = 0; i < n; i++)
                if (strv_append(&question->calendar.expressions, expressions[i]) < 0)
                        return error_oom(err);
        job.calendar = question->calendar; /* borrowed while it is encoded */
        r = queue_submit(s->manager->queue, NULL, &job, -EBADF, -EBADF, NULL, on_answer, question, err);
        if (r < 0)
                return r;
        TAKE_PTR(question);
        s->question_is_out = true;
        return 0;
}

static void ask(Scheduler *s) {
        const char *expressions[JOB_EXPRESSIONS_MAX];
        int waits = SD_EVENT_OFF;
        Error err = {};
        uint64_t base;
        size_t n;

        (void) sd_event_source_get_enabled(s->retry, &waits);
        if (s->question_is_out || waits != SD_EVENT_OFF)
                return;
        n = plan_question(s->plan, s->question_max, &base, expressions);
        if (n > 0 && question_ask(s, expressions, n, base, &err) < 0)
                log_failure("schedule", &err, "cannot ask when snapshots are due");
}

/* --- what is due ------------------------------------------------------------------------------------------ */

static int on_advance(sd_event_source *source, void *userdata) {
        Scheduler *s = userdata;
        uint64_t next;
        PlanRule *rule;

        while ((rule = plan_take_due(s->plan, clock_usec(CLOCK_REALTIME))))
                schedule_run_queue(&s->queue, rule);
        schedule_run_pump(&s->queue);
        ask(s);
        next = plan_next(s->plan);
        (void) sd_event_source_set_time(s->timer, next);
        (void) sd_event_source_set_enabled(s->timer, next == PLAN_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        advance_soon(userdata);
        return 0;
}

/* A timer for a time that never comes, which is cancelled when somebody sets the clock. */
static int clock_arm(Scheduler *s) {
        struct itimerspec never = { .it_value.tv_sec = sizeof(time_t) == 8 ? INT64_C(1) << 40 : INT32_MAX };

        return RET_NERRNO(timerfd_settime(s->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL));
}

static int on_clock_set(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Scheduler *s = userdata;
        uint64_t n;

        if (read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
                return 0;
        log_info("schedule", "the clock was set: looking anew when snapshots are due");
        (void) clock_arm(s);
        plan_clock_was_set(s->plan, clock_usec(CLOCK_REALTIME));
        return 0;
}

/* --- from and to the catalog ------------------------------------------------------------------------------ */

static void on_row_written(const Error *err, void *userdata) {
        if (err)
                log_failure("schedule", err, "cannot note in the catalog what became of a rule");
}

void schedule_run_keep(PoolEntry *pool, const ScheduleRun *run, bool goes) {
        Error err = {};

        if (pool->catalog && pool->state == POOL_ACTIVE &&
            catalog_put_run(pool->catalog, run, goes, on_row_written, NULL, &err) < 0)
                on_row_written(&err, NULL);
}

static void on_dropped(const ScheduleRun *run, void *userdata) {
        Scheduler *s = userdata;
        VolumeEntry *entry = registry_find_uuid(&s->manager->registry, run->volume);

        if (entry)
                schedule_run_keep(entry->pool, run, true);
}

static void on_changed(void *userdata) {
        advance_soon(userdata);
}

void schedule_read_pool(PoolEntry *pool) {
        const char *schedule = catalog_setting(pool->catalog, SETTING_SCHEDULE);
        const char *since = catalog_setting(pool->catalog, SETTING_SCHEDULE_SINCE);

        free(pool->schedule);
        pool->schedule = schedule ? strdup(schedule) : NULL;
        if (!since || number_parse(since, &pool->schedule_since) < 0)
                pool->schedule_since = 0;
}

void schedule_read_runs(Manager *m, PoolEntry *pool) {
        const ScheduleRun *runs;
        size_t n;

        runs = catalog_runs(pool->catalog, &n);
        for (size_t i = 0; i < n; i++) {
                VolumeEntry *entry = registry_find_uuid(&m->registry, runs[i].volume);
                PlanRule *rule = entry ? volume_plan_find(entry->plan, runs[i].rule) : NULL;
                ScheduleRun run = runs[i];

                if (run.base_usec > clock_usec(CLOCK_REALTIME)) /* by a clock that was ahead */
                        run.base_usec = clock_usec(CLOCK_REALTIME);
                if (!rule)
                        (void) catalog_put_run(pool->catalog, &run, true, on_row_written, NULL, NULL);
                else if (plan_restore(rule, entry->plan, &run) < 0)
                        log_error(entry->volume.spec.name, "out of memory: what its schedule did is not known");
        }
}

void schedule_volume_changed(Manager *m, VolumeEntry *entry) {
        registry_plan_volume(&m->registry, entry);
        for (size_t i = 0; entry->volume.schedule && entry->plan && i < entry->plan->n; i++)
                schedule_run_keep(entry->pool, &entry->plan->rules[i].run, false);
}

static int plan_by_pool(VolumeEntry *entry, void *userdata) {
        if (!entry->volume.schedule)
                registry_plan_volume(userdata, entry);
        return 0;
}

void schedule_pool_changed(Manager *m, PoolEntry *pool) {
        (void) registry_each_volume(pool, plan_by_pool, &m->registry);
}

typedef struct Replan {
        Registry *registry;
        const TenantEntry *tenant;
} Replan;

static int plan_by_tenant(VolumeEntry *entry, void *userdata) {
        const Replan *replan = userdata;

        if (entry->tenant == replan->tenant && !entry->volume.schedule)
                registry_plan_volume(replan->registry, entry);
        return 0;
}

void schedule_tenant_changed(Manager *m, TenantEntry *tenant) {
        Replan replan = { .registry = &m->registry, .tenant = tenant };

        (void) registry_each_volume(tenant->pool, plan_by_tenant, &replan);
}

/* --- whether a schedule can be one ------------------------------------------------------------------------ */

typedef struct Check {
        char **expressions;
        ScheduleChecked on_checked;
        void *userdata;
} Check;

static void on_check_answer(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Check *check = userdata;
        Error failure = {};

        if (!err && result->n_elapses != strv_length(check->expressions)) {
                error_set(&failure, ERROR_FAILED, EBADMSG, "the worker's answer cannot be read");
                err = &failure;
        }
        for (size_t i = 0; !err && i < result->n_elapses; i++)
                if (result->elapses[i] == 0) {
                        error_field(&failure, "snapshotSchedule", "\"%s\" never elapses", check->expressions[i]);
                        err = &failure;
                }
        check->on_checked(err, check->userdata);
        strv_free(check->expressions);
        free(check);
}

int schedule_check(Manager *m, const Schedule *schedule, ScheduleChecked on_checked, void *userdata, Error *err) {
        Job job = { .verb = JOB_HOST_CALENDAR };
        bool known = true;
        Check *check;
        int r = 0;

        for (size_t i = 0; i < schedule->n; i++)
                known = known && plan_knows(m->scheduler->plan, schedule->rules[i].expression);
        if (known) {
                on_checked(NULL, userdata);
                return 0;
        }
        check = calloc(1, sizeof(*check));
        if (!check)
                return error_oom(err);
        *check = (Check) { .on_checked = on_checked, .userdata = userdata };
        for (size_t i = 0; i < schedule->n && r >= 0; i++)
                r = strv_append(&check->expressions, schedule->rules[i].expression);
        if (r < 0)
                r = error_oom(err);
        job.calendar = (JobCalendar) { .base_usec = clock_usec(CLOCK_REALTIME), .expressions = check->expressions };
        if (r >= 0)
                r = queue_submit(m->queue, NULL, &job, -EBADF, -EBADF, NULL, on_check_answer, check, err);
        if (r < 0) {
                strv_free(check->expressions);
                free(check);
        }
        return r;
}

/* --- set-up ------------------------------------------------------------------------------------------------ */

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        advance_soon(userdata);
        return 0;
}

static int sources_add(Scheduler *s, sd_event *event) {
        int r;

        s->clock_fd = r = RET_NERRNO(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
        if (r >= 0)
                r = clock_arm(s);
        if (r >= 0)
                r = sd_event_add_io(event, &s->clock, s->clock_fd, EPOLLIN, on_clock_set, s);
        if (r >= 0)
                r = sd_event_add_time(event, &s->timer, CLOCK_REALTIME, PLAN_NEVER, ACCURACY_USEC, on_time, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(event, &s->retry, CLOCK_MONOTONIC, PLAN_NEVER, 0, on_retry, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->retry, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &s->advance, on_advance, s);
        return r < 0 ? r : sd_event_source_set_enabled(s->advance, SD_EVENT_OFF);
}

int scheduler_new(Manager *m, Scheduler **ret, Error *err) {
        Scheduler *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return error_oom(err);
        *s = (Scheduler) { .manager = m, .clock_fd = -EBADF, .question_max = JOB_EXPRESSIONS_MAX };
        s->queue = (ScheduleQueue) { .manager = m, .last = &s->queue.first, .on_end = on_changed, .userdata = s };
        r = plan_new(&(PlanEvents) { .on_changed = on_changed, .on_dropped = on_dropped, .userdata = s }, &s->plan);
        if (r >= 0)
                r = sources_add(s, m->event);
        if (r < 0) {
                scheduler_free(s);
                return error_errno(err, r, "cannot set up the schedules");
        }
        m->registry.plan = s->plan;
        *ret = s;
        return 0;
}

void scheduler_free(Scheduler *s) {
        if (!s)
                return;
        sd_event_source_disable_unref(s->timer);
        sd_event_source_disable_unref(s->retry);
        sd_event_source_disable_unref(s->advance);
        sd_event_source_disable_unref(s->clock);
        closep(&s->clock_fd);
        schedule_run_drop(&s->queue);
        plan_free(s->plan);
        free(s);
}
