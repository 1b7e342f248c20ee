/* Whether a filesystem is sound, by its own tools. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <string.h>

#define TOOL_TIMEOUT (24 * 3600u) /* seconds: resize2fs moves what lies behind the new end */

int fs_tool_run(char *const argv[], int most, SpawnOutput *output, const char *volume, Error *err) {
        int r;

        r = spawn_run(argv, TOOL_TIMEOUT, output);
        if (r < 0)
                return error_errno(err, r, "cannot run %s", argv[0]);
        return r <= most ? 0
                         : error_set(err, ERROR_VOLUME_BROKEN, EUCLEAN, "%s says of volume %s: %s", argv[0], volume,
                                     isempty(output->err) ? output->out : output->err);
}

int fsck_ext4(StepContext *c, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char device[DEVICE_PATH_MAX];

        dm_device_path(c->device, device);
        char *const argv[] = { (char *) "e2fsck", (char *) "-f", (char *) "-p", device, NULL };
        return fs_tool_run(argv, 2 /* 1 and 2: errors were corrected */, &output, c->job->volume.spec.name, err);
}

/* Mounted and unmounted once: what the journal has is in its place then, as when somebody uses the volume. */
static int replay(const VolumeSpec *spec, const char *device, Error *err) {
        char message[256];
        int root = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));

        if (root < 0)
                return error_set(err, ERROR_VOLUME_BROKEN, root, "cannot mount volume %s: %s", spec->name,
                                 isempty(message) ? strerror(-root) : message);
        (void) close(root);
        return 0;
}

static int check_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char device[DEVICE_PATH_MAX];
        int r;

        dm_device_path(c->device, device);
        char *const ext4[] = { (char *) "e2fsck", (char *) "-f", (char *) "-n", device, NULL };
        char *const xfs[] = { (char *) "xfs_repair", (char *) "-n", device, NULL };
        r = replay(spec, device, err);
        return r < 0 ? r : fs_tool_run(spec->fs == FILESYSTEM_EXT4 ? ext4 : xfs, 0, &output, spec->name, err);
}

const Step step_check = { "checking the filesystem", NULL, check_run, NULL };
