#include "broker/queue.h"

#include "broker/link.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>

#define WORKERS_MIN 2u
#define LINKS_MAX 48u /* with those that are stuck; quarry-worker.socket allows some more */
#define URGENT_LINKS 2u /* more than are counted, for what cannot wait until others end */
#define STUCK_USEC (20 * UINT64_C(1000000)) /* a job that takes longer gives its place to another */
#define IDLE_LIMIT_USEC (600 * UINT64_C(1000000)) /* an idle worker is let go after ten minutes */

struct Queue {
        sd_event *event;
        sd_event_source *pump_source; /* hands out jobs, outside of submit and of callbacks */
        sd_event_source *idle_source;
        sd_event_source *stuck_source; /* while a job waits and every place is taken */
        Link **links;
        size_t n_links, links_max, links_room;
        Task *first, **last;
        QueueOwner last_owner; /* of the task that was sent last */
        uint64_t argon2_memory, argon2_budget, argon2_used; /* bytes */
};

/* A job that derives a key from a passphrase takes its share of the host-wide memory budget. */
static uint64_t memory_needed(const Queue *q, const Task *task) {
        return task->derives_key ? q->argon2_memory : 0;
}

static bool fits_budget(const Queue *q, const Task *task) {
        uint64_t needed = memory_needed(q, task);

        /* One that is larger than the budget alone runs alone: refusing it for ever helps nobody. */
        return needed == 0 || q->argon2_used == 0 || q->argon2_used + needed <= q->argon2_budget;
}

static void task_free(Task *task) {
        sd_json_variant_unref(task->job);
        closep(&task->key_fd);
        closep(&task->second_fd);
        free(task);
}

static void pump_soon(Queue *q) {
        (void) sd_event_source_set_enabled(q->pump_source, SD_EVENT_ONESHOT);
}

