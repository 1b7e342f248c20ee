#pragma once

/* What a clock of clock_gettime(2) says, in microseconds. */

#include <quarry/base.h>

#include <time.h>

static inline uint64_t clock_usec(clockid_t clock) {
        struct timespec ts = {};

        (void) clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

/* So long after boot disks may still turn up: what needs them waits. */
#define CLOCK_BOOT_USEC (90 * UINT64_C(1000000))

static inline bool clock_host_is_booting(void) {
        return clock_usec(CLOCK_BOOTTIME) < CLOCK_BOOT_USEC;
}
