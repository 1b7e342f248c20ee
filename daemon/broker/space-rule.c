#include "broker/space-rule.h"

#include <quarry/pool.h>

#define USEC_PER_SEC UINT64_C(1000000)

/* What filesystems still need when nobody gets new space: journals, maps. */
#define FLOOR_PART 32
#define FLOOR_MIN (16 * MIB)
#define FLOOR_MAX (2 * GIB)

#define EXTEND_SECONDS 20u  /* an extension may take this long on a busy host */
#define HARD_SECONDS_TENTH 5u /* from a look to the stop: half a second */
#define SOFT_SECONDS 2u
#define HARD_BURST_PART 4 /* however fast it fills, a pool with so much left goes on: */
#define SOFT_BURST_PART 8 /* most bursts end before it is full */
#define HALF_USEC (120 * USEC_PER_SEC)
#define FORECAST_USEC_MIN (60 * USEC_PER_SEC)
#define FORECAST_USEC_SURE (3600 * USEC_PER_SEC) /* what was seen for less is told of so many times that at most: */
#define FORECAST_TIMES 10 /* a pool that was just made fills with what is made first, and seldom goes on so */
#define COUNT_USEC (30 * USEC_PER_SEC) /* a tenant is counted this often while it grows or may be above its limit, */
#define COUNT_IDLE_USEC (600 * USEC_PER_SEC) /* and else */
#define COUNT_PART 4 /* a fifth of the time, */
#define COUNT_PAUSE_USEC USEC_PER_SEC /* with at least this between */

static uint64_t floor_of(uint64_t data_size) {
        uint64_t n = data_size / FLOOR_PART;

        return n < FLOOR_MIN ? FLOOR_MIN : n > FLOOR_MAX ? FLOOR_MAX : n;
}

static uint64_t larger(uint64_t a, uint64_t b) {
        return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

/* What a fast writer needs until an extension is there. A short burst, as of a mkfs, must not make a pool grow that
 * is more than half empty. */
static uint64_t demand(uint64_t data_size, uint64_t dirty, uint64_t rate) {
        return smaller(dirty + rate * EXTEND_SECONDS, data_size / 2);
}

void space_marks(uint64_t data_size, uint64_t dirty, uint64_t rate, unsigned threshold, SpaceMarks *ret) {
        uint64_t floor = floor_of(data_size);
        uint64_t hard = floor + dirty + smaller(rate * HARD_SECONDS_TENTH / 10, data_size / HARD_BURST_PART);
        uint64_t soft = hard + floor / 2 + smaller(rate * SOFT_SECONDS, data_size / SOFT_BURST_PART);

        *ret = (SpaceMarks) {
                .extend = threshold < 100 ? larger(data_size / 100 * (100 - threshold), demand(data_size, dirty, rate))
                                          : 0,
                .low = larger(pool_create_mark(data_size), hard),
                .soft = soft,
                .hard = hard,
                .plenty = larger(data_size / HARD_BURST_PART, soft) + floor,
        };
}

uint64_t space_step(uint64_t data_size, uint64_t rate, unsigned step) {
        return smaller(larger(data_size / 100 * step, 2 * rate * EXTEND_SECONDS), data_size);
}

uint64_t space_made(uint64_t data_size) {
        return floor_of(data_size);
}

uint64_t space_rate(uint64_t rate, uint64_t bytes, uint64_t usec) {
        uint64_t now;

        if (usec == 0)
                return rate;
        now = (uint64_t) ((double) bytes * (double) USEC_PER_SEC / (double) usec);
        if (now >= rate || usec >= 10 * USEC_PER_SEC)
                return now;
        return rate - (uint64_t) ((double) (rate - now) * (double) usec / (double) (10 * USEC_PER_SEC));
}

uint64_t space_growth(uint64_t growth, uint64_t bytes, uint64_t usec) {
        double kept = (double) growth;

        for (; usec >= HALF_USEC && kept >= 1; usec -= HALF_USEC)
                kept /= 2;
        /* between two halvings a straight line is near enough */
        kept -= kept / 2 * (double) (usec < HALF_USEC ? usec : HALF_USEC) / (double) HALF_USEC;
        return (uint64_t) kept + bytes;
}

void space_choose(const uint64_t *growth, size_t n, bool *ret_chosen) {
        uint64_t all = 0, sum = 0;

        for (size_t i = 0; i < n; i++) {
                ret_chosen[i] = false;
                all += growth[i];
        }
        while (sum < all - all / 2) {
                size_t most = n;

                for (size_t i = 0; i < n; i++)
                        if (!ret_chosen[i] && (most == n || growth[i] > growth[most]))
                                most = i;
                if (most == n)
                        return;
                ret_chosen[most] = true;
                sum += growth[most];
        }
}

/* What others give back hides what it takes: it is not told from the pool's growth alone for longer than COUNT_USEC. */
SpaceUrgency space_count_urgency(const SpaceCount *c) {
        bool may_be_over = c->mapped_max > c->limit;

        if (!c->is_counted)
                return may_be_over ? SPACE_COUNT_NEAR : SPACE_COUNT_IDLE;
        if (c->bytes > c->limit)
                return c->changed || c->own_changed || c->age >= COUNT_USEC ? SPACE_COUNT_NEAR : SPACE_COUNT_NOT;
        if (may_be_over && c->grown > c->limit - c->bytes)
                return SPACE_COUNT_NEAR;
        if (c->age < COUNT_USEC)
                return SPACE_COUNT_NOT;
        return c->own_changed || (c->changed && (may_be_over || c->age >= COUNT_IDLE_USEC)) ? SPACE_COUNT_IDLE
                                                                                            : SPACE_COUNT_NOT;
}

uint64_t space_count_pause(uint64_t took) {
        return larger(took * COUNT_PART, COUNT_PAUSE_USEC);
}

uint64_t space_lasts(uint64_t left, uint64_t bytes, uint64_t usec) {
        if (bytes == 0 || usec < FORECAST_USEC_MIN)
                return UINT64_MAX;
        if (usec < FORECAST_USEC_SURE && left / FORECAST_TIMES > bytes)
                return UINT64_MAX;
        return (uint64_t) ((double) left / (double) bytes * (double) usec / (double) USEC_PER_SEC);
}
