#include <quarry/pool.h>

#include <quarry/text.h>

#include <limits.h>

#define VG_NAME_MAX 127
#define MAPPING_SIZE 48u /* bytes of metadata for one mapped chunk */
#define LVM_HEADER_SIZE (4 * MIB) /* what LVM keeps of a disk, in whole extents of the usual size */

static const char *const pool_state_words[_POOL_STATE_MAX] = {
        [POOL_ACTIVATING] = "activating",
        [POOL_ACTIVE] = "active",
        [POOL_UNAVAILABLE] = "unavailable",
        [POOL_DEGRADED] = "degraded",
};

static const char *const pool_origin_words[_POOL_ORIGIN_MAX] = {
        [POOL_DEVICES] = "devices",
        [POOL_VG] = "vg",
        [POOL_FILE] = "file",
};

const char *pool_state_to_string(PoolState state) {
        return state < _POOL_STATE_MAX ? pool_state_words[state] : NULL;
}

const char *pool_origin_to_string(PoolOrigin origin) {
        return origin < _POOL_ORIGIN_MAX ? pool_origin_words[origin] : NULL;
}

const char *pool_space_advice(const char *pool, int origin, char buf[static SPACE_ADVICE_MAX]) {
        buffer_format(buf, SPACE_ADVICE_MAX, "quarry pool extend %s %s; quarry trim --all; quarry rm VOLUME", pool,
                      origin == POOL_DEVICES ? "DEVICE" : "--size SIZE");
        return buf;
}

const char *pool_space_meaning(const char *space) {
        return streq(space, "low") ? "no volumes are made in it" : "filesystems get no new space";
}

int pool_origin_from_string(const char *s) {
        for (int i = 0; i < _POOL_ORIGIN_MAX; i++)
                if (streq_ptr(pool_origin_words[i], s))
                        return i;
        return -EINVAL;
}

void pool_spec_done(PoolSpec *spec) {
        spec->devices = strv_free(spec->devices);
        free(spec->vg);
        free(spec->file);
        spec->vg = spec->file = NULL;
}

bool vg_name_is_valid(const char *name) {
        size_t n = strlen(name);

        return n > 0 && n <= VG_NAME_MAX && *name != '-' && !streq(name, ".") && !streq(name, "..") &&
               strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_.-") == n;
}

static int path_check(const char *field, const char *path, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (path_is_plain(path) && strlen(path) < PATH_MAX)
                return 0;
        return error_field(err, field, "\"%s\" is not an absolute path without \".\", \"..\" and control characters",
                           text_echo(path, echo));
}

int pool_devices_check(char *const *devices, Error *err) {
        size_t n = strv_length(devices);
        char echo[TEXT_ECHO_MAX];

        if (n > POOL_DEVICES_MAX)
                return error_field(err, "devices", "%zu devices are too many: at most %d", n, POOL_DEVICES_MAX);

        for (size_t i = 0; i < n; i++) {
                int r = path_check("devices", devices[i], err);

                if (r < 0)
                        return r;
                for (size_t j = 0; j < i; j++)
                        if (streq(devices[i], devices[j]))
                                return error_field(err, "devices", "device \"%s\" is given twice",
                                                   text_echo(devices[i], echo));
        }
        return 0;
}

static int origin_check(const PoolSpec *spec, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if ((strv_length(spec->devices) > 0) + !!spec->vg + !!spec->file != 1)
                return error_field(err, "devices",
                                   "a pool is made of exactly one of: block devices, a volume group, a file");
        if (spec->vg && !vg_name_is_valid(spec->vg))
                return error_field(
                        err, "volumeGroup",
                        "volume group name \"%s\" is not valid: 1 to %d of A-Z a-z 0-9 + _ . -, not beginning "
                        "with -",
                        text_echo(spec->vg, echo), VG_NAME_MAX);
        return spec->file ? path_check("file", spec->file, err) : pool_devices_check(spec->devices, err);
}

static int size_check(const PoolSpec *spec, Error *err) {
        char size[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];

        if (!spec->vg && !spec->file) {
                if (spec->size == 0)
                        return 0;
                return error_field(err, "sizeBytes", "a pool of whole devices takes all of them: give no size");
        }
        if (spec->size == 0)
                return error_field(err, "sizeBytes", "a pool in a volume group or a file needs a size");
        if (spec->size < pool_size_min())
                return error_field(err, "sizeBytes", "size %s is too small: a pool needs at least %s",
                                   size_format_exact(spec->size, size), size_format(pool_size_min(), limit));
        if (spec->size > POOL_SIZE_MAX)
                return error_field(err, "sizeBytes", "size %s is too large: a pool has at most %s",
                                   size_format_exact(spec->size, size), size_format(POOL_SIZE_MAX, limit));
        return 0;
}

