#pragma once

/* The events of this host as systemd's journal has them. */

#include <quarry/event.h>

/* Whether this process may read what system services wrote. */
bool journal_is_readable(void);

/* Calls back for each entry that quarryd wrote and that fits one of the filters (n = 0: for each), the oldest first,
 * until it returns non-zero, which is returned. The event is only there meanwhile. since, until: CLOCK_REALTIME,
 * microseconds, 0 for none. limit: the newest so many, 0 for all. */
typedef struct JournalQuery {
        const EventFilter *filters;
        size_t n;
        uint64_t since, until;
        uint64_t limit;
} JournalQuery;

int journal_read(const JournalQuery *query, int (*on_event)(const Event *event, void *userdata), void *userdata,
                 Error *err);
