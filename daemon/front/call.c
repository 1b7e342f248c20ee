#include "front/call.h"

#include "broker/audit.h"
#include "broker/find.h"

#include <quarry/api.h>
#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

#define LIST_MAX 1000u /* strings in one parameter: the library needs time in the square of their number */

static Call *call_new(sd_varlink *link, sd_varlink_method_flags_t flags, const char *interface, const char *verb,
                      CallReply reply) {
        Call *call = calloc(1, sizeof(*call));

        if (!call)
                return NULL;
        *call = (Call) {
                .link = sd_varlink_ref(link),
                .server = sd_varlink_server_get_userdata(sd_varlink_get_server(link)),
                .interface = interface,
                .verb = verb,
                .more = flags & SD_VARLINK_METHOD_MORE,
                .oneway = flags & SD_VARLINK_METHOD_ONEWAY,
                .reply = reply,
        };
        if (server_caller(call->server, link, &call->caller) < 0) {
                call_free(call);
                return NULL;
        }
        return call;
}

static void tell_refusal(const Call *call, const Error *err) {
        Manager *m = server_manager(call->server);

        audit_refusal(m->audit, &call->caller, call->verb, registry_find_uuid(&m->registry, call->object), err);
}

/* What is asked of a volume that is there waits for no pool that is not: its disk may never come. */
static bool is_there(const Call *call, const char *reference) {
        VolumeEntry *entry;
        Error err = {};

        return find_volume(server_manager(call->server), &call->caller, reference, &entry, &err) >= 0 &&
               entry->pool->state == POOL_ACTIVE;
}

/* reference: of the volume that it is about; NULL: not about one. */
static int begin(sd_varlink *link, sd_varlink_method_flags_t flags, const char *interface, const char *verb,
                 CallReply reply, const char *reference, Call **ret) {
        _cleanup_(call_freep) Call *call = call_new(link, flags, interface, verb, reply);
        Error err = {};
        int r;

        if (!call)
                return -ENOMEM;
        if (server_call_waits(call->server, link, reference && is_there(call, reference)))
                return 0;
        if (server_call_enter(call->server, &call->caller, &err) < 0) {
                tell_refusal(call, &err);
                r = call_error(link, interface, &err);
                return r < 0 ? r : 0;
        }
        call->entered = true;
        *ret = TAKE_PTR(call);
        return 1;
}

int call_begin(sd_varlink *link, sd_varlink_method_flags_t flags, const char *interface, const char *verb,
               CallReply reply, Call **ret) {
        return begin(link, flags, interface, verb, reply, NULL, ret);
}

int call_begin_on_volume(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                         const char *verb, const sd_json_dispatch_field *table, void *p, CallReply reply,
                         Call **ret_call, VolumeEntry **ret_entry, int *ret_r) {
        return call_begin_on_volume_of(link, parameters, flags, API_VOLUME, verb, table, p, reply, ret_call, ret_entry,
                                       ret_r);
}

int call_begin_on_volume_of(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            const char *interface, const char *verb, const sd_json_dispatch_field *table, void *p,
                            CallReply reply, Call **ret_call, VolumeEntry **ret_entry, int *ret_r) {
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        int r;

        *ret_r = sd_varlink_dispatch(link, parameters, table, p);
        if (*ret_r != 0)
                return 0;
        *ret_r = begin(link, flags, interface, verb, reply, *(const char **) p, &call);
        if (!call) /* it waits, was answered, or failed */
                return 0;
        *ret_r = 0;
        r = find_volume(server_manager(call->server), &call->caller, *(const char **) p, ret_entry, &err);
        if (r < 0) {
                *ret_r = call_error(link, interface, &err);
                return 0;
        }
        call->object = (*ret_entry)->volume.uuid;
        *ret_call = TAKE_PTR(call);
        return 1;
}

void call_free(Call *call) {
        if (!call)
                return;
        if (call->entered)
                server_call_leave(call->server, &call->caller);
        sd_varlink_unref(call->link);
        server_caller_done(&call->caller);
        free(call->pattern);
        free(call->image);
        strv_free(call->labels);
        free(call);
}

/* What a client of systemd's interfaces knows of any service is the number. */
static int system_error(sd_varlink *link, const Error *err) {
        return sd_varlink_errorbo(
                link, "io.systemd.System", SD_JSON_BUILD_PAIR_STRING("origin", "linux"),
                SD_JSON_BUILD_PAIR_INTEGER("errno", -error_code(err)),
                SD_JSON_BUILD_PAIR_STRING("message", *err->text ? err->text : error_kind_sentence(err->kind)),
                SD_JSON_BUILD_PAIR_CONDITION(!!*err->hint, "hint", SD_JSON_BUILD_STRING(err->hint)));
}

