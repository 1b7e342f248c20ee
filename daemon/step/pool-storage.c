/* Where a pool's bytes come from: devices or a file in a volume group of its own, or a share of another. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/loop.h"
#include "kernel/lvm.h"
#include "kernel/mnt.h"
#include "kernel/probe.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

static uint64_t chunk_size(const PoolSpec *spec) {
        return spec->chunk_size ? spec->chunk_size : POOL_CHUNK_SIZE_DEFAULT;
}

/* --- the file of a file-backed pool --------------------------------------------------------------------- */

static int file_exists(const char *path, Error *err) {
        int r;

        r = error_set(err, ERROR_DEVICE_UNUSABLE, EEXIST, "file %s exists already", path);
        error_hint(err, "choose another name; an exported pool is taken back with: quarry pool import %s", path);
        return r;
}

/* Before it is noted that the file is to be made: what is found there after a crash is taken away. */
static int pool_place_run(StepContext *c, Error *err) {
        const char *path = c->job->pool_spec.file;
        struct stat st;

        return path && lstat(path, &st) >= 0 ? file_exists(path, err) : 0;
}

static int file_make(const char *path, uint64_t size, Error *err) {
        int r;

        r = loop_file_make(path, size);
        if (r == -EEXIST)
                return file_exists(path, err);
        if (r == -ELOOP)
                return error_field(err, "file", "cannot make %s: a folder in this path is a symbolic link", path);
        return r < 0 ? error_field(err, "file", "cannot make %s: %s", path, strerror(-r)) : 0;
}

static int file_remove(const char *path, Error *err) {
        int r;

        r = loop_file_remove(path);
        return r < 0 ? error_errno(err, r, "cannot remove %s", path) : 0;
}

static int pool_file_probe(StepContext *c, Error *err) {
        return c->job->pool_spec.file ? 0 : 1;
}

static int pool_file_run(StepContext *c, Error *err) {
        const PoolSpec *spec = &c->job->pool_spec;
        _cleanup_free_ char *device = NULL;
        int r;

        r = file_make(spec->file, spec->size, err);
        if (r < 0)
                return r;
        c->file_is_new = true;
        r = loop_attach(spec->file, &device);
        if (r < 0) {
                (void) loop_file_remove(spec->file);
                return error_errno(err, r, "cannot attach %s to a loop device", spec->file);
        }
        c->pool.file = strdup(spec->file);
        if (!c->pool.file || strv_append(&c->pool.devices, device) < 0)
                return error_oom(err);
        return 0;
}

static int pool_file_undo(StepContext *c, Error *err) {
        int r;

        if (c->undo_failed)
                return 0;
        r = loop_detach(c->job->pool_spec.file);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot detach %s", c->job->pool_spec.file);
        return c->file_is_new ? file_remove(c->job->pool_spec.file, err) : 0;
}

/* --- volume group and logical volumes ------------------------------------------------------------------- */

static int vg_name(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];

        free(c->pool.vg);
        if (c->job->pool_spec.vg)
                c->pool.vg = strdup(c->job->pool_spec.vg);
        else {
                pool_kernel_name(c->pool.uuid, name);
                c->pool.vg = strdup(name);
        }
        return c->pool.vg ? 0 : error_oom(err);
}

/* As LVM divides a disk unless lvm.conf says otherwise. What cannot become a pool is refused before a byte of
 * a device changes; the sizes that LVM then reports are what counts. */
#define DISK_START MIB
#define EXTENT_SIZE (4 * MIB)

static int devices_suffice(StepContext *c, Error *err) {
        uint64_t available = 0, size;
        PoolLayout layout;
        int r;

        r = lvm_check_devices(c->pool.devices, err);
        if (r < 0)
                return r;
        for (char **d = c->pool.devices; *d; d++) {
                r = probe_block_size(*d, &size);
                if (r < 0)
                        return error_errno(err, r, "cannot see the size of %s", *d);
                available += (size - DISK_START) / EXTENT_SIZE * EXTENT_SIZE;
        }
        return pool_layout_compute(&c->job->pool_spec, available, EXTENT_SIZE, &layout, err);
}

static int pool_vg_run(StepContext *c, Error *err) {
        const PoolSpec *spec = &c->job->pool_spec;
        int r;

        r = vg_name(c, err);
        if (r < 0)
                return r;
        if (spec->vg)
                return 0; /* its owner made it */
        if (!spec->file)
                for (char **d = spec->devices; d && *d; d++)
                        if (strv_append(&c->pool.devices, *d) < 0)
                                return error_oom(err);
        r = devices_suffice(c, err);
        return r < 0 ? r : lvm_create_vg(c->pool.uuid, c->pool.devices, err);
}

