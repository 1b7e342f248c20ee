/* A filesystem that gets no new space: when its pool has none left, ENOSPC from the filesystem is clean, ENOSPC
 * from the pool is not. A file in /run tells which are limited; it goes, as the limit does, with the machine. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/fs.h"
#include "kernel/mnt.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>

#define FOLDER "/run/quarry/stopped"

static void note_path(sd_id128_t volume, char buf[static sizeof(FOLDER) + UUID_TEXT_MAX]) {
        char uuid[UUID_TEXT_MAX];

        buffer_format(buf, sizeof(FOLDER) + UUID_TEXT_MAX, FOLDER "/%s", uuid_format(volume, uuid));
}

bool limit_is_set(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX];

        note_path(volume, path);
        return access(path, F_OK) >= 0;
}

void limit_forget(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX];

        note_path(volume, path);
        (void) unlink(path);
}

/* Before the limit is set: better a note of none than a limit of which nobody knows. */
static int note_make(sd_id128_t volume, Error *err) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX];
        _cleanup_close_ int fd = -EBADF;

        note_path(volume, path);
        if (mkdir(FOLDER, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make " FOLDER);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? error_errno(err, errno, "cannot make %s", path) : 0;
}

static int limit(StepContext *c, int root_fd, Error *err) {
        const char *name = c->job->volume.spec.name;
        int r;

        if (c->job->stopped) {
                r = note_make(c->job->volume.uuid, err);
                if (r < 0)
                        return r;
        }
        r = fs_limit(root_fd, c->device, c->job->volume.spec.fs, c->job->stopped);
        if (r < 0)
                return error_errno(err, r,
                                   c->job->stopped ? "cannot stop the writers of volume %s"
                                                   : "cannot let volume %s be written again",
                                   name);
        if (!c->job->stopped)
                limit_forget(c->job->volume.uuid);
        return 0;
}

/* What the filesystem of an open volume is on; *ret_users: how many have that open. Returns 0 if it is not open. */
static int find_device(StepContext *c, unsigned *ret_users) {
        char name[KERNEL_NAME_MAX];
        DmInfo info;
        int r;

        volume_crypt_name(c->job->volume.uuid, name);
        r = dm_info(name, &info);
        if (r == -ENXIO) {
                volume_thin_name(c->job->volume.uuid, name);
                r = dm_info(name, &info);
        }
        if (r < 0)
                return r == -ENXIO ? 0 : r;
        c->device = info.device;
        *ret_users = info.open_count;
        return 1;
}

/* A folder of the filesystem where it is mounted: here, or in a mount namespace that we do not see. */
static int folder_open(StepContext *c, int *ret) {
        _cleanup_close_ int fd = -EBADF, mount = -EBADF;
        char device[DEVICE_PATH_MAX];
        int r;

        r = mnt_count(c->device, &fd);
        if (r >= 0 && fd < 0) {
                dm_device_path(c->device, device);
                mount = mnt_filesystem(device, filesystem_to_string(c->job->volume.spec.fs), MNT_WRITABLE, NULL, 0);
                if (mount < 0)
                        return mount;
                fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (r < 0 || fd < 0)
                return r < 0 ? r : -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int limit_run(StepContext *c, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        unsigned users = 0;
        bool is_mounted;
        int r;

        r = suspended_check(&c->job->volume, err);
        if (r < 0)
                return r;
        r = find_device(c, &users);
        c->result->open = users > 0;
        /* Who only has the device open, a virtual machine, has the filesystem where it cannot be limited. */
        is_mounted = r > 0 && users > 0 && fs_is_mounted(c->device, c->job->volume.spec.fs);
        if (is_mounted)
                r = folder_open(c, &fd);
        if (r < 0)
                return error_errno(err, r, "cannot reach the filesystem of volume %s", c->job->volume.spec.name);
        if (is_mounted)
                return limit(c, fd, err);
        limit_forget(c->job->volume.uuid); /* it is not mounted, and was unlimited by that */
        return 0;
}

static int limit_mounted_probe(StepContext *c, Error *err) {
        return c->job->stopped ? 0 : 1;
}

static int limit_mounted_run(StepContext *c, Error *err) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(c->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, errno, "cannot open the root of volume %s", c->job->volume.spec.name);
        return limit(c, fd, err);
}

const Step step_limit = { "limiting the filesystem", NULL, limit_run, NULL };
const Step step_limit_mounted = { "limiting the filesystem", limit_mounted_probe, limit_mounted_run, NULL };
