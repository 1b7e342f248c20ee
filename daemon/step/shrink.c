/* Less space for an ext4 volume that nobody uses. The work is done on a copy under the volume's spare thin id, which
 * takes the volume's place only when it is whole: until then the volume is as it was. The volume's own thin device is
 * closed meanwhile, and its name in the kernel stands for the copy. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- the copy --------------------------------------------------------------------------------------------- */

/* One that is there was made by a worker that died over this, or is nobody's that is known. */
static int spare_of_itself_run(StepContext *c, Error *err) {
        int r;

        r = c->job->repeated ? step_spare_delete.run(c, err) : 0;
        return r < 0 ? r : snapshot_copy(c, &c->job->volume, c->job->volume.spare_thin_id, err);
}

static int spare_of_itself_undo(StepContext *c, Error *err) {
        return step_spare_delete.run(c, err);
}

static int spare_use_run(StepContext *c, Error *err) {
        c->spare_is_used = true;
        return 0;
}

/* Left open by a worker that died. */
static int spare_close_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char name[KERNEL_NAME_MAX];
        uint64_t size;
        uint32_t id;
        dev_t pool;
        int r;

        r = dm_thin_table(v->uuid, &pool, &id, &size);
        if (r == -ENXIO || (r >= 0 && (!v->has_spare || id != v->spare_thin_id)))
                return 0;
        volume_crypt_name(v->uuid, name);
        if (r >= 0)
                r = luks_close(name);
        if (r == -ENXIO)
                r = 0;
        volume_thin_name(v->uuid, name);
        return r < 0 ? error_errno(err, r, "cannot close %s", name) : step_thin_remove.run(c, err);
}

/* --- its filesystem --------------------------------------------------------------------------------------- */

/* What resize2fs says that it takes at least; *ret in bytes. */
static int minimum(StepContext *c, char *device, uint64_t *ret, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char *const argv[] = { (char *) "resize2fs", (char *) "-P", device, NULL };
        const char *number;
        uint64_t blocks, block_size;
        int r;

        r = fs_tool_run(argv, 0, &output, c->job->volume.spec.name, err);
        if (r < 0)
                return r;
        number = strrchr(output.out, ':');
        if (!number || sscanf(number, ": %" SCNu64, &blocks) != 1)
                return error_set(err, ERROR_FAILED, EBADMSG, "cannot understand resize2fs: %s", output.out);
        r = fs_block_size(device, &block_size);
        if (r < 0)
                return error_errno(err, r, "cannot read the superblock of volume %s", c->job->volume.spec.name);
        *ret = (blocks * block_size + MIB - 1) / MIB * MIB;
        return 0;
}

static int shrink_check_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char device[DEVICE_PATH_MAX], want[SIZE_TEXT_MAX], least[SIZE_TEXT_MAX];
        uint64_t size = 0;
        int r;

        dm_device_path(c->device, device);
        r = fsck_ext4(c, err);
        if (r >= 0)
                r = minimum(c, device, &size, err);
        if (r < 0 || size <= v->pending_size)
                return r;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC,
                      "what volume %s holds does not fit into %s: it needs at least %s, as resize2fs estimates",
                      v->spec.name, size_format_exact(v->pending_size, want), size_format_exact(size, least));
        if (size < v->spec.size)
                error_hint(err, "delete files; or quarry resize %s %s", VOLUME_REFERENCE(&v->spec), least);
        else
                error_hint(err, "delete files");
        return r;
}

/* Checked before and behind: what takes the volume's place is whole. */
static int shrink_fs_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char device[DEVICE_PATH_MAX], size[32];
        int r;

        dm_device_path(c->device, device);
        buffer_format(size, sizeof(size), "%" PRIu64 "K", v->pending_size / 1024);
        char *const shrink[] = { (char *) "resize2fs", device, size, NULL };
        char *const check[] = { (char *) "e2fsck", (char *) "-f", (char *) "-n", device, NULL };
        char *const *const commands[] = { shrink, check };
        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                _cleanup_(spawn_output_done) SpawnOutput output = {};

                r = fs_tool_run(commands[i], 0, &output, v->spec.name, err);
                if (r < 0)
                        return r;
        }
        r = fs_discard(device, v->pending_size, v->spec.size);
        return r < 0 && r != -EOPNOTSUPP
                       ? error_errno(err, r, "cannot give back what volume %s does not have any more", v->spec.name)
                       : 0;
}

const Step step_spare_of_itself = { "making a copy", NULL, spare_of_itself_run, spare_of_itself_undo };
const Step step_spare_use = { "turning to the copy", NULL, spare_use_run, NULL };
const Step step_spare_close = { "closing the copy", NULL, spare_close_run, NULL };
const Step step_shrink_check = { "checking the filesystem", NULL, shrink_check_run, NULL };
const Step step_shrink_fs = { "shrinking the filesystem", NULL, shrink_fs_run, NULL };