static int fail(Call *call, const Error *err) {
        return call->fail ? call->fail(call, err) : call_error(call->link, call->interface, err);
}

int call_error(sd_varlink *link, const char *interface, const Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char name[128];
        int r;

        if (!interface)
                return system_error(link, err);
        r = error_to_json(err, &v);
        if (r < 0)
                return r;
        buffer_format(name, sizeof(name), "%s.%s", interface, error_kind_name(err->kind));
        return sd_varlink_error(link, name, v);
}

int call_end(Call *call, int r, const Error *err) {
        if (r >= 0)
                return 0;
        tell_refusal(call, err);
        r = fail(call, err);
        call_free(call);
        return r;
}

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        Call *call = userdata;

        /* A client that is gone cannot be told, and the operation goes on. */
        (void) sd_varlink_notifybo(call->link,
                                   SD_JSON_BUILD_PAIR_OBJECT("progress", SD_JSON_BUILD_PAIR_STRING("step", step),
                                                             SD_JSON_BUILD_PAIR_UNSIGNED("position", position),
                                                             SD_JSON_BUILD_PAIR_UNSIGNED("total", total)));
}

static void reply(Call *call, Operation *op, int r) {
        Error failure = {};

        if (r >= 0)
                r = call->reply(call, op);
        if (r >= 0)
                return;
        if (r == -ENOTCONN) {
                log_debug("varlink", "the client went away before its answer");
                return;
        }
        log_error("varlink", "cannot answer: %s", strerror(-r));
        error_errno(&failure, r, "it was done, but the answer cannot be written");
        (void) fail(call, &failure);
}

static void on_done(Operation *op, const Error *err, void *userdata) {
        _cleanup_(call_freep) Call *call = userdata;
        CallNext next = TAKE_PTR(call->next);
        Error failure = {};
        int r;

        if (next && !err) {
                r = next(call, op, &failure);
                if (r >= 0) {
                        TAKE_PTR(call);
                        return;
                }
                err = &failure;
        }
        if (call->oneway) /* an answer would be taken for that of the client's next call */
                return;
        if (op->again && sd_varlink_dispatch_again(call->link) >= 0)
                return;
        r = failpoint("answer.%s.before", op->verb ?: "look");
        if (err)
                (void) fail(call, err); /* negative on purpose, see sd_varlink_error() */
        else
                reply(call, op, r);
        if (FAILPOINTS_BUILT) { /* else it leaves when the loop comes to it */
                (void) sd_varlink_flush(call->link);
                (void) failpoint("answer.%s.after", op->verb ?: "look");
        }
}

Watcher call_watcher(Call *call) {
        return (Watcher) { .on_progress = call->more ? on_progress : NULL, .on_done = on_done, .userdata = call };
}

/* The library takes "0700" as well, and nobody would say whether that is octal. */
int call_dispatch_uint64(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        if (sd_json_variant_is_string(v))
                return -EINVAL;
        return sd_json_variant_is_null(v) ? 0 : sd_json_dispatch_uint64(name, v, flags, userdata);
}

int call_dispatch_uint32(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        if (sd_json_variant_is_string(v))
                return -EINVAL;
        return sd_json_variant_is_null(v) ? 0 : sd_json_dispatch_uint32(name, v, flags, userdata);
}

int call_dispatch_index(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        uint32_t n;
        int r;

        if (sd_json_variant_is_null(v))
                return 0;
        r = sd_json_dispatch_uint32(name, v, flags, &n);
        if (r < 0 || n > INT32_MAX)
                return -EINVAL;
        *(int *) userdata = (int) n;
        return 0;
}

int call_dispatch_bool(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        return sd_json_variant_is_null(v) ? 0 : sd_json_dispatch_stdbool(name, v, flags, userdata);
}

int call_dispatch_strv(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        if (sd_json_variant_elements(v) > LIST_MAX)
                return -EINVAL;
        return sd_json_dispatch_strv(name, v, flags, userdata);
}

int call_take_fd(sd_varlink *link, int index, const char *field, int *ret, Error *err) {
        int fd;

        if (index < 0) {
                *ret = -EBADF;
                return 0;
        }
        fd = sd_varlink_peek_dup_fd(link, index); /* the call may be begun again */
        if (fd < 0)
                return error_field(err, field,
                                   "no descriptor %d came with the message; only administrators may send others than "
                                   "memfds and user namespaces",
                                   index);
        *ret = fd;
        return 0;
}

int call_take_key(sd_varlink *link, int index, int *ret, Error *err) {
        return call_take_fd(link, index, "keyFileDescriptor", ret, err);
}
