/* The device of a volume as such: the link to one without filesystem; one that somebody is given, open; and who has it
 * open beside its filesystem. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/holders.h"
#include "kernel/mnt.h"
#include "kernel/udev.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <time.h>

/* Who only looks is gone soon. */
#define SHARED_TRIES 20
#define SHARED_PAUSE_MS 50

/* One that is just being made is nobody's yet; many are never looked at while they are open for the first time, and for
 * each systemd would have a unit. */
static bool is_private(const StepContext *c) {
        return c->job->verb == JOB_VOLUME_CREATE || c->job->verb == JOB_VOLUME_RECEIVE ||
               c->job->verb == JOB_VOLUME_ACCEPT || c->job->volume.spec.role == ROLE_TEMPLATE;
}

int device_describe(const StepContext *c) {
        const Volume *v = &c->job->volume;

        return is_private(c)
                       ? 0
                       : udev_describe(v->uuid, v->spec.tenant, v->spec.name, v->spec.key_source != KEY_SOURCE_NONE);
}

void device_link(const StepContext *c, dev_t device) {
        const Volume *v = &c->job->volume;
        bool encrypted = v->spec.key_source != KEY_SOURCE_NONE;

        if (is_private(c) || udev_link(v->uuid, encrypted, device) != -ENOENT)
                return;
        /* Open since it was made: nobody heard of it. */
        if (device_describe(c) >= 0 && udev_link(v->uuid, encrypted, device) >= 0)
                udev_tell(device);
}

static int link_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char link[MOUNT_PATH_MAX];
        int r;

        volume_device_link(v->spec.tenant, v->spec.name, link);
        r = udev_link(v->uuid, v->spec.key_source != KEY_SOURCE_NONE, c->device);
        if (r < 0)
                return error_errno(err, r, "cannot make %s", link);
        if (c->goes) /* no more: it stays open until somebody says otherwise, and has a unit meanwhile */
                udev_tell(c->device);
        c->goes = false;
        c->result->path = strdup(link);
        return c->result->path ? 0 : error_oom(err);
}

/* --- who has it open ---------------------------------------------------------------------------------------- */

static void name_of(const StepContext *c, char name[static KERNEL_NAME_MAX]) {
        if (c->job->volume.spec.key_source == KEY_SOURCE_NONE)
                volume_thin_name(c->job->volume.uuid, name);
        else
                volume_crypt_name(c->job->volume.uuid, name);
}

static int busy(StepContext *c, const char *what, Error *err) {
        char who[384];

        if (holders_describe(&c->device, 1, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "by whom cannot be seen");
        return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "%s of volume %s: %s", what, c->job->volume.spec.name, who);
}

/* A filesystem that is mounted here is mounted once more without harm. One that a virtual machine may have mounted, or
 * a program writes to, is not: both would change it, and neither would know. */
static int unshared_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        name_of(c, name);
        for (unsigned i = 0; i < SHARED_TRIES; i++) {
                r = dm_info(name, &info);
                if (r < 0)
                        return error_errno(err, r, "cannot look at %s", name);
                if (info.open_count == 0 || fs_is_mounted(c->device, c->job->volume.spec.fs))
                        return 0;
                nanosleep(&(struct timespec) { .tv_nsec = SHARED_PAUSE_MS * 1000000L }, NULL);
        }
        r = busy(c, "somebody has the device", err);
        error_hint(err, "end those processes");
        return r;
}

/* --- given to somebody -------------------------------------------------------------------------------------- */

void device_let_go(StepContext *c) {
        const Volume *v = &c->job->volume;
        char crypt[KERNEL_NAME_MAX], thin[KERNEL_NAME_MAX];

        if (!c->goes)
                return;
        c->goes = false;
        volume_crypt_name(v->uuid, crypt);
        volume_thin_name(v->uuid, thin);
        /* Nobody of us is there when the kernel does it: nothing may be left that leads to its number. */
        (void) udev_forget(v->uuid);
        if (v->spec.key_source != KEY_SOURCE_NONE)
                (void) dm_remove_deferred(crypt);
        (void) dm_remove_deferred(thin);
}

/* Whoever is given the device of a filesystem mounts it whole, and may do so twice. Where users see the folder in it,
 * or where that cannot be seen, it is mounted by us. */
static int check_unmounted(StepContext *c, Error *err) {
        int r;

        if (!fs_is_mounted(c->device, c->job->volume.spec.fs))
                return 0;
        r = mnt_is_whole(c->device);
        if (r < 0)
                return error_errno(err, r, "cannot see how volume %s is mounted", c->job->volume.spec.name);
        if (r > 0)
                return 0;
        r = busy(c, "no device to write to is given away: somebody uses the filesystem", err);
        error_hint(err, "quarry umount %s; or take it read-only", VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

/* From here on the kernel closes it behind whoever has it, whatever becomes of us, unless it was open before: then
 * somebody else wants it so. */
static int give_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char device[DEVICE_PATH_MAX];
        int r = 0;

        if (!c->job->read_only && spec->fs != FILESYSTEM_NONE)
                r = check_unmounted(c, err);
        if (r < 0)
                return r;
        dm_device_path(c->device, device);
        c->mount_fd = open(device, (c->job->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (c->mount_fd < 0)
                return error_errno(err, errno, "cannot open the device of volume %s", spec->name);
        c->goes = c->goes || !c->was_open;
        luks_free(TAKE_PTR(c->luks)); /* which has the thin device open */
        device_let_go(c);
        c->result->open = true;
        return 0;
}

const Step step_link = { "making the device link", NULL, link_run, NULL };
const Step step_unshared = { "looking who has the device", NULL, unshared_run, NULL };
const Step step_give = { "opening the device for who asks", NULL, give_run, NULL };
