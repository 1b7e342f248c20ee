/* The catalog's filesystem: a small ext4 of the pool, mounted while the pool is active, owned by the broker.
 * Its contents are the broker's; nothing in this program reads them. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/mnt.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

#define FSCK_TIMEOUT 300u /* seconds; the filesystem is small */

static int run_tool(char *const argv[], int ok_status, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        int r;

        r = spawn_run(argv, FSCK_TIMEOUT, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run %s", argv[0]);
        if (r > ok_status)
                return error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "%s says: %s", argv[0],
                                 isempty(output.err) ? output.out : output.err);
        return 0;
}

static int catalog_format_run(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX];

        dm_device_path(c->catalog_lv, device);
        char *argv[] = { (char *) "mke2fs",         (char *) "-q", (char *) "-F", (char *) "-t",
                         (char *) "ext4",           (char *) "-m", (char *) "0",  (char *) "-L",
                         (char *) "quarry-catalog", device,        NULL };
        return run_tool(argv, 0, err);
}

static int catalog_mount_probe(StepContext *c, Error *err) {
        char target[CATALOG_PATH_MAX];
        unsigned options;
        dev_t device;
        int r;

        pool_catalog_path(c->pool.uuid, target);
        r = mnt_point_device(target, &device, &options);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", target);
        if (r == 0)
                return 0;
        /* The kernel made it read-only after an error: it is mounted anew, unless a broker still has it open. */
        if (device == c->catalog_lv && (options & MOUNT_READ_ONLY) && mnt_unmount(target) >= 0)
                return 0;
        if (device != c->catalog_lv || (options & MOUNT_READ_ONLY))
                return error_set(err, ERROR_POOL_UNAVAILABLE, EBUSY, "something else is mounted at %s", target);
        return 1;
}

/* The broker is another user: the folder becomes its own, and nobody else's. */
static int hand_over(int mount_fd, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        struct passwd *user;

        errno = 0;
        user = getpwnam(SERVICE_USER);
        if (!user)
                return error_set(err, ERROR_FAILED, errno, "there is no user " SERVICE_USER);
        fd = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a mount's own descriptor only names it */
        if (fd < 0)
                return error_errno(err, errno, "cannot open the catalog's folder");
        if (fchown(fd, user->pw_uid, user->pw_gid) < 0 || fchmod(fd, 0700) < 0)
                return error_errno(err, errno, "cannot hand the catalog's folder to user " SERVICE_USER);
        return 0;
}

static int catalog_mount_run(StepContext *c, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        char device[DEVICE_PATH_MAX], target[CATALOG_PATH_MAX], message[256];
        int r;

        dm_device_path(c->catalog_lv, device);
        /* 1: errors were corrected */
        char *argv[] = { (char *) "e2fsck", (char *) "-p", device, NULL };
        r = run_tool(argv, 1, err);
        if (r < 0)
                return r;

        fd = mnt_filesystem_noexec(device, "ext4", message, sizeof(message));
        if (fd < 0)
                return error_set(err, ERROR_POOL_UNAVAILABLE, fd, "cannot mount the catalog: %s",
                                 isempty(message) ? strerror(-fd) : message);
        r = hand_over(fd, err);
        if (r < 0)
                return r;
        pool_catalog_path(c->pool.uuid, target);
        r = mnt_point_make(CATALOG_ROOT, target);
        if (r >= 0)
                r = mnt_attach(fd, target);
        if (r < 0)
                (void) mnt_point_remove(target);
        return r < 0 ? error_errno(err, r, "cannot mount the catalog at %s", target) : 0;
}

static int catalog_unmount_run(StepContext *c, Error *err) {
        char target[CATALOG_PATH_MAX];
        int r;

        pool_catalog_path(c->pool.uuid, target);
        r = mnt_unmount(target);
        if (r < 0 && r != -EINVAL && r != -ENOENT)
                return error_errno(err, r, "cannot unmount the catalog");
        r = mnt_point_remove(target);
        return r < 0 ? error_errno(err, r, "cannot remove %s", target) : 0;
}

const Step step_catalog_format = { "making the catalog", NULL, catalog_format_run, NULL };
const Step step_catalog_mount = { "mounting the catalog", catalog_mount_probe, catalog_mount_run, catalog_unmount_run };
const Step step_catalog_unmount = { "unmounting the catalog", NULL, catalog_unmount_run, NULL };
