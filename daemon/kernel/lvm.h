#pragma once

/* LVM by its command line, for what it is good at: many disks, finding them again. Only on pool verbs.
 * Every call is given exactly the devices it may look at. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/pool.h>

#include <sys/types.h>

typedef struct LvmPool { /* the three logical volumes of a pool, found by tag */
        PoolInfo info;           /* name, uuid, origin, vg, devices */
        char *host;              /* tag quarry.host=: which host owns it; NULL when exported */
        char *vg_uuid;
        char catalog[128], metadata[128], data[128]; /* names of the LVs */
        uint64_t catalog_size, metadata_size, data_size, chunk_size; /* bytes */
        uint64_t generation;     /* how often the metadata was repaired: of several LVs the last one counts */
        char **old_metadata;     /* names of the LVs from before, which are kept */
        char spare[128];         /* name of one that a repair was to fill, and did not */
        uint64_t spare_size;     /* bytes */
        uint64_t vg_free, vg_extent; /* bytes: what is left of its volume group, and LVM's unit there */
} LvmPool;

void lvm_pool_done(LvmPool *pool);
void lvm_pools_free(LvmPool *pools, size_t count);

/* Every block device that may hold a physical volume of the host: all but ours and what sits on ours (a
 * tenant can write an LVM label into its volume; a loop device of a file in a volume is one of those),
 * logical volumes, and what is empty, read-only or a memory disk. */
int lvm_candidate_devices(char ***ret, Error *err);

/* Looks for another device with the same physical volume as one of these: a copy of a disk, or its snapshot. LVM takes
 * one of the two without a word. A device that lies on the other is no copy. Asks only udev, never a disk. Returns 1
 * with the paths of both, to be freed, 0 or -errno. */
int lvm_find_copy(char *const *devices, char **ret_device, char **ret_copy);

/* Looks for pools on the devices by the tag "quarry". Only whole ones, whose tags make sense. */
int lvm_find_pools(char *const *devices, LvmPool **ret, size_t *ret_count, Error *err);

/* One pool by its uuid, or what is left of it when its creation or removal was cut short: the names of LVs
 * that are not there are empty, perhaps info.name too; such a remnant can only be removed.
 * ERROR_NO_SUCH_POOL if not even its volume group is there. */
int lvm_find_pool(char *const *devices, sd_id128_t uuid, LvmPool *ret, Error *err);

/* Whether the devices may become physical volumes: what probe refuses is, and one device by two names. */
int lvm_check_devices(char *const *devices, Error *err);

/* Makes physical volumes and the volume group "quarry-<uuid>" of them. Refuses what probe refuses before
 * anything is written; undoes what it did when it fails half way. Removing: a missing group or label is
 * fine; refused while somebody else's LV is in it. */
int lvm_create_vg(sd_id128_t pool, char *const *devices, Error *err);
int lvm_remove_vg(const char *vg, char *const *devices, Error *err); /* vgremove, pvremove */

/* Free bytes and extent size of a volume group; ret_devices: its physical volumes. ERROR_BAD_REQUEST
 * (volumeGroup) if there is none of this name. */
int lvm_vg_space(const char *vg, uint64_t *ret_free, uint64_t *ret_extent, char ***ret_devices, Error *err);

/* Makes the three LVs, tagged quarry, quarry.pool=, quarry.uuid=, quarry.role=, quarry.chunk=,
 * quarry.origin=, quarry.host=; autoactivation off; zeroed at the start; not wiped of signatures since
 * new. Leaves them active. Undoes itself on failure. */
int lvm_create_volumes(const char *vg, char *const *devices, const PoolInfo *info, const PoolLayout *layout,
                       const char *host, Error *err);
int lvm_remove_volumes(const LvmPool *pool, Error *err); /* those that are there */

/* Adds devices to the pool's own volume group, by the rules of lvm_create_vg(); those that are in it already are
 * passed over. lvm_resize_devices(): takes notice that its devices have grown. */
int lvm_add_devices(const LvmPool *pool, char *const *devices, Error *err);
int lvm_resize_devices(const LvmPool *pool, Error *err);
/* Makes metadata and data as large as the layout says; never smaller. */
int lvm_grow_volumes(const LvmPool *pool, const PoolLayout *layout, Error *err);

/* A repair of the metadata. lvm_make_spare(): a new LV as large as the metadata, active, in place of what an earlier
 * repair left; ERROR_NO_SPACE if the volume group has no room. lvm_take_spare(): it becomes the metadata in one
 * commit of LVM, and the old one is kept, inactive. lvm_remove_spare(): it goes, whether it was taken or not, and
 * the old one counts again. */
int lvm_make_spare(LvmPool *pool, const char *host, dev_t *ret, Error *err);
int lvm_take_spare(const LvmPool *pool, Error *err);
int lvm_remove_spare(LvmPool *pool, Error *err);

/* What device-mapper calls a logical volume: VG-LV, with hyphens doubled. The caller frees *ret. -ENOMEM. */
int lvm_kernel_name(const char *vg, const char *lv, char **ret);

/* Activates the three and tells the device numbers; deactivates them and what repairs left. ERROR_POOL_BUSY while
 * somebody has one of them open. */
int lvm_activate(const LvmPool *pool, dev_t *ret_catalog, dev_t *ret_metadata, dev_t *ret_data, Error *err);
int lvm_deactivate(const LvmPool *pool, Error *err);

/* Takes ownership for a host, or gives it up (NULL). */
int lvm_set_host(LvmPool *pool, const char *host, Error *err);
