#pragma once

/* A pool: where its storage comes from, its names on disk, its rules. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/volume.h>

#define POOL_CHUNK_SIZE_DEFAULT (64 * UINT64_C(1024))
#define POOL_CHUNK_SIZE_MIN (64 * UINT64_C(1024))
#define POOL_CHUNK_SIZE_MAX GIB
#define POOL_METADATA_SIZE_MIN (64 * MIB)
#define POOL_METADATA_SIZE_MAX (16 * GIB) /* what dm-thin can address, rounded up */
#define POOL_CATALOG_SIZE (64 * MIB)
#define POOL_DATA_SIZE_MIN (64 * MIB)
#define POOL_SIZE_MAX VOLUME_SIZE_MAX
#define POOL_DEVICES_MAX 64

/* LVM's rule: [A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}, neither "." nor "..". */
bool vg_name_is_valid(const char *name);
bool pool_chunk_size_is_valid(uint64_t size);

/* Exactly one of devices, vg, file is set. Strings are owned. */
typedef struct PoolSpec {
        char name[POOL_NAME_MAX + 1];
        char **devices;
        char *vg;
        char *file;
        uint64_t size;          /* bytes, with vg or file */
        uint64_t metadata_size; /* bytes; 0: computed */
        uint64_t chunk_size;    /* bytes; 0: the default */
} PoolSpec;

void pool_spec_done(PoolSpec *spec);

/* Checks every rule that needs no look at the devices. */
int pool_spec_validate(const PoolSpec *spec, Error *err);

/* The rule for devices alone: absolute paths, none twice. An empty list passes. */
int pool_devices_check(char *const *devices, Error *err);

/* Metadata for a data area of so many bytes: 48 bytes for each chunk, twice for snapshots, at least
 * POOL_METADATA_SIZE_MIN (measured: a pool whose metadata ran full must be repaired offline). */
uint64_t pool_metadata_size(uint64_t data_size, uint64_t chunk_size);

/* How the bytes of a pool are divided. All whole extents. spare is left free in the VG, so that
 * thin_repair has somewhere to write. */
typedef struct PoolLayout {
        uint64_t catalog, metadata, data, spare;
} PoolLayout;

/* available: bytes to divide, of which at most spec->size is taken if that is set; extent: LVM's extent size
 * in bytes. ERROR_DEVICE_UNUSABLE if too small, ERROR_NO_SPACE if a volume group has less than was asked for,
 * ERROR_BAD_REQUEST (metadataSizeBytes or chunkSizeBytes) if the metadata cannot map the data even once. */
int pool_layout_compute(const PoolSpec *spec, uint64_t available, uint64_t extent, PoolLayout *ret, Error *err);

/* By how much a pool grows: exactly one of devices, total, and the two last. Strings are owned. */
typedef struct PoolGrowth {
        char **devices;          /* block devices that are added to the pool's own volume group, whole */
        uint64_t total;          /* bytes that all of the pool is to have then, as PoolSpec.size */
        uint64_t data, metadata; /* bytes more, as far as there is room: what the daemon asks for ahead of demand */
} PoolGrowth;

void pool_growth_done(PoolGrowth *growth);
int pool_growth_validate(const PoolGrowth *growth, Error *err); /* every rule that needs no look at the pool */

/* The layout of a pool that grows from what it has. free: bytes left in its volume group, of which as much as the
 * metadata stays free (thin_repair's spare). Only the growth's numbers count; with none of them all there is is
 * taken. What is there never shrinks, and the same call repeated changes nothing more, but for data and metadata.
 * ERROR_BAD_REQUEST (sizeBytes) for less than there is, ERROR_NO_SPACE if the group has less than asked for. */
int pool_layout_grow(const PoolLayout *have, const PoolGrowth *growth, uint64_t chunk, uint64_t free, uint64_t extent,
                     PoolLayout *ret, Error *err);

/* Bytes left of the data when the kernel is to tell. */
uint64_t pool_low_water(uint64_t data_size);

/* Bytes of a data device that are kept back: given to the pool only when it ran full all the same, so that journals
 * and checks of filesystems can finish. */
uint64_t pool_reserve_size(uint64_t data_size);

/* Less than this may be left when a volume is made: it is not to be what fills the pool. */
uint64_t pool_create_mark(uint64_t data_size);

/* Smallest size a pool can have, what LVM needs included. */
uint64_t pool_size_min(void);

typedef enum PoolState {
        POOL_ACTIVATING,
        POOL_ACTIVE,
        POOL_UNAVAILABLE, /* see failure */
        POOL_DEGRADED,    /* active, and what lies beneath fails: only shown, see failure */
        _POOL_STATE_MAX,
} PoolState;
const char *pool_state_to_string(PoolState state);

typedef enum PoolOrigin { POOL_DEVICES, POOL_VG, POOL_FILE, _POOL_ORIGIN_MAX } PoolOrigin;

/* What makes space in a pool, as it can be run; returns buf. origin: -EINVAL if it is not known. */
#define SPACE_ADVICE_MAX 128
const char *pool_space_advice(const char *pool, int origin, char buf[static SPACE_ADVICE_MAX]);
/* What a pool's space, other than "ok", means for those who want some. */
const char *pool_space_meaning(const char *space);
const char *pool_origin_to_string(PoolOrigin origin);
int pool_origin_from_string(const char *s);

/* What an entry of the pool list says, and what a worker finds out about an active pool. */
#define POOL_ROOM_UNKNOWN UINT64_MAX /* nobody has asked LVM yet */

typedef struct PoolInfo {
        char name[POOL_NAME_MAX + 1];
        sd_id128_t uuid;
        PoolOrigin origin;
        char *vg;        /* name of the volume group, informative */
        char **devices;  /* paths of its physical volumes, informative */
        char *file;      /* POOL_FILE: absolute path */
        bool unfinished; /* its creation or removal was begun and did not end: it can only be removed */
        uint64_t chunk_size;
        uint64_t data_size, data_used; /* bytes */
        uint64_t metadata_size, metadata_used; /* bytes */
        uint64_t room;   /* bytes that its volume group has free for more data, as LVM said last; POOL_ROOM_UNKNOWN */
} PoolInfo;

void pool_info_done(PoolInfo *info);
int pool_info_to_json(const PoolInfo *info, sd_json_variant **ret);
int pool_info_from_json(sd_json_variant *v, PoolInfo *ret); /* -EINVAL for anything that breaks a rule */

/* Derived names; the only place that makes them. */
void pool_kernel_name(sd_id128_t pool, char buf[static KERNEL_NAME_MAX]); /* quarry-<uuid> */

/* UUIDs in the kernel: QUARRY-<pool>-<kind>-<id>; kind is "pool" or "thin". The udev rules and the sweep
 * after a crash know our devices by it. */
#define KERNEL_UUID_PREFIX "QUARRY-"
#define KERNEL_UUID_MAX 129
void kernel_uuid_format(sd_id128_t pool, const char *kind, sd_id128_t id, char buf[static KERNEL_UUID_MAX]);
int kernel_uuid_parse(const char *s, sd_id128_t *ret_pool, char ret_kind[static 8], sd_id128_t *ret_id);

#define CATALOG_ROOT "/run/quarry/catalog"
#define CATALOG_PATH_MAX (sizeof(CATALOG_ROOT) + UUID_TEXT_MAX + 1)
void pool_catalog_path(sd_id128_t pool, char buf[static CATALOG_PATH_MAX]);
