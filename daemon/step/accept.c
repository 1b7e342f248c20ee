/* What somebody else wrote to a new volume is what the volume is said to be, and becomes its own. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/hostkey.h"
#include "kernel/probe.h"

#include <quarry/text.h>

static int accept_filesystem(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char device[DEVICE_PATH_MAX], found[CONTENT_NAME_MAX];
        int r;

        dm_device_path(c->device, device);
        r = probe_content(device, found);
        if (r < 0)
                return error_errno(err, r, "cannot look what is in volume %s", spec->name);
        if (streq(found, filesystem_to_string(spec->fs)))
                return 0;
        return error_set(err, ERROR_FAILED, EBADMSG, "there is %s%s where %s was to be", isempty(found) ? "" : "a ",
                         isempty(found) ? "no filesystem" : found, filesystem_to_string(spec->fs));
}

/* Without the host key that it is wrapped by, a passphrase that it has opens it: what nobody can open here goes from
 * this copy. Else *err stays. */
static int do_without_host_key(StepContext *c, Error *err) {
        VolumeKeys keys = {};
        int slot = -1, r;
        bool other = false;

        r = luks_keys_look(c->luks, &keys);
        for (size_t i = 0; i < keys.n && r >= 0; i++) {
                if (keys.slots[i].kind == KEYSLOT_HOST)
                        slot = (int) keys.slots[i].number;
                other = other || keys.slots[i].kind == KEYSLOT_PASSPHRASE;
        }
        if (r < 0 || slot < 0 || !other)
                return error_code(err);
        r = luks_keyslot_remove(c->luks, slot);
        if (r >= 0)
                r = luks_token_set(c->luks, NULL);
        *err = (Error) {};
        return r < 0 ? error_errno(err, r, "cannot write the LUKS2 header of volume %s", c->job->volume.spec.name) : 0;
}

/* Its header, and what the host key is bound to, have the UUID of the volume that it comes from. */
static int accept_header(StepContext *c, Error *err) {
        sd_id128_t own = volume_header_uuid(&c->job->volume), there;
        _cleanup_(hostkey_passphrase_freep) uint8_t *passphrase = NULL;
        LuksKdf kdf = luks_passphrase_kdf(c);
        const char *why;
        int r, slot;

        r = luks_header_open(c, err);
        if (r < 0)
                return r;
        kdf.memory = c->config->argon2_memory_total; /* where it was made the other limit may be higher */
        why = luks_header_check(c->luks, &kdf);
        if (why)
                return error_set(err, ERROR_FAILED, EBADMSG,
                                 "what was written is not one of quarry's LUKS2 headers: %s", why);
        r = luks_uuid_get(c->luks, &there);
        if (r < 0)
                return error_errno(err, r, "cannot read the UUID of the LUKS2 header of volume %s",
                                   c->job->volume.spec.name);
        if (sd_id128_equal(own, there))
                return 0;
        if (luks_has_host_key(c)) {
                r = luks_token_unwrap(c, there, &slot, &passphrase, err);
                if (r >= 0)
                        r = luks_token_wrap(c, own, passphrase, slot, err);
                else if (err->kind == ERROR_WRONG_KEY)
                        r = do_without_host_key(c, err);
                if (r < 0)
                        return r;
        }
        r = luks_uuid_set(c->luks, own);
        return r < 0 ? error_errno(err, r, "cannot give the LUKS2 header of volume %s its own UUID",
                                   c->job->volume.spec.name)
                     : 0;
}

static int accept_run(StepContext *c, Error *err) {
        if (c->job->volume.spec.key_source != KEY_SOURCE_NONE)
                return accept_header(c, err);
        return c->job->volume.spec.fs == FILESYSTEM_NONE ? 0 : accept_filesystem(c, err);
}

const Step step_accept = { "looking what was written", NULL, accept_run, NULL };
