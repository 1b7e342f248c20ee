/* A repository's objects as files: KIND/XX/NAME, XX being the first two letters of NAME. They are written beside these,
 * in PARTS, and renamed many at a time, once they are on the disk: what has its name is whole, also after a power
 * cut. */

#include "store-directory.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define PARTS "parts"
#define PART_NAME_MAX 40
#define PENDING_MAX 64u
#define STALE_SECONDS 86400 /* who wrote a part that is older is gone */

typedef struct Pending {
        char part[PART_NAME_MAX], path[STORE_PATH_MAX];
} Pending;

typedef struct Directory {
        Store store; /* first */
        char *path;
        int fd, parts;
        Pending pending[PENDING_MAX]; /* written, and not yet there */
        size_t n;
        int failed; /* a negative errno: of what was put before, some is lost, and nothing more is put */
        uint64_t serial, random;
} Directory;

static Directory *directory_of(Store *store) {
        return (Directory *) store;
}

static int open_fail(const char *path, int number, const char *what, Error *err) {
        error_errno(err, number, "cannot %s %s", what, path);
        if (number == ENOENT)
                error_hint(err, "is the disk mounted that it lies on? findmnt");
        return error_code(err);
}

/* number: an errno, of either sign. */
static int fail(const Directory *d, int number, const char *name, const char *what, Error *err) {
        number = abs(number);
        if (number == ENOSPC || number == EDQUOT) {
                error_set(err, ERROR_NO_SPACE, number, "repository %s is full", d->path);
                error_hint(err, "make room there; quarry backup prune removes old backups");
                return error_code(err);
        }
        error_errno(err, number, "cannot %s %s in repository %s", what, name, d->path);
        if (number == EROFS)
                error_hint(err, "it can be listed and restored as it is; to write there: mount -o remount,rw");
        return error_code(err);
}

/* Such names cannot lead out of the directory. */
static int path_make(const char *name, char buf[static STORE_PATH_MAX], Error *err) {
        const char *slash = name + strspn(name, "abcdefghijklmnopqrstuvwxyz");

        if (slash > name && *slash == '/' && strlen(slash) > 2 && !strchr(slash + 1, '/') && slash[1] != '.' &&
            buffer_format(buf, STORE_PATH_MAX, "%.*s/%.2s/%s", (int) (slash - name), name, slash + 1, slash + 1))
                return 0;
        return error_set(err, ERROR_FAILED, EINVAL, "\"%s\" is no name of an object", name);
}

/* --- writing ---------------------------------------------------------------------------------------------- */

static int folders_make(const Directory *d, const char *path) {
        char buf[STORE_PATH_MAX];

        for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
                buffer_format(buf, sizeof(buf), "%.*s", (int) (slash - path), path);
                if (mkdirat(d->fd, buf, 0700) < 0 && errno != EEXIST)
                        return -errno;
        }
        return 0;
}

/* Of what was put and did not come to its end. */
static void parts_forget(Directory *d) {
        for (size_t i = 0; i < d->n; i++)
                (void) unlinkat(d->parts, d->pending[i].part, 0);
        d->n = 0;
}

/* The kernel tells once that it could not write: who asks again would hear that all is well. */
static int flush(Directory *d, Error *err) {
        int r = d->n > 0 ? RET_NERRNO(syncfs(d->parts)) : 0;
        size_t i;

        for (i = 0; i < d->n && r >= 0; i++)
                r = RET_NERRNO(renameat(d->parts, d->pending[i].part, d->fd, d->pending[i].path));
        if (r < 0) {
                d->failed = r;
                r = fail(d, r, d->pending[i > 0 ? i - 1 : 0].path, "write", err);
                parts_forget(d);
        }
        d->n = 0;
        return r;
}

static int check_failed(const Directory *d, Error *err) {
        return d->failed ? fail(d, d->failed, d->parts < 0 ? "anything" : "what was put before", "write", err) : 0;
}

static int part_write(Directory *d, const char *part, const void *data, size_t size) {
        _cleanup_close_ int fd = openat(d->parts, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, data, size);
        if (r >= 0)
                r = RET_NERRNO(close(TAKE_FD(fd))); /* where a network's filesystem says what it could not write */
        if (r < 0)
                (void) unlinkat(d->parts, part, 0);
        return r;
}

static int directory_put(Store *store, const char *name, const void *data, size_t size, Error *err) {
        Directory *d = directory_of(store);
        Pending *p;
        int r;

        r = check_failed(d, err);
        if (r >= 0 && d->n == PENDING_MAX)
                r = flush(d, err);
        if (r < 0)
                return r;
        p = &d->pending[d->n];
        r = path_make(name, p->path, err);
        if (r < 0)
                return r;
        buffer_format(p->part, sizeof(p->part), "%016llx-%llu", (unsigned long long) d->random,
                      (unsigned long long) d->serial++);
        r = folders_make(d, p->path); /* where there is no room for one, this fails, and not all that was put before */
        if (r >= 0)
                r = part_write(d, p->part, data, size);
        if (r < 0)
                return fail(d, r, name, "write", err);
        d->n++;
        return 0;
}

