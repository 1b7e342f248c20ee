/* What becomes a volume as it is written here: its device comes through a socket, and a byte goes back behind the last
 * of it. */

#include "transfer.h"

#include "must.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Twice as many bytes may be on their way to the disk: who is ended keeps the device until they are there. */
#define SPAN_SIZE (UINT64_C(8) << 20)
#define ZEROS_SIZE (UINT64_C(1) << 20)

typedef struct Span {
        uint64_t from, to; /* in bytes, of the device */
} Span;

struct Target {
        int device;
        bool is_mount; /* and no device, */
        int end;       /* of what quarryd is told through that all is there, and which ends when it gave up */
        Span before, now; /* of what is on its way to the disk */
        uint64_t n_now;   /* bytes that were written of it */
};

/* --- the writer, a process of its own: quarryd is asked meanwhile ----------------------------------------- */

/* -EPIPE if quarryd gives none, which tells why by itself. */
static int device_take(int socket) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        char byte;
        struct iovec part = { &byte, 1 };
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        ssize_t n;
        int fd;

        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n <= 0 || message.msg_controllen < sizeof(control.header) || control.header.cmsg_type != SCM_RIGHTS)
                return -EPIPE;
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        return fd;
}

static int write_at(int device, uint64_t offset, const uint8_t *data, uint64_t size, Error *err) {
        while (size > 0) {
                ssize_t n = pwrite(device, data, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, errno, "cannot write the volume at byte %" PRIu64, offset);
                data += n;
                offset += (uint64_t) n;
                size -= (uint64_t) n;
        }
        return 0;
}

