#include "broker/events.h"

#include "broker/policy.h"

#include <quarry/log.h>
#include <quarry/text.h>

#define HISTORIES_MAX 256u
#define SUBSCRIBERS_PER_OTHER_MAX 16u
#define SUBSCRIBERS_OTHERS_MAX 256u

typedef struct History History;
typedef struct Entry Entry;

struct Entry {
        Entry *older, *newer; /* of all, */
        Entry *next;          /* and of its history */
        History *history;
        Event event;
};

/* Of one tenant. One that is made again under the same name is another, whose members see nothing of the first. */
struct History {
        History *next; /* behind who had something happen later */
        sd_id128_t pool;
        char tenant[TENANT_NAME_MAX + 1]; /* "": for administrators */
        uint64_t created_usec;
        Entry *first, *last;
        unsigned n;
};

struct Subscriber {
        Subscriber *next;
        Events *events;
        EventView view;
        Entry *at; /* what it is told next; NULL: it has all */
        uint64_t lost;
        void (*on_news)(void *userdata);
        void *userdata;
};

struct Events {
        const Registry *registry;
        Entry *oldest, *newest;
        History *histories;
        unsigned n_histories;
        Subscriber *subscribers;
};

int events_new(const Registry *registry, Events **ret, Error *err) {
        Events *events = calloc(1, sizeof(*events));

        if (!events)
                return error_oom(err);
        events->registry = registry;
        *ret = events;
        return 0;
}

/* --- who sees what --------------------------------------------------------------------------------------- */

static bool is_history_of(const History *h, const TenantEntry *tenant) {
        if (!tenant)
                return isempty(h->tenant);
        return streq(h->tenant, tenant->tenant.name) && h->created_usec == tenant->tenant.created_usec &&
               sd_id128_equal(h->pool, tenant->pool->info.uuid);
}

/* As it is now: who is no member any more sees nothing more. */
static bool may_see(const Events *events, const Caller *caller, const History *h) {
        const PoolEntry *pool;
        const TenantEntry *tenant;

        if (caller->admin || isempty(h->tenant))
                return caller->admin;
        pool = registry_find_pool_uuid((Registry *) events->registry, h->pool);
        tenant = pool ? registry_find_tenant(pool, h->tenant) : NULL;
        return tenant && is_history_of(h, tenant) && policy_is_member(caller, tenant);
}

static bool is_for(const Events *events, const EventView *view, const Entry *entry) {
        bool wanted = view->n == 0;

        for (size_t i = 0; i < view->n && !wanted; i++)
                wanted = event_filter_matches(&view->filters[i], &entry->event);
        return wanted && may_see(events, view->caller, entry->history);
}

int events_each(const Events *events, const EventView *view, int (*on_event)(const Event *event, void *userdata),
                void *userdata) {
        int r = 0;

        for (const Entry *e = events->oldest; e && r == 0; e = e->newer)
                if (is_for(events, view, e))
                        r = on_event(&e->event, userdata);
        return r;
}

/* --- what is kept ---------------------------------------------------------------------------------------- */

/* The oldest of its history. */
static void drop(Events *events, History *h) {
        Entry *entry = h->first;

        for (Subscriber *s = events->subscribers; s; s = s->next)
                if (s->at == entry) {
                        s->lost += is_for(events, &s->view, entry);
                        s->at = entry->newer;
                }
        *(entry->older ? &entry->older->newer : &events->oldest) = entry->newer;
        *(entry->newer ? &entry->newer->older : &events->newest) = entry->older;
        h->first = entry->next;
        h->n--;
        event_done(&entry->event);
        free(entry);
}

static void history_free(Events *events, History **at) {
        History *h = *at;

        while (h->first)
                drop(events, h);
        *at = h->next;
        events->n_histories--;
        free(h);
}

static History *history_new(Events *events, const TenantEntry *tenant) {
        History *h = calloc(1, sizeof(*h)), **at;

        if (!h)
                return NULL;
        if (events->n_histories == HISTORIES_MAX) {
                for (at = &events->histories; *at && (*at)->next;)
                        at = &(*at)->next;
                if (*at)
                        history_free(events, at);
        }
        if (tenant) {
                h->pool = tenant->pool->info.uuid;
                h->created_usec = tenant->tenant.created_usec;
                buffer_format(h->tenant, sizeof(h->tenant), "%s", tenant->tenant.name);
        }
        events->n_histories++;
        return h;
}

