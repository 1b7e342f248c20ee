#pragma once

/* Which of many backups are kept: "7 daily, 4 weekly, 12 monthly" keeps the last of each of the seven last days that
 * have one, and so on. */

#include <quarry/error.h>

typedef enum RetentionPeriod {
        RETAIN_LAST, /* any */
        RETAIN_HOURLY,
        RETAIN_DAILY,
        RETAIN_WEEKLY, /* of ISO 8601: from Monday on */
        RETAIN_MONTHLY,
        RETAIN_YEARLY,
        _RETAIN_MAX,
} RetentionPeriod;

typedef struct Retention {
        unsigned keep[_RETAIN_MAX];
} Retention;

/* The words in any order, separated by commas, "keep" before them or not. ERROR_BAD_REQUEST for this field. */
int retention_parse(const char *s, const char *field, Retention *ret, Error *err);

/* usec: n times of CLOCK_REALTIME, the oldest first; periods are those of UTC. Sets keep[i] of what is kept. */
void retention_apply(const Retention *retention, const uint64_t *usec, size_t n, bool *keep);
