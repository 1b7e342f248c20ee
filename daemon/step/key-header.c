/* The LUKS2 header of a volume as a whole: its backup, and the way back. What is brought back is whatever somebody made
 * of it, and is looked at before it is let near a disk. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/hostkey.h"

#include <quarry/text.h>

static int header_backup_run(StepContext *c, Error *err) {
        int r;

        r = luks_header_open(c, err);
        if (r < 0)
                return r;
        r = luks_header_backup(c->luks, &c->mount_fd);
        return r < 0 ? error_errno(err, r, "cannot read the LUKS2 header of volume %s", c->job->volume.spec.name) : 0;
}

/* Its key must be wrapped by a host key that is here, or nobody could open it then. */
static int check_token(StepContext *c, const LuksBackup *backup, Error *err) {
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        _cleanup_free_ char *token = NULL;
        char id[HOST_KEY_ID_MAX];
        int r, slot;

        if (luks_token_get(backup->luks, &token, &slot) < 0 || slot < 0)
                return 0;
        r = hostkey_token_id(volume_header_uuid(&c->job->volume), token, id, err);
        if (r >= 0)
                r = hostkey_find(c->config->key_command, id, &key, err);
        if (r < 0)
                error_prefix(err, "the header is not restored");
        return r;
}

static int restore(StepContext *c, const LuksBackup *backup, const char *device, Error *err) {
        _cleanup_(luks_freep) Luks *present = NULL;
        LuksKdf own = luks_passphrase_kdf(c);
        const char *why;
        int r;

        (void) luks_load(device, &present); /* one that is damaged is what it is restored for */
        why = luks_backup_check(backup, present, volume_header_uuid(&c->job->volume), &own);
        if (why)
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "that header is not for volume %s: %s",
                                 c->job->volume.spec.name, why);
        r = check_token(c, backup, err);
        if (r < 0)
                return r;
        luks_free(TAKE_PTR(present)); /* it holds the device */
        luks_free(TAKE_PTR(c->luks));
        r = luks_backup_restore(backup, device);
        return r < 0 ? error_errno(err, r, "cannot write the LUKS2 header of volume %s", c->job->volume.spec.name) : 0;
}

static int header_restore_run(StepContext *c, Error *err) {
        LuksBackup backup = { .fd = -EBADF };
        char device[DEVICE_PATH_MAX];
        int r;

        r = thin_pool_has_room(c, err);
        if (r < 0)
                return r;
        r = luks_backup_open(c->second_fd, &backup);
        if (r < 0)
                r = error_field(err, "headerFileDescriptor", "%s",
                                r == -EPERM ? "the header must come in a sealed memfd"
                                            : "that is no LUKS2 header of a volume of quarry");
        else {
                dm_device_path(c->thin, device);
                r = restore(c, &backup, device, err);
        }
        luks_backup_done(&backup);
        return r;
}

const Step step_header_backup = { "reading the header", NULL, header_backup_run, NULL };
const Step step_header_restore = { "writing the header", NULL, header_restore_run, NULL };
