#include "kernel/spawn.h"

#include <quarry/clock.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define READ_SIZE ((size_t) 4096)
#define ERR_KEEP ((size_t) 4096) /* of stderr's end */
#define LINGER_USEC 1000000u /* for outputs still open in a process that left the group */
#define DEATH_USEC 5000000u /* for a killed process to go: one in the kernel's hands may not */

/* What was read of one output. */
typedef struct Sink {
        int fd;
        char *data;
        size_t size, allocated;
        bool tail; /* only the end matters */
        int (*on_line)(const char *line, void *userdata); /* takes what is there, line by line; may be NULL */
        void *userdata;
} Sink;

typedef struct Child {
        pid_t pid;
        int pidfd;
        Sink out, err;
} Child;

static void sink_done(Sink *sink) {
        closep(&sink->fd);
        if (sink->data)
                explicit_bzero(sink->data, sink->allocated);
        free(sink->data);
}

/* Not realloc(): it would leave a copy of a key behind. */
static int sink_reserve(Sink *sink) {
        size_t allocated = sink->allocated ? sink->allocated * 2 : 4 * READ_SIZE;
        char *data;

        if (sink->allocated - sink->size > READ_SIZE)
                return 0;
        data = calloc(1, allocated);
        if (!data)
                return -ENOMEM;
        if (sink->data) {
                memcpy(data, sink->data, sink->size);
                explicit_bzero(sink->data, sink->allocated);
                free(sink->data);
        }
        sink->data = data;
        sink->allocated = allocated;
        return 0;
}

static void sink_forget_start(Sink *sink) {
        if (sink->size <= 2 * ERR_KEEP)
                return;
        memmove(sink->data, sink->data + sink->size - ERR_KEEP, ERR_KEEP);
        sink->size = ERR_KEEP;
}

/* The last line may lack its end. There is room behind what was read. */
static int sink_take_lines(Sink *sink, bool ended) {
        char *line = sink->data, *end;
        int r = 0;

        sink->data[sink->size] = 0;
        while (r >= 0 && (end = memchr(line, '\n', sink->size - (size_t) (line - sink->data)))) {
                *end = 0;
                r = sink->on_line(line, sink->userdata);
                line = end + 1;
        }
        sink->size -= (size_t) (line - sink->data);
        memmove(sink->data, line, sink->size + 1);
        if (r >= 0 && ended && sink->size > 0)
                r = sink->on_line(sink->data, sink->userdata);
        return r;
}

/* Reads what is there; closes the descriptor at its end. */
static int sink_read(Sink *sink) {
        ssize_t n;
        int r;

        r = sink_reserve(sink);
        if (r < 0)
                return r;
        n = read(sink->fd, sink->data + sink->size, READ_SIZE);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0) {
                close(TAKE_FD(sink->fd));
                return sink->on_line ? sink_take_lines(sink, true) : 0;
        }
        sink->size += (size_t) n;
        if (sink->on_line) {
                r = sink_take_lines(sink, false);
                if (r < 0)
                        return r;
        }
        if (sink->tail)
                sink_forget_start(sink);
        return sink->size > SPAWN_OUTPUT_MAX ? -EFBIG : 0;
}

/* Hands the text on, terminated. */
static int sink_take(Sink *sink, bool chomp, char **ret, size_t *ret_size) {
        int r;

        r = sink_reserve(sink);
        if (r < 0)
                return r;
        while (chomp && sink->size > 0 && sink->data[sink->size - 1] == '\n')
                sink->size--;
        sink->data[sink->size] = 0;
        if (ret_size)
                *ret_size = sink->size;
        *ret = TAKE_PTR(sink->data);
        return 0;
}

static int program_find(const char *name, char buf[static PATH_MAX]) {
        static const char *const folders[] = { "/usr/sbin/", "/usr/bin/" };

        if (strchr(name, '/'))
                return buffer_format(buf, PATH_MAX, "%s", name) ? 0 : -ENAMETOOLONG;
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                if (!buffer_format(buf, PATH_MAX, "%s%s", folders[i], name))
                        return -ENAMETOOLONG;
                if (access(buf, X_OK) >= 0)
                        return 0;
        }
        return -ENOENT;
}

static void child_default_signals(void) {
        sigset_t none;

        for (int i = 1; i < _NSIG; i++)
                (void) signal(i, SIG_DFL); /* fails for a few, which have no other state */
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0 is /dev/null, 1 and 2 the pipes, 3 the report, which exec closes; nothing else is open. */
static int child_descriptors(int out, int err, int report) {
        int null;

        /* The pipes may themselves lie on 0 to 3. */
        null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null < 0 || (null = fcntl(null, F_DUPFD_CLOEXEC, 10)) < 0)
                return -errno;
        out = fcntl(out, F_DUPFD_CLOEXEC, 10);
        err = fcntl(err, F_DUPFD_CLOEXEC, 10);
        report = fcntl(report, F_DUPFD_CLOEXEC, 10);
        if (out < 0 || err < 0 || report < 0)
                return -errno;
        if (dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 ||
            dup3(report, 3, O_CLOEXEC) < 0 || close_range(4, UINT_MAX, 0) < 0)
                return -errno;
        return 3;
}

