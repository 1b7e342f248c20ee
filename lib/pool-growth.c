#include <quarry/pool.h>

#include <quarry/text.h>

void pool_growth_done(PoolGrowth *growth) {
        growth->devices = strv_free(growth->devices);
}

int pool_growth_validate(const PoolGrowth *growth, Error *err) {
        char size[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];
        int ways = (strv_length(growth->devices) > 0) + (growth->total > 0) +
                   (growth->data > 0 || growth->metadata > 0);

        if (ways != 1)
                return error_field(err, "devices", "a pool is extended by exactly one of: block devices, a new size");
        if (growth->total > POOL_SIZE_MAX || growth->data > POOL_SIZE_MAX || growth->metadata > POOL_METADATA_SIZE_MAX)
                return error_field(err, "sizeBytes", "size %s is too large: a pool has at most %s",
                                   size_format_exact(growth->total, size), size_format(POOL_SIZE_MAX, limit));
        return pool_devices_check(growth->devices, err);
}

#define LOW_WATER_PART 20

uint64_t pool_low_water(uint64_t data_size) {
        return data_size / LOW_WATER_PART;
}

#define RESERVE_PART 64
#define RESERVE_MIN (16 * MIB)
#define RESERVE_MAX GIB

uint64_t pool_reserve_size(uint64_t data_size) {
        uint64_t reserve = data_size / RESERVE_PART;

        return reserve < RESERVE_MIN ? RESERVE_MIN : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
}

uint64_t pool_create_mark(uint64_t data_size) {
        return pool_low_water(data_size);
}

static uint64_t round_up(uint64_t n, uint64_t unit) {
        return (n + unit - 1) / unit * unit;
}

static uint64_t larger(uint64_t a, uint64_t b) {
        return a > b ? a : b;
}

/* What is left of total for data; 0 if nothing. */
static uint64_t data_of(uint64_t total, const PoolLayout *layout, uint64_t extent) {
        uint64_t taken = layout->catalog + 2 * layout->metadata;

        return total > taken ? (total - taken) / extent * extent : 0;
}

/* Ahead of demand: what fits. */
static void grow_by(const PoolLayout *have, const PoolGrowth *growth, uint64_t chunk, uint64_t all, uint64_t extent,
                    PoolLayout *layout) {
        uint64_t wanted = larger(have->metadata + growth->metadata,
                                 pool_metadata_size(have->data + growth->data, chunk));

        if (wanted > POOL_METADATA_SIZE_MAX)
                wanted = POOL_METADATA_SIZE_MAX;
        layout->metadata = larger(have->metadata, round_up(wanted, extent));
        if (data_of(all, layout, extent) < have->data)
                layout->metadata = have->metadata; /* not even that */
        uint64_t data = have->data + round_up(growth->data, extent), most = data_of(all, layout, extent);
        layout->data = larger(have->data, data < most ? data : most);
}

int pool_layout_grow(const PoolLayout *have, const PoolGrowth *growth, uint64_t chunk, uint64_t free, uint64_t extent,
                     PoolLayout *ret, Error *err) {
        uint64_t all = have->catalog + have->metadata + have->data + free, total = growth->total ?: all;
        uint64_t now = have->catalog + 2 * have->metadata + have->data;
        char size[SIZE_TEXT_MAX], other[SIZE_TEXT_MAX];
        PoolLayout layout = *have;

        if (growth->data > 0 || growth->metadata > 0)
                grow_by(have, growth, chunk, all, extent, &layout);
        else {
                if (growth->total > 0 && total < now)
                        return error_field(err, "sizeBytes", "the pool has %s, and cannot shrink to %s",
                                           size_format(now, size), size_format_exact(total, other));
                if (total > all && total > now)
                        return error_set(err, ERROR_NO_SPACE, ENOSPC,
                                         "the pool has %s, and with what its volume group has free it could have %s",
                                         size_format(now, size), size_format(larger(all, now), other));
                layout.metadata = larger(have->metadata, round_up(pool_metadata_size(total, chunk), extent));
                if (data_of(total, &layout, extent) < have->data) /* the maps alone would take it */
                        layout.metadata = have->metadata;
                layout.data = larger(have->data, data_of(total, &layout, extent));
        }
        layout.spare = layout.metadata;
        *ret = layout;
        return 0;
}