static int pool_vg_undo(StepContext *c, Error *err) {
        return c->job->pool_spec.vg ? 0 : lvm_remove_vg(c->pool.vg, c->pool.devices, err);
}

static int layout_find(StepContext *c, PoolLayout *ret, Error *err) {
        const PoolSpec *spec = &c->job->pool_spec;
        _cleanup_strv_ char **devices = NULL;
        char asked[SIZE_TEXT_MAX], there[SIZE_TEXT_MAX];
        uint64_t available, extent;
        int r;

        r = lvm_vg_space(c->pool.vg, &available, &extent, &devices, err);
        if (r < 0)
                return r;
        if (spec->vg) {
                if (spec->size > available)
                        return error_set(err, ERROR_NO_SPACE, ENOSPC, "volume group %s has %s free, asked for %s",
                                         spec->vg, size_format(available, there), size_format(spec->size, asked));
                available = spec->size;
                c->pool.devices = strv_free(c->pool.devices);
                c->pool.devices = TAKE_PTR(devices);
        }
        return pool_layout_compute(spec, available, extent, ret, err);
}

static int pool_volumes_run(StepContext *c, Error *err) {
        const PoolSpec *spec = &c->job->pool_spec;
        PoolLayout layout;
        int r;

        r = layout_find(c, &layout, err);
        if (r < 0)
                return r;
        c->pool.origin = spec->file ? POOL_FILE : spec->vg ? POOL_VG : POOL_DEVICES;
        c->pool.chunk_size = chunk_size(spec);
        return lvm_create_volumes(c->pool.vg, c->pool.devices, &c->pool, &layout, c->host, err);
}

/* --- finding them again --------------------------------------------------------------------------------- */

static int pool_take(StepContext *c, LvmPool *pool, Error *err) {
        c->lvm_pool = malloc(sizeof(*c->lvm_pool));
        if (!c->lvm_pool)
                return error_oom(err);
        *c->lvm_pool = *pool;
        *pool = (LvmPool) {};
        return 0;
}

/* A copy that was made of the disks has the same data only for a moment: never pick one of two. */
static int twice_error(StepContext *c, const LvmPool *other, Error *err) {
        int r;

        r = error_set(err, ERROR_POOL_UNAVAILABLE, ENOTUNIQ, "pool %s is there twice: in volume groups %s and %s",
                      c->pool.name, c->lvm_pool->info.vg, other->info.vg);
        error_hint(err, "take the copy's disks away");
        return r;
}

/* Sets c->lvm_pool from what LVM finds on c->pool.devices, or on every device of the host. */
static int pool_look(StepContext *c, char *const *devices, Error *err) {
        LvmPool *pools = NULL;
        size_t n = 0;
        int r;

        r = lvm_find_pools(devices, &pools, &n, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r >= 0; i++)
                if (sd_id128_equal(pools[i].info.uuid, c->pool.uuid))
                        r = c->lvm_pool ? twice_error(c, &pools[i], err) : pool_take(c, &pools[i], err);
        lvm_pools_free(pools, n);
        return r < 0 ? r : c->lvm_pool ? 1 : 0;
}

static int pool_found_run(StepContext *c, Error *err) {
        int r;

        r = pool_look(c, c->pool.devices, err);
        if (r < 0)
                return r;
        return r > 0 ? 0
                     : error_set(err, ERROR_FAILED, ENOENT, "LVM does not show the logical volumes that it just made");
}

static int pool_volumes_undo(StepContext *c, Error *err) {
        int r;

        r = c->lvm_pool ? 0 : pool_found_run(c, err);
        return r < 0 ? r : lvm_remove_volumes(c->lvm_pool, err);
}

/* What the list of pools says only for information may have changed since: a renamed group, other disks. */
static int pool_learn(PoolInfo *pool, const PoolInfo *found, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        char *vg;

        vg = strdup(found->vg);
        if (!vg || strv_copy(found->devices, &devices) < 0) {
                free(vg);
                return error_oom(err);
        }
        free(pool->vg);
        pool->vg = vg;
        strv_free(pool->devices);
        pool->devices = TAKE_PTR(devices);
        pool->origin = found->origin;
        pool->chunk_size = found->chunk_size;
        return 0;
}

