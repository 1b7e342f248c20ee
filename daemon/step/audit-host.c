/* What is wrong with the host. Whatever may belong to a volume is noted with the volume's UUID or name as if it
 * belonged to nobody: the broker, who has the catalogs, strikes out what does. */

#include "step/pool-list.h"
#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/hostkey.h"
#include "kernel/luks.h"
#include "kernel/sysfs.h"
#include "kernel/tmpfs.h"
#include "kernel/udev.h"

#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LOCK_FOLDER "/run/quarry/lock"
#define LOOP_MAJOR 7u

/* --- devices -------------------------------------------------------------------------------------------- */

static const char *use_of(const DmInfo *info) {
        return info->open_count > 0 ? "it is in use" : "nobody uses it";
}

static void audit_mapping(StepContext *c, const DmInfo *info, sd_id128_t volume) {
        char thin[KERNEL_NAME_MAX], on[SYSFS_VALUE_MAX] = "nothing";
        _cleanup_free_ dev_t *slaves = NULL;
        DmInfo below = {};
        size_t n = 0;
        dev_t backing, device;
        Finding *f;
        int r;

        r = luks_backing(info->name, &backing, &device);
        volume_thin_name(volume, thin);
        (void) dm_info(thin, &below);
        if (r >= 0 && backing == below.device) {
                f = finding_add(&c->result->findings, FINDING_STRAY_MAPPING, info->name,
                                "an open encryption belongs to no volume; %s", use_of(info));
                if (f)
                        f->uuid = volume;
                return;
        }
        if (sysfs_links(info->device, "slaves", &slaves, &n) >= 0 && n > 0)
                sysfs_name(slaves[0], on);
        f = finding_add(&c->result->findings, FINDING_FOREIGN_DEVICE, info->name,
                        "this device bears the name of a volume's encryption and is not: it sits on %s; %s", on,
                        use_of(info));
        finding_hint(f, "the volume cannot be opened as long as it is there; if nobody needs it: dmsetup remove %s",
                     info->name);
}

static void audit_device(StepContext *c, const DmInfo *info) {
        sd_id128_t pool, id;
        FindingKind kind = FINDING_STRAY_DEVICE;
        char word[8];
        Finding *f;

        if (kernel_uuid_parse(info->uuid, &pool, word, &id) < 0) {
                const char *end = strrchr(info->name, '-');

                if (volume_uuid_from_kernel_name(info->name, &id) >= 0 && streq_ptr(end, "-crypt"))
                        audit_mapping(c, info, id);
                else {
                        f = finding_add(&c->result->findings, FINDING_FOREIGN_DEVICE, info->name,
                                        "this device bears a name as quarry's have, and was made by somebody else; %s",
                                        use_of(info));
                        finding_hint(f, "if nobody needs it: dmsetup remove %s", info->name);
                }
                return;
        }
        if (streq(word, "pool"))
                f = finding_add(&c->result->findings, kind, info->name,
                                "this pool's device belongs to no pool of the host; %s", use_of(info));
        else
                f = finding_add(&c->result->findings, kind, info->name, "this device belongs to no volume; %s",
                                use_of(info));
        if (!f)
                return;
        f->uuid = id;
        f->pool = pool;
}

/* A file that two loop devices have is written through both, and neither knows of the other. */
static void audit_loops(StepContext *c, const JobResult *list) {
        _cleanup_free_ dev_t *devices = NULL;
        char file[SYSFS_VALUE_MAX], name[SYSFS_VALUE_MAX];
        size_t n = 0;

        if (sysfs_devices(&devices, &n) < 0)
                return;
        for (size_t p = 0; p < list->n_pools; p++) {
                const char *wanted = list->pools[p].file, *rest;
                unsigned found = 0;

                for (size_t i = 0; wanted && i < n; i++) {
                        if (major(devices[i]) != LOOP_MAJOR || sysfs_read(devices[i], "loop/backing_file", file) < 0)
                                continue;
                        rest = startswith(file, wanted);
                        sysfs_name(devices[i], name);
                        if (rest && streq(rest, " (deleted)"))
                                finding_hint(finding_add(&c->result->findings, FINDING_STRAY_LOOP, name,
                                                         "the file of pool %s beneath this device was removed: all is "
                                                         "lost with the device",
                                                         list->pools[p].name),
                                             "copy the device while it is there: dd if=%s of=FILE", name);
                        else if (rest && !*rest && found++ > 0)
                                finding_hint(
                                        finding_add(&c->result->findings, FINDING_STRAY_LOOP, name,
                                                    "the file of pool %s is attached a second time, as this device",
                                                    list->pools[p].name),
                                        "losetup -d %s, unless it is the one that the pool uses", name);
                }
        }
}