static void pump_later(Queue *q) {
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(q->stuck_source, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;
        (void) sd_event_source_set_time_relative(q->stuck_source, STUCK_USEC);
        (void) sd_event_source_set_enabled(q->stuck_source, SD_EVENT_ONESHOT);
}

static void link_drop(Queue *q, Link *link) {
        for (size_t i = 0; i < q->n_links; i++)
                if (q->links[i] == link) {
                        q->links[i] = q->links[--q->n_links];
                        link_free(link);
                        return;
                }
}

static void on_link_done(Link *link, Task *task, JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Queue *q = userdata;

        q->argon2_used -= memory_needed(q, task);
        task->on_done(result, mount_fd, err, task->userdata);
        task_free(task);
        pump_soon(q);
}

/* A link that must not be used again: its worker hung up, had its share of jobs, or failed to undo one. */
static void on_link_gone(Link *link, void *userdata) {
        Queue *q = userdata;

        link_drop(q, link);
        pump_soon(q); /* a job may wait for its place */
}

static Link *link_find_idle(Queue *q) {
        for (size_t i = q->n_links; i > 0; i--) {
                Link *link = q->links[i - 1];

                if (link_is_busy(link))
                        continue;
                if (link_is_alive(link))
                        return link;
                link_drop(q, link);
        }
        return NULL;
}

/* A job that a failing disk keeps for ever must not keep all others from their pools. */
static bool has_place(const Queue *q, bool urgent) {
        uint64_t now = 0;
        size_t counted = 0;

        (void) sd_event_now(q->event, CLOCK_MONOTONIC, &now);
        for (size_t i = 0; i < q->n_links; i++)
                if (!link_is_busy(q->links[i]) || link_busy_since(q->links[i]) + STUCK_USEC > now)
                        counted++;
        return counted < q->links_max + (urgent ? URGENT_LINKS : 0) && q->n_links < q->links_room;
}

static int link_get(Queue *q, Link **ret, Error *err) {
        Link *link = link_find_idle(q);
        int r;

        if (!link) {
                if (!has_place(q, q->first->urgent))
                        return 0;
                r = link_new(q->event, on_link_done, on_link_gone, q, &link, err);
                if (r < 0)
                        return r;
                q->links[q->n_links++] = link;
        }
        *ret = link;
        return 1;
}

/* Of one tenant, or the same administrator. */
static bool is_of_party(const QueueOwner *a, const QueueOwner *b) {
        return a->tenant == b->tenant && (a->tenant != 0 || a->uid == b->uid);
}

static bool is_same(const QueueOwner *a, const QueueOwner *b) {
        return a->tenant == b->tenant && a->uid == b->uid;
}

/* Whoever is not root never takes the last place, of which who asks next would have to wait for the end of a job. One
 * that seems not to end gives its place to another. */
static bool leaves_place(const Queue *q, const QueueOwner *owner) {
        uint64_t now = 0;
        size_t n = 0;

        (void) sd_event_now(q->event, CLOCK_MONOTONIC, &now);
        for (size_t i = 0; i < q->n_links; i++) {
                const Task *task = link_task(q->links[i]);

                n += task && is_of_party(&task->owner, owner) && link_busy_since(q->links[i]) + STUCK_USEC > now;
        }
        return (owner->uid == 0 && owner->tenant == 0) || n == 0 || n + 1 < q->links_max;
}

/* What counts against the next task of this owner: those that run of the tenant, and then of the user; of two that have
 * as many, who had the last turn. */
static size_t claims(const Queue *q, const QueueOwner *owner) {
        size_t of_party = is_of_party(&q->last_owner, owner), of_user = is_same(&q->last_owner, owner);

        for (size_t i = 0; i < q->n_links; i++) {
                const Task *task = link_task(q->links[i]);

                of_party += task && is_of_party(&task->owner, owner) ? 2 : 0;
                of_user += task && is_same(&task->owner, owner) ? 2 : 0;
        }
        return of_party * 2 * (q->links_room + 1) + of_user;
}

/* The first that is urgent, else the first of whoever has the fewest claims. Only a change of owner is a new question:
 * who asks for much does so in a row. */
static Task *task_take(Queue *q) {
        Task **best = NULL, *task;
        size_t least = SIZE_MAX, n = 0;
        const QueueOwner *owner = NULL;

        for (Task **at = &q->first; (task = *at) && least > 0; at = &task->next) {
                if (!fits_budget(q, task))
                        continue;
                if (task->urgent) {
                        best = at;
                        break;
                }
                if (!owner || !is_same(&task->owner, owner))
                        n = leaves_place(q, &task->owner) ? claims(q, &task->owner) : SIZE_MAX;
                owner = &task->owner;
                if (n < least) {
                        best = at;
                        least = n;
                }
        }
        if (!best)
                return NULL;
        task = *best;
        *best = task->next;
        if (!*best)
                q->last = best;
        task->next = NULL;
        q->last_owner = task->owner;
        return task;
}

static int on_pump(sd_event_source *source, void *userdata) {
        Queue *q = userdata;

        for (;;) {
                Error err = {};
                Link *link = NULL;
                Task *task;
                int r;

                if (!q->first)
                        return 0;
                r = link_get(q, &link, &err);
                if (r == 0) { /* all are busy: the next that ends pumps again, or one that seems not to end */
                        pump_later(q);
                        return 0;
                }
                task = task_take(q);
                if (!task) {
                        pump_later(q);
                        return 0;
                }
                if (r > 0) {
                        q->argon2_used += memory_needed(q, task);
                        r = link_send(link, task, &err);
                        if (r >= 0)
                                continue;
                        q->argon2_used -= memory_needed(q, task);
                        link_drop(q, link);
                }
                task->on_done(NULL, NULL, &err, task->userdata);
                task_free(task);
        }
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Queue *q = userdata;

        for (size_t i = q->n_links; i > 0; i--)
                if (!link_is_busy(q->links[i - 1]) && link_idle_since(q->links[i - 1]) + IDLE_LIMIT_USEC < usec)
                        link_drop(q, q->links[i - 1]);
        (void) sd_event_source_set_time_relative(source, IDLE_LIMIT_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_stuck(sd_event_source *source, uint64_t usec, void *userdata) {
        pump_soon(userdata);
        return 0;
}

/* A pool that runs full does not wait for others. */
static bool is_urgent(JobVerb verb) {
        return verb == JOB_VOLUME_LIMIT || verb == JOB_POOL_RELIEVE || verb == JOB_POOL_EXTEND;
}

/* Behind those that are as urgent. */
static void enqueue(Queue *q, Task *task) {
        Task **at = &q->first;

        if (!task->urgent)
                at = q->last;
        while (*at && (*at)->urgent)
                at = &(*at)->next;
        task->next = *at;
        *at = task;
        if (!task->next)
                q->last = &task->next;
}

int queue_submit(Queue *q, const QueueOwner *owner, const Job *job, int key_fd, int second_fd, JobProgress on_progress,
                 JobDone on_done, void *userdata, Error *err) {
        Task *task = calloc(1, sizeof(*task));
        int r;

        if (!task)
                return error_oom(err);
        *task = (Task) { .owner = owner ? *owner : (QueueOwner) {},
                         .key_fd = -EBADF,
                         .second_fd = -EBADF,
                         .on_progress = on_progress,
                         .on_done = on_done,
                         .userdata = userdata };
        r = job_to_json(job, &task->job);
        if (r >= 0 && key_fd >= 0) {
                task->key_fd = r = fcntl(key_fd, F_DUPFD_CLOEXEC, 3);
                if (r < 0)
                        r = -errno;
        }
        task->derives_key = key_fd >= 0 ||
                            (second_fd >= 0 && (job->verb == JOB_VOLUME_KEY_ADD || job->verb == JOB_VOLUME_KEY_REMOVE));
        if (r >= 0 && second_fd >= 0)
                task->second_fd = r = RET_NERRNO(fcntl(second_fd, F_DUPFD_CLOEXEC, 3));
        if (r < 0) {
                task_free(task);
                return error_errno(err, r, "cannot prepare the job");
        }
        task->urgent = is_urgent(job->verb);
        enqueue(q, task);
        pump_soon(q);
        return 0;
}

static unsigned workers_max(const Config *config) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        if (config->workers_max > 0)
                return config->workers_max;
        return cpus > (long) WORKERS_MIN ? (unsigned) cpus : WORKERS_MIN;
}

int queue_new(sd_event *event, const Config *config, Queue **ret, Error *err) {
        _cleanup_(queue_freep) Queue *q = calloc(1, sizeof(*q));
        int r;

        if (!q)
                return error_oom(err);
        q->event = sd_event_ref(event);
        q->last = &q->first;
        q->links_max = workers_max(config);
        q->argon2_memory = config->argon2_memory;
        q->argon2_budget = config->argon2_memory_total;
        q->links_room = q->links_max > LINKS_MAX ? q->links_max : LINKS_MAX;
        q->links = calloc(q->links_room, sizeof(*q->links));
        if (!q->links)
                return error_oom(err);
        r = sd_event_add_defer(event, &q->pump_source, on_pump, q);
        if (r >= 0)
                r = sd_event_source_set_enabled(q->pump_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &q->idle_source, CLOCK_MONOTONIC, IDLE_LIMIT_USEC, 0, on_idle, q);
        if (r >= 0)
                r = sd_event_add_time(event, &q->stuck_source, CLOCK_MONOTONIC, UINT64_MAX, 0, on_stuck, q);
        if (r >= 0)
                r = sd_event_source_set_enabled(q->stuck_source, SD_EVENT_OFF);
        if (r < 0)
                return error_errno(err, r, "cannot set up the job queue");
        *ret = TAKE_PTR(q);
        return 0;
}

void queue_free(Queue *q) {
        if (!q)
                return;
        for (size_t i = 0; i < q->n_links; i++) {
                Task *task = link_task(q->links[i]);

                link_free(q->links[i]);
                if (task)
                        task_free(task);
        }
        free(q->links);
        while (q->first) {
                Task *next = q->first->next;
                task_free(q->first);
                q->first = next;
        }
        sd_event_source_disable_unref(q->pump_source);
        sd_event_source_disable_unref(q->idle_source);
        sd_event_source_disable_unref(q->stuck_source);
        sd_event_unref(q->event);
        free(q);
}
