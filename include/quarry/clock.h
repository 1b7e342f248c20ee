#pragma once

/* What a clock of clock_gettime(2) says, in microseconds. */

#include <quarry/base.h>

#include <time.h>

static inline uint64_t clock_usec(clockid_t clock) {
        struct timespec ts = {};

        (void) clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}
