#include "kernel/lvm.h"

#include "kernel/dm.h"
#include "kernel/lvm-command.h"
#include "kernel/probe.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>

#define LV_PATH_MAX 300 /* "vg/lv" */

static const char *const roles[] = { "catalog", "metadata", "data" };

/* --- finding -------------------------------------------------------------------------------------------- */

static int pools_read(char *const *devices, LvmPool **ret, size_t *ret_count, Error *err) {
        _cleanup_(lvm_report_done) LvmReport report = {};
        int r;

        *ret = NULL;
        *ret_count = 0;
        if (!devices || !devices[0])
                return 0;
        r = lvm_report_read(devices, &report, err);
        if (r < 0)
                return r;
        return lvm_report_pools(&report, ret, ret_count) < 0 ? error_oom(err) : 0;
}

int lvm_find_pools(char *const *devices, LvmPool **ret, size_t *ret_count, Error *err) {
        LvmPool *pools;
        size_t count, kept = 0;
        int r;

        r = pools_read(devices, &pools, &count, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < count; i++)
                if (lvm_pool_is_complete(pools + i))
                        pools[kept++] = pools[i];
                else
                        lvm_pool_done(pools + i);
        *ret = pools;
        *ret_count = kept;
        return 0;
}

int lvm_find_pool(char *const *devices, sd_id128_t uuid, LvmPool *ret, Error *err) {
        LvmPool *pools;
        size_t count;
        char text[UUID_TEXT_MAX];
        int r;

        r = pools_read(devices, &pools, &count, err);
        if (r < 0)
                return r;
        r = error_set(err, ERROR_NO_SUCH_POOL, ENXIO, "no disk has a pool with uuid %s", uuid_format(uuid, text));
        for (size_t i = 0; i < count; i++)
                if (sd_id128_equal(pools[i].info.uuid, uuid)) {
                        *ret = pools[i];
                        pools[i] = (LvmPool) {};
                        r = 0;
                        break;
                }
        lvm_pools_free(pools, count);
        return r;
}

int lvm_vg_space(const char *vg, uint64_t *ret_free, uint64_t *ret_extent, char ***ret_devices, Error *err) {
        _cleanup_(lvm_report_done) LvmReport report = {};
        _cleanup_strv_ char **candidates = NULL, **devices = NULL;
        const LvmRow *found = NULL;
        int r;

        r = lvm_candidate_devices(&candidates, err);
        if (r >= 0)
                r = lvm_report_read(candidates, &report, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < report.n_rows; i++) {
                const LvmRow *row = report.rows + i;

                if (!streq(row->vg, vg) || row->pv[0] != '/')
                        continue;
                if (found && !streq(found->vg_uuid, row->vg_uuid))
                        return error_field(err, "volumeGroup", "there are two volume groups %s", vg);
                found = row;
                if (!strv_contains(devices, row->pv) && strv_append(&devices, row->pv) < 0)
                        return error_oom(err);
        }
        if (!found)
                return error_field(err, "volumeGroup", "there is no volume group %s", vg);
        if (found->vg_missing > 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, ENODEV, "disks of volume group %s are missing", vg);
        *ret_free = found->vg_free;
        *ret_extent = found->vg_extent;
        *ret_devices = TAKE_PTR(devices);
        return 0;
}

/* --- volume group --------------------------------------------------------------------------------------- */

int lvm_check_devices(char *const *devices, Error *err) {
        int r;

        for (char *const *d = devices; *d; d++) {
                dev_t one, other;

                r = probe_device_is_free(*d, err);
                if (r < 0)
                        return r;
                r = probe_device_number(*d, &one);
                if (r < 0)
                        return error_errno(err, r, "cannot look at %s", *d);
                for (char *const *e = devices; e < d; e++)
                        if (probe_device_number(*e, &other) >= 0 && one == other)
                                return error_field(err, "devices", "%s and %s are the same device", *e, *d);
        }
        return 0;
}

int lvm_create_vg(sd_id128_t pool, char *const *devices, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        char vg[KERNEL_NAME_MAX], text[UUID_TEXT_MAX], tag[64];
        int r;

        r = lvm_command_new("vgcreate", devices, &argv, err);
        if (r >= 0)
                r = lvm_check_devices(devices, err);
        if (r < 0)
                return r;
        pool_kernel_name(pool, vg);
        buffer_format(tag, sizeof(tag), "quarry.uuid=%s", uuid_format(pool, text));
        /* The tags are for finding what is left of a creation that was cut short. Without --yes and with
         * nobody to answer, vgcreate refuses to overwrite a signature too. */
        r = lvm_command_extend(&argv, err,
                               WORDS("--setautoactivation", "n", "--addtag", "quarry", "--addtag", tag, vg));
        if (r >= 0)
                r = lvm_command_extend(&argv, err, (const char *const *) devices);
        if (r >= 0)
                r = lvm_command_run(argv, NULL, err);
        if (r < 0)
                (void) lvm_remove_vg(vg, devices, NULL);
        return r;
}

