/* The thin device of a volume: made in the pool by a message, opened as quarry-<uuid>. */

#include "step/change.h"
#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/holders.h"
#include "kernel/udev.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <time.h>

static int thin_error(StepContext *c, int r, Error *err, const char *what) {
        if (r == -ENOSPC)
                return error_set(err, ERROR_NO_SPACE, r, "pool %s has no space left: cannot %s", c->pool.name, what);
        if (r == -ENXIO)
                return error_set(err, ERROR_POOL_UNAVAILABLE, r, "pool %s is not active: cannot %s", c->pool.name,
                                 what);
        return error_errno(err, r, "cannot %s in pool %s", what, c->pool.name);
}

#define METADATA_KEPT_PART 10u
#define DELETE_TRIES 40u
#define DELETE_PAUSE_MS 50

int thin_pool_has_room(StepContext *c, Error *err) {
        char advice[SPACE_ADVICE_MAX];
        DmPoolStatus status;
        int r;

        r = dm_pool_status(c->pool.uuid, &status);
        if (r < 0)
                return thin_error(c, r, err, "look at the pool");
        if (status.failed || status.read_only || status.needs_check) {
                r = error_set(err, ERROR_POOL_UNAVAILABLE, EROFS,
                              "pool %s takes no changes: its metadata ran full or is damaged", c->pool.name);
                error_hint(err, "journalctl -k -g thin; see thin_check(8)");
                return r;
        }
        if (status.out_of_data_space || status.data_used >= status.data_size)
                r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s is full", c->pool.name);
        else if (status.data_size - status.data_used < pool_create_mark(status.data_size))
                r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s is nearly full", c->pool.name);
        else if (status.metadata_size - status.metadata_used < status.metadata_size / METADATA_KEPT_PART)
                r = error_set(err, ERROR_NO_SPACE, ENOSPC, "the metadata of pool %s is nearly full", c->pool.name);
        else
                return 0;
        error_hint(err, "make space: %s", pool_space_advice(c->pool.name, c->pool.origin, advice));
        return r;
}

static int thin_create_run(StepContext *c, Error *err) {
        int r;

        r = thin_pool_has_room(c, err);
        if (r < 0)
                return r;
        r = dm_thin_create(c->pool.uuid, c->job->volume.thin_id);
        if (r == -EEXIST)
                return error_set(err, ERROR_FAILED, r, "pool %s has a thin device %u that its catalog does not know",
                                 c->pool.name, c->job->volume.thin_id);
        if (r < 0) {
                thin_error(c, r, err, "make a thin device");
                err->undo_failed = r == -EIO; /* it may be there when the pool is well again */
                return r;
        }
        c->thin_is_new = true;
        return 0;
}

/* One that the kernel closed behind its last user is in use for a moment longer than its name is there. */
static int delete_patiently(StepContext *c) {
        int r;

        for (unsigned i = 0; i < DELETE_TRIES; i++) {
                r = dm_thin_delete(c->pool.uuid, c->job->volume.thin_id);
                if (r != -EBUSY)
                        break;
                nanosleep(&(struct timespec) { .tv_nsec = DELETE_PAUSE_MS * 1000000L }, NULL);
        }
        return r;
}

int thin_delete_new(StepContext *c, Error *err) {
        int r;

        r = delete_patiently(c);
        if (r < 0 && r != -ENODATA)
                return thin_error(c, r, err, "delete the thin device");
        (void) change_forget(c->job->volume.uuid); /* nobody asks for it any more */
        return 0;
}

static int spare_delete_run(StepContext *c, Error *err) {
        int r;

        if (!c->job->volume.has_spare)
                return 0;
        r = dm_thin_delete(c->pool.uuid, c->job->volume.spare_thin_id);
        return r < 0 && r != -ENODATA ? thin_error(c, r, err, "delete the spare thin device") : 0;
}

static uint32_t thin_id(const StepContext *c) {
        return c->spare_is_used ? c->job->volume.spare_thin_id : c->job->volume.thin_id;
}

/* An open device is taken over only if it is the one that the catalog means. */
static int thin_open_probe(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        char name[KERNEL_NAME_MAX];
        DmInfo info, pool;
        uint64_t size;
        uint32_t id;
        dev_t on;
        int r;

        volume_thin_name(v->uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);

        r = dm_thin_table(v->uuid, &on, &id, &size);
        if (r == -ENXIO) {
                /* Whoever created it died before loading its table; or the kernel is just closing it. */
                r = dm_remove(name);
                return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot remove the unfinished device %s", name) : 0;
        }
        if (r < 0)
                return error_errno(err, r, "cannot read the table of %s", name);

        char pool_name[KERNEL_NAME_MAX];
        pool_kernel_name(c->pool.uuid, pool_name);
        r = dm_info(pool_name, &pool);
        if (r < 0)
                return thin_error(c, r, err, "open the thin device");
        if (on != pool.device || id != thin_id(c))
                return error_set(err, ERROR_FAILED, EEXIST, "device %s is not the volume's: it is thin device %u", name,
                                 id);

        /* The kernel may have been asked to take it away behind its last user. */
        r = dm_remove_deferred_cancel(name);
        if (r < 0)
                return r == -ENXIO ? 0 : error_errno(err, r, "cannot keep %s", name);
        c->goes = info.goes;
        if (c->goes) /* if that was because somebody was given it, it is described no more */
                (void) device_describe(c);
        c->was_open = true;
        c->thin = c->device = info.device;
        if (v->spec.key_source == KEY_SOURCE_NONE)
                device_link(c, c->device);
        return 1;
}

/* A filesystem is mounted read-only, and may have to replay its journal for that; what has none cannot change. Of an
 * encrypted one that holds for the device on it: its header may be written. */
