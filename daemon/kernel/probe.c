#include "kernel/probe.h"

#include "kernel/sysfs.h"

#include <quarry/fd.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <blkid/blkid.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define DEVICE_SIZE_MIN (16 * MIB) /* less holds nothing beside LVM's own area */
#define SIGNATURES_NAMED 3u        /* in the message; there may be more */
#define SWAPS_MAX (1u << 20)

static void probe_freep(blkid_probe *probe) {
        if (*probe)
                blkid_free_probe(*probe);
}

static int unusable(Error *err, int number, const char *path, const char *why) {
        return error_set(err, ERROR_DEVICE_UNUSABLE, number, "%s %s", path, why);
}

/* --- device --------------------------------------------------------------------------------------------- */

int probe_device_number(const char *path, dev_t *ret) {
        struct stat status;

        if (stat(path, &status) < 0)
                return -errno;
        if (!S_ISBLK(status.st_mode))
                return -ENOTBLK;
        *ret = status.st_rdev;
        return 0;
}

int probe_block_size(const char *path, uint64_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t size;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (ioctl(fd, BLKGETSIZE64, &size) < 0)
                return errno == ENOTTY ? -ENOTBLK : -errno;
        *ret_size = size;
        return 0;
}

static const char *kind_of_file(mode_t mode) {
        return S_ISDIR(mode)   ? "is a directory, not a block device"
               : S_ISREG(mode) ? "is a file, not a block device"
                               : "is no block device";
}

static int check_kind(const char *path, dev_t *ret, Error *err) {
        struct stat status;
        int r;

        if (stat(path, &status) < 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, errno, "%s: %s", path, strerror(errno));
        if (S_ISBLK(status.st_mode)) {
                *ret = status.st_rdev;
                return 0;
        }
        r = unusable(err, ENOTBLK, path, kind_of_file(status.st_mode));
        if (S_ISREG(status.st_mode))
                error_hint(err, "for a pool in a file: quarry pool create NAME --file PATH --size SIZE");
        return r;
}

static int check_size(const char *path, int fd, Error *err) {
        char have[SIZE_TEXT_MAX], need[SIZE_TEXT_MAX];
        int read_only = 0;
        uint64_t size;

        if (ioctl(fd, BLKROGET, &read_only) < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, errno, "cannot look at %s: %s", path, strerror(errno));
        if (read_only)
                return unusable(err, EROFS, path, "is read-only");
        if (size < DEVICE_SIZE_MIN)
                return error_set(err, ERROR_DEVICE_UNUSABLE, ENOSPC, "%s is too small: %s, at least %s is needed", path,
                                 size_format(size, have), size_format(DEVICE_SIZE_MIN, need));
        return 0;
}

/* --- who has it ----------------------------------------------------------------------------------------- */

static int check_mounted(const char *path, dev_t device, Error *err) {
        _cleanup_free_ char *text = NULL;
        MountEntry entry;
        char *p;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return error_errno(err, r, "cannot read the list of mounts");
        p = text;
        while ((r = mountinfo_next(&p, &entry)) != 0)
                if (r > 0 && entry.device == device)
                        return error_set(err, ERROR_DEVICE_UNUSABLE, EBUSY, "%s is mounted at %s", path, entry.target);
        return 0;
}

