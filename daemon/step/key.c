/* Who opens a volume: passphrases and the host's key, in the keyslots of its LUKS2 header. Each can be repeated: what a
 * worker that died has done is found. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/hostkey.h"

#include <quarry/fd.h>
#include <quarry/text.h>

static int write_error(const StepContext *c, int r, Error *err) {
        return error_errno(err, r, "cannot write the LUKS2 header of volume %s", c->job->volume.spec.name);
}

/* To be changed: without what somebody who died had half removed. 1 if there was any. */
static int header_open(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err); /* a header that a snapshot shares takes some */
        if (r >= 0)
                r = luks_header_open(c, err);
        if (r < 0)
                return r;
        r = luks_removals_finish(c->luks);
        return r < 0 ? write_error(c, r, err) : r > 0;
}

/* The present key, from the passphrase that came or the host's: who has neither changes nothing. */
static int key_unlock_run(StepContext *c, Error *err) {
        int r;

        r = header_open(c, err);
        return r < 0 ? r : luks_unlock_volume(c, err);
}

static int check_room(StepContext *c, Error *err) {
        VolumeKeys keys = {};
        int r;

        r = luks_keys_look(c->luks, &keys);
        if (r < 0)
                return error_errno(err, r, "cannot read the LUKS2 header of volume %s", c->job->volume.spec.name);
        if (keys.room > 0)
                return 0;
        r = error_set(err, ERROR_NO_SPACE, ENOSPC, "the header of volume %s has room for %zu keys, and all are there",
                      c->job->volume.spec.name, keys.n);
        error_hint(err, "quarry key status %s; quarry key remove %s", VOLUME_REFERENCE(&c->job->volume.spec),
                   VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

/* --- add -------------------------------------------------------------------------------------------------- */

/* The slot that it opens afterwards; it may be there. */
static int passphrase_add(StepContext *c, const char *secret, size_t size, Error *err) {
        LuksKdf kdf = luks_passphrase_kdf(c);
        int r;

        r = luks_unlock(c->luks, secret, size);
        if (r >= 0)
                return r;
        if (r != -EPERM)
                return error_errno(err, r, "cannot look whether the passphrase is one of the volume already");
        r = check_room(c, err);
        if (r < 0)
                return r;
        r = luks_keyslot_add(c->luks, &kdf, secret, size);
        return r < 0 ? write_error(c, r, err) : r;
}

static int second_read(StepContext *c, char **ret, size_t *ret_size, Error *err) {
        if (c->second_fd < 0)
                return error_field(err, "newKeyFileDescriptor", "no passphrase was given");
        return luks_passphrase_read(c->second_fd, "newKeyFileDescriptor", ret, ret_size, err);
}

static int slot_for(StepContext *c, const uint8_t *passphrase, Error *err) {
        static const LuksKdf kdf = { .argon2 = false };
        int r;

        r = luks_unlock(c->luks, passphrase, VOLUME_PASSPHRASE_SIZE);
        if (r == -EPERM) {
                r = check_room(c, err);
                if (r < 0)
                        return r;
                r = luks_keyslot_add(c->luks, &kdf, passphrase, VOLUME_PASSPHRASE_SIZE);
        }
        return r < 0 ? write_error(c, r, err) : r;
}

/* The token before the keyslot, which nobody else could open, and then the word that the one opens the other. */
static int host_key_add(StepContext *c, Error *err) {
        sd_id128_t uuid = volume_header_uuid(&c->job->volume);
        _cleanup_(hostkey_passphrase_freep) uint8_t *passphrase = NULL;
        Error failure = {};
        int r, slot = -1;

        r = luks_token_unwrap(c, uuid, &slot, &passphrase, &failure);
        if (r >= 0 && slot >= 0)
                return 0;
        if (r < 0 && failure.kind != ERROR_WRONG_KEY && failure.number != ENOENT) { /* it may open another time */
                *err = failure;
                return r;
        }
        if (!passphrase) {
                r = check_room(c, err);
                if (r < 0)
                        return r;
                passphrase = hostkey_passphrase_new();
                if (!passphrase)
                        return error_oom(err);
                r = luks_token_wrap(c, uuid, passphrase, -1, err);
                if (r < 0)
                        return r;
        }
        r = slot_for(c, passphrase, err);
        if (r < 0)
                return r;
        r = luks_token_assign(c->luks, r);
        return r < 0 ? write_error(c, r, err) : 0;
}

static int key_add_run(StepContext *c, Error *err) {
        char *secret = NULL;
        size_t size = 0;
        int r;

        if (c->job->key.host)
                return host_key_add(c, err);
        r = second_read(c, &secret, &size, err);
        if (r < 0)
                return r;
        r = passphrase_add(c, secret, size, err);
        secret_free(secret, size);
        return r < 0 ? r : 0;
}

/* --- remove ----------------------------------------------------------------------------------------------- */

/* The slot to be removed; -1: it is gone already, as a worker that died left it, or was finished just now. */
static int doomed_slot(StepContext *c, const VolumeKeys *keys, bool finished, int *ret, Error *err) {
        const char *name = c->job->volume.spec.name;
        char *secret = NULL;
        size_t size = 0;
        int r;

        *ret = -1;
        if (c->job->key.host) {
                for (size_t i = 0; i < keys->n; i++)
                        if (keys->slots[i].kind == KEYSLOT_HOST)
                                *ret = (int) keys->slots[i].number;
                return 0;
        }
        if (c->job->key.has_slot) {
                if (volume_keys_find(keys, c->job->key.slot))
                        *ret = (int) c->job->key.slot;
                else if (!c->job->repeated)
                        return error_field(err, "slot", "volume %s has no keyslot %u", name, c->job->key.slot);
                return 0;
        }
        r = second_read(c, &secret, &size, err);
        if (r < 0)
                return r;
        r = luks_unlock(c->luks, secret, size);
        secret_free(secret, size);
        if (r == -EPERM && c->job->repeated && finished)
                return 0;
        if (r == -EPERM) {
                r = error_set(err, ERROR_WRONG_KEY, r, "the passphrase to be removed does not open volume %s%s", name,
                              c->job->repeated ? ": a worker that died may have removed it" : "");
                if (c->job->repeated)
                        error_hint(err, "quarry key status %s", VOLUME_REFERENCE(&c->job->volume.spec));
                return r;
        }
        if (r < 0)
                return error_errno(err, r, "cannot look which keyslot it opens");
        *ret = r;
        return 0;
}

static int check_stays(StepContext *c, const VolumeKeys *keys, int doomed, Error *err) {
        const char *name = c->job->volume.spec.name;
        int r;

        if (keys->n <= 1)
                return error_set(err, ERROR_NOT_SUPPORTED, EBUSY,
                                 "volume %s has no other key: without keyslot %d nobody could open it any more", name,
                                 doomed);
        r = luks_unlock_volume(c, err);
        if (r < 0 || r != doomed)
                return r;
        r = error_set(err, ERROR_KEY_REQUIRED, ENOKEY,
                      "that is the key to be removed: one that stays must be shown to open volume %s", name);
        error_hint(err, "give a passphrase that stays with --key-file");
        return r;
}

static int key_remove_run(StepContext *c, Error *err) {
        VolumeKeys keys = {};
        int r, doomed;
        bool finished;

        r = header_open(c, err);
        if (r < 0)
                return r;
        finished = r > 0;
        r = luks_keys_look(c->luks, &keys);
        if (r < 0)
                return error_errno(err, r, "cannot read the LUKS2 header of volume %s", c->job->volume.spec.name);
        r = doomed_slot(c, &keys, finished, &doomed, err);
        if (r < 0)
                return r;
        if (doomed >= 0) {
                r = check_stays(c, &keys, doomed, err); /* what opens it now, and does so afterwards */
                if (r < 0)
                        return r;
                r = luks_keyslot_remove(c->luks, doomed);
        }
        if (r >= 0 && !luks_has_host_key(c)) /* one that opens nothing */
                r = luks_token_set(c->luks, NULL);
        return r < 0 ? write_error(c, r, err) : 0;
}

/* --- change ----------------------------------------------------------------------------------------------- */

/* Which keyslot the present one opens; -1: it is gone, and the new one is there. */
static int present_slot(StepContext *c, int *ret, Error *err) {
        char *secret = NULL;
        size_t size = 0;
        int r;

        if (c->key_fd < 0)
                return error_set(err, ERROR_KEY_REQUIRED, ENOKEY, "the passphrase to be changed was not given");
        r = luks_passphrase_read(c->key_fd, "keyFileDescriptor", &secret, &size, err);
        if (r < 0)
                return r;
        r = luks_unlock(c->luks, secret, size);
        secret_free(secret, size);
        if (r == -EPERM && !c->job->repeated)
                return error_set(err, ERROR_WRONG_KEY, r, "that passphrase does not open volume %s",
                                 c->job->volume.spec.name);
        if (r < 0 && r != -EPERM)
                return error_errno(err, r, "cannot unlock volume %s", c->job->volume.spec.name);
        *ret = r < 0 ? -1 : r;
        return 0;
}

/* The new one is there before the old one goes. */
static int key_change_run(StepContext *c, Error *err) {
        char *secret = NULL;
        size_t size = 0;
        int r, old = -1, added;

        r = header_open(c, err);
        if (r >= 0)
                r = present_slot(c, &old, err);
        if (r >= 0)
                r = second_read(c, &secret, &size, err);
        if (r < 0)
                return r;
        added = r = passphrase_add(c, secret, size, err);
        secret_free(secret, size);
        if (r >= 0 && old >= 0 && added != old)
                r = luks_keyslot_remove(c->luks, old);
        return r < 0 ? (err->kind ? r : write_error(c, r, err)) : 0;
}

/* --- wrapped anew ----------------------------------------------------------------------------------------- */

/* By the present host key; the keyslot stays as it is. */
static int key_wrap_run(StepContext *c, Error *err) {
        sd_id128_t uuid = volume_header_uuid(&c->job->volume);
        _cleanup_(hostkey_passphrase_freep) uint8_t *passphrase = NULL;
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        char have[HOST_KEY_ID_MAX], id[HOST_KEY_ID_MAX];
        _cleanup_free_ char *token = NULL;
        int r, slot;

        r = luks_header_open(c, err);
        if (r < 0)
                return r;
        if (luks_token_get(c->luks, &token, &slot) < 0) /* no host key opens it */
                return 0;
        r = hostkey_load(c->config->key_command, false, &key, err);
        if (r >= 0)
                r = hostkey_token_id(uuid, token, id, err);
        if (r < 0)
                return r;
        hostkey_id(key, have);
        if (!streq(have, c->job->key.id))
                return error_set(err, ERROR_WRONG_KEY, EKEYREJECTED,
                                 "the host key is to be %s, and the worker found %s: it changed meanwhile",
                                 c->job->key.id, have);
        if (streq(have, id))
                return 0;
        r = thin_pool_has_room(c, err);
        if (r >= 0)
                r = luks_token_unwrap(c, uuid, &slot, &passphrase, err);
        return r < 0 ? r : luks_token_wrap(c, uuid, passphrase, slot, err);
}

/* --- looking ---------------------------------------------------------------------------------------------- */

static int key_look_run(StepContext *c, Error *err) {
        VolumeKeys *keys = &c->result->keys;
        _cleanup_free_ char *token = NULL;
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r, slot = -1;

        r = luks_header_open(c, err);
        if (r < 0)
                return r;
        r = luks_keys_look(c->luks, keys);
        if (r < 0)
                return error_errno(err, r, "cannot read the LUKS2 header of volume %s", c->job->volume.spec.name);
        *keys->host_key = 0;
        if (luks_token_get(c->luks, &token, &slot) >= 0 && slot >= 0)
                (void) hostkey_token_id(volume_header_uuid(&c->job->volume), token, keys->host_key, NULL);
        volume_crypt_name(c->job->volume.uuid, name);
        keys->suspended = suspended_is(c->job->volume.uuid);
        keys->in_kernel = !keys->suspended && dm_info(name, &info) >= 0;
        return 0;
}

const Step step_key_unlock = { "unlocking", NULL, key_unlock_run, NULL };
const Step step_key_add = { "adding the key", NULL, key_add_run, NULL };
const Step step_key_remove = { "removing the key", NULL, key_remove_run, NULL };
const Step step_key_change = { "changing the passphrase", NULL, key_change_run, NULL };
const Step step_key_wrap = { "wrapping the key", NULL, key_wrap_run, NULL };
const Step step_key_look = { "looking at the keys", NULL, key_look_run, NULL };
