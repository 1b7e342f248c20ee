#pragma once

/* Times and spans of time as they are typed. */

#include <quarry/base.h>

/* "90s", "15m", "12h", "7d", "2w", in seconds. -EINVAL, -ERANGE. */
int when_parse_span(const char *text, uint64_t *ret);

/* A span before now, or "YYYY-MM-DD[ HH:MM[:SS]]" in UTC, also with a T between, and a Z behind the seconds:
 * microseconds since 1970, as now is. -EINVAL, -ERANGE. */
int when_parse(const char *text, uint64_t now, uint64_t *ret);
