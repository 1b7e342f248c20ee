#include "kernel/userns.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LINE_MAX_SIZE 40u

bool userns_can_be_made(void) {
        _cleanup_free_ char *most = NULL;

        return file_read(AT_FDCWD, "/proc/sys/user/max_user_namespaces", LINE_MAX_SIZE, &most, NULL) >= 0 &&
               !streq(most, "0\n");
}

/* Keeps the namespace until its descriptor is open. Ends with its parent at the latest: the pipe does. */
static _Noreturn void keep(const int pipe_fds[static 2]) {
        char byte;

        close(pipe_fds[1]);
        (void) !read(pipe_fds[0], &byte, sizeof(byte));
        _exit(EXIT_SUCCESS);
}

/* A map is written whole, in one call. */
static int map_write(pid_t pid, const char *name, const IdRange *ranges, size_t n, bool of_groups) {
        char path[64], text[IDMAP_RANGES_MAX * LINE_MAX_SIZE + 1] = "";
        _cleanup_close_ int fd = -EBADF;
        uint32_t inside = 0;
        size_t size = 0;

        for (size_t i = 0; i < n; i++) {
                buffer_format(text + size, sizeof(text) - size, "%u %u %u\n", inside,
                              of_groups ? ranges[i].gid : ranges[i].uid, ranges[i].count);
                size += strlen(text + size);
                inside += ranges[i].count;
        }
        buffer_format(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? -errno : write_all(fd, text, size);
}

static int map_open(pid_t pid, const IdRange *ranges, size_t n) {
        char path[64];
        int r;

        r = map_write(pid, "uid_map", ranges, n, false);
        if (r >= 0)
                r = map_write(pid, "gid_map", ranges, n, true);
        buffer_format(path, sizeof(path), "/proc/%d/ns/user", (int) pid);
        return r < 0 ? r : RET_NERRNO(open(path, O_RDONLY | O_CLOEXEC));
}

int userns_make(const IdRange *ranges, size_t n) {
        int fds[2], r;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        pid = (pid_t) syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0)
                keep(fds);
        r = pid < 0 ? -errno : map_open(pid, ranges, n);
        close(fds[0]);
        close(fds[1]);
        while (pid > 0 && waitpid(pid, NULL, 0) < 0)
                if (errno != EINTR)
                        break;
        return r;
}

/* "user:[4026531837]" is what no file's path looks like, and neither "anon_inode:[pidfd]". */
static int identity(const char *path, const char *kind, char *buf, size_t size) {
        ssize_t n = readlink(path, buf, size - 1);

        if (n < 0)
                return -errno;
        buf[n] = 0;
        return startswith(buf, kind) ? 0 : -EINVAL;
}

int userns_owner(int fd, uid_t *ret) {
        char path[64], theirs[64], own[64];
        int r;

        buffer_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = identity(path, "user:[", theirs, sizeof(theirs));
        if (r >= 0)
                r = identity("/proc/self/ns/user", "user:[", own, sizeof(own));
        if (r < 0)
                return r;
        if (streq(theirs, own))
                return -EPERM;
        return RET_NERRNO(ioctl(fd, NS_GET_OWNER_UID, ret));
}

int userns_of_process(int pidfd) {
        char path[64], what[64];
        int r;

        buffer_format(path, sizeof(path), "/proc/self/fd/%d", pidfd);
        r = identity(path, "anon_inode:[pidfd]", what, sizeof(what));
        return r < 0 ? r : RET_NERRNO(ioctl(pidfd, PIDFD_GET_USER_NAMESPACE, 0));
}
