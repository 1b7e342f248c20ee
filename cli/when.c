#include "when.h"

#include "must.h"

#include <quarry/text.h>
#include <time.h>

#define USEC UINT64_C(1000000)

int when_parse_span(const char *text, uint64_t *ret) {
        static const struct {
                char letter;
                unsigned seconds;
        } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 24 * 3600 }, { 'w', 7 * 24 * 3600 } };
        size_t n = strlen(text);
        _cleanup_free_ char *digits = must_have(strndup(text, n > 0 ? n - 1 : 0));
        uint64_t number = 0;
        int r;

        r = number_parse(digits, &number);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(units); i++)
                if (text[n - 1] == units[i].letter)
                        return __builtin_mul_overflow(number, units[i].seconds, ret) ? -ERANGE : 0;
        return r < 0 ? r : -EINVAL;
}

/* strptime() takes the 31st of February for one in March. */
static int date_parse(const char *text, time_t *ret) {
        static const char *const formats[] = { "%Y-%m-%d",       "%Y-%m-%d %H:%M",    "%Y-%m-%d %H:%M:%S",
                                               "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ" };

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tm = {};
                const char *rest = strptime(text, formats[i], &tm);
                int day = tm.tm_mday, second = tm.tm_sec;

                if (!rest || *rest)
                        continue;
                *ret = timegm(&tm);
                return tm.tm_mday == day && tm.tm_sec == second && *ret >= 0 ? 0 : -ERANGE;
        }
        return -EINVAL;
}

int when_parse(const char *text, uint64_t now, uint64_t *ret) {
        uint64_t span = 0;
        time_t at = 0;
        int r;

        r = date_parse(text, &at);
        if (r >= 0)
                return __builtin_mul_overflow((uint64_t) at, USEC, ret) ? -ERANGE : 0;
        if (r == -ERANGE)
                return r;
        r = when_parse_span(text, &span);
        if (r < 0)
                return r;
        if (__builtin_mul_overflow(span, USEC, &span) || span > now)
                return -ERANGE;
        *ret = now - span;
        return 0;
}
