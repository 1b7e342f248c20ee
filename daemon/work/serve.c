/* The worker's side of the trust border: checks the peer, parses the job again, runs its plan. */

#include "work/serve.h"

#include "step/pool-list.h"
#include "work/host.h"
#include "work/lock.h"
#include "work/maps.h"
#include "work/plan.h"
#include "work/runner.h"

#include <quarry/failpoint.h>
#include <quarry/job.h>
#include <quarry/log.h>
#include <quarry/text.h>
#include <quarry/worker-api.h>

#include <poll.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <systemd/sd-varlink.h>

typedef struct Server {
        const Config *config;
        uid_t peer;
        char host[UUID_TEXT_MAX];
} Server;

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        sd_varlink *link = userdata;

        /* A broker that is gone does not stop the job; without a flush nothing leaves before the end. */
        (void) sd_varlink_notifybo(link, SD_JSON_BUILD_PAIR_STRING("step", step),
                                   SD_JSON_BUILD_PAIR_UNSIGNED("position", position),
                                   SD_JSON_BUILD_PAIR_UNSIGNED("total", total));
        (void) sd_varlink_flush(link);
}

/* A broker that does not read is no reason to stop; one that is gone is seen by the step. */
static void on_report(const JobResult *report, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        sd_varlink *link = userdata;

        if (job_result_to_json(report, &v) < 0)
                return;
        (void) sd_varlink_notifybo(link, SD_JSON_BUILD_PAIR_VARIANT("result", v));
        (void) sd_varlink_flush(link);
}

static int reply_error(sd_varlink *link, const Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char name[64];
        int r;

        r = error_to_json(err, &v);
        if (r < 0)
                return r;
        buffer_format(name, sizeof(name), "io.quarry.Worker.%s", error_kind_name(err->kind));
        return sd_varlink_error(link, name, v);
}

static int reply_result(sd_varlink *link, StepContext *context) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r, index = -1;

        r = job_result_to_json(context->result, &v);
        if (r < 0)
                return r;
        bool handed_over = context->job->detached || context->job->verb == JOB_VOLUME_HEADER_BACKUP ||
                           context->job->verb == JOB_VOLUME_DEVICE || context->job->verb == JOB_VOLUME_RECEIVE ||
                           context->job->verb == JOB_HOST_KEY_DERIVE;
        if (context->mount_fd >= 0 && handed_over) {
                index = sd_varlink_push_fd(link, context->mount_fd);
                if (index < 0)
                        return index;
                TAKE_FD(context->mount_fd);
        }
        return sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("result", v),
                                  SD_JSON_BUILD_PAIR_CONDITION(
                                          index >= 0, "mountFileDescriptor", SD_JSON_BUILD_INTEGER(index)));
}

static int answer(sd_varlink *link, StepContext *context, const Error *err) {
        const char *verb = job_verb_to_string(context->job->verb);
        int r;

        r = failpoint("%s.answer.before", verb);
        if (r >= 0)
                r = err ? reply_error(link, err) : reply_result(link, context);
        if (FAILPOINTS_BUILT) { /* else it leaves when the loop comes to it */
                (void) sd_varlink_flush(link);
                (void) failpoint("%s.answer.after", verb);
        }
        return r;
}

/* The pool comes from the root-owned list by UUID: its name is not taken from the job. */
static int pool_find(const Job *job, PoolInfo *ret, Error *err) {
        if (plan_needs_pool(job->verb))
                return pool_list_find(job->pool, ret, err);
        *ret = (PoolInfo) { .uuid = job->pool };
        if (job->verb == JOB_POOL_CREATE)
                buffer_format(ret->name, sizeof(ret->name), "%s", job->pool_spec.name);
        return 0;
}

/* A job whose broker died before it began is not begun: the next broker cleans up behind it, and may have done so
 * while this one waited for its lock. Whoever has the lock when the broker dies is waited for. */
static int broker_check(sd_varlink *link, Error *err) {
        struct pollfd p = { .fd = sd_varlink_get_fd(link), .events = POLLRDHUP };

        if (p.fd >= 0 && poll(&p, 1, 0) == 0)
                return 0;
        return error_set(err, ERROR_FAILED, ECONNRESET, "the broker hung up before the job began");
}

static bool pool_is_gone(JobVerb verb, int r) {
        return verb == JOB_POOL_CREATE ? r < 0 : (verb == JOB_POOL_REMOVE || verb == JOB_POOL_EXPORT) && r >= 0;
}