static int vg_remove(const char *vg, char *const *devices, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        int r;

        /* Without --yes: refused while somebody's logical volume is in it. */
        r = lvm_command_new("vgremove", devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err, WORDS(vg));
        return r < 0 ? r : lvm_command_run(argv, NULL, err);
}

/* Takes the labels from those of the devices that are physical volumes of no volume group. */
static int pvs_remove(char *const *devices, Error *err) {
        _cleanup_(lvm_report_done) LvmReport report = {};
        _cleanup_strv_ char **argv = NULL;
        bool any = false;
        int r;

        r = lvm_report_read(devices, &report, err);
        if (r >= 0)
                r = lvm_command_new("pvremove", devices, &argv, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < report.n_rows; i++)
                if (isempty(report.rows[i].vg)) {
                        any = true;
                        if (lvm_command_add(&argv, report.rows[i].pv) < 0)
                                return error_oom(err);
                }
        return any ? lvm_command_run(argv, NULL, err) : 0;
}

int lvm_remove_vg(const char *vg, char *const *devices, Error *err) {
        _cleanup_(lvm_report_done) LvmReport report = {};
        bool exists = false;
        int r;

        r = lvm_report_read(devices, &report, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < report.n_rows; i++)
                exists = exists || streq(report.rows[i].vg, vg);
        if (exists) {
                r = vg_remove(vg, devices, err);
                if (r < 0)
                        return r;
        }
        return pvs_remove(devices, err);
}

/* --- logical volumes ------------------------------------------------------------------------------------ */

int lvm_kernel_name(const char *vg, const char *lv, char **ret) {
        struct dm_pool *memory;
        char *name;

        memory = dm_pool_create("name", 256);
        name = memory ? dm_build_dm_name(memory, vg, lv, NULL) : NULL;
        *ret = name ? strdup(name) : NULL;
        if (memory)
                dm_pool_destroy(memory);
        return *ret ? 0 : -ENOMEM;
}

/* The kernel's number of an active logical volume. */
static int lv_device(const char *vg, const char *lv, dev_t *ret) {
        _cleanup_free_ char *name = NULL;
        DmInfo info;
        int r;

        r = lvm_kernel_name(vg, lv, &name);
        if (r < 0)
                return r;
        r = dm_info(name, &info);
        if (r < 0)
                return r;
        if (!startswith(info.uuid, "LVM-"))
                return -EBADF;
        *ret = info.device;
        return 0;
}

/* What earlier users of the extents left at the start: dm-thin makes new metadata only on zeros, and nobody
 * shall take a data volume for what it was. */
static int start_zero(const char *vg, const char *lv) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *zeros = NULL;
        char path[DEVICE_PATH_MAX];
        dev_t device;
        int r;

        r = lv_device(vg, lv, &device);
        if (r < 0)
                return r;
        zeros = calloc(1, MIB);
        if (!zeros)
                return -ENOMEM;
        dm_device_path(device, path);
        fd = open(path, O_WRONLY | O_EXCL | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = write_all(fd, zeros, MIB);
        return r < 0 ? r : RET_NERRNO(fsync(fd));
}

static int lv_create(const char *vg, char *const *devices, const PoolInfo *info, const char *host, const char *role,
                     uint64_t size, const char *name, Error *err) {
        _cleanup_free_ char *uuid_tag = NULL, *pool_tag = NULL, *role_tag = NULL, *chunk_tag = NULL, *origin_tag = NULL,
                            *host_tag = NULL, *size_text = NULL;
        _cleanup_strv_ char **argv = NULL;
        char text[UUID_TEXT_MAX];
        int r;

        uuid_tag = format_new("quarry.uuid=%s", uuid_format(info->uuid, text));
        pool_tag = format_new("quarry.pool=%s", info->name);
        role_tag = format_new("quarry.role=%s", role);
        chunk_tag = format_new("quarry.chunk=%" PRIu64, info->chunk_size);
        origin_tag = format_new("quarry.origin=%s", pool_origin_to_string(info->origin));
        host_tag = format_new("quarry.host=%s", host);
        size_text = format_new("%" PRIu64 "b", size);
        if (!uuid_tag || !pool_tag || !role_tag || !chunk_tag || !origin_tag || !host_tag || !size_text)
                return error_oom(err);

        r = lvm_command_new("lvcreate", devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err,
                                       WORDS("--setautoactivation", "n", "--zero", "y", "--wipesignatures", "n",
                                             "--addtag", "quarry", "--addtag", uuid_tag, "--addtag", pool_tag,
                                             "--addtag", role_tag, "--addtag", chunk_tag, "--addtag", origin_tag,
                                             "--addtag", host_tag, "--size", size_text, "--name", name, vg));
        return r < 0 ? r : lvm_command_run(argv, NULL, err);
}

