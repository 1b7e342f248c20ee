/* A volume whose key is taken from the kernel while it is mounted: its encryption is suspended, and whoever reads or
 * writes waits until it has its key again. A file in /run tells it from one that is only frozen for a moment; it goes,
 * as the mapping does, with the machine. */

#include "step/freeze.h"
#include "step/step.h"

#include "kernel/dm.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

#define FOLDER "/run/quarry/suspended"

static void note_path(sd_id128_t volume, char buf[static sizeof(FOLDER) + UUID_TEXT_MAX]) {
        char uuid[UUID_TEXT_MAX];

        buffer_format(buf, sizeof(FOLDER) + UUID_TEXT_MAX, FOLDER "/%s", uuid_format(volume, uuid));
}

static int note_make(sd_id128_t volume, Error *err) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX];
        _cleanup_close_ int fd = -EBADF;

        note_path(volume, path);
        if (mkdir(FOLDER, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make " FOLDER);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? error_errno(err, errno, "cannot make %s", path) : 0;
}

static void note_remove(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX];

        note_path(volume, path);
        (void) unlink(path);
}

bool suspended_is(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX], name[KERNEL_NAME_MAX];
        DmInfo info;

        note_path(volume, path);
        volume_crypt_name(volume, name);
        return access(path, F_OK) >= 0 && dm_info(name, &info) >= 0 && info.suspended;
}

int suspended_check(const Volume *volume, Error *err) {
        int r;

        if (!suspended_is(volume->uuid))
                return 0;
        r = error_set(err, ERROR_VOLUME_LOCKED, ENOKEY,
                      "volume %s is locked while it is in use: its key is not in the kernel, and who touches it waits",
                      volume->spec.name);
        error_hint(err, "quarry key unlock %s", VOLUME_REFERENCE(&volume->spec));
        return r;
}

/* The switch waits for what was written, and a pool without space keeps that. */
static int suspend_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char name[KERNEL_NAME_MAX];
        dev_t below, device;
        int r;

        volume_crypt_name(v->uuid, name);
        r = luks_backing(name, &below, &device);
        if (r == -ENXIO)
                return error_set(err, ERROR_NOT_SUPPORTED, ENXIO, "volume %s is not open: there is nothing to suspend",
                                 v->spec.name);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);
        r = suspended_is(v->uuid) ? 0 : thin_pool_has_room(c, err);
        if (r >= 0 && !suspended_is(v->uuid))
                r = freeze_prepare(v->uuid, v->spec.name, err);
        if (r >= 0)
                r = note_make(v->uuid, err);
        if (r < 0)
                return r;
        r = dm_suspend(name);
        if (r >= 0)
                r = dm_message(name, "key wipe");
        if (r >= 0) {
                c->result->open = true;
                return 0;
        }
        if (dm_resume(name) >= 0) /* not without its key: then it stays as it was asked for */
                note_remove(v->uuid);
        return error_errno(err, r, "cannot suspend %s", name);
}

int suspended_give_up(sd_id128_t volume) {
        char name[KERNEL_NAME_MAX];
        int r;

        volume_crypt_name(volume, name);
        r = dm_give_up(name);
        if (r >= 0)
                note_remove(volume);
        return r;
}

static int suspend_end_probe(StepContext *c, Error *err) {
        return !suspended_is(c->job->volume.uuid);
}

static int suspend_end_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        r = luks_unlock_volume(c, err);
        if (r < 0)
                return r;
        volume_crypt_name(c->job->volume.uuid, name);
        r = luks_resume(c->luks, name);
        if (r < 0)
                return error_errno(err, r, "cannot give %s its key again", name);
        note_remove(c->job->volume.uuid);
        return 0;
}

const Step step_suspend = { "taking the key from the kernel", NULL, suspend_run, NULL };
const Step step_suspend_end = { "giving the kernel the key again", suspend_end_probe, suspend_end_run, NULL };