static bool is_fixed(const StepContext *c) {
        const VolumeSpec *spec = &c->job->volume.spec;

        if (spec->role != ROLE_SNAPSHOT || spec->key_source != KEY_SOURCE_NONE || c->job->verb == JOB_VOLUME_RECEIVE ||
            c->job->verb == JOB_VOLUME_ACCEPT)
                return false;
        return volume_spec_is_fixed(spec) || spec->fs == FILESYSTEM_NONE;
}

static int thin_open_run(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        int r;

        r = change_forget(v->uuid);
        if (r < 0)
                return error_errno(err, r, "cannot note that the volume is opened");
        r = device_describe(c);
        if (r < 0)
                return error_errno(err, r, "cannot describe the device to udev");

        r = dm_thin_open(c->pool.uuid, v->uuid, thin_id(c), volume_device_size(v), is_fixed(c), &c->thin);
        if (r < 0)
                (void) udev_forget(v->uuid);
        if (r == -ENODATA)
                return error_set(err, ERROR_FAILED, r,
                                 "pool %s has no thin device %u: its catalog and its metadata disagree", c->pool.name,
                                 v->thin_id);
        if (r < 0)
                return thin_error(c, r, err, "open the thin device");
        c->device = c->thin;
        (void) udev_link(v->uuid, false, c->device);
        return 0;
}

int thin_open_if_exists(StepContext *c, Error *err) {
        const Volume *v = &c->job->volume;
        int r;

        r = thin_open_probe(c, err);
        if (r != 0)
                return r;
        r = dm_thin_open(c->pool.uuid, v->uuid, v->thin_id, volume_device_size(v), is_fixed(c), &c->thin);
        if (r == -ENODATA)
                return 0;
        return r < 0 ? thin_error(c, r, err, "open the thin device") : 1;
}

/* libcryptsetup keeps the device open as long as its context lives. */
static void let_go(StepContext *c) {
        luks_free(TAKE_PTR(c->luks));
}

static int thin_close(StepContext *c, const char *name, dev_t device) {
        int r;

        udev_unlink(c->job->volume.uuid);
        r = dm_remove(name);
        if (r < 0 && r != -ENXIO && device != 0)
                (void) udev_link(c->job->volume.uuid, false, device);
        return r;
}

static int thin_remove(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        int r;

        let_go(c);
        volume_thin_name(c->job->volume.uuid, name);
        r = thin_close(c, name, c->thin);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot close device %s", name);
        (void) udev_forget(c->job->volume.uuid);
        limit_forget(c->job->volume.uuid);
        c->thin = c->device = 0;
        return 0;
}

/* Who keeps the volume open; a lazy unmount has the kernel close it behind them. */
static int stays_open(StepContext *c, const char *name, dev_t thin, Error *err) {
        char crypt[KERNEL_NAME_MAX], who[384];
        dev_t devices[2] = { thin };
        size_t n = 1;
        DmInfo info;
        int r;

        c->result->open = true;
        if (c->job->verb != JOB_VOLUME_UMOUNT)
                return 0;
        c->goes = c->goes || c->job->volume.spec.fs == FILESYSTEM_NONE; /* nobody looks when its user is gone */
        volume_crypt_name(c->job->volume.uuid, crypt);
        if (dm_info(crypt, &info) >= 0)
                devices[n++] = info.device;
        if (holders_describe(devices, n, who, sizeof(who)) <= 0)
                buffer_format(who, sizeof(who), "its device is open, by whom cannot be seen");
        c->result->users = strdup(who);
        if (!c->result->users)
                return error_oom(err);
        if (c->job->lazy)
                udev_unlink(c->job->volume.uuid);
        r = c->job->lazy ? dm_remove_deferred(name) : 0;
        return r < 0 && r != -ENXIO ? error_errno(err, r, "cannot have %s closed behind its last user", name) : 0;
}

/* Closing what somebody still uses is no failure of "close if nobody uses it": the result says it is open. */
static int thin_close_run(StepContext *c, Error *err) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        let_go(c);
        volume_thin_name(c->job->volume.uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO) { /* it may have gone behind its last user */
                (void) udev_forget(c->job->volume.uuid);
                return 0;
        }
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", name);

        (void) dm_thin_used(c->job->volume.uuid, &c->result->used); /* only a number for people */
        r = info.open_count > 0 ? -EBUSY : thin_close(c, name, info.device);
        if (r == -EBUSY)
                return stays_open(c, name, info.device, err);
        if (r < 0 && r != -ENXIO)
                return error_errno(err, r, "cannot close device %s", name);
        limit_forget(c->job->volume.uuid);
        (void) udev_forget(c->job->volume.uuid); /* only describes the device that is gone */
        c->thin = c->device = 0;
        return 0;
}

/* It is not closed at the end of this job. */
static int thin_keep_run(StepContext *c, Error *err) {
        let_go(c);
        c->goes = false;
        (void) dm_thin_used(c->job->volume.uuid, &c->result->used); /* only a number for people */
        c->result->open = true;
        return 0;
}

const Step step_thin_keep = { "looking what it takes", NULL, thin_keep_run, NULL };
const Step step_thin_create = { "making the thin device", NULL, thin_create_run, thin_delete_new };
const Step step_thin_open = { "opening the thin device", thin_open_probe, thin_open_run, thin_remove };
const Step step_thin_close = { "closing the thin device", NULL, thin_close_run, NULL };
const Step step_thin_remove = { "closing the thin device", NULL, thin_remove, NULL };
const Step step_thin_delete = { "deleting the thin device", NULL, thin_delete_new, NULL };
const Step step_spare_delete = { "deleting the spare thin device", NULL, spare_delete_run, NULL };
