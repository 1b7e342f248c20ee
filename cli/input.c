#include "input.h"

#include "must.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COPY_SIZE (64u << 10)

void input_done(Input *s) {
        closep(&s->fd);
        closep(&s->file);
        closep(&s->status);
        free(TAKE_PTR(s->head));
}

/* --- the unpacker ----------------------------------------------------------------------------------------- */

/* In a process of its own: what was read already, and what follows. */
static void feed(const Input *s, int to) {
        uint8_t buf[COPY_SIZE];
        ssize_t n = 0;

        if (write_all(to, s->head, s->n_head) < 0)
                return;
        while ((n = read(s->fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
                if (n > 0 && write_all(to, buf, (size_t) n) < 0)
                        return;
}

__attribute__((noreturn)) static void tool_run(const char *tool, int in, int out) {
        _cleanup_free_ char *path = must_have(format_new("/usr/bin/%s", tool));
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (nowhere >= 0 && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
            dup2(nowhere, STDERR_FILENO) >= 0)
                execl(path, tool, "-dc", (char *) NULL);
        _exit(127);
}

/* A process that has the unpacker for a child, gives it what it reads unless it can do that itself, and tells how it
 * ended: 0, or what waitpid() says. */
__attribute__((noreturn)) static void unpacker_run(const Input *s, bool is_file, int out, int report) {
        int ends[2] = { -EBADF, -EBADF }, status;
        pid_t child;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGCHLD, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        if (!is_file && pipe2(ends, O_CLOEXEC) < 0)
                _exit(EXIT_FAILURE);
        child = fork();
        if (child == 0) {
                (void) signal(SIGPIPE, SIG_DFL);
                tool_run(s->unpacker, is_file ? s->fd : ends[0], out);
        }
        (void) close(out);
        closep(&ends[0]);
        if (!is_file)
                feed(s, ends[1]);
        closep(&ends[1]);
        if (child < 0 || waitpid(child, &status, 0) != child)
                _exit(EXIT_FAILURE);
        (void) write_all(report, &status, sizeof(status));
        _exit(EXIT_SUCCESS);
}

static int unpacker_start(Input *s, bool is_file, Error *err) {
        int ends[2], report[2];
        pid_t child;

        if (is_file && lseek(s->fd, 0, SEEK_SET) < 0)
                return error_errno(err, errno, "cannot read it from its beginning");
        if (pipe2(ends, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        child = fork();
        if (child == 0) {
                (void) close(ends[0]);
                (void) close(report[0]);
                unpacker_run(s, is_file, ends[1], report[1]);
        }
        (void) close(ends[1]);
        (void) close(report[1]);
        s->file = s->fd;
        s->fd = ends[0];
        s->status = report[0];
        s->n_head = 0;
        return child < 0 ? error_errno(err, EAGAIN, "cannot start another process") : 0;
}

/* Behind its last byte: whether that is the last. */
static int unpacker_judge(Input *s, Error *err) {
        int status;

        if (s->status < 0)
                return 0;
        if (read(s->status, &status, sizeof(status)) != sizeof(status))
                return error_set(err, ERROR_FAILED, EIO, "%s was ended", s->unpacker);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
                error_set(err, ERROR_FAILED, ENOENT, "it is compressed, and %s is not there to unpack it", s->unpacker);
                error_hint(err, "apt install %s", streq(s->unpacker, "xz") ? "xz-utils" : s->unpacker);
                return error_code(err);
        }
        if (status != 0)
                return error_set(err, ERROR_BAD_REQUEST, EBADMSG, "%s cannot unpack it: it is cut short, or damaged",
                                 s->unpacker);
        close(TAKE_FD(s->status)); /* it says so once, and its end may be read again */
        return 0;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

ssize_t input_read_some(Input *s, uint8_t *buf, size_t size, Error *err) {
        ssize_t n = (ssize_t) (s->n_head < size ? s->n_head : size);

        if (n > 0) {
                memmove(buf, s->head, (size_t) n);
                s->n_head -= (size_t) n;
                memmove(s->head, s->head + n, s->n_head);
        } else {
                do
                        n = read(s->fd, buf, size);
                while (n < 0 && errno == EINTR);
                if (n < 0)
                        return error_errno(err, errno, "cannot read it");
                if (n == 0 && size > 0)
                        return unpacker_judge(s, err);
        }
        s->at += (uint64_t) n;
        return n;
}

ssize_t input_read(Input *s, uint8_t *buf, size_t size, Error *err) {
        size_t have = 0;

        while (have < size) {
                ssize_t n = input_read_some(s, buf + have, size - have, err);

                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                have += (size_t) n;
        }
        return (ssize_t) have;
}

void input_skip_hole(Input *s) {
        off_t data;

        if (s->size == 0 || s->file >= 0)
                return;
        data = lseek(s->fd, (off_t) s->at, SEEK_DATA);
        if (data < 0)
                data = errno == ENXIO ? lseek(s->fd, 0, SEEK_END) : lseek(s->fd, (off_t) s->at, SEEK_SET);
        if (data >= 0)
                s->at = (uint64_t) data;
}

uint64_t input_position(const Input *s) {
        off_t at = s->size > 0 && s->file >= 0 ? lseek(s->file, 0, SEEK_CUR) : -1;

        return at < 0 ? s->at : (uint64_t) at;
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static int head_read(Input *s, Error *err) {
        ssize_t n;

        n = input_read(s, s->head, IMAGE_HEAD_SIZE, err);
        if (n < 0)
                return (int) n;
        s->n_head = (size_t) n;
        s->at = 0;
        s->image = image_recognize(s->head, s->n_head);
        return 0;
}

/* What can be read from its beginning once more, and how much it is. */
static int size_take(Input *s, const char *path, bool *ret_is_file, Error *err) {
        struct stat status;

        if (fstat(s->fd, &status) < 0)
                return error_errno(err, errno, "cannot look at %s", path);
        if (S_ISDIR(status.st_mode)) {
                error_field(err, "--from", "%s is a directory", path);
                error_hint(err, "tar -C %s -c --acls --xattrs . | quarry create NAME ... --from -", path);
                return error_code(err);
        }
        *ret_is_file = S_ISREG(status.st_mode) || S_ISBLK(status.st_mode);
        if (S_ISREG(status.st_mode))
                s->size = (uint64_t) status.st_size;
        else if (S_ISBLK(status.st_mode) && ioctl(s->fd, BLKGETSIZE64, &s->size) < 0)
                return error_errno(err, errno, "cannot see the size of %s", path);
        return 0;
}

int input_open(const char *path, Input *ret, Error *err) {
        bool is_stdin = streq(path, "-"), is_file = false;
        int r;

        *ret = (Input) { .fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                        : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY),
                         .file = -EBADF,
                         .status = -EBADF };
        if (ret->fd < 0)
                return error_errno(err, errno, "cannot open %s", is_stdin ? "standard input" : path);
        if (isatty(ret->fd))
                return error_field(err, "--from",
                                   "--from: a terminal has no image: name a file that has it, or a pipe");
        ret->head = must_have(malloc(IMAGE_HEAD_SIZE));
        r = size_take(ret, path, &is_file, err);
        if (r >= 0)
                r = head_read(ret, err);
        if (r < 0)
                return r;
        if (ret->image.unpacker) {
                ret->unpacker = ret->image.unpacker;
                r = unpacker_start(ret, is_file, err);
                return r < 0 ? r : head_read(ret, err);
        }
        if (!is_file)
                return 0;
        ret->n_head = 0;
        return lseek(ret->fd, 0, SEEK_SET) < 0 ? error_errno(err, errno, "cannot read %s from its beginning", path) : 0;
}