static int lvs_remove(const char *vg, char *const *devices, const char *const *names, size_t n, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        bool any = false;
        int r;

        r = lvm_command_new("lvremove", devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err, WORDS("--yes"));
        for (size_t i = 0; r >= 0 && i < n; i++) {
                char path[LV_PATH_MAX];

                if (isempty(names[i]))
                        continue;
                any = true;
                buffer_format(path, sizeof(path), "%s/%s", vg, names[i]);
                r = lvm_command_extend(&argv, err, WORDS(path));
        }
        return r < 0 ? r : any ? lvm_command_run(argv, NULL, err) : 0;
}

int lvm_create_volumes(const char *vg, char *const *devices, const PoolInfo *info, const PoolLayout *layout,
                       const char *host, Error *err) {
        const uint64_t sizes[] = { layout->catalog, layout->metadata, layout->data };
        char names[ELEMENTSOF(roles)][KERNEL_NAME_MAX], pool[KERNEL_NAME_MAX];
        const char *made[ELEMENTSOF(roles)] = {};
        int r = 0;

        pool_kernel_name(info->uuid, pool);
        for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
                buffer_format(names[i], KERNEL_NAME_MAX, "%s-%s", pool, roles[i]);
                r = lv_create(vg, devices, info, host, roles[i], sizes[i], names[i], err);
                if (r < 0)
                        break;
                made[i] = names[i];
                r = start_zero(vg, names[i]);
                if (r < 0) {
                        r = error_errno(err, r, "cannot clear the start of logical volume %s/%s", vg, names[i]);
                        break;
                }
        }
        if (r < 0)
                (void) lvs_remove(vg, devices, made, ELEMENTSOF(made), NULL);
        return r;
}

/* All that are there. */
static int volumes_of(const LvmPool *pool, char ***ret, Error *err) {
        const char *const names[] = { pool->catalog, pool->metadata, pool->data, pool->spare };
        _cleanup_strv_ char **list = NULL;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (names[i][0] && strv_append(&list, names[i]) < 0)
                        return error_oom(err);
        for (char **name = pool->old_metadata; name && *name; name++)
                if (strv_append(&list, *name) < 0)
                        return error_oom(err);
        *ret = TAKE_PTR(list);
        return 0;
}

int lvm_remove_volumes(const LvmPool *pool, Error *err) {
        _cleanup_strv_ char **names = NULL;
        int r;

        r = volumes_of(pool, &names, err);
        if (r < 0 || !names)
                return r;
        return lvs_remove(pool->info.vg, pool->info.devices, (const char *const *) names, strv_length(names), err);
}

/* lvchange on these with these words. */
static int volumes_change(const LvmPool *pool, const char *const *names, size_t n, const char *const *words,
                          Error *err) {
        _cleanup_strv_ char **argv = NULL;
        int r;

        if (!lvm_pool_is_complete(pool))
                return error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV, "volume group %s holds only a part of pool %s",
                                 pool->info.vg, pool->info.name);
        r = lvm_command_new("lvchange", pool->info.devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err, words);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                char path[LV_PATH_MAX];

                buffer_format(path, sizeof(path), "%s/%s", pool->info.vg, names[i]);
                r = lvm_command_extend(&argv, err, WORDS(path));
        }
        return r < 0 ? r : lvm_command_run(argv, NULL, err);
}

/* On the three. */
static int pool_change(const LvmPool *pool, const char *const *words, Error *err) {
        const char *const names[] = { pool->catalog, pool->metadata, pool->data };

        return volumes_change(pool, names, ELEMENTSOF(names), words, err);
}

