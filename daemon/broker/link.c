#include "broker/link.h"

#include <quarry/json.h>
#include <quarry/log.h>
#include <quarry/text.h>
#include <quarry/worker-api.h>

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-varlink.h>

#define JOBS_MAX 1000u /* then the worker is let go: what its libraries may leak goes with it */

struct Link {
        sd_event *event;
        sd_varlink *varlink;
        sd_event_source *gone_source;
        LinkDone on_done;
        LinkGone on_gone;
        void *userdata;
        Task *task; /* that it runs */
        int mount_fd; /* that came with its answer */
        unsigned n_jobs;
        uint64_t idle_since, busy_since;
        bool spent;
};

static uint64_t now(sd_event *event) {
        uint64_t usec = 0;

        (void) sd_event_now(event, CLOCK_MONOTONIC, &usec);
        return usec;
}

/* The link is given up from the loop, not from inside a callback of its own connection. */
static int on_gone_deferred(sd_event_source *source, void *userdata) {
        Link *link = userdata;

        link->on_gone(link, link->userdata);
        return 0;
}

static void give_up(Link *link) {
        link->spent = true;
        (void) sd_event_source_set_enabled(link->gone_source, SD_EVENT_ONESHOT);
}

static void task_end(Link *link, JobResult *result, int *mount_fd, const Error *err) {
        Task *task = link->task;

        link->task = NULL;
        link->idle_since = now(link->event);
        if (++link->n_jobs >= JOBS_MAX || (err && (err->undo_failed || err->kind == ERROR_WORKER_DIED)))
                give_up(link);
        if (task)
                link->on_done(link, task, result, mount_fd, err, link->userdata);
        closep(&link->mount_fd);
        link->mount_fd = -EBADF;
}

/* The job may have been done, or half done: whoever asked for it must clean up. */
_printf_(2, 3) static void task_lose(Link *link, const char *format, ...) {
        char why[256];
        Error err = {};
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(why, sizeof(why), format, ap);
        va_end(ap);
        error_set(&err, ERROR_WORKER_DIED, ECONNRESET, "%s", why);
        error_hint(&err, "journalctl -u 'quarry-worker@*'");
        task_end(link, NULL, NULL, &err);
}

static void take_error(Link *link, const char *name, sd_json_variant *parameters, sd_varlink_reply_flags_t flags) {
        Error err = {};

        if ((flags & SD_VARLINK_REPLY_LOCAL) && streq(name, SD_VARLINK_ERROR_DISCONNECTED))
                return task_lose(link, "the worker ended in the middle of the job");
        if (flags & SD_VARLINK_REPLY_LOCAL)
                return task_lose(link, "the worker's answer cannot be read (%s)", name);
        if (strncmp(name, "org.varlink.service.", strlen("org.varlink.service.")) == 0)
                error_set(&err, ERROR_FAILED, EIO, "the worker refused the job: %s", name); /* before it began */
        else if (error_kind_from_name(name) == ERROR_NONE)
                return task_lose(link, "the worker did not say how the job ended (%.100s)", name);
        else
                error_from_json(&err, name, parameters);
        task_end(link, NULL, NULL, &err);
}

static void take_result(Link *link, sd_json_variant *parameters) {
        _cleanup_(job_result_done) JobResult result = {};
        int r;

        r = job_result_from_json(sd_json_variant_by_key(parameters, "result"), &result);
        if (r < 0)
                return task_lose(link, "the worker's answer cannot be read: %s", strerror(-r));
        task_end(link, &result, &link->mount_fd, NULL);
}

/* One that cannot be read is followed by others. */
static void take_report(Task *task, sd_json_variant *v) {
        _cleanup_(job_result_done) JobResult report = {};

        if (task->on_report && job_result_from_json(v, &report) >= 0)
                task->on_report(&report, task->userdata);
}

static int on_reply(sd_varlink *varlink, sd_json_variant *parameters, const char *error_id,
                    sd_varlink_reply_flags_t flags, void *userdata) {
        Link *link = userdata;
        Task *task = link->task;

        if (!task)
                return 0;
        /* What arrives in one read with earlier replies hangs on the first of them, and the library closes it
         * together with that one: so it is taken wherever it comes. */
        if (link->mount_fd < 0)
                link->mount_fd = sd_varlink_take_fd(varlink, 0);
        if (error_id)
                take_error(link, error_id, parameters, flags);
        else if (flags & SD_VARLINK_REPLY_CONTINUES) {
                sd_json_variant *step = sd_json_variant_by_key(parameters, "step"),
                                *report = sd_json_variant_by_key(parameters, "result");

                if (report)
                        take_report(task, report);
                if (task->on_progress && step)
                        task->on_progress(sd_json_variant_string(step),
                                          (unsigned) json_unsigned(parameters, "position"),
                                          (unsigned) json_unsigned(parameters, "total"), task->userdata);
        } else
                take_result(link, parameters);
        return 0;
}