/* quarryd tells why itself. */
static bool is_given_up(int socket) {
        char byte;

        return recv(socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* The disk begins with it at once, while what comes next is fetched. */
static int wrote(Target *target, uint64_t offset, uint64_t size, Error *err) {
        Span *before = &target->before, *now = &target->now;

        if (is_given_up(target->end))
                _exit(EXIT_FAILURE);
        (void) sync_file_range(target->device, (off_t) offset, (off_t) size, SYNC_FILE_RANGE_WRITE);
        now->from = target->n_now == 0 || offset < now->from ? offset : now->from;
        now->to = target->n_now == 0 || offset + size > now->to ? offset + size : now->to;
        target->n_now += size;
        if (target->n_now < SPAN_SIZE)
                return 0;
        if (before->to > 0 &&
            sync_file_range(target->device, (off_t) before->from, (off_t) (before->to - before->from),
                            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0)
                return error_errno(err, errno, "cannot write the volume");
        *before = *now;
        target->n_now = 0;
        return 0;
}

int target_write(Target *target, uint64_t offset, const uint8_t *data, uint64_t size, Error *err) {
        int r = write_at(target->device, offset, data, size, err);

        return r < 0 ? r : wrote(target, offset, size, err);
}

int target_read(Target *target, uint64_t offset, uint8_t *buf, size_t size, Error *err) {
        ssize_t n;

        if (is_given_up(target->end))
                _exit(EXIT_FAILURE);
        for (; size > 0; buf += n, offset += (uint64_t) n, size -= (size_t) n) {
                do
                        n = pread(target->device, buf, size, (off_t) offset);
                while (n < 0 && errno == EINTR);
                if (n <= 0)
                        return error_errno(err, n < 0 ? errno : ENODATA, "cannot read the volume at byte %" PRIu64,
                                           offset);
        }
        return 0;
}

/* Given back to the pool, as far as its chunks are whole; what is not zero then is written. The other way round, the
 * kernel forgets what was written and has not reached the disk. */
int target_zero(Target *target, uint64_t offset, uint64_t size, Error *err) {
        static const uint8_t zeros[ZEROS_SIZE];
        static uint8_t there[ZEROS_SIZE];
        uint64_t range[2] = { offset, size };
        int r = 0;

        (void) ioctl(target->device, BLKDISCARD, range);
        while (size > 0 && r >= 0) {
                uint64_t n = size < sizeof(zeros) ? size : sizeof(zeros);

                r = target_read(target, offset, there, n, err);
                if (r >= 0 && memcmp(there, zeros, n) != 0)
                        r = write_at(target->device, offset, zeros, n, err);
                if (r >= 0)
                        r = wrote(target, offset, n, err);
                offset += n;
                size -= n;
        }
        return r;
}

int target_forget(Target *target, Error *err) {
        if (fsync(target->device) < 0 || posix_fadvise(target->device, 0, 0, POSIX_FADV_DONTNEED) != 0)
                return error_errno(err, errno, "cannot write the volume");
        return 0;
}

int target_mount(const Target *target) {
        return target->device;
}

int target_end(const Target *target) {
        return target->end;
}

static int target_sync(const Target *target, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (target->is_mount) {
                fd = openat(target->device, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? fd : syncfs(fd);
        } else
                r = fsync(target->device);
        return r < 0 ? error_errno(err, errno, "cannot write the volume") : 0;
}

/* Ends the process. Its failure goes through report; the byte behind the closed device says that there was none. */
__attribute__((noreturn)) static void writer_run(Target *target, int report, TargetWrite *write, void *userdata) {
        Error err = {};
        int r;

        (void) signal(SIGPIPE, SIG_IGN); /* quarryd may be gone */
        r = write(target, userdata, &err);
        if (r >= 0)
                r = target_sync(target, &err);
        (void) close(target->device);
        if (r >= 0 && write_all(target->end, "", 1) < 0)
                _exit(EXIT_FAILURE); /* why it gave up quarryd tells itself */
        if (r < 0)
                (void) write_all(report, &err, sizeof(err));
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* --- asking for it ---------------------------------------------------------------------------------------- */

/* Both ends of what the writer's failure comes through; that of the writer is closed behind fork(). */
static int report_open(int report[static 2], Error *err) {
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) < 0
                       ? error_errno(err, errno, "cannot make a socket")
                       : 0;
}

/* What the writer could not do is why quarryd was not told that all is there. */
static int outcome(pid_t child, int report, int r, Error *err) {
        Error failure = {};

        if (r < 0)
                (void) kill(child, SIGTERM);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        if (r < 0 && read(report, &failure, sizeof(failure)) == sizeof(failure)) {
                failure.undo_failed = err->undo_failed;
                *err = failure;
        }
        return r < 0 ? error_code(err) : 0;
}

int transfer_run(sd_json_variant *parameters, TargetWrite *write, void *userdata, sd_json_variant **ret, Error *err) {
        int ends[2], report[2], r;
        pid_t child;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return error_errno(err, errno, "cannot make a socket");
        r = report_open(report, err);
        if (r < 0) {
                (void) close(ends[0]);
                (void) close(ends[1]);
                return r;
        }
        child = fork();
        if (child == 0) {
                Target target = { .end = ends[0] };

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) close(ends[1]);
                (void) close(report[0]);
                target.device = device_take(target.end);
                if (target.device < 0)
                        _exit(EXIT_FAILURE);
                writer_run(&target, report[1], write, userdata);
        }
        (void) close(ends[0]);
        (void) close(report[1]);
        if (child < 0) {
                (void) close(ends[1]);
                (void) close(report[0]);
                return error_errno(err, EAGAIN, "cannot start another process");
        }
        Call call = { .method = API_STREAM ".Receive", .parameters = parameters, .key_fd = &ends[1] };
        r = client_call(&call, ret, NULL, err);
        (void) close(ends[1]);
        r = outcome(child, report[0], r, err);
        (void) close(report[0]);
        return r;
}

/* --- files ------------------------------------------------------------------------------------------------ */

typedef struct Fill {
        TargetWrite *write;
        void *userdata;
        int report[2];
        pid_t child; /* 0: not yet */
} Fill;

/* Without a writer, too, the pipe's end is what quarryd hears. */
static void on_fill(int mount_fd, int done_fd, void *userdata) {
        Fill *fill = userdata;

        if (mount_fd >= 0 && done_fd >= 0 && fill->child == 0) {
                fill->child = fork();
                if (fill->child == 0) {
                        Target target = { .device = mount_fd, .end = done_fd, .is_mount = true };

                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        (void) close(fill->report[0]);
                        writer_run(&target, fill->report[1], fill->write, fill->userdata);
                }
        }
        closep(&mount_fd);
        closep(&done_fd);
}

int transfer_fill(const Call *call, TargetWrite *write, void *userdata, sd_json_variant **ret, Error *err) {
        Fill fill = { .write = write, .userdata = userdata };
        Call filling = *call;
        int r;

        r = report_open(fill.report, err);
        if (r < 0)
                return r;
        filling.on_fill = on_fill;
        filling.userdata = &fill;
        r = client_call(&filling, ret, NULL, err);
        (void) close(fill.report[1]);
        if (fill.child > 0)
                r = outcome(fill.child, fill.report[0], r, err);
        (void) close(fill.report[0]);
        return r;
}

sd_json_variant *transfer_parameters(const char *name, const VolumeSpec *spec, char **labels) {
        sd_json_variant *parameters = NULL;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(spec->fs)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->key_source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(spec->key_source))),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", spec->mode),
                        SD_JSON_BUILD_PAIR_CONDITION(!!labels, "labels", SD_JSON_BUILD_STRV(labels)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("socketFileDescriptor", 0)));
        return parameters;
}
