/* What is mounted at a volume's place: this volume, or another's; pools that were brought together can hold the same
 * name. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "kernel/source.h"
#include "kernel/tmpfs.h"

#include <quarry/text.h>

#include <fcntl.h>

/* 1: this is the device on which its files are; 0: it is another, or the volume is closed. */
static int is_device_of_block(StepContext *c, dev_t device) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        if (c->job->volume.spec.key_source == KEY_SOURCE_NONE)
                volume_thin_name(c->job->volume.uuid, name);
        else
                volume_crypt_name(c->job->volume.uuid, name);
        r = dm_info(name, &info);
        if (r < 0)
                return r == -ENXIO ? 0 : r;
        c->device = info.device;
        return device == info.device;
}

static int is_device_of_tmpfs(StepContext *c, dev_t device) {
        char name[KERNEL_NAME_MAX];
        int r;

        volume_thin_name(c->job->volume.uuid, name);
        r = tmpfs_is(device, name);
        if (r > 0)
                c->device = device;
        return r;
}

/* Its source may have another path by now, or none. */
static int is_source(StepContext *c, const char *target) {
        _cleanup_close_ int fd = open(target, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        char found[SOURCE_ID_MAX];
        int r;

        if (fd < 0)
                return -errno;
        r = source_identify(fd, found);
        return r < 0 ? r : streq(found, c->job->volume.spec.source_id);
}

int place_look(StepContext *c, const char *target, unsigned *ret_options, Error *err) {
        VolumeKind kind = c->job->volume.spec.kind;
        unsigned options = 0;
        dev_t device = 0;
        int r;

        r = mnt_point_device(target, &device, &options);
        if (r == 0)
                return PLACE_EMPTY;
        if (r > 0)
                r = kind == KIND_BIND    ? is_source(c, target)
                    : kind == KIND_TMPFS ? is_device_of_tmpfs(c, device)
                                         : is_device_of_block(c, device);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", target);
        if (ret_options)
                *ret_options = options;
        return r > 0 ? PLACE_OURS : PLACE_OTHERS;
}