/* An idle worker that ended shows only as a hang-up of its socket. */
bool link_is_alive(const Link *link) {
        struct pollfd p = { .fd = sd_varlink_get_fd(link->varlink), .events = POLLRDHUP };

        return p.fd >= 0 && poll(&p, 1, 0) == 0;
}

Task *link_task(const Link *link) {
        return link->task;
}

int link_send(Link *link, Task *task, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        int r, index = -1, second = -1;

        if (task->key_fd >= 0) {
                index = r = sd_varlink_push_dup_fd(link->varlink, task->key_fd);
                if (r < 0)
                        return error_errno(err, r, "cannot pass the passphrase to the worker");
        }
        if (task->second_fd >= 0) {
                second = r = sd_varlink_push_dup_fd(link->varlink, task->second_fd);
                if (r < 0)
                        return error_errno(err, r, "cannot pass a descriptor to the worker");
        }
        r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_VARIANT("job", task->job),
                           SD_JSON_BUILD_PAIR_CONDITION(index >= 0, "keyFileDescriptor",
                                                        SD_JSON_BUILD_INTEGER(index)),
                           SD_JSON_BUILD_PAIR_CONDITION(second >= 0, "secondFileDescriptor",
                                                        SD_JSON_BUILD_INTEGER(second)));
        if (r >= 0)
                r = task->on_progress || task->on_report
                            ? sd_varlink_observe(link->varlink, WORKER_METHOD_RUN, parameters)
                            : sd_varlink_invoke(link->varlink, WORKER_METHOD_RUN, parameters);
        if (r < 0)
                return error_set(err, ERROR_WORKER_DIED, r, "cannot reach the worker: %s", strerror(-r));
        link->task = task;
        link->busy_since = now(link->event);
        return 0;
}

bool link_is_busy(const Link *link) {
        return link->task || link->spent;
}

uint64_t link_busy_since(const Link *link) {
        return link->busy_since;
}

uint64_t link_idle_since(const Link *link) {
        return link->idle_since;
}

static int connect_worker(Link *link, Error *err) {
        const char *address = getenv("QUARRY_WORKER_SOCKET") ?: WORKER_SOCKET;
        uid_t uid;
        int r;

        r = sd_varlink_connect_address(&link->varlink, address);
        if (r < 0) {
                r = error_set(err, ERROR_FAILED, r, "cannot reach a worker at %s: %s", address, strerror(-r));
                error_hint(err, "systemctl status quarry-worker.socket");
                return r;
        }
        r = sd_varlink_get_peer_uid(link->varlink, &uid);
        if (r < 0)
                return error_errno(err, r, "cannot see who listens at %s", address);
        if (uid != 0 && uid != getuid())
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM, "%s belongs to uid %u, not to root", address,
                                 uid);
        return 0;
}

int link_new(sd_event *event, LinkDone on_done, LinkGone on_gone, void *userdata, Link **ret, Error *err) {
        Link *link = calloc(1, sizeof(*link));
        int r;

        if (!link)
                return error_oom(err);
        *link = (Link) { .event = sd_event_ref(event),
                         .on_done = on_done,
                         .on_gone = on_gone,
                         .userdata = userdata,
                         .mount_fd = -EBADF,
                         .idle_since = now(event) };
        r = connect_worker(link, err);
        if (r < 0) {
                link_free(link);
                return r;
        }
        sd_varlink_set_userdata(link->varlink, link);
        r = sd_varlink_set_relative_timeout(link->varlink, UINT64_MAX); /* jobs take as long as they take */
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_input(link->varlink, 1);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_output(link->varlink, 1);
        if (r >= 0)
                r = sd_varlink_bind_reply(link->varlink, on_reply);
        if (r >= 0)
                r = sd_varlink_attach_event(link->varlink, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_event_add_defer(event, &link->gone_source, on_gone_deferred, link);
        if (r >= 0)
                r = sd_event_source_set_enabled(link->gone_source, SD_EVENT_OFF);
        if (r < 0) {
                link_free(link);
                return error_errno(err, r, "cannot set up the connection to a worker");
        }
        *ret = link;
        return 0;
}

void link_free(Link *link) {
        if (!link)
                return;
        sd_event_source_disable_unref(link->gone_source);
        sd_varlink_close_unref(link->varlink);
        closep(&link->mount_fd);
        sd_event_unref(link->event);
        free(link);
}
