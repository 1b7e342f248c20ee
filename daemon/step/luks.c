/* The encryption of a volume: a LUKS2 header on its thin device, the mapping quarry-<uuid>-crypt. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/hostkey.h"
#include "kernel/luks.h"
#include "kernel/sysfs.h"
#include "kernel/udev.h"

#include <quarry/fd.h>
#include <quarry/log.h>

#include <string.h>

static bool is_plain(const StepContext *c) {
        return c->job->volume.spec.key_source == KEY_SOURCE_NONE;
}

static bool is_image(const StepContext *c) {
        return c->job->volume.spec.role == ROLE_SNAPSHOT;
}

/* Nothing on it has a journal that is to be replayed. */
static bool is_fixed(const StepContext *c) {
        const VolumeSpec *spec = &c->job->volume.spec;

        return is_image(c) && (spec->fs == FILESYSTEM_NONE || volume_spec_is_fixed(spec));
}

int luks_passphrase_read(int fd, const char *field, char **ret, size_t *ret_size, Error *err) {
        int r;

        r = secret_read(fd, ret, ret_size);
        if (r == -ENODATA)
                return error_field(err, field, "the passphrase is empty");
        if (r == -EFBIG)
                return error_field(err, field, "the passphrase is longer than %u bytes", SECRET_SIZE_MAX);
        if (r == -EPERM)
                return error_field(err, field, "the passphrase must come in a sealed memfd");
        return r < 0 ? error_errno(err, r, "cannot read the passphrase") : 0;
}

static int key_read(StepContext *c, char **ret, size_t *ret_size, Error *err) {
        int r;

        if (c->key_fd >= 0)
                return luks_passphrase_read(c->key_fd, "keyFileDescriptor", ret, ret_size, err);
        r = error_set(err, ERROR_KEY_REQUIRED, 0, "volume %s is encrypted with a passphrase and none was given",
                      c->job->volume.spec.name);
        error_hint(err, "give it on the terminal or with --key-file");
        return r;
}

LuksKdf luks_passphrase_kdf(const StepContext *c) {
        return (LuksKdf) { .argon2 = true,
                           .memory = c->config->argon2_memory,
                           .iterations = c->config->argon2_iterations };
}

static int format_with_passphrase(StepContext *c, const char *device, Error *err) {
        LuksKdf kdf = luks_passphrase_kdf(c);
        char *secret = NULL;
        size_t size = 0;
        int r;

        r = key_read(c, &secret, &size, err);
        if (r < 0)
                return r;
        r = luks_format(device, c->job->volume.uuid, &kdf, secret, size, NULL, &c->luks);
        secret_free(secret, size);
        return r < 0 ? error_errno(err, r, "cannot write the LUKS2 header") : 0;
}

static int format_with_host_key(StepContext *c, const char *device, Error *err) {
        static const LuksKdf kdf = { .argon2 = false };
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        _cleanup_(hostkey_passphrase_freep) uint8_t *passphrase = NULL;
        _cleanup_free_ char *token = NULL;
        int r;

        r = hostkey_load(c->config->key_command, !c->job->needs_old_key, &key, err);
        if (r < 0)
                return r;
        passphrase = hostkey_passphrase_new();
        if (!passphrase)
                return error_oom(err);
        r = hostkey_wrap(key, c->job->volume.uuid, passphrase, 0, &token, err);
        if (r < 0)
                return r;
        r = luks_format(device, c->job->volume.uuid, &kdf, passphrase, VOLUME_PASSPHRASE_SIZE, token, &c->luks);
        if (r < 0)
                return error_errno(err, r, "cannot write the LUKS2 header");
        hostkey_id(key, c->result->keys.host_key);
        return 0;
}

static int luks_format_run(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX];

        if (!c->thin_is_new)
                return error_set(err, ERROR_FAILED, EEXIST, "refusing to format a device that this job did not make");
        dm_device_path(c->thin, device);
        return c->job->volume.spec.key_source == KEY_SOURCE_HOST ? format_with_host_key(c, device, err)
                                                                 : format_with_passphrase(c, device, err);
}

/* What bears the name of the volume's mapping is something else: neither used nor touched. */
static int not_ours(const char *name, Error *err) {
        _cleanup_free_ dev_t *below = NULL;
        char on[SYSFS_VALUE_MAX] = "no device";
        DmInfo info;
        size_t n = 0;
        int r;

        if (dm_info(name, &info) >= 0 && sysfs_links(info.device, "slaves", &below, &n) >= 0 && n > 0)
                sysfs_name(below[0], on);
        r = error_set(
                err, ERROR_FAILED, EEXIST,
                "device %s bears the name of the volume's encryption, but was made by somebody else: it sits on %s",
                name, on);
        error_hint(err, "if nobody needs it: dmsetup remove %s", name);
        return r;
}

