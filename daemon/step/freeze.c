#include "step/freeze.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "step/step.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define NOTES "/run/quarry/frozen"

/* NOTES/UUID, new and locked. One that is there is of somebody who died: its volume is about to be frozen anew. */
static int note_make(sd_id128_t volume) {
        char path[sizeof(NOTES) + UUID_TEXT_MAX], uuid[UUID_TEXT_MAX];
        _cleanup_close_ int fd = -EBADF;

        if (mkdir(NOTES, 0700) < 0 && errno != EEXIST)
                return -errno;
        buffer_format(path, sizeof(path), NOTES "/%s", uuid_format(volume, uuid));
        fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        /* Whoever lets go what was abandoned has it for a moment, and may have taken it away. */
        if (flock(fd, LOCK_EX) < 0)
                return -errno;
        struct stat mine, there;
        if (fstat(fd, &mine) < 0)
                return -errno;
        if (stat(path, &there) < 0 || mine.st_ino != there.st_ino)
                return -EAGAIN;
        return TAKE_FD(fd);
}

static int note_make_patiently(sd_id128_t volume) {
        int fd;

        do
                fd = note_make(volume);
        while (fd == -EAGAIN);
        return fd;
}

static void note_remove(sd_id128_t volume) {
        char path[sizeof(NOTES) + UUID_TEXT_MAX], uuid[UUID_TEXT_MAX];

        buffer_format(path, sizeof(path), NOTES "/%s", uuid_format(volume, uuid));
        (void) unlink(path);
}

static int look(const char *name, DmInfo *ret, bool *ret_there) {
        int r = dm_info(name, ret);

        *ret_there = r >= 0;
        return r == -ENXIO ? 0 : r;
}

static int top_of(sd_id128_t volume, Freeze *ret, dev_t *ret_top) {
        char thin[KERNEL_NAME_MAX], crypt[KERNEL_NAME_MAX];
        DmInfo below = {}, above = {};
        int r;

        volume_thin_name(volume, thin);
        volume_crypt_name(volume, crypt);
        *ret = (Freeze) { .volume = volume, .note = -EBADF };
        r = look(thin, &below, &ret->thin);
        if (r >= 0)
                r = look(crypt, &above, &ret->crypt);
        if (r >= 0)
                *ret_top = ret->crypt ? above.device : below.device;
        return r;
}

int freeze_prepare(sd_id128_t volume, const char *name, Error *err) {
        _cleanup_close_ int root = -EBADF;
        Freeze freeze;
        dev_t top;
        int r;

        if (suspended_is(volume))
                return error_set(err, ERROR_VOLUME_LOCKED, ENOKEY, "volume %s is locked while it is in use", name);
        r = top_of(volume, &freeze, &top);
        if (r < 0)
                return error_errno(err, r, "cannot look at the devices of volume %s", name);
        if (!freeze.thin || mnt_count(top, &root) <= 0 || root < 0)
                return 0;
        if (syncfs(root) >= 0)
                return 0;
        r = -errno;
        return error_set(err, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_FAILED, r,
                         "what was written to volume %s cannot be written out: %s", name, strerror(-r));
}

/* The filesystem is on the uppermost device; the lower one is still when nothing comes from above. */
static int suspend(const Freeze *freeze) {
        char thin[KERNEL_NAME_MAX], crypt[KERNEL_NAME_MAX];
        int r = 0;

        volume_thin_name(freeze->volume, thin);
        volume_crypt_name(freeze->volume, crypt);
        if (freeze->crypt)
                r = dm_suspend(crypt);
        if (r < 0 || !freeze->thin)
                return r;
        r = dm_suspend(thin);
        if (r < 0 && freeze->crypt)
                (void) dm_resume(crypt);
        return r;
}

static int resume(const Freeze *freeze) {
        char thin[KERNEL_NAME_MAX], crypt[KERNEL_NAME_MAX];
        int r = 0, s = 0;

        volume_thin_name(freeze->volume, thin);
        volume_crypt_name(freeze->volume, crypt);
        if (freeze->thin)
                r = dm_resume(thin);
        if (freeze->crypt)
                s = dm_resume(crypt);
        return r < 0 && r != -ENXIO ? r : s == -ENXIO ? 0 : s;
}

int freeze_begin(sd_id128_t volume, const char *name, Freeze *ret, Error *err) {
        Freeze freeze;
        dev_t top;
        int r;

        if (suspended_is(volume)) /* its resume takes the key */
                return error_set(err, ERROR_VOLUME_LOCKED, ENOKEY, "volume %s is locked while it is in use", name);
        r = top_of(volume, &freeze, &top);
        if (r < 0)
                return error_errno(err, r, "cannot look at the devices of volume %s", name);
        if (freeze.thin) {
                freeze.note = note_make_patiently(volume);
                if (freeze.note < 0)
                        return error_errno(err, freeze.note, "cannot note that volume %s is frozen", name);
                r = suspend(&freeze);
        }
        if (r < 0) {
                note_remove(volume);
                close(TAKE_FD(freeze.note));
                return error_errno(err, r, "cannot freeze volume %s", name);
        }
        *ret = freeze;
        return 0;
}

void freeze_end(Freeze *freeze) {
        int r;

        if (freeze->note < 0)
                return;
        r = resume(freeze);
        if (r >= 0)
                note_remove(freeze->volume);
        else /* the note stays for freeze_thaw_abandoned() */
                log_error(NULL, "cannot let a frozen volume go: %s", strerror(-r));
        close(TAKE_FD(freeze->note));
}

static void thaw_if_abandoned(int folder, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        struct stat mine, there;
        Freeze freeze;
        dev_t top;
        int r;

        fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || sd_id128_from_string(name, &freeze.volume) < 0)
                return;
        /* It may have been taken away meanwhile, and what is there now be of somebody who lives. */
        if (fstat(fd, &mine) < 0 || fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
            mine.st_ino != there.st_ino)
                return;
        r = top_of(freeze.volume, &freeze, &top);
        if (r >= 0)
                r = resume(&freeze);
        if (r < 0) {
                log_error(name, "cannot let a volume go that a worker froze and did not let go: %s", strerror(-r));
                return;
        }
        (void) unlinkat(folder, name, 0);
        log_warning(name, "was frozen by a worker that ended in the middle: let go");
}

int freeze_thaw_abandoned(Error *err) {
        struct dirent *entry;
        DIR *folder;

        folder = opendir(NOTES);
        if (!folder)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot look into " NOTES);
        while ((entry = readdir(folder)))
                if (entry->d_name[0] != '.')
                        thaw_if_abandoned(dirfd(folder), entry->d_name);
        closedir(folder);
        return 0;
}
