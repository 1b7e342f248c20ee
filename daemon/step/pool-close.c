/* The host stops: every volume of a pool is unmounted and closed that nobody uses any more. What is still in use is
 * named and left to systemd, which ends every process first and then takes away what it finds. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/loop.h"
#include "kernel/luks.h"
#include "kernel/lvm.h"
#include "kernel/mnt.h"
#include "kernel/sysfs.h"
#include "kernel/udev.h"

#include <quarry/log.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <time.h>

/* A service that has just been ended may hold a file for a moment. */
#define TRIES 30u
#define PAUSE_MS 100

/* Whether the device belongs to a volume of the pool: the thin device says, also of the encryption on it. */
static bool is_of_pool(StepContext *c, dev_t device) {
        char name[SYSFS_VALUE_MAX], thin[KERNEL_NAME_MAX], kind[8];
        sd_id128_t volume, pool;
        DmInfo info;

        if (sysfs_read(device, "dm/name", name) < 0 || volume_uuid_from_kernel_name(name, &volume) < 0)
                return false;
        volume_thin_name(volume, thin);
        if (suspended_is(volume)) /* who unmounts it would wait: it stays, and says so */
                return false;
        return dm_info(thin, &info) >= 0 && kernel_uuid_parse(info.uuid, &pool, kind, &volume) >= 0 &&
               streq(kind, "thin") && sd_id128_equal(pool, c->pool.uuid);
}

/* Where volumes of the pool are mounted, in the order in which that was done. */
static int mounts_find(StepContext *c, char ***ret) {
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_ char **list = NULL;
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && is_of_pool(c, mount.device) && strv_append(&list, mount.target) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(list);
        return 0;
}

/* The last one first: others may lie on it. Returns how many stay. */
static unsigned unmount_all(StepContext *c, bool is_last_try) {
        _cleanup_strv_ char **list = NULL;
        unsigned left = 0;
        int r;

        r = mounts_find(c, &list);
        if (r < 0) {
                log_error(c->pool.name, "cannot look at the mounts: %s", strerror(-r));
                return 0;
        }
        for (size_t i = strv_length(list); i > 0; i--) {
                r = mnt_unmount(list[i - 1]);
                if (r >= 0 || r == -EINVAL || r == -ENOENT)
                        continue;
                left++;
                if (is_last_try)
                        log_warning(c->pool.name, "%s stays mounted: %s", list[i - 1], strerror(-r));
        }
        return left;
}

/* 1 when it is gone, 0 while it is used. */
static int close_if_unused(const char *name, int (*remove)(const char *name)) {
        DmInfo info;
        int r;

        r = dm_info(name, &info);
        if (r < 0)
                return r == -ENXIO ? 1 : r;
        if (info.open_count > 0)
                return 0;
        r = remove(name);
        return r == -EBUSY ? 0 : r < 0 && r != -ENXIO ? r : 1;
}

/* What waits for a key would wait for ever, and the host with it. */
static void give_up_suspended(StepContext *c) {
        _cleanup_free_ DmInfo *list = NULL;
        size_t n = 0;
        int r;

        r = dm_list(&list, &n);
        if (r < 0)
                log_error(c->pool.name, "cannot list the devices: %s", strerror(-r));
        for (size_t i = 0; i < n; i++) {
                sd_id128_t pool, volume;
                char kind[8];

                if (kernel_uuid_parse(list[i].uuid, &pool, kind, &volume) < 0 || !streq(kind, "thin") ||
                    !sd_id128_equal(pool, c->pool.uuid) || !suspended_is(volume))
                        continue;
                r = suspended_give_up(volume);
                log_warning(c->pool.name, "%s is locked while it is in use: %s", list[i].name,
                            r < 0 ? strerror(-r) : "who waited for its key gets an error");
        }
}

