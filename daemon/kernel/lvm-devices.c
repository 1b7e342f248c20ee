/* Which block devices our LVM commands may look at. */

#include "kernel/lvm.h"

#include "kernel/sysfs.h"

#include <quarry/text.h>

#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <systemd/sd-device.h>

#define STACK_MAX 16u /* layers of devices on devices */

static bool is_on_ours(dev_t device, unsigned depth);

/* A device of ours; the logical volumes of our pools are no such: they bear an LVM- uuid. */
static bool is_ours(dev_t device) {
        char name[SYSFS_VALUE_MAX], uuid[SYSFS_VALUE_MAX];

        return sysfs_read(device, "dm/name", name) >= 0 && startswith(name, "quarry-") &&
               sysfs_read(device, "dm/uuid", uuid) >= 0 && !startswith(uuid, "LVM-");
}

/* A loop device of a file on a volume; also of a file that cannot be seen, which may be one. */
static bool loop_is_on_ours(dev_t device, unsigned depth) {
        char file[SYSFS_VALUE_MAX];
        struct stat status;

        if (sysfs_read(device, "loop/backing_file", file) < 0)
                return false;
        return stat(file, &status) < 0 || is_on_ours(status.st_dev, depth);
}

static bool disk_of_partition(dev_t device, dev_t *ret) {
        unsigned major_number, minor_number;
        char value[SYSFS_VALUE_MAX];

        if (sysfs_read(device, "partition", value) < 0 || sysfs_read(device, "../dev", value) < 0 ||
            sscanf(value, "%u:%u", &major_number, &minor_number) != 2)
                return false;
        *ret = makedev(major_number, minor_number);
        return true;
}

static bool is_on_ours(dev_t device, unsigned depth) {
        _cleanup_free_ dev_t *below = NULL;
        size_t n = 0;
        dev_t disk;

        if (depth >= STACK_MAX || is_ours(device) || loop_is_on_ours(device, depth + 1))
                return true;
        if (disk_of_partition(device, &disk))
                return is_on_ours(disk, depth + 1);
        if (sysfs_links(device, "slaves", &below, &n) < 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if (is_on_ours(below[i], depth + 1))
                        return true;
        return false;
}

/* No memory disks, floppies, optical drives; nothing empty or read-only; no logical volume, whose contents
 * are its owner's affair (and with our pools, a tenant's). */
static bool may_hold_a_pv(sd_device *device, dev_t number) {
        static const char *const never[] = { "ram", "zram", "fd", "sr", "mtdblock" };
        char value[SYSFS_VALUE_MAX];
        const char *name;

        if (sd_device_get_sysname(device, &name) < 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(never); i++)
                if (startswith(name, never[i]))
                        return false;
        if (sysfs_read(number, "size", value) < 0 || streq(value, "0"))
                return false;
        if (sysfs_read(number, "ro", value) < 0 || !streq(value, "0"))
                return false;
        return sysfs_read(number, "dm/uuid", value) < 0 || !startswith(value, "LVM-");
}

static int candidates_collect(sd_device_enumerator *enumerator, char ***list) {
        for (sd_device *d = sd_device_enumerator_get_device_first(enumerator); d;
             d = sd_device_enumerator_get_device_next(enumerator)) {
                const char *path;
                dev_t number;

                if (sd_device_get_devnum(d, &number) < 0 || sd_device_get_devname(d, &path) < 0 ||
                    !may_hold_a_pv(d, number) || is_on_ours(number, 0))
                        continue;
                if (strv_append(list, path) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int lvm_candidate_devices(char ***ret, Error *err) {
        _cleanup_(sd_device_enumerator_unrefp) sd_device_enumerator *enumerator = NULL;
        _cleanup_strv_ char **list = NULL;
        int r;

        r = sd_device_enumerator_new(&enumerator);
        if (r >= 0)
                r = sd_device_enumerator_allow_uninitialized(enumerator);
        if (r >= 0)
                r = sd_device_enumerator_add_match_subsystem(enumerator, "block", 1);
        if (r >= 0)
                r = candidates_collect(enumerator, &list);
        if (r < 0)
                return error_errno(err, r, "cannot list the block devices");
        *ret = TAKE_PTR(list);
        return 0;
}

/* --- copies of disks ------------------------------------------------------------------------------------ */

/* As udev found it when the device came; NULL where there is no physical volume. */
static const char *pv_uuid(sd_device *device) {
        const char *type, *uuid;

        if (sd_device_get_property_value(device, "ID_FS_TYPE", &type) < 0 || !streq(type, "LVM2_member") ||
            sd_device_get_property_value(device, "ID_FS_UUID", &uuid) < 0)
                return NULL;
        return uuid;
}

static bool lies_on(dev_t upper, dev_t lower, unsigned depth) {
        _cleanup_free_ dev_t *below = NULL;
        size_t n = 0;

        if (depth >= STACK_MAX || sysfs_links(upper, "slaves", &below, &n) < 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if (below[i] == lower || lies_on(below[i], lower, depth + 1))
                        return true;
        return false;
}

static bool are_stacked(dev_t first, dev_t second) {
        return lies_on(first, second, 0) || lies_on(second, first, 0);
}

static int find_copy_of(const char *path, char *const *candidates, char **ret_copy) {
        _cleanup_(sd_device_unrefp) sd_device *device = NULL;
        const char *uuid;
        dev_t number;
        int r;

        r = sd_device_new_from_devname(&device, path);
        if (r >= 0)
                r = sd_device_get_devnum(device, &number);
        uuid = r < 0 ? NULL : pv_uuid(device);
        if (!uuid)
                return r == -ENOMEM ? r : 0;
        for (char *const *c = candidates; c && *c; c++) {
                _cleanup_(sd_device_unrefp) sd_device *other = NULL;
                dev_t other_number;

                if (sd_device_new_from_devname(&other, *c) < 0 || sd_device_get_devnum(other, &other_number) < 0 ||
                    other_number == number || !streq_ptr(pv_uuid(other), uuid) || are_stacked(number, other_number))
                        continue;
                *ret_copy = strdup(*c);
                return *ret_copy ? 1 : -ENOMEM;
        }
        return 0;
}

int lvm_find_copy(char *const *devices, char **ret_device, char **ret_copy) {
        _cleanup_strv_ char **candidates = NULL;
        int r = 0;

        if (lvm_candidate_devices(&candidates, NULL) < 0)
                return -EIO;
        for (char *const *d = devices; d && *d; d++) {
                _cleanup_free_ char *copy = NULL;

                r = find_copy_of(*d, candidates, &copy);
                if (r == 0)
                        continue;
                if (r < 0)
                        return r;
                *ret_device = strdup(*d);
                if (!*ret_device)
                        return -ENOMEM;
                *ret_copy = TAKE_PTR(copy);
                return 1;
        }
        return 0;
}