static int directory_sync(Store *store, Error *err) {
        Directory *d = directory_of(store);
        int r = check_failed(d, err);

        if (r >= 0)
                r = flush(d, err);
        if (r >= 0 && syncfs(d->fd) < 0) {
                d->failed = -errno;
                r = check_failed(d, err);
        }
        return r;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

static int directory_get(Store *store, const char *name, uint8_t **ret, size_t *ret_size, Error *err) {
        Directory *d = directory_of(store);
        char path[STORE_PATH_MAX];
        int r;

        r = path_make(name, path, err);
        if (r >= 0)
                r = flush(d, err);
        if (r < 0)
                return r;
        r = file_read(d->fd, path, STORE_OBJECT_MAX, (char **) ret, ret_size);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? fail(d, r, name, "read", err) : 1;
}

static int directory_has(Store *store, const char *name, Error *err) {
        Directory *d = directory_of(store);
        char path[STORE_PATH_MAX];
        int r;

        r = path_make(name, path, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < d->n; i++)
                if (streq(d->pending[i].path, path))
                        return 1;
        if (faccessat(d->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                return 1;
        return errno == ENOENT ? 0 : fail(d, errno, name, "look at", err);
}

static int directory_remove(Store *store, const char *name, Error *err) {
        Directory *d = directory_of(store);
        char path[STORE_PATH_MAX];
        int r;

        r = path_make(name, path, err);
        if (r >= 0)
                r = flush(d, err);
        if (r >= 0 && unlinkat(d->fd, path, 0) < 0 && errno != ENOENT)
                r = fail(d, errno, name, "remove", err);
        return r;
}

/* --- listing ---------------------------------------------------------------------------------------------- */

/* NULL with errno 0: there is none. */
static DIR *folder_open(int at, const char *name) {
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

        if (!dir && fd >= 0)
                close(fd);
        if (!dir && errno == ENOENT)
                errno = 0;
        return dir;
}

static void closedirp(DIR **dir) {
        if (*dir)
                closedir(*dir);
}

static int list_folder(DIR *folder, const char *kind, int (*each)(const char *name, void *userdata), void *userdata) {
        char name[STORE_NAME_MAX];
        struct dirent *entry;
        int r = 0;

        errno = 0;
        while (r >= 0 && (entry = readdir(folder))) {
                if (entry->d_name[0] != '.' && buffer_format(name, sizeof(name), "%s/%s", kind, entry->d_name))
                        r = each(name, userdata);
                errno = 0;
        }
        return r < 0 ? r : -errno;
}

/* Folders of objects have two letters; what else lies there is somebody's own. */
static bool is_folder_name(const char *name) {
        return name[0] != '.' && strlen(name) == 2;
}

static int directory_list(Store *store, const char *kind, int (*each)(const char *name, void *userdata), void *userdata,
                          Error *err) {
        Directory *d = directory_of(store);
        _cleanup_(closedirp) DIR *all = NULL;
        struct dirent *entry;
        int r = flush(d, err);

        if (r < 0)
                return r;
        all = folder_open(d->fd, kind);
        if (!all)
                return errno == 0 ? 0 : fail(d, errno, kind, "list", err);
        for (errno = 0; r >= 0 && (entry = readdir(all)); errno = 0) {
                _cleanup_(closedirp) DIR *folder = NULL;

                if (!is_folder_name(entry->d_name))
                        continue;
                folder = folder_open(dirfd(all), entry->d_name);
                if (folder)
                        r = list_folder(folder, kind, each, userdata);
                else
                        r = -errno;
        }
        if (r >= 0)
                r = -errno; /* of what was not listed nobody must think that it is not there */
        return r < 0 && err->kind == ERROR_NONE ? fail(d, r, kind, "list", err) : r;
}

/* --- its place -------------------------------------------------------------------------------------------- */

static void directory_free(Store *store) {
        Directory *d = directory_of(store);

        parts_forget(d);
        closep(&d->parts);
        closep(&d->fd);
        free(d->path);
        free(d);
}

/* What a writer left that was killed. */
static void parts_clean(const Directory *d) {
        _cleanup_(closedirp) DIR *parts = folder_open(d->fd, PARTS);
        struct dirent *entry;
        struct stat status;

        while (parts && (entry = readdir(parts)))
                if (fstatat(d->parts, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISREG(status.st_mode) &&
                    status.st_mtime + STALE_SECONDS < time(NULL))
                        (void) unlinkat(d->parts, entry->d_name, 0);
}

int store_directory_new(const char *path, bool make, Store **ret, Error *err) {
        static const StoreOps ops = {
                .free = directory_free,
                .put = directory_put,
                .get = directory_get,
                .has = directory_has,
                .list = directory_list,
                .remove = directory_remove,
                .sync = directory_sync,
        };
        _cleanup_(store_freep) Store *store = NULL;
        Directory *d = calloc(1, sizeof(*d));

        if (!d)
                return error_oom(err);
        *d = (Directory) { .store = { &ops }, .fd = -EBADF, .parts = -EBADF };
        store = &d->store;
        d->path = strdup(path);
        if (!d->path)
                return error_oom(err);
        if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
                return open_fail(path, errno, "make", err);
        d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->fd < 0)
                return open_fail(path, errno, "open repository", err);
        if (mkdirat(d->fd, PARTS, 0700) < 0 && errno != EEXIST)
                d->failed = -errno; /* it can be read all the same, if it was not the place where it may not be */
        d->parts = openat(d->fd, PARTS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (d->parts < 0 && !d->failed)
                return fail(d, errno, PARTS, "open", err);
        if (getrandom(&d->random, sizeof(d->random), 0) != sizeof(d->random))
                return error_errno(err, errno, "no random bytes");
        parts_clean(d);
        *ret = TAKE_PTR(store);
        return 0;
}
