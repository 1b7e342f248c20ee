#include "client.h"

#include "must.h"
#include "report.h"
#include "terminal.h"

#include <quarry/json.h>
#include <quarry/text.h>
#include <systemd/sd-varlink.h>

/* A daemon that is being started has its socket already: without a word one would wait for it in the dark. */
#define PATIENCE_USEC (5 * UINT64_C(1000000))

/* One call on its way. */
typedef struct Exchange {
        const Call *call;
        bool heard; /* something came back, or the user was told that nothing does */
        sd_json_variant *reply;
        int fd;
        int result; /* 1: running, 0: answered, -errno: failed */
        Error *err;
} Exchange;

static int set_connect_error(Error *err, int r, const char *address) {
        if (r == -EACCES || r == -EPERM)
                return error_set(err, ERROR_PERMISSION_DENIED, r, "no access to quarryd's socket %s", address);

        bool is_down = r == -ENOENT || r == -ECONNREFUSED;
        error_set_unreachable(err, r, "cannot reach quarryd at %s: %s", address, strerror(-r));
        error_hint(err, "systemctl %s", is_down ? "start quarryd.socket" : "status quarryd.socket quarryd.service");
        return r;
}

static int client_connect(sd_varlink **ret, Error *err) {
        _cleanup_(sd_varlink_unrefp) sd_varlink *link = NULL;
        const char *address = getenv("QUARRY_SOCKET") ?: API_SOCKET;
        int r;

        r = sd_varlink_connect_address(&link, address);
        if (r < 0)
                return set_connect_error(err, r, address);

        r = sd_varlink_set_relative_timeout(link, UINT64_MAX);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_input(link, true);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_output(link, true);
        if (r < 0)
                return error_errno(err, r, "cannot set up the connection to quarryd");

        *ret = TAKE_PTR(link);
        return 0;
}

static int lost(const Exchange *x, int number) {
        error_set_unreachable(x->err, number, "quarryd ended the connection%s",
                              x->call->on_part && x->heard ? "" : " before it answered");
        error_hint(x->err, "journalctl -u quarryd.service -n 20");
        return -ECONNRESET;
}

static void exchange_progress(const Exchange *x, sd_json_variant *parameters) {
        sd_json_variant *progress = sd_json_variant_by_key(parameters, "progress"),
                        *step = sd_json_variant_by_key(progress, "step");

        if (x->call->what && sd_json_variant_is_string(step) && !arg_json)
                progress_show(x->call->what, sd_json_variant_string(step), json_unsigned(progress, "position"),
                              json_unsigned(progress, "total"));
}

static void exchange_collect(Exchange *x, sd_json_variant *parameters) {
        sd_json_variant *part = sd_json_variant_by_key(parameters, x->call->collect);

        for (size_t i = 0; sd_json_variant_is_array(part) && i < sd_json_variant_elements(part); i++)
                must(sd_json_variant_append_array(&x->reply, sd_json_variant_by_index(part, i)));
}

static int on_reply(sd_varlink *link, sd_json_variant *parameters, const char *error_id, sd_varlink_reply_flags_t flags,
                    void *userdata) {
        Exchange *x = userdata;

        if (error_id && (flags & SD_VARLINK_REPLY_LOCAL)) {
                x->result = lost(x, ECONNRESET);
                return 0;
        }
        x->heard = true;
        if (error_id) {
                error_from_json(x->err, error_id, parameters);
                x->result = error_code(x->err);
                return 0;
        }

        if (x->call->on_fill && sd_json_variant_by_key(parameters, "doneFileDescriptor")) {
                x->call->on_fill(sd_varlink_take_fd(link, 0), sd_varlink_take_fd(link, 1), x->call->userdata);
                return 0;
        }

        /* What arrives in one read with earlier replies hangs on the first of them, and the library closes it
         * together with that one: so it is taken wherever it comes. */
        if (x->fd < 0)
                x->fd = sd_varlink_take_fd(link, 0);

        if (x->call->on_part)
                x->call->on_part(parameters);
        if (x->call->collect)
                exchange_collect(x, parameters);
        if (flags & SD_VARLINK_REPLY_CONTINUES) {
                exchange_progress(x, parameters);
                return 0;
        }

        if (!x->call->collect)
                x->reply = sd_json_variant_ref(parameters);
        else if (x->call->last)
                *x->call->last = sd_json_variant_ref(parameters);
        x->result = 0;
        return 0;
}

static int exchange_wait(Exchange *x, sd_varlink *link) {
        int r = sd_varlink_wait(link, x->heard ? UINT64_MAX : PATIENCE_USEC);

        if (r == 0 && !x->heard) {
                fputs("quarry: no answer from quarryd yet; see: journalctl -u quarryd.service -n 20\n", stderr);
                x->heard = true;
        }
        return r;
}

static int exchange_run(Exchange *x, sd_varlink *link) {
        int r;

        (void) sd_varlink_set_userdata(link, x);
        r = sd_varlink_bind_reply(link, on_reply);
        if (r >= 0 && x->call->key_fd && *x->call->key_fd >= 0)
                r = sd_varlink_push_dup_fd(link, *x->call->key_fd);
        if (r >= 0 && x->call->second_fd && *x->call->second_fd >= 0)
                r = sd_varlink_push_dup_fd(link, *x->call->second_fd);
        if (r >= 0)
                r = sd_varlink_observe(link, x->call->method, x->call->parameters);
        if (r < 0)
                return error_errno(x->err, r, "cannot ask quarryd");

        while (x->result > 0 && (r >= 0 || r == -EINTR)) {
                r = sd_varlink_process(link);
                if (r == 0)
                        r = exchange_wait(x, link);
        }
        return x->result > 0 ? lost(x, r) : x->result;
}

int client_call(const Call *call, sd_json_variant **ret, int *ret_fd, Error *err) {
        _cleanup_(sd_varlink_close_unrefp) sd_varlink *link = NULL;
        Exchange x = { .call = call, .fd = -EBADF, .result = 1, .err = err };
        int r;

        r = client_connect(&link, err);
        if (r < 0)
                return r;
        if (call->collect)
                must(sd_json_variant_new_array(&x.reply, NULL, 0));

        r = exchange_run(&x, link);
        progress_clear();

        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = x.reply;
        _cleanup_close_ int fd = x.fd;
        if (r < 0)
                return r;

        if (ret)
                *ret = TAKE_PTR(reply);
        if (ret_fd)
                *ret_fd = TAKE_FD(fd);
        return 0;
}
