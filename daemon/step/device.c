/* A volume without filesystem is used as /dev/quarry/TENANT/NAME, a link that our udev rules keep. */

#include "step/step.h"

#include "kernel/udev.h"

#define LINK_TIMEOUT 10000u /* milliseconds: udev may be busy at boot */

static int link_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char link[MOUNT_PATH_MAX];
        int r;

        volume_device_link(spec->tenant, spec->name, link);
        r = udev_wait_link(link, c->device, c->opening, LINK_TIMEOUT);
        if (r == -ETIMEDOUT) {
                r = error_set(err, ERROR_FAILED, r, "udev did not make %s", link);
                error_hint(err, "udevadm settle; systemctl status systemd-udevd");
                return r;
        }
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", link);
        c->result->path = strdup(link);
        return c->result->path ? 0 : error_oom(err);
}

const Step step_link = { "waiting for the device link", NULL, link_run, NULL };
