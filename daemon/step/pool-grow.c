/* A pool becomes larger, under running volumes. Each step finds what an earlier try has done: the same job again
 * goes on where that one was cut short. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/loop.h"
#include "kernel/lvm.h"

#include <quarry/text.h>

/* Before anything is touched: what cannot be is refused. */
static int grow_check_run(StepContext *c, Error *err) {
        const PoolGrowth *growth = &c->job->growth;
        uint64_t size;
        char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
        int r;

        if (growth->devices && c->pool.origin == POOL_VG) {
                r = error_field(err, "devices", "pool %s is a share of volume group %s, whose disks are not its own",
                                c->pool.name, c->pool.vg);
                error_hint(err, "vgextend %s DEVICE; quarry pool extend %s --size SIZE", c->pool.vg, c->pool.name);
                return r;
        }
        if (growth->devices && c->pool.origin == POOL_FILE)
                return error_field(err, "devices", "pool %s lies in a file: give the file's new size instead",
                                   c->pool.name);
        if (growth->total > 0 && c->pool.origin == POOL_DEVICES)
                return error_field(err, "sizeBytes", "pool %s takes whole devices: name devices to be added",
                                   c->pool.name);
        if (growth->total == 0 || c->pool.origin != POOL_FILE)
                return 0;
        r = loop_file_size(c->pool.file, &size);
        if (r < 0)
                return error_errno(err, r, "cannot see the size of %s", c->pool.file);
        if (growth->total < size)
                return error_field(err, "sizeBytes", "file %s has %s, and cannot shrink to %s", c->pool.file,
                                   size_format(size, have), size_format_exact(growth->total, want));
        return 0;
}

static int grow_file_probe(StepContext *c, Error *err) {
        return c->pool.origin == POOL_FILE && c->job->growth.total > 0 ? 0 : 1;
}

static int grow_file_run(StepContext *c, Error *err) {
        int r;

        r = loop_file_grow(c->pool.file, c->job->growth.total);
        return r < 0 ? error_errno(err, r, "cannot make %s larger", c->pool.file) : 0;
}

/* With what LVM says after a change of its group. */
static int look_again(StepContext *c, char *const *devices, Error *err) {
        LvmPool pool = {};
        int r;

        r = lvm_find_pool(devices, c->pool.uuid, &pool, err);
        if (r < 0)
                return r;
        lvm_pool_done(c->lvm_pool);
        *c->lvm_pool = pool;
        return 0;
}

static int grow_vg_run(StepContext *c, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        int r;

        if (c->pool.origin == POOL_FILE)
                r = lvm_resize_devices(c->lvm_pool, err);
        else if (c->job->growth.devices)
                r = lvm_add_devices(c->lvm_pool, c->job->growth.devices, err);
        else
                return 0;
        if (r < 0)
                return r;
        if (strv_copy(c->lvm_pool->info.devices, &devices) < 0)
                return error_oom(err);
        for (char **d = c->job->growth.devices; d && *d; d++)
                if (!strv_contains(devices, *d) && strv_append(&devices, *d) < 0)
                        return error_oom(err);
        r = look_again(c, devices, err);
        if (r < 0)
                return r;
        strv_free(c->pool.devices);
        c->pool.devices = NULL;
        return strv_copy(c->lvm_pool->info.devices, &c->pool.devices) < 0 ? error_oom(err) : 0;
}

static int grow_volumes_run(StepContext *c, Error *err) {
        LvmPool *lvm = c->lvm_pool;
        PoolLayout have = { .catalog = lvm->catalog_size, .metadata = lvm->metadata_size, .data = lvm->data_size },
                   layout;
        PoolGrowth growth = c->job->growth;
        int r;

        if (c->pool.origin == POOL_FILE)
                growth.total = 0; /* of the file; all that is in it is the pool's */
        r = pool_layout_grow(&have, &growth, lvm->chunk_size, lvm->vg_free, lvm->vg_extent, &layout, err);
        if (r >= 0)
                r = lvm_grow_volumes(lvm, &layout, err);
        if (r < 0)
                return r;
        lvm->vg_free -= layout.data - lvm->data_size + layout.metadata - lvm->metadata_size;
        lvm->data_size = layout.data;
        lvm->metadata_size = layout.metadata;
        return 0;
}

static int pool_give(StepContext *c, uint64_t size, uint64_t low_water, Error *err) {
        int r;

        r = dm_pool_grow(c->pool.uuid, size, low_water);
        if (r == -ENXIO)
                return error_set(err, ERROR_POOL_UNAVAILABLE, r, "pool %s is not active", c->pool.name);
        return r < 0 ? error_errno(err, r, "cannot give the new space to pool %s", c->pool.name) : 0;
}

static int grow_target_run(StepContext *c, Error *err) {
        uint64_t size = c->lvm_pool->data_size;

        return pool_give(c, size - pool_reserve_size(size), pool_low_water(size), err);
}

/* Also what was kept back: the pool is full, and what was written must be written back. */
static int relieve_run(StepContext *c, Error *err) {
        DmPoolStatus status;
        uint64_t reserve;
        int r;

        r = dm_pool_status(c->pool.uuid, &status);
        if (r >= 0)
                r = dm_pool_reserve(c->pool.uuid, &reserve);
        if (r < 0)
                return error_errno(err, r, "cannot look at pool %s", c->pool.name);
        return reserve > 0 ? pool_give(c, status.data_size + reserve, pool_low_water(status.data_size), err) : 0;
}

const Step step_grow_check = { "looking at the pool", NULL, grow_check_run, NULL };
const Step step_grow_file = { "making the file larger", grow_file_probe, grow_file_run, NULL };
const Step step_grow_vg = { "making the volume group larger", NULL, grow_vg_run, NULL };
const Step step_grow_volumes = { "making the logical volumes larger", NULL, grow_volumes_run, NULL };
const Step step_relieve = { "giving the reserve to the pool", NULL, relieve_run, NULL };
const Step step_grow_target = { "giving the space to the pool", NULL, grow_target_run, NULL };
