#include "front/event.h"

#include "broker/audit.h"
#include "broker/find.h"
#include "broker/policy.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sys/epoll.h>

#define VOLUMES_MAX 100u
#define AT_ONCE 16u /* events that are written together */

typedef struct Parameters {
        char **volumes;
        const char *pool, *tenant;
} Parameters;

static const sd_json_dispatch_field parameters_table[] = {
        { "volumes", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(Parameters, volumes), SD_JSON_NULLABLE },
        { "pool", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, pool), SD_JSON_NULLABLE },
        { "tenant", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, tenant),
          SD_JSON_NULLABLE },
        {},
};

static void parameters_done(Parameters *p) {
        strv_free(p->volumes);
}

/* --- filters --------------------------------------------------------------------------------------------- */

static int filter_init(const Call *call, const Parameters *p, const char *volume, EventFilter *f, Error *err) {
        Manager *m = server_manager(call->server);
        int r = 0;

        if (volume)
                r = event_filter_parse(volume, "volumes", f, err);
        if (r >= 0 && volume && isempty(f->volume.tenant)) {
                char tenant[TENANT_NAME_MAX + 1];

                r = policy_tenant(m, &call->caller, p->tenant, "volumes", tenant, err);
                if (r >= 0)
                        buffer_format(f->volume.tenant, sizeof(f->volume.tenant), "%s", tenant);
        }
        if (r >= 0 && p->pool)
                r = pool_name_check(p->pool, "pool", err);
        if (r >= 0 && p->tenant)
                r = tenant_name_check(p->tenant, "tenant", err);
        if (r < 0)
                return r;
        buffer_format(f->pool, sizeof(f->pool), "%s", p->pool ?: "");
        buffer_format(f->tenant, sizeof(f->tenant), "%s", p->tenant ?: "");
        return 0;
}

/* One for each volume, or one for all; each has the pool and the tenant. */
static int filters_new(const Call *call, const Parameters *p, EventFilter **ret, size_t *ret_n, Error *err) {
        size_t n = strv_length(p->volumes), count = n > 0 ? n : 1;
        _cleanup_free_ EventFilter *filters = NULL;
        int r = 0;

        if (n > VOLUMES_MAX)
                return error_field(err, "volumes", "at most %u can be given", VOLUMES_MAX);
        filters = calloc(count, sizeof(*filters));
        if (!filters)
                return error_oom(err);
        for (size_t i = 0; i < count && r >= 0; i++)
                r = filter_init(call, p, n > 0 ? p->volumes[i] : NULL, &filters[i], err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(filters);
        *ret_n = count;
        return 0;
}

/* Whose member somebody is, is only known of pools that are active: what comes later is told then. */
static int check_caller(const Call *call, Error *err) {
        Manager *m = server_manager(call->server);
        int r;

        if (call->caller.admin || policy_has_tenant(m, &call->caller))
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "events are for administrators and members of tenants");
        error_hint(err, "see whose member you are: quarry tenant ls");
        return r;
}

/* --- list ------------------------------------------------------------------------------------------------ */

static int list_add(const Event *event, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = event_to_json(event, &v);
        if (r >= 0)
                r = sd_json_variant_append_array(userdata, v);
        return r < 0 ? r : 0;
}

static int vl_method_list(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *events = NULL;
        _cleanup_(parameters_done) Parameters p = {};
        _cleanup_free_ EventFilter *filters = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        size_t n = 0;
        int r;

        r = sd_varlink_dispatch(link, parameters, parameters_table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_EVENT, "log", NULL, &call);
        if (r <= 0)
                return r;
        r = check_caller(call, &err);
        if (r >= 0)
                r = filters_new(call, &p, &filters, &n, &err);
        if (r < 0)
                return call_end(TAKE_PTR(call), r, &err);
        EventView view = { .caller = &call->caller, .filters = filters, .n = n };
        r = sd_json_variant_new_array(&events, NULL, 0);
        if (r >= 0)
                r = events_each(audit_events(server_manager(call->server)->audit), &view, list_add, &events);
        return r < 0 ? r : sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("events", events));
}

/* --- subscribe ------------------------------------------------------------------------------------------- */