static int run_job(Server *server, sd_varlink *link, const Job *job, int key_fd, int second_fd,
                   RunnerProgress on_step) {
        _cleanup_close_ int lock = -EBADF; /* first, so that it is given up last */
        _cleanup_(job_result_done) JobResult result = {};
        _cleanup_(step_context_done) StepContext context = {
                .job = job,
                .config = server->config,
                .host = server->host,
                .key_fd = key_fd,
                .second_fd = second_fd,
                .result = &result,
                .mount_fd = -EBADF,
                .hangup_fd = sd_varlink_get_fd(link),
                .on_report = on_report,
                .userdata = link,
        };
        Error err = {};
        int r;

        r = lock_take(job, &lock, &err);
        if (r >= 0)
                r = broker_check(link, &err);
        if (r >= 0)
                r = pool_find(job, &context.pool, &err);
        if (r >= 0)
                r = runner_run(plan_for(job), &context, on_step, link, &err);
        if (r >= 0 && job->verb == JOB_POOL_OPEN)
                maps_let_go(job->pool, result.pools[0].name); /* a power cut leaves it, too: it is on the disks */
        if (lock >= 0 && pool_is_gone(job->verb, r))
                lock_forget(job);
        if (r < 0)
                log_debug(job_verb_to_string(job->verb), "%s", err.text);
        return answer(link, &context, r < 0 ? &err : NULL);
}

static int vl_method_run(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                         void *userdata) {
        struct {
                sd_json_variant *job;
                int key, second;
        } p = { .key = -1, .second = -1 };
        static const sd_json_dispatch_field table[] = { { "job", SD_JSON_VARIANT_OBJECT, sd_json_dispatch_variant_noref,
                                                          offsetof(typeof(p), job), SD_JSON_MANDATORY },
                                                        { "keyFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID,
                                                          sd_json_dispatch_int, offsetof(typeof(p), key), 0 },
                                                        { "secondFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID,
                                                          sd_json_dispatch_int, offsetof(typeof(p), second), 0 },
                                                        {} };
        _cleanup_(job_done) Job job = {};
        _cleanup_close_ int key_fd = -EBADF, second_fd = -EBADF;
        Server *server = userdata;
        Error err = {};
        uid_t uid;
        int r;

        r = sd_varlink_get_peer_uid(link, &uid);
        if (r < 0 || (uid != 0 && uid != server->peer))
                return sd_varlink_error(link, SD_VARLINK_ERROR_PERMISSION_DENIED, NULL);

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        if (p.key >= 0) {
                key_fd = sd_varlink_take_fd(link, p.key);
                if (key_fd < 0)
                        return sd_varlink_error_invalid_parameter_name(link, "keyFileDescriptor");
        }
        if (p.second >= 0) {
                second_fd = sd_varlink_take_fd(link, p.second);
                if (second_fd < 0)
                        return sd_varlink_error_invalid_parameter_name(link, "secondFileDescriptor");
        }
        r = job_from_json(p.job, &job, &err);
        if (r < 0)
                return reply_error(link, &err);
        return run_job(server, link, &job, key_fd, TAKE_FD(second_fd),
                       flags & SD_VARLINK_METHOD_MORE ? on_progress : NULL);
}

static int server_new(Server *server, sd_event *event, sd_varlink_server **ret) {
        _cleanup_(sd_varlink_server_unrefp) sd_varlink_server *vs = NULL;
        int r;

        r = sd_varlink_server_new(&vs, SD_VARLINK_SERVER_ACCOUNT_UID | SD_VARLINK_SERVER_INHERIT_USERDATA);
        if (r >= 0)
                r = sd_varlink_server_set_info(vs, "Quarry", "quarry-worker", QUARRY_VERSION, NULL);
        if (r >= 0)
                r = sd_varlink_server_add_interface(vs, &vl_interface_io_quarry_Worker);
        if (r >= 0)
                r = sd_varlink_server_bind_method(vs, WORKER_METHOD_RUN, vl_method_run);
        if (r < 0)
                return r;
        sd_varlink_server_set_userdata(vs, server);
        r = sd_varlink_server_attach_event(vs, event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(vs);
        return 0;
}

int serve_connection(int fd, uid_t peer, const Config *config, Error *err) {
        _cleanup_(sd_varlink_server_unrefp) sd_varlink_server *vs = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        Server server = { .config = config, .peer = peer };
        sd_varlink *link;
        int r;

        r = host_identity(server.host, err);
        if (r < 0)
                return r;
        r = sd_event_new(&event);
        if (r >= 0)
                r = server_new(&server, event, &vs);
        if (r >= 0)
                r = sd_varlink_server_add_connection(vs, fd, &link);
        /* The connect callback does not run for a connection that was accepted by systemd. */
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_input(link, 1);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_output(link, 1);
        if (r >= 0)
                r = sd_varlink_server_set_exit_on_idle(vs, true);
        if (r >= 0)
                r = sd_event_set_signal_exit(event, true);
        if (r >= 0)
                r = sd_event_loop(event);
        return r < 0 ? error_errno(err, r, "cannot serve the broker") : 0;
}
