/* Nobody uses the volume: asked before it is removed. The kernel's open count tells, and the link to a device. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/holders.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <time.h>
#include <unistd.h>

/* A device is busy for a moment after its last user: a dying container, a lazy unmount. That is waited for. */
#define CLAIM_TRIES 40
#define CLAIM_PAUSE_MS 50

/* The devices of the volume that are open by others than ourselves: returns how many, and fills devices. */
static int in_use(sd_id128_t uuid, dev_t devices[static 2]) {
        char crypt[KERNEL_NAME_MAX], thin[KERNEL_NAME_MAX];
        DmInfo info;
        unsigned own = 0;
        int n = 0, r;

        volume_crypt_name(uuid, crypt);
        volume_thin_name(uuid, thin);
        r = dm_info(crypt, &info);
        if (r >= 0) {
                own = 1; /* the mapping holds the thin device */
                if (info.open_count > 0)
                        devices[n++] = info.device;
        } else if (r != -ENXIO)
                return r;
        r = dm_info(thin, &info);
        if (r >= 0) {
                if (info.open_count > own)
                        devices[n++] = info.device;
        } else if (r != -ENXIO)
                return r;
        return n;
}

/* What has no filesystem is mounted from its mount to its unmount, also while nobody has the device open. What goes on
 * was found unused before. */
static int check_link(const StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char link[MOUNT_PATH_MAX];
        int r;

        volume_device_link(spec->tenant, spec->name, link);
        if (spec->fs != FILESYSTEM_NONE || c->job->lazy || c->job->if_unused || c->job->verb == JOB_VOLUME_REMOVE ||
            c->job->verb == JOB_VOLUME_RETIRE || access(link, F_OK) < 0)
                return 0;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is mounted, as %s", spec->name, link);
        error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
        return r;
}

static int claim_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char target[MOUNT_PATH_MAX], who[384];
        unsigned options;
        dev_t devices[2], mounted;
        int n = 0, r;

        volume_mount_path(spec->tenant, spec->name, target);
        r = mnt_point_device(target, &mounted, &options);
        bool at_standard_place = r > 0;

        for (unsigned i = 0; i < CLAIM_TRIES; i++) {
                n = in_use(c->job->volume.uuid, devices);
                if (n < 0)
                        return error_errno(err, n, "cannot look at the devices of volume %s", spec->name);
                if (n == 0)
                        return check_link(c, err);
                if (c->job->lazy)
                        return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use", spec->name);
                if (at_standard_place)
                        break; /* that does not pass by itself */
                nanosleep(&(struct timespec) { .tv_nsec = CLAIM_PAUSE_MS * 1000000L }, NULL);
        }

        if (holders_describe(devices, (size_t) n, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "its device is open, by whom cannot be seen");
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use: %s", spec->name, who);
        if (at_standard_place)
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
        else if (c->job->verb != JOB_VOLUME_CLAIM)
                error_hint(err, "end those processes");
        else
                error_hint(err,
                           "unmount it there, or end those processes; or have it go with the last of them: "
                           "quarry rm --lazy %s",
                           VOLUME_REFERENCE(spec));
        return r;
}

const Step step_claim = { "looking for users", NULL, claim_run, NULL };
