#pragma once

/* Rules about space, without any state: when what is to be done, and to whom. All sizes in bytes. */

#include <quarry/base.h>

/* Bytes left of a pool's data at which something happens. */
typedef struct SpaceMarks {
        uint64_t extend; /* it is extended, if its volume group has room */
        uint64_t low;    /* it is called low: no volumes are made any more */
        uint64_t soft;   /* the largest growers are stopped */
        uint64_t hard;   /* everybody is */
        uint64_t plenty; /* what was stopped is let go, though nobody has made space: it was a burst, and ended */
} SpaceMarks;

/* dirty: what is yet to be written back; rate: bytes a second by which the pool fills. threshold: percent,
 * AutoExtendThreshold=. */
void space_marks(uint64_t data_size, uint64_t dirty, uint64_t rate, unsigned threshold, SpaceMarks *ret);

/* By how much to extend. step: percent, AutoExtendStep=. */
uint64_t space_step(uint64_t data_size, uint64_t rate, unsigned step);

/* So many bytes more than when the writers were stopped must be free before they are let go. */
uint64_t space_made(uint64_t data_size);

/* The rate after so many bytes more in so much time: rises at once, falls in seconds. */
uint64_t space_rate(uint64_t rate, uint64_t bytes, uint64_t usec);

/* A volume's growth of the last minutes: half of it is forgotten every two minutes. */
uint64_t space_growth(uint64_t growth, uint64_t bytes, uint64_t usec);

/* Marks those that grew most, until they account for half of what all did: the fewest that matter. */
void space_choose(const uint64_t *growth, size_t n, bool *ret_chosen);

/* What is known of a tenant that may take only so much of a pool. */
typedef struct SpaceCount {
        uint64_t limit;      /* bytes */
        bool is_counted;     /* ever: */
        uint64_t bytes, age; /* what it took then, and how long ago that was, microseconds */
        uint64_t grown;      /* bytes by which the pool has grown since: it cannot have taken more than that */
        bool changed;        /* what the pool has given out, */
        bool own_changed;    /* or how many volumes it has, or what they map */
        uint64_t mapped_max; /* bytes, shared ones counted for each who has them: it cannot take more; UINT64_MAX: not
                                known */
} SpaceCount;

typedef enum SpaceUrgency {
        SPACE_COUNT_NOT,
        SPACE_COUNT_IDLE, /* to know it */
        SPACE_COUNT_NEAR, /* it may be above its limit, or below again */
} SpaceUrgency;

/* Whether it is to be counted again. */
SpaceUrgency space_count_urgency(const SpaceCount *c);

/* How long nobody is counted after that took so long. */
uint64_t space_count_pause(uint64_t took);

/* Seconds until a pool with so much left is full, if it goes on as in the time given; UINT64_MAX: never, or it
 * cannot be told yet. */
uint64_t space_lasts(uint64_t left, uint64_t bytes, uint64_t usec);