/* What users mount inside of their volumes is theirs. */
static bool is_place(const char *path) {
        const char *tenant = startswith(path, MOUNT_ROOT "/"), *name = tenant ? strchr(tenant, '/') : NULL;

        return tenant && !(name && strchr(name + 1, '/'));
}

/* What is mounted below our folder: by the broker only at the standard place of the volume. */
static int audit_mounts(StepContext *c, Error *err) {
        _cleanup_free_ char *text = NULL;
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return error_errno(err, r, "cannot read the list of mounts");
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;) {
                char name[SYSFS_VALUE_MAX];
                sd_id128_t volume;
                Finding *f;

                if (r < 0 || !is_place(mount.target))
                        continue;
                f = finding_add(&c->result->findings, FINDING_STRAY_MOUNT, mount.target,
                                "what is mounted here is not the volume whose place it is");
                finding_hint(f, "umount %s", mount.target);
                if (f && (tmpfs_volume_of(&mount, &volume) >= 0 || (sysfs_read(mount.device, "dm/name", name) >= 0 &&
                                                                    volume_uuid_from_kernel_name(name, &volume) >= 0)))
                        f->uuid = volume;
        }
        return 0;
}

static int audit_kernel_run(StepContext *c, Error *err) {
        _cleanup_(job_result_done) JobResult list = {};
        _cleanup_free_ DmInfo *devices = NULL;
        size_t n = 0;
        int r;

        r = dm_list(&devices, &n);
        if (r < 0)
                return error_errno(err, r, "cannot list the device-mapper devices");
        for (size_t i = 0; i < n; i++)
                audit_device(c, &devices[i]);
        r = pool_list_read(&list, err);
        if (r < 0)
                return r;
        audit_loops(c, &list);
        return audit_mounts(c, err);
}

/* --- folders -------------------------------------------------------------------------------------------- */

/* Calls back for each entry of a folder; a folder that is not there has none. */
static void each_entry(const char *folder, void (*on_entry)(StepContext *c, const char *folder, const char *name),
                       StepContext *c) {
        DIR *dir = opendir(folder);

        if (!dir)
                return;
        for (struct dirent *e; (e = readdir(dir));)
                if (e->d_name[0] != '.')
                        on_entry(c, folder, e->d_name);
        closedir(dir);
}

static void audit_mount_point(StepContext *c, const char *folder, const char *name) {
        char object[PATH_MAX];

        buffer_format(object, sizeof(object), "%s/%s", folder, name);
        (void) finding_add(&c->result->findings, FINDING_STRAY_MOUNT_POINT, object,
                           "this mount point belongs to no volume");
}

static void audit_tenant(StepContext *c, const char *folder, const char *name) {
        char path[PATH_MAX];

        if (buffer_format(path, sizeof(path), "%s/%s", folder, name))
                each_entry(path, audit_mount_point, c);
}

static void audit_description(StepContext *c, const char *folder, const char *name) {
        sd_id128_t volume;
        DmInfo info;
        Finding *f;

        if (volume_uuid_from_kernel_name(name, &volume) < 0 || dm_info(name, &info) != -ENXIO)
                return;
        f = finding_add(&c->result->findings, FINDING_STRAY_DESCRIPTION, name,
                        "a description for udev is left of a device that is gone");
        if (f)
                f->uuid = volume;
}

/* Whoever makes a pool has its lock before the pool is in the list, and who takes one away until behind that. */
static bool is_locked(const char *path) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

