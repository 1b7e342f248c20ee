#include <quarry/fd.h>

#include <quarry/text.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#define SECRET_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int write_all(int fd, const void *data, size_t size) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = RET_NERRNO(write(fd, p, size));

                if (n == -EINTR)
                        continue;
                if (n < 0)
                        return (int) n;
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

/* What its size says, and one byte more, to see the end; those of /proc say 0. */
static size_t first_room(int fd, size_t max) {
        struct stat status;

        return fstat(fd, &status) < 0 || status.st_size < 4096 ? 4096
               : (uint64_t) status.st_size < max               ? (size_t) status.st_size + 1
                                                               : max + 1;
}

/* Appends what one read() gives; the buffer is made larger when it is full. Returns 0 at the end. */
static int read_more(int fd, size_t max, char **buf, size_t *have, size_t *room) {
        if (*have == *room) {
                size_t more = *room == 0 ? first_room(fd, max) : *room * 2;
                char *bigger = realloc(*buf, more + 1);

                if (!bigger)
                        return -ENOMEM;
                *buf = bigger;
                *room = more;
        }

        ssize_t n = RET_NERRNO(read(fd, *buf + *have, *room - *have));
        if (n == -EINTR)
                return 1;
        if (n <= 0)
                return (int) n;
        *have += (size_t) n;
        return *have > max ? -EFBIG : 1;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buf = NULL;
        size_t have = 0, room = 0;
        int r;

        _cleanup_close_ int fd = RET_NERRNO(openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY));
        if (fd < 0)
                return fd;

        do
                r = read_more(fd, max, &buf, &have, &room);
        while (r > 0);
        if (r < 0)
                return r;

        buf[have] = 0;
        *ret = TAKE_PTR(buf);
        if (ret_size)
                *ret_size = have;
        return 0;
}

/* A random name beside path, so that renaming stays inside one folder. */
static char *temporary_name(const char *path) {
        const char *slash = strrchr(path, '/');
        uint64_t id;

        if (getrandom(&id, sizeof(id), 0) != (ssize_t) sizeof(id))
                return NULL;
        return format_new("%.*s.#%016llx", slash ? (int) (slash - path) + 1 : 0, path, (unsigned long long) id);
}

static int folder_sync(int dir_fd, const char *path) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *folder = slash ? strndup(path, (size_t) (slash - path) + 1) : strdup(".");

        if (!folder)
                return -ENOMEM;
        _cleanup_close_ int fd = RET_NERRNO(openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (fd < 0)
                return fd;
        return RET_NERRNO(fsync(fd));
}

static int file_write_new(int dir_fd, const char *path, const void *data, size_t size, mode_t mode) {
        _cleanup_close_ int fd = RET_NERRNO(
                openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (fd < 0)
                return fd;

        int r = write_all(fd, data, size);
        if (r >= 0)
                r = RET_NERRNO(fchmod(fd, mode)); /* whatever the umask is */
        if (r >= 0)
                r = RET_NERRNO(fsync(fd));
        if (r < 0)
                (void) unlinkat(dir_fd, path, 0);
        return r;
}

int file_write_atomic(int dir_fd, const char *path, const void *data, size_t size, mode_t mode) {
        _cleanup_free_ char *temporary = temporary_name(path);
        if (!temporary)
                return -ENOMEM;

        int r = file_write_new(dir_fd, temporary, data, size, mode);
        if (r < 0)
                return r;

        r = RET_NERRNO(renameat(dir_fd, temporary, dir_fd, path));
        if (r < 0) {
                (void) unlinkat(dir_fd, temporary, 0);
                return r;
        }
        return folder_sync(dir_fd, path);
}

int secret_seal(const void *data, size_t size) {
        _cleanup_close_ int fd = RET_NERRNO(memfd_create("quarry-secret", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        if (fd < 0)
                return fd;

        int r = write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fcntl(fd, F_ADD_SEALS, SECRET_SEALS) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* Whole pages, so that unlocking them later unlocks nobody else's. */
static char *secret_alloc(size_t size) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), whole = (size + 1 + page - 1) / page * page;
        _cleanup_free_ char *secret = aligned_alloc(page, whole);

        if (!secret || mlock(secret, size + 1) < 0)
                return NULL;
        secret[size] = 0;
        return TAKE_PTR(secret);
}

/* The size is sealed: it cannot change between fstat() and pread(). */
static int secret_size(int fd, size_t max, size_t *ret) {
        struct stat st;

        if (fd < 0)
                return -EBADF;
        int seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0) /* EBADF: opened with O_PATH */
                return errno == EINVAL || errno == EBADF ? -EPERM : -errno;
        if ((seals & SECRET_SEALS) != SECRET_SEALS)
                return -EPERM;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size == 0)
                return -ENODATA;
        if (st.st_size < 0 || (uint64_t) st.st_size > max)
                return -EFBIG;

        *ret = (size_t) st.st_size;
        return 0;
}

int secret_read(int fd, char **ret, size_t *ret_size) {
        size_t size = 0;

        int r = secret_size(fd, SECRET_SIZE_MAX, &size);
        if (r < 0)
                return r;
        char *secret = secret_alloc(size);
        if (!secret)
                return -ENOMEM;

        ssize_t n;
        do /* not read(): the sender may share the file position */
                n = RET_NERRNO(pread(fd, secret, size, 0));
        while (n == -EINTR);
        if (n != (ssize_t) size) {
                secret_free(secret, size);
                return n < 0 ? (int) n : -EIO;
        }

        *ret = secret;
        *ret_size = size;
        return 0;
}

int sealed_read(int fd, void *buf, size_t size) {
        size_t have = 0;
        ssize_t n;
        int r;

        r = secret_size(fd, size, &have);
        if (r < 0)
                return r;
        if (have != size)
                return -ENODATA;
        do
                n = RET_NERRNO(pread(fd, buf, size, 0));
        while (n == -EINTR);
        return n == (ssize_t) size ? 0 : n < 0 ? (int) n : -EIO;
}

void secret_free(char *secret, size_t size) {
        if (!secret)
                return;
        explicit_bzero(secret, size);
        (void) munlock(secret, size + 1);
        free(secret);
}
