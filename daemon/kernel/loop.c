#include "kernel/loop.h"

#include "kernel/sysfs.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>

#define LOOP_MAJOR 7u
#define ATTACH_TRIES 16u    /* others look for a free loop device at the same time */
#define DETACH_TRIES 60u    /* the kernel waits for the last one who has it open */
#define DETACH_PAUSE_MS 50u
#define LOOP_PATH_MAX 32

static void loop_path(unsigned number, char buf[static LOOP_PATH_MAX]) {
        buffer_format(buf, LOOP_PATH_MAX, "/dev/loop%u", number);
}

/* --- the file ------------------------------------------------------------------------------------------- */

static const char *file_name(const char *file) {
        const char *slash = strrchr(file, '/');

        return slash ? slash + 1 : file;
}

/* The folder of a file, held so that the file's name means one thing. */
static int folder_open(const char *file) {
        static const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                             .resolve = RESOLVE_NO_SYMLINKS };
        char folder[PATH_MAX];

        if (*file != '/' || !*file_name(file))
                return -EINVAL;
        if (!buffer_format(folder, sizeof(folder), "%.*s", (int) (file_name(file) - file), file))
                return -ENAMETOOLONG;
        return (int) RET_NERRNO(syscall(SYS_openat2, AT_FDCWD, folder, &how, sizeof(how)));
}

/* The folder may be somebody's who has put a symbolic link in the file's place. */
static int file_open(const char *file, int flags, struct stat *ret) {
        _cleanup_close_ int folder = -EBADF, fd = -EBADF;

        folder = folder_open(file);
        if (folder < 0)
                return folder;
        fd = openat(folder, file_name(file), flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, ret) < 0)
                return -errno;
        if (!S_ISREG(ret->st_mode))
                return -EINVAL;
        return TAKE_FD(fd);
}

/* --- loop devices --------------------------------------------------------------------------------------- */

/* 1 if the loop device has this file from its start to its end. */
static int loop_has(const char *path, const struct stat *file) {
        _cleanup_close_ int fd = -EBADF;
        struct loop_info64 info;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
                return errno == ENXIO ? 0 : -errno;
        return info.lo_device == file->st_dev && info.lo_inode == file->st_ino && info.lo_offset == 0 &&
               info.lo_sizelimit == 0;
}

/* The loop device of a file: 1, or 0 if there is none. */
static int loop_find(const struct stat *file, char buf[static LOOP_PATH_MAX]) {
        _cleanup_free_ dev_t *devices = NULL;
        size_t n = 0;
        int r;

        r = sysfs_devices(&devices, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                char backing[SYSFS_VALUE_MAX];

                if (major(devices[i]) != LOOP_MAJOR || sysfs_read(devices[i], "loop/backing_file", backing) < 0)
                        continue;
                loop_path(minor(devices[i]), buf);
                r = loop_has(buf, file);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int loop_configure(int file_fd, const char *file, char buf[static LOOP_PATH_MAX]) {
        struct loop_config config = { .fd = (uint32_t) file_fd, .info.lo_flags = LO_FLAGS_DIRECT_IO };
        _cleanup_close_ int control = -EBADF;

        buffer_format((char *) config.info.lo_file_name, LO_NAME_SIZE, "%s", file);
        control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control < 0)
                return -errno;
        for (unsigned i = 0; i < ATTACH_TRIES; i++) {
                _cleanup_close_ int fd = -EBADF;
                int number;

                number = ioctl(control, LOOP_CTL_GET_FREE);
                if (number < 0)
                        return -errno;
                loop_path((unsigned) number, buf);
                fd = open(buf, O_RDWR | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                if (ioctl(fd, LOOP_CONFIGURE, &config) >= 0)
                        return 0;
                if (errno != EBUSY)
                        return -errno;
        }
        return -EBUSY;
}

int loop_attach(const char *file, char **ret_device) {
        _cleanup_close_ int fd = -EBADF;
        char path[LOOP_PATH_MAX], *device;
        struct stat status;
        int r;

        fd = file_open(file, O_RDWR, &status);
        if (fd < 0)
                return fd;
        r = loop_find(&status, path);
        if (r == 0)
                r = loop_configure(fd, file, path);
        if (r < 0)
                return r;
        device = strdup(path);
        if (!device)
                return -ENOMEM;
        *ret_device = device;
        return 0;
}

static int loop_clear(const char *path) {
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO ? -errno : 0;
}

int loop_detach(const char *file) {
        _cleanup_close_ int fd = -EBADF;
        char path[LOOP_PATH_MAX];
        struct stat status;
        int r;

        fd = file_open(file, O_RDONLY, &status);
        if (fd < 0)
                return fd == -ENOENT ? -ENXIO : fd;
        r = loop_find(&status, path);
        if (r <= 0)
                return r < 0 ? r : -ENXIO;
        r = loop_clear(path);
        for (unsigned i = 0; r >= 0 && i < DETACH_TRIES; i++) {
                r = loop_has(path, &status);
                if (r == 0)
                        return 0;
                nanosleep(&(struct timespec) { .tv_nsec = DETACH_PAUSE_MS * 1000000L }, NULL);
        }
        return r < 0 ? r : -EBUSY;
}

/* --- making and growing the file ------------------------------------------------------------------------ */

int loop_file_make(const char *file, uint64_t size) {
        _cleanup_close_ int folder = -EBADF, fd = -EBADF;
        int r;

        folder = folder_open(file);
        if (folder < 0)
                return folder;
        fd = openat(folder, file_name(file), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) size) < 0 || fsync(fd) < 0) {
                r = -errno;
                (void) unlinkat(folder, file_name(file), 0);
                return r;
        }
        return 0;
}

int loop_file_remove(const char *file) {
        _cleanup_close_ int folder = -EBADF;

        folder = folder_open(file);
        if (folder < 0)
                return folder == -ENOENT ? 0 : folder;
        return unlinkat(folder, file_name(file), 0) < 0 && errno != ENOENT ? -errno : 0;
}

int loop_file_size(const char *file, uint64_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        struct stat status;

        fd = file_open(file, O_RDONLY, &status);
        if (fd < 0)
                return fd;
        *ret = (uint64_t) status.st_size;
        return 0;
}

int loop_file_grow(const char *file, uint64_t size) {
        _cleanup_close_ int fd = -EBADF, loop = -EBADF;
        char path[LOOP_PATH_MAX];
        struct stat status;
        int r;

        fd = file_open(file, O_RDWR, &status);
        if (fd < 0)
                return fd;
        if ((uint64_t) status.st_size < size && (ftruncate(fd, (off_t) size) < 0 || fsync(fd) < 0))
                return -errno;
        r = loop_find(&status, path);
        if (r <= 0)
                return r;
        loop = open(path, O_RDWR | O_CLOEXEC);
        return loop < 0 || ioctl(loop, LOOP_SET_CAPACITY, 0) < 0 ? -errno : 0;
}
