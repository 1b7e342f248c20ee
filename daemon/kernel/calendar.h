#pragma once

/* What systemd makes of calendar expressions, see systemd.time(7). It has no function for that, but a tool. */

#include <quarry/error.h>

/* When each elapses first behind a time, in UTC unless it names another zone; 0: never. ret has room for all.
 * ERROR_BAD_REQUEST with systemd's words for the first that it does not understand. */
int calendar_next(char *const *expressions, uint64_t base_usec, uint64_t *ret, Error *err);

/* The times in what `systemd-analyze calendar` printed, as many as there are room for; returns how many there were, or
 * -EBADMSG. */
int calendar_parse(const char *text, size_t n, uint64_t *ret);