static int units_check(const PoolSpec *spec, Error *err) {
        char size[SIZE_TEXT_MAX], min[SIZE_TEXT_MAX], max[SIZE_TEXT_MAX];

        if (spec->metadata_size != 0 &&
            (spec->metadata_size < POOL_METADATA_SIZE_MIN || spec->metadata_size > POOL_METADATA_SIZE_MAX))
                return error_field(err, "metadataSizeBytes", "metadata size %s is not valid: %s to %s",
                                   size_format_exact(spec->metadata_size, size),
                                   size_format(POOL_METADATA_SIZE_MIN, min), size_format(POOL_METADATA_SIZE_MAX, max));
        if (spec->chunk_size != 0 && !pool_chunk_size_is_valid(spec->chunk_size))
                return error_field(err, "chunkSizeBytes", "chunk size %s is not valid: a multiple of 64K, %s to %s",
                                   size_format_exact(spec->chunk_size, size), size_format(POOL_CHUNK_SIZE_MIN, min),
                                   size_format(POOL_CHUNK_SIZE_MAX, max));
        return 0;
}

bool pool_chunk_size_is_valid(uint64_t size) {
        return size >= POOL_CHUNK_SIZE_MIN && size <= POOL_CHUNK_SIZE_MAX && size % POOL_CHUNK_SIZE_MIN == 0;
}

int pool_spec_validate(const PoolSpec *spec, Error *err) {
        int r = pool_name_check(spec->name, "name", err);

        if (r >= 0)
                r = origin_check(spec, err);
        if (r >= 0)
                r = size_check(spec, err);
        if (r >= 0)
                r = units_check(spec, err);
        return r;
}

static uint64_t round_up(uint64_t n, uint64_t unit) {
        return (n + unit - 1) / unit * unit;
}

/* Metadata for mapping every chunk once; may be more than the kernel can address. */
static uint64_t metadata_needed(uint64_t data_size, uint64_t chunk_size) {
        return data_size / chunk_size * MAPPING_SIZE;
}

uint64_t pool_metadata_size(uint64_t data_size, uint64_t chunk_size) {
        uint64_t size = round_up(2 * metadata_needed(data_size, chunk_size ?: POOL_CHUNK_SIZE_DEFAULT), MIB);

        return size < POOL_METADATA_SIZE_MIN   ? POOL_METADATA_SIZE_MIN
               : size > POOL_METADATA_SIZE_MAX ? POOL_METADATA_SIZE_MAX
                                               : size;
}

uint64_t pool_size_min(void) {
        return POOL_CATALOG_SIZE + 2 * POOL_METADATA_SIZE_MIN + POOL_DATA_SIZE_MIN + LVM_HEADER_SIZE;
}

/* Bytes that may be divided; a size asked for is a bound. */
static int layout_total(const PoolSpec *spec, uint64_t available, uint64_t extent, uint64_t *ret, Error *err) {
        char size[SIZE_TEXT_MAX], asked[SIZE_TEXT_MAX];

        if (spec->vg && spec->size > available)
                return error_set(err, ERROR_NO_SPACE, 0, "volume group %s has %s free, and the pool is to have %s",
                                 spec->vg, size_format(available, size), size_format(spec->size, asked));
        if (spec->size > 0 && spec->size < available)
                available = spec->size;
        *ret = available / extent * extent;
        return 0;
}

/* A pool whose metadata runs full must be repaired offline: each chunk must fit at least once. */
static int layout_check_metadata(const PoolSpec *spec, const PoolLayout *layout, uint64_t chunk, Error *err) {
        char have[SIZE_TEXT_MAX], data[SIZE_TEXT_MAX], unit[SIZE_TEXT_MAX], need[SIZE_TEXT_MAX];
        uint64_t needed = metadata_needed(layout->data, chunk);

        if (needed <= layout->metadata)
                return 0;

        size_format(layout->data, data);
        size_format(chunk, unit);
        if (spec->metadata_size > 0 && needed <= POOL_METADATA_SIZE_MAX)
                return error_field(err, "metadataSizeBytes",
                                   "metadata of %s is too small for %s of data in chunks of %s: at least %s",
                                   size_format(layout->metadata, have), data, unit,
                                   size_format_exact(round_up(needed, MIB), need));

        while (metadata_needed(layout->data, chunk) > POOL_METADATA_SIZE_MAX)
                chunk *= 2;
        return error_field(err, "chunkSizeBytes", "chunks of %s are too small for %s of data: at least %s", unit, data,
                           size_format_exact(chunk, need));
}

int pool_layout_compute(const PoolSpec *spec, uint64_t available, uint64_t extent, PoolLayout *ret, Error *err) {
        uint64_t chunk = spec->chunk_size ?: POOL_CHUNK_SIZE_DEFAULT, total = 0;
        char size[SIZE_TEXT_MAX], need[SIZE_TEXT_MAX];

        int r = layout_total(spec, available, extent, &total, err);
        if (r < 0)
                return r;

        uint64_t metadata = round_up(spec->metadata_size ?: pool_metadata_size(total, chunk), extent);
        PoolLayout layout = {
                .catalog = round_up(POOL_CATALOG_SIZE, extent),
                .metadata = metadata,
                .spare = metadata,
        };

        uint64_t taken = layout.catalog + layout.metadata + layout.spare;
        uint64_t least = taken + round_up(POOL_DATA_SIZE_MIN, extent);
        if (total < least)
                return error_set(err, ERROR_DEVICE_UNUSABLE, 0, "%s is too small for a pool: it needs at least %s",
                                 size_format(total, size), size_format_exact(least, need));
        layout.data = total - taken;

        r = layout_check_metadata(spec, &layout, chunk, err);
        if (r < 0)
                return r;
        *ret = layout;
        return 0;
}