/* A mapping of our name is taken over only if it sits on this very thin device. */
static int luks_open_probe(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        dev_t backing, device;
        int r;

        volume_crypt_name(c->job->volume.uuid, name);
        r = luks_backing(name, &backing, &device);
        if (r == -ENXIO) {
                r = luks_close(name); /* whoever created it may have died before giving it a table */
                return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot remove the unfinished device %s", name) : 0;
        }
        if (r == -EBADF)
                return not_ours(name, err);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);
        if (backing != c->thin)
                return not_ours(name, err);
        /* The kernel may have been asked to take it away behind its last user. */
        r = dm_remove_deferred_cancel(name);
        if (r < 0)
                return r == -ENXIO ? 0 : error_errno(err, r, "cannot keep %s", name);
        r = suspended_check(&c->job->volume, err);
        if (r < 0)
                return r;
        c->device = device;
        device_link(c, device);
        return 1;
}

/* The random passphrase that the host's key wraps in the header, whatever keyslot it opens. */
int luks_token_unwrap(StepContext *c, sd_id128_t bound_to, int *ret_slot, uint8_t **ret_passphrase, Error *err) {
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        _cleanup_free_ char *token = NULL;
        char id[HOST_KEY_ID_MAX];
        int r;

        r = luks_token_get(c->luks, &token, ret_slot);
        if (r < 0)
                return error_errno(err, r, "the LUKS2 header of volume %s holds no wrapped key",
                                   c->job->volume.spec.name);
        r = hostkey_token_id(bound_to, token, id, err);
        if (r >= 0)
                r = hostkey_find(c->config->key_command, id, &key, err);
        return r < 0 ? r : hostkey_unwrap(key, bound_to, token, ret_passphrase, err);
}

/* A token that opens no keyslot was not finished, or is not yet gone. */
bool luks_has_host_key(StepContext *c) {
        _cleanup_free_ char *token = NULL;
        int slot = -1;

        return luks_token_get(c->luks, &token, &slot) >= 0 && slot >= 0;
}

int luks_token_wrap(StepContext *c, sd_id128_t bound_to, const uint8_t *passphrase, int slot, Error *err) {
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        _cleanup_free_ char *token = NULL;
        int r;

        /* Where none needs it yet there may be no host key. */
        r = hostkey_load(c->config->key_command, c->job->verb == JOB_VOLUME_KEY_ADD && !c->job->needs_old_key, &key,
                         err);
        if (r >= 0)
                r = hostkey_wrap(key, bound_to, passphrase, slot, &token, err);
        if (r < 0)
                return r;
        r = luks_token_set(c->luks, token);
        if (r < 0)
                return error_errno(err, r, "cannot write the LUKS2 header of volume %s", c->job->volume.spec.name);
        hostkey_id(key, c->result->keys.host_key);
        return 0;
}

/* bound_to: the UUID with which the key was wrapped. rebind: to the volume's own. Returns the keyslot. */
static int unlock_with_host_key(StepContext *c, sd_id128_t bound_to, bool rebind, Error *err) {
        _cleanup_(hostkey_passphrase_freep) uint8_t *passphrase = NULL;
        VolumeKeys keys;
        int r, slot;

        r = luks_token_unwrap(c, bound_to, &slot, &passphrase, err);
        if (r < 0 && err->kind == ERROR_WRONG_KEY && luks_keys_look(c->luks, &keys) >= 0 && keys.n > 1)
                error_hint(err, "restore that host key; or give a passphrase of the volume with --key-file");
        if (r < 0)
                return r;
        r = luks_unlock(c->luks, passphrase, VOLUME_PASSPHRASE_SIZE);
        if (r == -EPERM)
                return error_set(err, ERROR_WRONG_KEY, r, "the wrapped key of volume %s opens no keyslot of it",
                                 c->job->volume.spec.name);
        if (r < 0)
                return error_errno(err, r, "cannot unlock volume %s", c->job->volume.spec.name);
        if (rebind)
                return luks_token_wrap(c, c->job->volume.uuid, passphrase, r, err);
        return r;
}

static int unlock_with_passphrase(StepContext *c, Error *err) {
        char *secret = NULL;
        size_t size = 0;
        int r;

        r = key_read(c, &secret, &size, err);
        if (r < 0)
                return r;
        r = luks_unlock(c->luks, secret, size);
        secret_free(secret, size);
        if (r == -EPERM)
                return error_set(err, ERROR_WRONG_KEY, r, "that passphrase does not open volume %s",
                                 c->job->volume.spec.name);
        return r < 0 ? error_errno(err, r, "cannot unlock volume %s", c->job->volume.spec.name) : r;
}