static unsigned close_all(StepContext *c, bool is_last_try) {
        _cleanup_free_ DmInfo *list = NULL;
        unsigned left = 0;
        size_t n = 0;
        int r;

        r = dm_list(&list, &n);
        if (r < 0) {
                log_error(c->pool.name, "cannot list the devices: %s", strerror(-r));
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                char crypt[KERNEL_NAME_MAX], kind[8];
                sd_id128_t pool, volume;

                if (kernel_uuid_parse(list[i].uuid, &pool, kind, &volume) < 0 || !streq(kind, "thin") ||
                    !sd_id128_equal(pool, c->pool.uuid))
                        continue;
                volume_crypt_name(volume, crypt);
                r = close_if_unused(crypt, luks_close);
                if (r > 0)
                        r = close_if_unused(list[i].name, dm_remove);
                if (r > 0) {
                        limit_forget(volume);
                        (void) udev_forget(volume); /* only describes the device that is gone */
                        continue;
                }
                left++;
                if (is_last_try)
                        log_warning(c->pool.name, "%s stays open: %s", list[i].name,
                                    r < 0 ? strerror(-r) : "it is in use");
        }
        return left;
}

/* The broker may be on its way out as well: it has the catalog open. Returns how many stay. */
static unsigned unmount_catalog(StepContext *c, bool is_last_try) {
        char target[CATALOG_PATH_MAX];
        int r;

        pool_catalog_path(c->pool.uuid, target);
        r = mnt_unmount(target);
        if (r >= 0 || r == -EINVAL || r == -ENOENT)
                return 0;
        if (is_last_try)
                log_warning(c->pool.name, "%s stays mounted: %s", target, strerror(-r));
        return 1;
}

static int pool_close_volumes_run(StepContext *c, Error *err) {
        give_up_suspended(c);
        for (unsigned i = 1; i <= TRIES; i++) {
                unsigned left = unmount_all(c, i == TRIES);

                left += close_all(c, i == TRIES);
                left += unmount_catalog(c, i == TRIES);
                if (left == 0)
                        return 0;
                if (i < TRIES)
                        nanosleep(&(struct timespec) { .tv_nsec = PAUSE_MS * 1000000L }, NULL);
        }
        return 0;
}

/* What device-mapper calls the pool's logical volumes, also those that repairs left. */
static int parts_find(const StepContext *c, char ***ret) {
        _cleanup_free_ char *start = NULL, *prefix = NULL;
        char pool[KERNEL_NAME_MAX];
        int r;

        if (!c->pool.vg) /* it never had any */
                return 0;
        pool_kernel_name(c->pool.uuid, pool);
        start = format_new("%s-", pool);
        if (!start)
                return -ENOMEM;
        r = lvm_kernel_name(c->pool.vg, start, &prefix);
        return r < 0 ? r : dm_names(prefix, ret);
}

/* Without LVM, which cannot see the logical volumes of disks that are gone, and whose own blkdeactivate takes away what
 * it finds at the same time when the host stops: whatever is left of them and of the loop device goes. */
static int pool_close_parts_run(StepContext *c, Error *err) {
        _cleanup_strv_ char **parts = NULL;
        int r;

        r = parts_find(c, &parts);
        if (r < 0)
                return error_errno(err, r, "cannot find the logical volumes of pool %s", c->pool.name);
        for (char **part = parts; part && *part; part++) {
                r = dm_remove(*part);
                if (r < 0 && r != -ENXIO)
                        log_warning(c->pool.name, "%s stays until the host stops: %s", *part, strerror(-r));
        }
        if (!c->pool.file)
                return 0;
        r = loop_detach(c->pool.file);
        if (r < 0 && r != -ENXIO)
                log_warning(c->pool.name, "%s stays attached: %s", c->pool.file, strerror(-r));
        return 0;
}

const Step step_pool_close_parts = { "closing the logical volumes", NULL, pool_close_parts_run, NULL };
const Step step_pool_close_volumes = { "closing the volumes", NULL, pool_close_volumes_run, NULL };