static int check_swap(const char *path, dev_t device, Error *err) {
        _cleanup_free_ char *text = NULL;
        char *line, *p;
        dev_t swap = 0;
        int r;

        r = file_read(AT_FDCWD, "/proc/swaps", SWAPS_MAX, &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot read the list of swap devices");
        p = text;
        while ((line = strsep(&p, "\n"))) {
                line[strcspn(line, " \t")] = 0;
                if (line[0] == '/' && probe_device_number(line, &swap) >= 0 && swap == device)
                        return unusable(err, EBUSY, path, "is used as swap");
        }
        return 0;
}

static int check_holders(const char *path, dev_t device, Error *err) {
        _cleanup_free_ dev_t *holders = NULL;
        char name[SYSFS_VALUE_MAX];
        size_t n = 0;
        int r;

        r = sysfs_links(device, "holders", &holders, &n);
        if (r < 0)
                return error_errno(err, r, "cannot see who uses %s", path);
        if (n == 0)
                return 0;
        sysfs_name(holders[0], name);
        r = error_set(err, ERROR_DEVICE_UNUSABLE, EBUSY, "%s is used by %s%s", path,
                      startswith(name, "quarry-") ? "a pool: " : "", name);
        if (startswith(name, "quarry-"))
                error_hint(err, "quarry pool ls -o +devices");
        return r;
}

/* A disk with partitions: the kernel knows them. */
static int check_partitions(const char *path, dev_t device, Error *err) {
        _cleanup_free_ dev_t *parts = NULL;
        char name[SYSFS_VALUE_MAX], value[SYSFS_VALUE_MAX];
        size_t n = 0;
        int r;

        r = sysfs_links(device, ".", &parts, &n);
        if (r < 0)
                return error_errno(err, r, "cannot see the partitions of %s", path);
        for (size_t i = 0; i < n; i++)
                if (sysfs_read(parts[i], "partition", value) >= 0) {
                        sysfs_name(parts[i], name);
                        return error_set(err, ERROR_DEVICE_UNUSABLE, EBUSY, "%s has partitions (%s)", path, name);
                }
        return 0;
}

/* --- what is on it -------------------------------------------------------------------------------------- */

static const char *probe_value(blkid_probe probe, const char *name) {
        const char *value = NULL;

        return blkid_probe_lookup_value(probe, name, &value, NULL) < 0 ? NULL : value;
}

/* "ext4 filesystem (label "x")": appended to text, which names a few. */
static void signature_append(blkid_probe probe, unsigned count, char *text, size_t size) {
        const char *type = probe_value(probe, "TYPE"), *usage = probe_value(probe, "USAGE"),
                   *label = probe_value(probe, "LABEL"), *table = probe_value(probe, "PTTYPE");
        size_t have = strlen(text);
        const char *what;

        if (count >= SIGNATURES_NAMED) {
                if (count == SIGNATURES_NAMED)
                        buffer_format(text + have, size - have, " and more");
                return;
        }
        what = !type ? "partition table" : streq_ptr(usage, "filesystem") ? "filesystem" : "signature";
        buffer_format(text + have, size - have, "%s%s %s", have ? ", " : "", type ?: table ?: "unknown", what);
        have = strlen(text);
        if (label)
                buffer_format(text + have, size - have, " (label \"%.64s\")", label);
}

static int probe_new(int fd, blkid_probe *ret) {
        _cleanup_(probe_freep) blkid_probe probe = NULL;

        probe = blkid_new_probe();
        if (!probe)
                return -ENOMEM;
        errno = 0;
        if (blkid_probe_set_device(probe, fd, 0, 0) < 0)
                return errno > 0 ? -errno : -EIO;
        blkid_probe_enable_superblocks(probe, 1);
        *ret = TAKE_PTR(probe);
        return 0;
}

/* Everything that wipefs would show, also with bad checksums, and the backup of a partition table. */
static int signatures_find(int fd, unsigned *ret_count, char *text, size_t size) {
        _cleanup_(probe_freep) blkid_probe probe = NULL;
        unsigned count = 0;
        int r;

        r = probe_new(fd, &probe);
        if (r < 0)
                return r;
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                         BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
        blkid_probe_enable_partitions(probe, 1);
        blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
        text[0] = 0;
        errno = 0;
        while ((r = blkid_do_probe(probe)) == 0)
                signature_append(probe, count++, text, size);
        if (r < 0)
                return errno > 0 ? -errno : -EIO;
        *ret_count = count;
        return 0;
}

static int check_signatures(const char *path, int fd, Error *err) {
        unsigned count;
        char text[256];
        int r;

        r = signatures_find(fd, &count, text, sizeof(text));
        if (r < 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, r, "cannot read %s: %s", path, strerror(-r));
        if (count == 0)
                return 0;
        r = error_set(err, ERROR_DEVICE_UNUSABLE, EEXIST, "%s bears %s %s", path,
                      strchr("aeioxLAEIOX", text[0]) ? "an" : "a", text);
        if (strstr(text, "LVM2_member"))
                error_hint(err,
                           "if it holds a pool: quarry pool import %s; to use what is free in its volume group: quarry "
                           "pool create NAME --vg VG --size SIZE; to lose what is on it: wipefs --all %s",
                           path, path);
        else
                error_hint(err, "to give it to quarry anyway, its contents are lost: wipefs --all %s", path);
        return r;
}

int probe_device_is_free(const char *path, Error *err) {
        _cleanup_close_ int fd = -EBADF, exclusive = -EBADF;
        dev_t device = 0;
        int r;

        r = check_kind(path, &device, err);
        if (r < 0)
                return r;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, errno, "cannot open %s: %s", path, strerror(errno));
        r = check_size(path, fd, err);
        if (r >= 0)
                r = check_mounted(path, device, err);
        if (r >= 0)
                r = check_swap(path, device, err);
        if (r >= 0)
                r = check_holders(path, device, err);
        if (r >= 0)
                r = check_partitions(path, device, err);
        if (r >= 0)
                r = check_signatures(path, fd, err);
        if (r < 0)
                return r;

        /* Mounted in another namespace, a part of something that sysfs does not tell: the kernel knows. */
        exclusive = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
        if (exclusive < 0)
                return error_set(err, ERROR_DEVICE_UNUSABLE, errno,
                                 errno == EBUSY ? "%s is in use: somebody has it open exclusively" : "cannot open %s",
                                 path);
        return 0;
}

/* --- content -------------------------------------------------------------------------------------------- */

/* Others are not looked for: their signatures may be in files, of which a filesystem has any. */
int probe_content(const char *path, char ret[static CONTENT_NAME_MAX]) {
        static char *const kinds[] = { "ext2", "ext3", "ext4", "xfs", NULL };
        _cleanup_(probe_freep) blkid_probe probe = blkid_new_probe_from_filename(path);
        const char *type;
        int r;

        if (!probe)
                return errno > 0 ? -errno : -ENOMEM;
        blkid_probe_enable_superblocks(probe, true);
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
        if (blkid_probe_filter_superblocks_type(probe, BLKID_FLTR_ONLYIN, (char **) kinds) < 0)
                return -ENOMEM;
        *ret = 0;
        r = blkid_do_safeprobe(probe);
        if (r == 1) /* nothing */
                return 0;
        if (r == -2)
                return -ENOTUNIQ;
        if (r < 0)
                return -EIO;
        if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) < 0)
                return 0;
        return buffer_format(ret, CONTENT_NAME_MAX, "%s", type) ? 0 : -ENAMETOOLONG;
}
