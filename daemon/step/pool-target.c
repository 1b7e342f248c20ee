/* The thin-pool device over the pool's logical volumes, and the devices of volumes on it. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/luks.h"
#include "kernel/lvm.h"
#include "kernel/thin-metadata.h"
#include "kernel/udev.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>

/* dm-thin makes new metadata only where it finds zeros. */
static int pool_format_run(StepContext *c, Error *err) {
        static const char zeros[65536];
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX];

        dm_device_path(c->metadata_lv, device);
        fd = open(device, O_WRONLY | O_CLOEXEC | O_EXCL);
        if (fd < 0)
                return error_errno(err, errno, "cannot open the metadata device");
        if (pwrite(fd, zeros, sizeof(zeros), 0) != (ssize_t) sizeof(zeros) || fsync(fd) < 0)
                return error_errno(err, errno, "cannot clear the metadata device");
        return 0;
}

static int target_probe(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmPoolStatus status;
        DmInfo info;
        int r;

        pool_kernel_name(c->pool.uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);
        r = dm_pool_status(c->pool.uuid, &status);
        if (r == -ENXIO) {
                /* Whoever created it died before loading its table. */
                r = dm_remove(name);
                return r < 0 ? error_errno(err, r, "cannot remove the unfinished device %s", name) : 0;
        }
        if (r >= 0 && dm_pool_has_failed(&status) && info.open_count == 0) { /* it is checked and made anew */
                r = dm_remove(name);
                return r < 0 ? error_errno(err, r, "cannot remove the failed device %s", name) : 0;
        }
        return r < 0 ? error_errno(err, r, "cannot read the status of %s", name) : 1;
}

/* A power cut in the midst of a discard leaves chunks that nobody has and nobody can have: they are given back,
 * and nothing else is written. */
static int check_run(StepContext *c, Error *err) {
        _cleanup_free_ char *damage = NULL;
        int r;

        r = metadata_damage(c->metadata_lv, "--auto-repair", &damage, err);
        if (r < 0 || !damage)
                return r;
        r = error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the metadata of pool %s is damaged: thin_check says: %s",
                      c->pool.name, damage);
        error_hint(err, "quarry pool check %s --repair", c->pool.name);
        return r;
}

/* All but the reserve, unless the metadata counts on that too: it was given once. */
static uint64_t target_size(StepContext *c) {
        const LvmPool *lvm = c->lvm_pool;
        uint64_t size = lvm->data_size - pool_reserve_size(lvm->data_size), chunks = 0;

        (void) thin_metadata_chunks(c->metadata_lv, &chunks); /* new metadata counts on nothing */
        return chunks * lvm->chunk_size > size ? lvm->data_size : size;
}

static int target_run(StepContext *c, Error *err) {
        const LvmPool *lvm = c->lvm_pool;
        dev_t device;
        int r;

        r = dm_pool_open(c->pool.uuid, c->metadata_lv, c->data_lv, target_size(c), lvm->chunk_size,
                         pool_low_water(lvm->data_size), &device);
        return r < 0 ? error_errno(err, r, "cannot make the thin-pool device") : 0;
}

static int target_remove_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        pool_kernel_name(c->pool.uuid, name);
        r = dm_remove(name);
        if (r == -EBUSY)
                return error_set(err, ERROR_POOL_BUSY, r, "volumes of pool %s are open", c->pool.name);
        return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot close the thin-pool device") : 0;
}

/* --- the devices of its volumes ------------------------------------------------------------------------- */

