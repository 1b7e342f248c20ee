#pragma once

/* Device-mapper: the thin-pool and thin targets, through libdevmapper. No udev synchronisation: nodes
 * come from devtmpfs, devices are addressed by number. All return >= 0 or -errno. */

#include <quarry/base.h>
#include <quarry/pool.h>
#include <quarry/volume.h>

#include <sys/types.h>

typedef struct DmInfo {
        char name[KERNEL_NAME_MAX];
        char uuid[KERNEL_UUID_MAX];
        dev_t device;
        unsigned open_count;
        bool suspended;
        bool goes; /* the kernel takes it away behind its last user */
} DmInfo;

/* Once per process: log callback, udev sync off. */
void dm_init(void);

/* -ENXIO if there is no device of this name. */
int dm_info(const char *name, DmInfo *ret);

/* The names of the device-mapper devices that start so; NULL if there is none. The caller frees the list. */
int dm_names(const char *prefix, char ***ret);

/* Every device-mapper device whose name starts with "quarry-" (LVM's own of our VG, whose names carry the
 * volume group's name, are left out: they bear an LVM- uuid). The caller frees *ret. */
int dm_list(DmInfo **ret, size_t *ret_count);

/* /dev/dm-N for a device number. */
#define DEVICE_PATH_MAX 32
void dm_device_path(dev_t device, char buf[static DEVICE_PATH_MAX]);

/* Creates, loads and resumes the thin-pool device of a pool. low_water: bytes left when the kernel sends its
 * event. -EEXIST if the name is taken. On failure nothing is left behind. (Not "create": libdevmapper exports
 * dm_pool_create(), an allocator, and calls it itself: a function of ours by that name would take its place.) */
int dm_pool_open(sd_id128_t pool, dev_t metadata, dev_t data, uint64_t data_size, uint64_t chunk_size,
                 uint64_t low_water, dev_t *ret);

/* Gives the pool device as much as its data device has now (never less than it has), and lets it take notice of
 * larger metadata. Writers pause for some tens of milliseconds; those that wait for space go on. -ENXIO if the pool
 * is not open. On failure it runs on with what it had. */
int dm_pool_grow(sd_id128_t pool, uint64_t data_size, uint64_t low_water);

/* Bytes of the data device that the pool device was not given. */
int dm_pool_reserve(sd_id128_t pool, uint64_t *ret);

typedef struct DmPoolStatus {
        uint64_t transaction_id;
        uint64_t metadata_used, metadata_size; /* bytes */
        uint64_t data_used, data_size; /* bytes */
        bool read_only, out_of_data_space, failed, needs_check;
        bool has_snapshot; /* of its metadata */
} DmPoolStatus;

/* Without flush: only looks. */
int dm_pool_status(sd_id128_t pool, DmPoolStatus *ret);
/* Its metadata could not be written or read: it does not become well by itself. */
bool dm_pool_has_failed(const DmPoolStatus *status);

/* What the pool's table says: the devices it sits on, and how many bytes of the second it uses. -ENXIO if it is not
 * open. */
int dm_pool_table(sd_id128_t pool, dev_t *ret_metadata, dev_t *ret_data, uint64_t *ret_data_size);

/* To the first target of a device. */
int dm_message(const char *name, const char *message);

/* Messages; each commits the pool's metadata by itself. -EEXIST, -ENODATA (no such id), -EBUSY (active); -EIO also when
 * that commit failed: then it may not be as asked for. */
int dm_thin_create(sd_id128_t pool, uint32_t thin_id);
int dm_thin_delete(sd_id128_t pool, uint32_t thin_id);
/* A new thin device that begins as a copy of another, which must be closed or suspended: with writes under way the
 * copy was seen to change. */
int dm_thin_snapshot(sd_id128_t pool, uint32_t thin_id, uint32_t origin);

/* Freezes the filesystem on a device and holds back who writes to it, once what was written has arrived: waits for
 * that, and so must not be called while the pool is out of space. -ENXIO. */
int dm_suspend(const char *name);
/* Lets it go on; one that is not suspended is fine. -ENXIO. */
int dm_resume(const char *name);
/* Lets a crypt device that has no key any more go on all the same: whoever waits for it, and whoever comes, gets an
 * error. -ENXIO, -EBADF if it is something else. */
int dm_give_up(const char *name);

/* A snapshot of the pool's metadata, for tools that read it while the pool is in use. There is one at a time: -EBUSY.
 * Changes cost more while it is held. */
int dm_pool_reserve_snapshot(sd_id128_t pool);
int dm_pool_release_snapshot(sd_id128_t pool);

/* Creates the device quarry-<volume> on a thin id; read_only: nobody can write to it. -EEXIST if the name is taken,
 * -ENODATA if there is no such id, -ENXIO if the pool is not open. (The kernel lets an id be active under two names:
 * the caller gives it to
 * one volume only.) */
int dm_thin_open(sd_id128_t pool, sd_id128_t volume, uint32_t thin_id, uint64_t size, bool read_only, dev_t *ret);

/* Gives an open device of one target, "thin" or "crypt", another size, under whoever uses it: not to be done while its
 * pool is out of space. What the table of a crypt device calls its key by must be in a keyring of ours. On failure it
 * runs on as it was. -ENXIO if there is none, -EBADF if it is something else. */
int dm_resize(const char *name, const char *target, uint64_t size);

/* Bytes mapped by the thin device of a volume, shared ones included. -ENXIO if it is not open. */
int dm_thin_used(sd_id128_t volume, uint64_t *ret);

/* The pool a thin device sits on and its id, from its table; to check before reuse. */
int dm_thin_table(sd_id128_t volume, dev_t *ret_pool, uint32_t *ret_thin_id, uint64_t *ret_size);

/* Removes a device by name. -EBUSY if somebody has it open after a bounded retry (udev may be probing it
 * for a moment), -ENXIO if there is none. */
int dm_remove(const char *name);

/* Has the kernel remove the device when its last user closes it: at once if there is none. -ENXIO. */
int dm_remove_deferred(const char *name);
/* Takes that back. -ENXIO if it is gone by now. */
int dm_remove_deferred_cancel(const char *name);