typedef struct Subscription {
        Call *call;
        EventFilter *filters;
        size_t n;
        Subscriber *subscriber;
        sd_event_source *writable; /* on while there is something to be told */
} Subscription;

static void subscription_free(Subscription *s) {
        if (!s)
                return;
        events_unsubscribe(s->subscriber);
        sd_event_source_disable_unref(s->writable);
        call_free(s->call);
        free(s->filters);
        free(s);
}
DEFINE_CLEANUP(Subscription *, subscription_free)

static void on_gone(void *userdata) {
        subscription_free(userdata);
}

static void on_news(void *userdata) {
        Subscription *s = userdata;

        (void) sd_event_source_set_enabled(s->writable, SD_EVENT_ON);
}

static int write_event(Subscription *s, const Event *event, uint64_t lost) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r = event ? event_to_json(event, &v) : 0;

        return r < 0 ? r
                     : sd_varlink_notifybo(
                               s->call->link,
                               SD_JSON_BUILD_PAIR_CONDITION(event != NULL, "event", SD_JSON_BUILD_VARIANT(v)),
                               SD_JSON_BUILD_PAIR_CONDITION(lost > 0, "lost", SD_JSON_BUILD_UNSIGNED(lost)));
}

/* Behind the library: while that has something to write nothing more is handed to it, so that what a client does not
 * read stays where it is bounded. */
static int on_writable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Subscription *s = userdata;

        if (sd_varlink_get_events(s->call->link) & EPOLLOUT)
                return 0;
        for (unsigned i = 0; i < AT_ONCE; i++) {
                uint64_t lost;
                const Event *event = subscriber_next(s->subscriber, &lost);

                if (!event && lost == 0)
                        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
                if (write_event(s, event, lost) < 0) { /* it must not miss one without being told */
                        log_debug("events", "cannot tell user %u what happens: the connection is closed",
                                  s->call->caller.uid);
                        (void) sd_varlink_close(s->call->link);
                        return 0;
                }
        }
        return 0;
}

static int watch_writable(Subscription *s) {
        _cleanup_close_ int fd = fcntl(sd_varlink_get_fd(s->call->link), F_DUPFD_CLOEXEC, 3);
        Manager *m = server_manager(s->call->server);
        int r;

        if (fd < 0)
                return -errno;
        r = sd_event_add_io(m->event, &s->writable, fd, EPOLLOUT, on_writable, s);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(s->writable, true);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        r = sd_event_source_set_enabled(s->writable, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_priority(s->writable, SD_EVENT_PRIORITY_NORMAL + 1);
}

static int subscribe(Subscription *s, const Parameters *p, Error *err) {
        EventView view = { .caller = &s->call->caller };
        int r;

        r = check_caller(s->call, err);
        if (r >= 0)
                r = filters_new(s->call, p, &s->filters, &s->n, err);
        if (r < 0)
                return r;
        r = watch_writable(s);
        if (r < 0)
                return error_errno(err, r, "cannot follow the events");
        view.filters = s->filters;
        view.n = s->n;
        return events_subscribe(audit_events(server_manager(s->call->server)->audit), &view, on_news, s, &s->subscriber,
                                err);
}

static int vl_method_subscribe(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                               void *userdata) {
        _cleanup_(subscription_freep) Subscription *s = NULL;
        _cleanup_(parameters_done) Parameters p = {};
        Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, parameters_table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_EVENT, "events", NULL, &call);
        if (r <= 0)
                return r;
        s = calloc(1, sizeof(*s));
        if (!s) {
                call_free(call);
                return -ENOMEM;
        }
        s->call = call;
        r = subscribe(s, &p, &err);
        if (r < 0)
                return call_end(TAKE_PTR(s->call), r, &err);
        r = sd_varlink_notify(link, NULL);
        if (r >= 0)
                r = server_on_gone(call->server, link, on_gone, s);
        if (r < 0)
                return r;
        TAKE_PTR(s);
        return 0;
}

int front_event_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Event);
        if (r < 0)
                return r;
        return sd_varlink_server_bind_method_many(
                server,
                API_EVENT ".Subscribe", vl_method_subscribe,
                API_EVENT ".List", vl_method_list);
}
