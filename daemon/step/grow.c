/* More space for a volume, whether somebody uses it or not: thin device, encryption, filesystem, from below. Each step
 * finds what an earlier try has done. Undone is what the filesystem has not taken yet. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/mnt.h"
#include "kernel/sysfs.h"

#include <quarry/text.h>

static uint64_t payload(const Volume *v) {
        return v->pending_size > v->spec.size ? v->pending_size : v->spec.size;
}

static int filesystem_mount(StepContext *c, char device[static DEVICE_PATH_MAX], Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char message[256];
        int fd;

        dm_device_path(c->device, device);
        fd = mnt_filesystem(device, filesystem_to_string(spec->fs), MNT_WRITABLE, message, sizeof(message));
        return fd < 0 ? error_set(err, ERROR_FAILED, fd, "cannot mount volume %s: %s", spec->name,
                                  isempty(message) ? strerror(-fd) : message)
                      : fd;
}

/* Whether a device can have the volume's old size again. */
static int check_untaken(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX];
        uint64_t size;
        int r;

        if (spec->fs == FILESYSTEM_NONE)
                return 0;
        fd = filesystem_mount(c, device, err);
        if (fd < 0)
                return fd;
        r = fs_size(fd, device, spec->fs, &size);
        if (r < 0)
                return error_errno(err, r, "cannot see the size of the filesystem of volume %s", spec->name);
        return size <= spec->size
                       ? 0
                       : error_set(err, ERROR_FAILED, EBUSY, "the filesystem has taken some of what it was given");
}

static int has_size(dev_t device, uint64_t size, Error *err) {
        char text[SYSFS_VALUE_MAX];
        uint64_t sectors = 0;
        int r;

        r = sysfs_read(device, "size", text);
        if (r >= 0)
                r = number_parse(text, &sectors);
        return r < 0 ? error_errno(err, r, "cannot see the size of a device") : sectors * 512 >= size;
}

/* --- thin device ------------------------------------------------------------------------------------------ */

static int thin_resize(StepContext *c, uint64_t size, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        volume_thin_name(c->job->volume.uuid, name);
        r = dm_resize(name, "thin", size);
        return r < 0 ? error_errno(err, r, "cannot give device %s its new size", name) : 0;
}

static int grow_thin_probe(StepContext *c, Error *err) {
        return has_size(c->thin, volume_device_size(&c->job->volume), err);
}

/* The switch waits for what is being written, and a pool without space keeps that. */
static int grow_thin_run(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err);
        return r < 0 ? r : thin_resize(c, volume_device_size(&c->job->volume), err);
}

static int grow_thin_undo(StepContext *c, Error *err) {
        int r;

        r = check_untaken(c, err);
        return r < 0 ? r : thin_resize(c, volume_spec_device_size(&c->job->volume.spec), err);
}

/* --- encryption ------------------------------------------------------------------------------------------- */

static int grow_crypt_probe(StepContext *c, Error *err) {
        return has_size(c->device, payload(&c->job->volume), err);
}

/* Before anything is changed: the wrong passphrase changes nothing. */
static int grow_key_run(StepContext *c, Error *err) {
        return c->luks ? 0 : luks_unlock_volume(c, err);
}

static int crypt_resize(StepContext *c, uint64_t size, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        volume_crypt_name(c->job->volume.uuid, name);
        r = luks_resize(c->luks, name, size);
        return r < 0 ? error_errno(err, r, "cannot give device %s its new size", name) : 0;
}

static int grow_crypt_run(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err);
        return r < 0 ? r : crypt_resize(c, payload(&c->job->volume), err);
}

static int grow_crypt_undo(StepContext *c, Error *err) {
        int r;

        r = check_untaken(c, err);
        return r < 0 ? r : crypt_resize(c, c->job->volume.spec.size, err);
}

/* --- filesystem ------------------------------------------------------------------------------------------- */

static int grow_fs_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX];
        int r;

        fd = filesystem_mount(c, device, err);
        if (fd < 0)
                return fd;
        r = fs_grow(fd, v->spec.fs, payload(v));
        if (r >= 0)
                return 0;
        error_errno(err, r, "the filesystem of volume %s does not grow", v->spec.name);
        err->undo_failed = check_untaken(c, NULL) < 0; /* then nothing may take back what it was given */
        return r;
}

/* --- as it was -------------------------------------------------------------------------------------------- */

/* What has no filesystem is used by its device, which stays open while nobody has it open. */
static int close_probe(StepContext *c, Error *err) {
        bool stays = c->was_open && c->job->volume.spec.fs == FILESYSTEM_NONE;

        c->result->open = stays;
        return stays;
}

static int crypt_close_run(StepContext *c, Error *err) {
        return step_luks_close.run(c, err);
}

static int thin_close_run(StepContext *c, Error *err) {
        return step_thin_close.run(c, err);
}

/* --- given up --------------------------------------------------------------------------------------------- */

static int ungrow_check_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;

        if (spec->fs == FILESYSTEM_NONE) /* whoever uses its device may have seen it larger */
                return error_set(err, ERROR_FAILED, EBUSY, "the end of volume %s may be in use", spec->name);
        return check_untaken(c, err);
}

static int ungrow_crypt_run(StepContext *c, Error *err) {
        return crypt_resize(c, c->job->volume.spec.size, err);
}

static int ungrow_thin_run(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err);
        return r < 0 ? r : thin_resize(c, volume_spec_device_size(&c->job->volume.spec), err);
}

const Step step_grow_crypt_close = { "closing the encryption", close_probe, crypt_close_run, NULL };
const Step step_grow_thin_close = { "closing the thin device", close_probe, thin_close_run, NULL };
const Step step_grow_key = { "unlocking", grow_crypt_probe, grow_key_run, NULL };
const Step step_grow_thin = { "growing the thin device", grow_thin_probe, grow_thin_run, grow_thin_undo };
const Step step_grow_crypt = { "growing the encryption", grow_crypt_probe, grow_crypt_run, grow_crypt_undo };
const Step step_grow_fs = { "growing the filesystem", NULL, grow_fs_run, NULL };
const Step step_ungrow_key = { "unlocking", NULL, grow_key_run, NULL };
const Step step_ungrow_check = { "looking at the filesystem", NULL, ungrow_check_run, NULL };
const Step step_ungrow_crypt = { "taking back of the encryption", NULL, ungrow_crypt_run, NULL };
const Step step_ungrow_thin = { "taking back of the thin device", NULL, ungrow_thin_run, NULL };
