#include "retention.h"

#include <quarry/text.h>

#include <string.h>
#include <time.h>

#define SPACES " \t\n"
#define KEEP_MAX 10000u
#define DAY INT64_C(86400)

static const char *const names[_RETAIN_MAX] = { "last", "hourly", "daily", "weekly", "monthly", "yearly" };

/* --- as it is typed --------------------------------------------------------------------------------------- */

static int parse_one(const char *text, const char *field, Retention *ret, Error *err) {
        char echo[TEXT_ECHO_MAX], number[16], word[16];
        size_t digits, letters, n;
        uint64_t keep;

        text += strspn(text, SPACES);
        digits = strspn(text, "0123456789");
        n = digits + strspn(text + digits, SPACES);
        letters = strspn(text + n, "abcdefghijklmnopqrstuvwxyz");
        if (digits > 0 && buffer_format(number, sizeof(number), "%.*s", (int) digits, text) &&
            buffer_format(word, sizeof(word), "%.*s", (int) letters, text + n) &&
            text[n + letters + strspn(text + n + letters, SPACES)] == 0 && number_parse(number, &keep) >= 0 &&
            keep >= 1 && keep <= KEEP_MAX)
                for (unsigned i = 0; i < _RETAIN_MAX; i++)
                        if (streq(word, names[i]) && ret->keep[i] == 0) {
                                ret->keep[i] = (unsigned) keep;
                                return 0;
                        }
        return error_field(err, field,
                           "\"%s\": what is kept is a number, 1 to %u, and once each of last, hourly, daily, weekly, "
                           "monthly, yearly: 7 daily, 4 weekly",
                           text_echo(text, echo), KEEP_MAX);
}

int retention_parse(const char *s, const char *field, Retention *ret, Error *err) {
        _cleanup_free_ char *copy = strdup(s);
        Retention retention = {};
        char *rest, *part;
        int r = 0;

        if (!copy)
                return error_oom(err);
        rest = copy + strspn(copy, SPACES);
        if (startswith(rest, "keep") && rest[4] && strchr(SPACES, rest[4]))
                rest += 4;
        while (r >= 0 && (part = strsep(&rest, ","))) /* an empty one is refused, too: nothing is no rule */
                r = parse_one(part, field, &retention, err);
        if (r >= 0)
                *ret = retention;
        return r;
}

/* --- applied ---------------------------------------------------------------------------------------------- */

/* A number that two times have in common if they are of the same period. */
static int64_t period_of(RetentionPeriod period, uint64_t usec) {
        time_t seconds = (time_t) (usec / 1000000);
        struct tm tm = {};

        (void) gmtime_r(&seconds, &tm);
        switch (period) {
        case RETAIN_HOURLY:
                return seconds / 3600;
        case RETAIN_DAILY:
                return seconds / DAY;
        case RETAIN_WEEKLY:
                return (seconds / DAY + 3) / 7; /* 1970 began on a Thursday */
        case RETAIN_MONTHLY:
                return tm.tm_year * 12 + tm.tm_mon;
        case RETAIN_YEARLY:
                return tm.tm_year;
        default:
                return (int64_t) usec;
        }
}

static void apply_one(RetentionPeriod period, unsigned left, const uint64_t *usec, size_t n, bool *keep) {
        int64_t last = -1;

        for (size_t i = n; i > 0 && left > 0; i--) {
                int64_t is = period_of(period, usec[i - 1]);

                if (period != RETAIN_LAST && is == last)
                        continue;
                last = is;
                keep[i - 1] = true;
                left--;
        }
}

void retention_apply(const Retention *retention, const uint64_t *usec, size_t n, bool *keep) {
        for (unsigned i = 0; i < _RETAIN_MAX; i++)
                apply_one((RetentionPeriod) i, retention->keep[i], usec, n, keep);
}
