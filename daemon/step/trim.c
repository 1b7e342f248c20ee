/* Giving back to the pool what a filesystem does not use, whether somebody has it mounted or not. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <time.h>

#define SETTLE_PAUSE_MS 30
#define SETTLE_TRIES 100

/* XFS does not wait for its discards: the count is read when it has come to rest. */
static int used_at_rest(sd_id128_t volume, uint64_t *ret) {
        uint64_t last = UINT64_MAX;
        int r = 0;

        for (unsigned i = 0; i < SETTLE_TRIES && r >= 0; i++) {
                r = dm_thin_used(volume, ret);
                if (r < 0 || *ret == last)
                        break;
                last = *ret;
                nanosleep(&(struct timespec) { .tv_nsec = SETTLE_PAUSE_MS * 1000000L }, NULL);
        }
        return r;
}

static int trim_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int root = -EBADF;
        char device[DEVICE_PATH_MAX], message[256];
        uint64_t before, after;
        int r;

        dm_device_path(c->device, device);
        root = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));
        if (root < 0)
                return error_set(err, ERROR_FAILED, root, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-root) : message);
        r = dm_thin_used(c->job->volume.uuid, &before);
        if (r >= 0)
                r = fs_trim(root, c->pool.chunk_size);
        if (r >= 0)
                r = used_at_rest(c->job->volume.uuid, &after);
        if (r == -EOPNOTSUPP)
                return error_set(err, ERROR_NOT_SUPPORTED, r, "the device of volume %s takes no discards", spec->name);
        if (r < 0)
                return error_errno(err, r, "cannot trim volume %s", spec->name);
        c->result->used = after;
        c->result->freed = before > after ? before - after : 0;
        return 0;
}

const Step step_trim = { "giving back unused space", NULL, trim_run, NULL };