/* Jobs are only done for pools of the list: nobody takes the lock of another any more. */
static void audit_lock(StepContext *c, const char *folder, const char *name) {
        char path[PATH_MAX];
        PoolInfo info = {};
        sd_id128_t pool;
        Finding *f;

        if (!buffer_format(path, sizeof(path), "%s/%s", folder, name) || is_locked(path))
                return;
        if (sd_id128_from_string(name, &pool) >= 0 && pool_list_find(pool, &info, NULL) >= 0) {
                pool_info_done(&info);
                return;
        }
        f = finding_add(&c->result->findings, FINDING_STRAY_LOCK, name, "a lock file is left of a pool that is gone");
        if (f && c->job->fix)
                f->fixed = unlink(path) >= 0 || errno == ENOENT;
}

static void audit_entry(StepContext *c, const char *folder, const char *name) {
        PoolInfo info = {};
        Error err = {};
        sd_id128_t pool;

        if (sd_id128_from_string(name, &pool) < 0)
                error_set(&err, ERROR_FAILED, EINVAL, "its name is no UUID");
        else if (pool_list_find(pool, &info, &err) >= 0) {
                pool_info_done(&info);
                return;
        }
        finding_hint(finding_add(&c->result->findings, FINDING_POOL_ENTRY, name,
                                 "this entry of the list of pools cannot be read: %s", err.text),
                     "move %s/%s away, then: systemctl restart quarryd; the disks know their pool", folder, name);
}

static int audit_folders_run(StepContext *c, Error *err) {
        each_entry(MOUNT_ROOT, audit_tenant, c);
        each_entry(UDEV_ROOT, audit_description, c);
        each_entry(LOCK_FOLDER, audit_lock, c);
        each_entry(POOL_LIST_FOLDER, audit_entry, c);
        return 0;
}

/* --- what an administrator sets up ---------------------------------------------------------------------- */

static bool exists_in(const char *const *folders, size_t n, const char *name) {
        char path[PATH_MAX];

        for (size_t i = 0; i < n; i++)
                if (buffer_format(path, sizeof(path), "%s/%s", folders[i], name) && access(path, F_OK) >= 0)
                        return true;
        return false;
}

/* A link, which in the folder of another root would lead nowhere. */
static bool is_wanted(const char *target, const char *unit) {
        static const char *const folders[] = { "/etc/systemd/system", "/run/systemd/system",
                                               "/usr/local/lib/systemd/system", "/usr/lib/systemd/system" };
        char path[PATH_MAX];
        struct stat status;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                if (buffer_format(path, sizeof(path), "%s/%s.wants/%s", folders[i], target, unit) &&
                    lstat(path, &status) >= 0)
                        return true;
        return false;
}

static int audit_setup_run(StepContext *c, Error *err) {
        static const char *const rules[] = { "/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
                                             "/usr/lib/udev/rules.d" };
        static const struct {
                const char *unit, *target;
        } units[] = { { "quarryd.socket", "sockets.target" },
                      { "quarry-worker.socket", "sockets.target" },
                      { "quarryd.service", "multi-user.target" } };
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        Error failure = {};
        Finding *f;

        if (!exists_in(rules, ELEMENTSOF(rules), "59-quarry.rules"))
                finding_hint(finding_add(&c->result->findings, FINDING_UDEV_RULES, "59-quarry.rules",
                                         "quarry's udev rules are not installed: the host looks into volumes, and "
                                         "volumes without filesystem get no link"),
                             "install quarry anew, then: udevadm control --reload");
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (!is_wanted(units[i].target, units[i].unit))
                        finding_hint(finding_add(&c->result->findings, FINDING_UNIT_DISABLED, units[i].unit,
                                                 "this unit is not enabled: after a boot quarry %s",
                                                 i < 2 ? "cannot be reached" : "starts only when somebody asks for it"),
                                     "systemctl enable %s", units[i].unit);
        if (hostkey_load(c->config->key_command, false, &key, &failure) >= 0)
                return 0;
        f = finding_add(&c->result->findings, FINDING_HOST_KEY, "host key", "%s", failure.text);
        if (*failure.hint)
                finding_hint(f, "%s", failure.hint);
        return 0;
}

const Step step_audit_kernel = { "looking at devices and mounts", NULL, audit_kernel_run, NULL };
const Step step_audit_folders = { "looking at folders", NULL, audit_folders_run, NULL };
const Step step_audit_setup = { "looking at the set-up", NULL, audit_setup_run, NULL };