int luks_header_open(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX];
        int r;

        if (c->luks)
                return 0;
        dm_device_path(c->thin, device);
        r = luks_load(device, &c->luks);
        return r < 0 ? error_errno(err, r, "cannot read the LUKS2 header of volume %s", c->job->volume.spec.name) : 0;
}

/* Of a copy: its header has the UUID of what it is a copy of, and so has what the host key is bound to. A passphrase
 * must be the right one, even where nothing is to be done with what it opens. */
static int luks_identify_run(StepContext *c, Error *err) {
        int r;

        if (!c->thin_is_new)
                return error_set(err, ERROR_FAILED, EEXIST, "refusing to change a device that this job did not make");
        r = luks_header_open(c, err);
        if (r >= 0)
                r = luks_has_host_key(c) ? unlock_with_host_key(c, volume_header_uuid(&c->job->source), true, err)
                                         : unlock_with_passphrase(c, err);
        if (r < 0)
                return r;
        r = luks_uuid_set(c->luks, c->job->volume.uuid);
        return r < 0 ? error_errno(err, r, "cannot give the LUKS2 header of volume %s its own UUID",
                                   c->job->volume.spec.name)
                     : 0;
}

/* The header tells who opens it: a passphrase that was given, else the host's key if it is there. */
int luks_unlock_volume(StepContext *c, Error *err) {
        int r;

        r = luks_header_open(c, err);
        if (r < 0)
                return r;
        return c->key_fd < 0 && luks_has_host_key(c)
                       ? unlock_with_host_key(c, volume_header_uuid(&c->job->volume), false, err)
                       : unlock_with_passphrase(c, err);
}

static int luks_open_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        if (!c->luks) { /* else it was formatted a moment ago, and the key is in memory */
                r = luks_unlock_volume(c, err);
                if (r < 0)
                        return r;
        }
        volume_crypt_name(c->job->volume.uuid, name);
        r = luks_open(c->luks, name, is_fixed(c), &c->device);
        if (r < 0)
                return error_errno(err, r, "cannot open the encrypted volume %s", c->job->volume.spec.name);
        (void) udev_link(c->job->volume.uuid, true, c->device);
        return 0;
}

static int mapping_close(StepContext *c, const char *name, dev_t device) {
        int r;

        udev_unlink(c->job->volume.uuid);
        r = luks_close(name);
        if (r < 0 && r != -ENXIO)
                (void) udev_link(c->job->volume.uuid, true, device);
        return r;
}

static int luks_remove(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        volume_crypt_name(c->job->volume.uuid, name);
        r = mapping_close(c, name, c->device);
        if (r == -EBADF)
                return not_ours(name, err);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot close %s", name);
        c->device = c->thin;
        return 0;
}

static int close_deferred(StepContext *c, const char *name, Error *err) {
        int r;

        udev_unlink(c->job->volume.uuid);
        r = luks_close_deferred(name);
        if (r == -EBADF)
                return not_ours(name, err);
        return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot have %s closed behind its last user", name) : 0;
}

static int luks_close_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        volume_crypt_name(c->job->volume.uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);
        if (info.open_count > 0) /* in use: then the thin device beneath is too, and says so */
                return c->job->lazy ? close_deferred(c, name, err) : 0;
        r = mapping_close(c, name, info.device);
        if (r == -EBADF)
                return not_ours(name, err);
        return r < 0 && r != -ENXIO && r != -EBUSY ? error_errno(err, r, "cannot close %s", name) : 0;
}

/* A volume whose creation was cut short may have no header, or no thin device, any more or yet. */
static int luks_destroy_run(StepContext *c, Error *err) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        char device[DEVICE_PATH_MAX];
        int r;

        if (is_plain(c) || is_image(c)) /* the keys of an image are its origin's, whose header goes on holding them */
                return 0;
        r = thin_open_if_exists(c, err);
        if (r <= 0)
                return r;
        dm_device_path(c->thin, device);
        r = luks_load(device, &luks);
        if (r < 0) {
                log_debug(c->job->volume.spec.name, "no LUKS2 header to destroy: %s", strerror(-r));
                return 0;
        }
        r = luks_destroy_keyslots(luks);
        return r < 0 ? error_errno(err, r, "cannot destroy the keyslots of volume %s", c->job->volume.spec.name) : 0;
}

const Step step_luks_format = { "writing the LUKS2 header", NULL, luks_format_run, NULL };
const Step step_luks_identify = { "giving the encryption its own UUID", NULL, luks_identify_run, NULL };
const Step step_luks_open = { "unlocking", luks_open_probe, luks_open_run, luks_remove };
const Step step_luks_close = { "closing the encryption", NULL, luks_close_run, NULL };
const Step step_luks_destroy = { "destroying the keys", NULL, luks_destroy_run, NULL };