int lvm_activate(const LvmPool *pool, dev_t *ret_catalog, dev_t *ret_metadata, dev_t *ret_data, Error *err) {
        dev_t catalog, metadata, data;
        int r;

        r = pool_change(pool, WORDS("--activate", "y"), err);
        if (r < 0)
                return r;
        r = lv_device(pool->info.vg, pool->catalog, &catalog);
        if (r >= 0)
                r = lv_device(pool->info.vg, pool->metadata, &metadata);
        if (r >= 0)
                r = lv_device(pool->info.vg, pool->data, &data);
        if (r < 0)
                return error_errno(err, r, "the kernel does not show the logical volumes of pool %s", pool->info.name);
        *ret_catalog = catalog;
        *ret_metadata = metadata;
        *ret_data = data;
        return 0;
}

int lvm_deactivate(const LvmPool *pool, Error *err) {
        _cleanup_strv_ char **names = NULL;
        int r;

        r = volumes_of(pool, &names, err);
        if (r < 0 || !names)
                return r;
        return volumes_change(pool, (const char *const *) names, strv_length(names), WORDS("--activate", "n"), err);
}

int lvm_set_host(LvmPool *pool, const char *host, Error *err) {
        _cleanup_free_ char *old_tag = NULL, *new_tag = NULL, *copy = NULL;
        const char *words[5] = {};
        size_t n = 0;
        int r;

        if (streq_ptr(pool->host, host))
                return 0;
        old_tag = pool->host ? format_new("quarry.host=%s", pool->host) : NULL;
        new_tag = host ? format_new("quarry.host=%s", host) : NULL;
        copy = host ? strdup(host) : NULL;
        if ((pool->host && !old_tag) || (host && (!new_tag || !copy)))
                return error_oom(err);
        if (old_tag) {
                words[n++] = "--deltag";
                words[n++] = old_tag;
        }
        if (new_tag) {
                words[n++] = "--addtag";
                words[n++] = new_tag;
        }
        r = pool_change(pool, words, err);
        if (r < 0)
                return r;
        free(pool->host);
        pool->host = TAKE_PTR(copy);
        return 0;
}

/* --- repair of the metadata ------------------------------------------------------------------------------- */

static int spare_fits(const LvmPool *pool, Error *err) {
        char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
        uint64_t available = pool->vg_free + pool->spare_size;
        int r;

        if (available >= pool->metadata_size)
                return 0;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC,
                      "the repaired metadata needs %s beside the old, and volume group %s has %s free",
                      size_format(pool->metadata_size, want), pool->info.vg, size_format(available, have));
        if (pool->old_metadata)
                error_hint(err, "remove metadata from before an earlier repair: lvremove %s/%s", pool->info.vg,
                           pool->old_metadata[0]);
        else
                error_hint(err, "give it another disk: vgextend %s DEVICE", pool->info.vg);
        return r;
}

int lvm_make_spare(LvmPool *pool, const char *host, dev_t *ret, Error *err) {
        char name[128], uuid[KERNEL_NAME_MAX];
        int r;

        r = spare_fits(pool, err);
        if (r >= 0 && pool->spare[0])
                r = lvm_remove_spare(pool, err);
        if (r < 0)
                return r;
        pool_kernel_name(pool->info.uuid, uuid);
        buffer_format(name, sizeof(name), "%s-metadata-%" PRIu64, uuid, pool->generation + 1);
        r = lv_create(pool->info.vg, pool->info.devices, &pool->info, host, "spare", pool->metadata_size, name, err);
        if (r < 0)
                return r;
        buffer_format(pool->spare, sizeof(pool->spare), "%s", name);
        r = lv_device(pool->info.vg, name, ret);
        if (r >= 0)
                return 0;
        (void) lvm_remove_spare(pool, NULL);
        return error_errno(err, r, "the kernel does not show logical volume %s/%s", pool->info.vg, name);
}

int lvm_take_spare(const LvmPool *pool, Error *err) {
        const char *const old[] = { pool->metadata }, *const spare[] = { pool->spare };
        char tag[64];
        int r;

        buffer_format(tag, sizeof(tag), "quarry.generation=%" PRIu64, pool->generation + 1);
        r = volumes_change(pool, old, 1, WORDS("--activate", "n"), err);
        return r < 0 ? r
                     : volumes_change(pool, spare, 1,
                                      WORDS("--deltag", "quarry.role=spare", "--addtag", "quarry.role=metadata",
                                            "--addtag", tag),
                                      err);
}

int lvm_remove_spare(LvmPool *pool, Error *err) {
        const char *const names[] = { pool->spare };
        int r;

        r = lvs_remove(pool->info.vg, pool->info.devices, names, 1, err);
        if (r < 0)
                return r;
        pool->spare[0] = 0;
        pool->spare_size = 0;
        return 0;
}