int pool_check_copies(const PoolInfo *pool, Error *err) {
        _cleanup_free_ char *device = NULL, *copy = NULL;
        int r;

        r = lvm_find_copy(pool->devices, &device, &copy);
        if (r <= 0)
                return r < 0 ? error_errno(err, r, "cannot look for copies of the disks of pool %s", pool->name) : 0;
        r = error_set(err, ERROR_POOL_UNAVAILABLE, ENOTUNIQ,
                      "a disk of pool %s is there twice: %s and %s; which one is right cannot be seen", pool->name,
                      device, copy);
        error_hint(err, "take the copy away, or wipe it: wipefs -a DEVICE");
        return r;
}

/* Where LVM has to look. */
static int pool_devices(StepContext *c, char ***ret, Error *err) {
        _cleanup_free_ char *loop = NULL;
        int r;

        if (!c->pool.file)
                return lvm_candidate_devices(ret, err);
        r = loop_attach(c->pool.file, &loop);
        if (r < 0)
                return error_set(err, ERROR_POOL_UNAVAILABLE, r, "cannot attach %s: %s", c->pool.file, strerror(-r));
        return strv_append(ret, loop) < 0 ? error_oom(err) : 0;
}

/* What a creation or removal that was cut short has left: nothing, a volume group, some of the volumes. */
static int pool_find_remains(StepContext *c, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        LvmPool found = {};
        Error gone = {};
        int r;

        if (c->job->verb != JOB_POOL_REMOVE) {
                r = error_set(err, ERROR_POOL_UNAVAILABLE, ECANCELED,
                              "the creation or removal of pool %s was cut short", c->pool.name);
                error_hint(err, "quarry pool rm %s", c->pool.name);
                return r;
        }
        if (c->pool.file && access(c->pool.file, F_OK) < 0 && errno == ENOENT)
                return 0;
        r = pool_devices(c, &devices, err);
        if (r < 0)
                return r;
        r = lvm_find_pool(devices, c->pool.uuid, &found, &gone);
        if (r < 0 && gone.kind == ERROR_NO_SUCH_POOL)
                return 0;
        if (r < 0) {
                *err = gone;
                return r;
        }
        r = pool_take(c, &found, err);
        lvm_pool_done(&found);
        return r;
}

/* Everything is as this job would make it, from an earlier life of the broker: then no disk is asked, and no process
 * started. What the list of pools says is as good as what LVM would. */
static int pool_find_probe(StepContext *c, Error *err) {
        char path[CATALOG_PATH_MAX];
        DmPoolStatus status;
        uint64_t size;
        unsigned options;
        int r;

        if (c->job->verb == JOB_POOL_CHECK) {
                c->pool_is_open = dm_pool_table(c->pool.uuid, &c->metadata_lv, &c->data_lv, &size) >= 0;
                return c->pool_is_open ? 1 : 0;
        }
        if ((c->job->verb != JOB_POOL_OPEN && c->job->verb != JOB_POOL_RECOVER) || c->pool.unfinished)
                return 0;
        r = dm_pool_status(c->pool.uuid, &status);
        if (r < 0 || dm_pool_has_failed(&status))
                return 0; /* it may have to be made anew */
        r = dm_pool_table(c->pool.uuid, &c->metadata_lv, &c->data_lv, &size);
        if (r >= 0) {
                pool_catalog_path(c->pool.uuid, path);
                r = mnt_point_device(path, &c->catalog_lv, &options);
        }
        c->pool_is_open = r > 0 && (!(options & MOUNT_READ_ONLY) || c->job->verb == JOB_POOL_RECOVER);
        return c->pool_is_open ? 1 : 0;
}

/* One bad disk can make LVM fail with all: then those that the pool had last are tried alone. */
static int pool_look_everywhere(StepContext *c, char *const *devices, Error *err) {
        Error alone = {};
        int r;

        r = pool_look(c, devices, err);
        if (r >= 0 || r == -ENOTUNIQ || c->lvm_pool || !c->pool.devices)
                return r;
        if (pool_look(c, c->pool.devices, &alone) <= 0)
                return r;
        log_warning(c->pool.name, "found on the disks it had, while LVM failed with all of them: %s", err->text);
        *err = (Error) {};
        return 1;
}