static _Noreturn void child_main(const char *path, char *const argv[], int out, int err, int report, pid_t parent) {
        static char *const environment[] = { (char *) "LC_ALL=C", (char *) "TZ=UTC", (char *) "PATH=/usr/sbin:/usr/bin",
                                             NULL };
        int r;

        /* A worker that is killed must not leave a mkfs behind that holds the device. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_FAILURE);
        (void) setpgid(0, 0);
        child_default_signals();
        umask(022);
        r = child_descriptors(out, err, report);
        if (r >= 0) {
                report = r;
                r = chdir("/") < 0 || execve(path, argv, environment) < 0 ? -errno : 0;
        }
        (void) !write(report, &r, sizeof(r));
        _exit(EXIT_FAILURE);
}

/* What kept the child from becoming the program: 0 if nothing did. */
static int child_report(int fd) {
        int r = 0;
        ssize_t n;

        do
                n = read(fd, &r, sizeof(r));
        while (n < 0 && errno == EINTR);
        return n == sizeof(r) ? r : 0;
}

static int child_start(const char *path, char *const argv[], Child *child) {
        _cleanup_close_ int out = -EBADF, err = -EBADF, report_read = -EBADF, report = -EBADF;
        int fds[2];
        pid_t self = getpid();

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        child->out.fd = fds[0];
        out = fds[1];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        child->err.fd = fds[0];
        err = fds[1];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        report_read = fds[0];
        report = fds[1];
        if (fcntl(child->out.fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(child->err.fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        child->pid = fork();
        if (child->pid < 0)
                return -errno;
        if (child->pid == 0)
                child_main(path, argv, out, err, report, self);
        (void) setpgid(child->pid, child->pid); /* whoever comes first */
        child->pidfd = pidfd_open(child->pid, 0);
        if (child->pidfd < 0)
                return -errno;
        close(TAKE_FD(report));
        return child_report(report_read);
}

static int poll_until(struct pollfd *fds, nfds_t n, uint64_t deadline) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);
        int r, ms;

        ms = now >= deadline
                     ? 0
                     : (int) ((deadline - now) / 1000u > INT_MAX / 2 ? INT_MAX / 2 : (deadline - now + 999u) / 1000u);
        r = poll(fds, n, ms);
        return r < 0 ? (errno == EINTR ? 1 : -errno) : r;
}

/* Reads both outputs to their end, and waits for the child to be. */
static int child_drain(Child *child, uint64_t deadline) {
        bool ended = false;
        int r;

        while (!ended || child->out.fd >= 0 || child->err.fd >= 0) {
                struct pollfd fds[] = {
                        { .fd = child->out.fd, .events = POLLIN },
                        { .fd = child->err.fd, .events = POLLIN },
                        { .fd = ended ? -1 : child->pidfd, .events = POLLIN },
                };

                r = poll_until(fds, ELEMENTSOF(fds), deadline);
                if (r < 0)
                        return r;
                if (r == 0)
                        return ended ? 0 : -ETIMEDOUT;
                if (fds[0].revents && (r = sink_read(&child->out)) < 0)
                        return r;
                if (fds[1].revents && (r = sink_read(&child->err)) < 0)
                        return r;
                if (fds[2].revents) {
                        uint64_t linger = clock_usec(CLOCK_MONOTONIC) + LINGER_USEC;

                        ended = true;
                        deadline = linger < deadline ? linger : deadline;
                        /* Not reaped yet: the number still means this group and no other. */
                        (void) kill(-child->pid, SIGKILL);
                }
        }
        return 0;
}

/* The exit status, or -EINTR. */
static int child_reap(Child *child) {
        siginfo_t info = {};
        struct pollfd fd = { .fd = child->pidfd, .events = POLLIN };
        uint64_t deadline = clock_usec(CLOCK_MONOTONIC) + DEATH_USEC;
        int r;

        do
                r = poll_until(&fd, 1, deadline);
        while (r > 0 && !fd.revents);
        if (r <= 0)
                return r < 0 ? r : -ETIMEDOUT;
        if (waitid(P_PIDFD, (id_t) child->pidfd, &info, WEXITED) < 0)
                return -errno;
        return info.si_code == CLD_EXITED ? info.si_status : -EINTR;
}

static void child_done(Child *child) {
        closep(&child->pidfd);
        sink_done(&child->out);
        sink_done(&child->err);
}

static int run(char *const argv[], unsigned timeout_seconds, int (*on_line)(const char *line, void *userdata),
               void *userdata, SpawnOutput *ret) {
        _cleanup_(child_done) Child child = {
                .pidfd = -EBADF,
                .out.fd = -EBADF,
                .out.on_line = on_line,
                .out.userdata = userdata,
                .err.fd = -EBADF,
                .err.tail = true,
        };
        uint64_t deadline = clock_usec(CLOCK_MONOTONIC) + (uint64_t) timeout_seconds * 1000000u;
        char path[PATH_MAX];
        int r, status;

        r = program_find(argv[0], path);
        if (r < 0)
                return r;
        r = child_start(path, argv, &child);
        if (r >= 0)
                r = child_drain(&child, deadline);
        if (r < 0 && child.pid > 0) {
                (void) kill(-child.pid, SIGKILL);
                (void) kill(child.pid, SIGKILL); /* if it has no group yet */
        }
        status = child.pidfd >= 0 ? child_reap(&child) : 0;
        if (r < 0)
                return r;
        if (status < 0 || !ret)
                return status;

        SpawnOutput output = {};
        r = on_line ? 0 : sink_take(&child.out, false, &output.out, &output.out_size);
        if (r >= 0)
                r = sink_take(&child.err, true, &output.err, NULL);
        if (r < 0) {
                spawn_output_done(&output);
                return r;
        }
        *ret = output;
        return status;
}

int spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret) {
        return run(argv, timeout_seconds, NULL, NULL, ret);
}

int spawn_lines(char *const argv[], unsigned timeout_seconds, int (*on_line)(const char *line, void *userdata),
                void *userdata, SpawnOutput *ret) {
        return run(argv, timeout_seconds, on_line, userdata, ret);
}

void spawn_output_done(SpawnOutput *output) {
        if (output->out)
                explicit_bzero(output->out, output->out_size);
        free(output->out);
        free(output->err);
        *output = (SpawnOutput) {};
}