/* Moved to the front. */
static History *history_get(Events *events, const TenantEntry *tenant) {
        History **at = &events->histories, *h;

        while (*at && !is_history_of(*at, tenant))
                at = &(*at)->next;
        h = *at;
        if (h)
                *at = h->next;
        else
                h = history_new(events, tenant);
        if (h) {
                h->next = events->histories;
                events->histories = h;
        }
        return h;
}

static Entry *entry_new(Events *events, const TenantEntry *tenant, Event *event) {
        Entry *entry = malloc(sizeof(*entry));
        History *h = entry ? history_get(events, tenant) : NULL;

        if (!h) {
                free(entry);
                return NULL;
        }
        if (h->n == EVENTS_KEPT)
                drop(events, h);
        *entry = (Entry) { .older = events->newest, .history = h, .event = *event };
        *event = (Event) {};
        *(entry->older ? &entry->older->newer : &events->oldest) = entry;
        events->newest = entry;
        *(h->first ? &h->last->next : &h->first) = entry;
        h->last = entry;
        h->n++;
        return entry;
}

void events_add(Events *events, const TenantEntry *tenant, Event *event) {
        Entry *entry = event->cut ? NULL : entry_new(events, tenant, event);

        if (!entry) {
                log_error("events", "out of memory: nobody is told of: %s", event->message ?: "something");
                event_done(event);
                for (Subscriber *s = events->subscribers; s; s = s->next)
                        s->lost += s->view.caller->admin;
                return;
        }
        for (Subscriber *s = events->subscribers; s; s = s->next)
                if (!s->at && is_for(events, &s->view, entry)) {
                        s->at = entry;
                        s->on_news(s->userdata);
                }
}

void events_free(Events *events) {
        if (!events)
                return;
        while (events->histories)
                history_free(events, &events->histories);
        free(events);
}

/* --- who is told ----------------------------------------------------------------------------------------- */

static int check_limit(const Events *events, const Caller *caller, Error *err) {
        unsigned n = 0, n_user = 0;

        for (const Subscriber *s = events->subscribers; s; s = s->next) {
                n += !s->view.caller->admin;
                n_user += s->view.caller->uid == caller->uid;
        }
        if (caller->admin || (n < SUBSCRIBERS_OTHERS_MAX && n_user < SUBSCRIBERS_PER_OTHER_MAX))
                return 0;
        return n_user >= SUBSCRIBERS_PER_OTHER_MAX
                       ? error_set(err, ERROR_OVERLOADED, EBUSY, "user %u follows the events %u times already",
                                   caller->uid, n_user)
                       : error_set(err, ERROR_OVERLOADED, EBUSY, "too many users follow the events");
}

int events_subscribe(Events *events, const EventView *view, void (*on_news)(void *userdata), void *userdata,
                     Subscriber **ret, Error *err) {
        Subscriber *s;
        int r;

        r = check_limit(events, view->caller, err);
        if (r < 0)
                return r;
        s = malloc(sizeof(*s));
        if (!s)
                return error_oom(err);
        *s = (Subscriber) {
                .next = events->subscribers, .events = events, .view = *view, .on_news = on_news, .userdata = userdata
        };
        events->subscribers = s;
        *ret = s;
        return 0;
}

void events_unsubscribe(Subscriber *subscriber) {
        Subscriber **at;

        if (!subscriber)
                return;
        for (at = &subscriber->events->subscribers; *at != subscriber;)
                at = &(*at)->next;
        *at = subscriber->next;
        free(subscriber);
}

const Event *subscriber_next(Subscriber *s, uint64_t *ret_lost) {
        const Event *event;

        while (s->at && !is_for(s->events, &s->view, s->at))
                s->at = s->at->newer;
        *ret_lost = s->lost;
        s->lost = 0;
        event = s->at ? &s->at->event : NULL;
        if (s->at)
                s->at = s->at->newer;
        return event;
}