static int pool_find_run(StepContext *c, Error *err) {
        _cleanup_strv_ char **devices = NULL;
        int r;

        if (c->pool.unfinished)
                return pool_find_remains(c, err);
        r = pool_devices(c, &devices, err);
        if (r < 0)
                return r;

        r = pool_look_everywhere(c, devices, err);
        if (r < 0)
                return r;
        if (r == 0) {
                r = error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV, "the disks of pool %s are not there", c->pool.name);
                error_hint(err, "they are used as soon as they come; see also: lvs -o+lv_tags");
                return r;
        }
        /* An export that was cut short goes on. */
        if (!streq_ptr(c->lvm_pool->host, c->host) && (c->lvm_pool->host || c->job->verb != JOB_POOL_EXPORT)) {
                r = error_set(err, ERROR_POOL_UNAVAILABLE, EREMOTE, "pool %s was %s", c->pool.name,
                              c->lvm_pool->host ? "taken over by another host" : "exported");
                error_hint(err, "to take it back: quarry pool import");
                return r;
        }

        r = pool_check_copies(&c->lvm_pool->info, err);
        return r < 0 ? r : pool_learn(&c->pool, &c->lvm_pool->info, err);
}

static int pool_activate_probe(StepContext *c, Error *err) {
        return c->pool_is_open ? 1 : 0;
}

static int pool_activate_run(StepContext *c, Error *err) {
        return lvm_activate(c->lvm_pool, &c->catalog_lv, &c->metadata_lv, &c->data_lv, err);
}

static int pool_deactivate_probe(StepContext *c, Error *err) {
        return c->lvm_pool ? 0 : 1; /* it was not active, and so not looked for */
}

static int pool_deactivate_run(StepContext *c, Error *err) {
        int r;

        r = lvm_deactivate(c->lvm_pool, err);
        if (r < 0 || !c->pool.file)
                return r;
        r = loop_detach(c->pool.file);
        return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot detach %s", c->pool.file) : 0;
}

static int pool_activate_undo(StepContext *c, Error *err) {
        return lvm_deactivate(c->lvm_pool, err);
}

static int pool_destroy_run(StepContext *c, Error *err) {
        const LvmPool *lvm = c->lvm_pool;
        int r;

        r = lvm ? lvm_remove_volumes(lvm, err) : 0;
        if (r < 0 || c->pool.origin == POOL_VG)
                return r;
        r = lvm ? lvm_remove_vg(lvm->info.vg, lvm->info.devices, err) : 0;
        if (r < 0 || !c->pool.file)
                return r;
        r = loop_detach(c->pool.file);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot detach %s", c->pool.file);
        return file_remove(c->pool.file, err);
}

static int pool_own_run(StepContext *c, Error *err) {
        return lvm_set_host(c->lvm_pool, c->host, err);
}

static int pool_disown_run(StepContext *c, Error *err) {
        return lvm_set_host(c->lvm_pool, NULL, err);
}

void step_context_done(StepContext *c) {
        luks_free(c->luks);
        device_let_go(c);
        if (c->mount_fd >= 0)
                close(c->mount_fd);
        if (c->second_fd >= 0)
                close(c->second_fd);
        if (c->lvm_pool)
                lvm_pools_free(c->lvm_pool, 1);
        pool_info_done(&c->pool);
}

const Step step_pool_place = { "looking where the file goes", NULL, pool_place_run, NULL };
const Step step_pool_file = { "making the file", pool_file_probe, pool_file_run, pool_file_undo };
const Step step_pool_vg = { "making the volume group", NULL, pool_vg_run, pool_vg_undo };
const Step step_pool_volumes = { "making the logical volumes", NULL, pool_volumes_run, pool_volumes_undo };
const Step step_pool_found = { "looking at the logical volumes", NULL, pool_found_run, NULL };
const Step step_pool_find = { "looking for the disks", pool_find_probe, pool_find_run, NULL };
const Step step_pool_activate = { "activating the logical volumes", pool_activate_probe, pool_activate_run,
                                  pool_activate_undo };
/* Volumes of the pool may be in use: what was active stays so. */
const Step step_pool_reactivate = { "activating the logical volumes", pool_activate_probe, pool_activate_run, NULL };
const Step step_pool_deactivate = { "deactivating the logical volumes", pool_deactivate_probe, pool_deactivate_run,
                                    NULL };
const Step step_pool_destroy = { "removing the logical volumes", NULL, pool_destroy_run, NULL };
const Step step_pool_own = { "taking ownership", NULL, pool_own_run, pool_disown_run };
const Step step_pool_disown = { "giving up ownership", NULL, pool_disown_run, pool_own_run };
