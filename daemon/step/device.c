/* A volume without filesystem is used as /dev/quarry/TENANT/NAME. */

#include "step/step.h"

#include "kernel/udev.h"

static int link_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char link[MOUNT_PATH_MAX];
        int r;

        volume_device_link(v->spec.tenant, v->spec.name, link);
        r = udev_link(v->uuid, v->spec.key_source != KEY_SOURCE_NONE, c->device);
        if (r < 0)
                return error_errno(err, r, "cannot make %s", link);
        c->result->path = strdup(link);
        return c->result->path ? 0 : error_oom(err);
}

const Step step_link = { "making the device link", NULL, link_run, NULL };