/* Calls back for each thin device of the pool that the kernel has. */
static int each_thin(StepContext *c, int (*on_thin)(StepContext *c, sd_id128_t volume, Error *err), Error *err) {
        _cleanup_free_ DmInfo *list = NULL;
        size_t n = 0;
        int r;

        r = dm_list(&list, &n);
        if (r < 0)
                return error_errno(err, r, "cannot list the device-mapper devices");
        for (size_t i = 0; i < n; i++) {
                sd_id128_t pool, volume;
                char kind[8];

                if (kernel_uuid_parse(list[i].uuid, &pool, kind, &volume) < 0 || !streq(kind, "thin") ||
                    !sd_id128_equal(pool, c->pool.uuid))
                        continue;
                r = on_thin(c, volume, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int release_one(StepContext *c, sd_id128_t volume, Error *err) {
        char name[KERNEL_NAME_MAX], text[UUID_TEXT_MAX];
        int r;

        volume_crypt_name(volume, name);
        r = luks_close(name);
        if (r == 0 || r == -ENXIO) {
                volume_thin_name(volume, name);
                r = dm_remove(name);
        }
        if (r == -EBUSY)
                return error_set(err, ERROR_POOL_BUSY, r, "volume %s of pool %s is in use", uuid_format(volume, text),
                                 c->pool.name);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot close %s", name);
        limit_forget(volume);
        (void) udev_forget(volume); /* only describes the device that is gone */
        return 0;
}

static int pool_release_run(StepContext *c, Error *err) {
        return each_thin(c, release_one, err);
}

static int note_one(StepContext *c, sd_id128_t volume, Error *err) {
        JobDevice device = { .uuid = volume }, *list;

        /* A device whose table was never loaded has no use; it is swept by the broker. */
        if (dm_thin_used(volume, &device.used) < 0)
                device.used = 0;
        device.stopped = limit_is_set(volume);
        list = realloc(c->result->devices, (c->result->n_devices + 1) * sizeof(*list));
        if (!list)
                return error_oom(err);
        c->result->devices = list;
        list[c->result->n_devices++] = device;
        return 0;
}

static int pool_devices_run(StepContext *c, Error *err) {
        return each_thin(c, note_one, err);
}

static int thin_look_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;

        volume_thin_name(c->job->volume.uuid, name);
        return dm_info(name, &info) < 0 ? 0 : note_one(c, c->job->volume.uuid, err);
}

/* The pool as it is now becomes the result. */
static int pool_status_run(StepContext *c, Error *err) {
        DmPoolStatus status;
        PoolInfo *info;
        int r;

        r = dm_pool_status(c->pool.uuid, &status);
        if (r == -ENXIO)
                return error_set(err, ERROR_POOL_UNAVAILABLE, r, "pool %s is not active", c->pool.name);
        if (r < 0)
                return error_errno(err, r, "cannot read the status of pool %s", c->pool.name);
        c->pool.data_size = status.data_size;
        c->pool.data_used = status.data_used;
        c->pool.metadata_size = status.metadata_size;
        c->pool.metadata_used = status.metadata_used;
        if (!c->lvm_pool)
                c->pool.room = POOL_ROOM_UNKNOWN;
        else if (c->lvm_pool->vg_free > c->lvm_pool->metadata_size)
                c->pool.room = c->lvm_pool->vg_free - c->lvm_pool->metadata_size;

        info = calloc(1, sizeof(*info));
        if (!info)
                return error_oom(err);
        *info = c->pool;
        c->pool = (PoolInfo) { .uuid = info->uuid };
        c->result->pools = info;
        c->result->n_pools = 1;
        return 0;
}

const Step step_pool_format = { "clearing the metadata", target_probe, pool_format_run, NULL };
const Step step_pool_check = { "checking the metadata", target_probe, check_run, NULL };
const Step step_pool_target = { "making the thin-pool device", target_probe, target_run, target_remove_run };
const Step step_pool_target_remove = { "closing the thin-pool device", NULL, target_remove_run, NULL };
const Step step_pool_release = { "closing the volumes", NULL, pool_release_run, NULL };
const Step step_pool_devices = { "listing the devices", NULL, pool_devices_run, NULL };
const Step step_thin_look = { "looking at the device", NULL, thin_look_run, NULL };
const Step step_pool_status = { "reading the status", NULL, pool_status_run, NULL };
