#pragma once

/* What happened lately, in memory, and who is told of it as it happens. A reader that is slow, or stopped, holds
 * nothing: what it has not read by the time that it goes is counted as lost. */

#include "broker/manager.h"

#include <quarry/event.h>

#define EVENTS_KEPT 128u /* of each tenant, and of what is only for administrators */

typedef struct Events Events;
typedef struct Subscriber Subscriber;

int events_new(const Registry *registry, Events **ret, Error *err);
void events_free(Events *events);

/* Takes over the event. tenant: whose members may see it, NULL for none. */
void events_add(Events *events, const TenantEntry *tenant, Event *event);

/* Which of them one caller may see, and wants to. */
typedef struct EventView {
        const Caller *caller;
        const EventFilter *filters;
        size_t n; /* 0: all */
} EventView;

/* Calls back for those that are kept, the oldest first, until it returns non-zero, which is returned. */
int events_each(const Events *events, const EventView *view, int (*on_event)(const Event *event, void *userdata),
                void *userdata);

/* on_news: there is something to be read that was not there the last time that there was nothing. What view points to
 * must stay. ERROR_OVERLOADED for one too many of a user who is no administrator. */
int events_subscribe(Events *events, const EventView *view, void (*on_news)(void *userdata), void *userdata,
                     Subscriber **ret, Error *err);
void events_unsubscribe(Subscriber *subscriber);
/* The next that is to be told: NULL if there is none. *ret_lost: so many before it were not read in time, and are said
 * once. */
const Event *subscriber_next(Subscriber *subscriber, uint64_t *ret_lost);
