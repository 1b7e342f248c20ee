#include "unpack.h"

#include "must.h"
#include "terminal.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAR "/usr/bin/tar"
#define BUFFER_SIZE (256u << 10)
#define WORDS_MAX 4096u
#define NOTE_MAX 80u

typedef struct Unpacking {
        const Target *target;
        Input *source;
        Progress *progress;
        pid_t tar;
        int in, words, notes; /* what it reads, says, and where in the archive it is; or -EBADF */
        uint8_t *buffer;
        size_t have, written; /* bytes of it */
        bool source_ended;
        char said[WORDS_MAX + 1];
        size_t n_said;
        char note[NOTE_MAX]; /* the line that comes */
        size_t n_note;
        unsigned long long end, zeros; /* the archive's last block, and the last that is no member's, but zeros */
} Unpacking;

static void pipe_close(int *fd) {
        closep(fd);
        *fd = -EBADF;
}

/* --- tar -------------------------------------------------------------------------------------------------- */

/* What XFS calls an ACL comes as one, too, and is none elsewhere.
 *
 * An archive that ends behind a member is none for it that was cut short; that it saw the zeros of the end stands in
 * what --block-number makes it say. What follows them is another archive, as behind tar's own --concatenate.
 *
 * It makes no file outside of its directory: absolute names lose their slash, ".." is refused, and a link to somewhere
 * else comes last. */
__attribute__((noreturn)) static void tar_run(int root, int in, int words, int notes) {
        _cleanup_free_ char *folder = must_have(format_new("--directory=/proc/self/fd/%d", root));

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGPIPE, SIG_DFL);
        (void) setenv("LC_ALL", "C", true); /* what it says is looked at */
        (void) unsetenv("TAR_OPTIONS");
        if (fcntl(root, F_SETFD, 0) >= 0 && dup2(in, STDIN_FILENO) >= 0 && dup2(notes, STDOUT_FILENO) >= 0 &&
            dup2(words, STDERR_FILENO) >= 0)
                execl(TAR, "tar", "--extract", "--file=-", folder, "--numeric-owner", "--preserve-permissions",
                      "--acls", "--selinux", "--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.SGI_ACL_*",
                      "--delay-directory-restore", "--ignore-zeros", "--block-number", (char *) NULL);
        dprintf(words, "cannot run " TAR ": %s\n", strerror(errno));
        _exit(EXIT_FAILURE);
}

static int tar_start(Unpacking *u, Error *err) {
        int in[2], words[2], notes[2];

        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(words, O_CLOEXEC) < 0 || pipe2(notes, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        u->tar = fork();
        if (u->tar == 0)
                tar_run(target_mount(u->target), in[0], words[1], notes[1]);
        (void) close(in[0]);
        (void) close(words[1]);
        (void) close(notes[1]);
        u->in = in[1];
        u->words = words[0];
        u->notes = notes[0];
        if (u->tar < 0)
                return error_errno(err, EAGAIN, "cannot start another process");
        return fcntl(u->in, F_SETFL, O_NONBLOCK) < 0 ? error_errno(err, errno, "cannot set up a pipe") : 0;
}

/* The first line that is neither a remark nor that it failed for reasons told before. Changes the text. */
static const char *reason(char *said) {
        static const char *const others[] = { "tar: Removing leading", "tar: Exiting with", "tar: Error is not",
                                              "tar: Record size" };
        char *line;

        while ((line = strsep(&said, "\n"))) {
                bool is_other = !*line || strstr(line, "time stamp");

                for (size_t i = 0; i < ELEMENTSOF(others) && !is_other; i++)
                        is_other = startswith(line, others[i]);
                if (is_other)
                        continue;
                text_clean(line);
                return line;
        }
        return "tar does not say why";
}

/* Part of a block is the last that there was room for. */
static bool is_full(const Unpacking *u) {
        return strstr(u->said, "No space left on device") || strstr(u->said, ": Wrote only ");
}

static int tar_judge(Unpacking *u, int status, Error *err) {
        if (is_full(u)) {
                error_set(err, ERROR_NO_SPACE, ENOSPC, "the files do not fit into it: %s", reason(u->said));
                error_hint(err, "a larger --size; as members of a tar archive files take less than in a volume");
                return error_code(err);
        }
        if (WIFSIGNALED(status))
                return error_set(err, ERROR_FAILED, EINTR, "tar was ended by signal %d", WTERMSIG(status));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(err, ERROR_FAILED, EIO, "the archive cannot be unpacked: %s", reason(u->said));
        if (u->zeros == 0 || u->end != u->zeros + 1)
                return error_set(err, ERROR_BAD_REQUEST, EBADMSG, "the archive is cut short: it has no end");
        if (u->n_said > 0)
                fputs(u->said, stderr); /* remarks */
        return 0;
}

/* --- between the two -------------------------------------------------------------------------------------- */

static int take_archive(Unpacking *u, Error *err) {
        ssize_t n = input_read_some(u->source, u->buffer, BUFFER_SIZE, err);

        if (n < 0)
                return (int) n;
        if (n == 0) {
                u->source_ended = true;
                pipe_close(&u->in);
                return 0;
        }
        u->have = (size_t) n;
        u->written = 0;
        stream_progress(u->progress, input_position(u->source));
        return 0;
}

/* Whoever ended before the archive says why. */
static int give_archive(Unpacking *u, Error *err) {
        ssize_t n = write(u->in, u->buffer + u->written, u->have - u->written);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n < 0 && errno != EPIPE)
                return error_errno(err, errno, "cannot give tar the archive");
        if (n < 0)
                pipe_close(&u->in);
        else
                u->written += (size_t) n;
        return 0;
}

/* Full is full: it would go on with each of the other files. What does not fit is not kept. */
static void take_words(Unpacking *u) {
        char rest[256], *to = u->n_said < WORDS_MAX ? u->said + u->n_said : rest;
        size_t size = u->n_said < WORDS_MAX ? WORDS_MAX - u->n_said : sizeof(rest);
        ssize_t n = read(u->words, to, size);

        if (n < 0 && errno == EINTR)
                return;
        if (n <= 0)
                pipe_close(&u->words);
        else if (to != rest)
                u->n_said += (size_t) n;
        if (is_full(u))
                (void) kill(u->tar, SIGKILL);
}

/* "block 13: ** Block of NULs **", for each of the archive's end; "block 20: ** End of File **". */
static void take_note(Unpacking *u) {
        unsigned long long number = strtoull(startswith(u->note, "block ") ?: "", NULL, 10);

        if (strstr(u->note, "** Block of NULs **"))
                u->zeros = number;
        else if (strstr(u->note, "** End of File **"))
                u->end = number;
}

static void take_notes(Unpacking *u) {
        char buf[4096];
        ssize_t n = read(u->notes, buf, sizeof(buf));

        if (n < 0 && errno == EINTR)
                return;
        if (n <= 0)
                pipe_close(&u->notes);
        for (ssize_t i = 0; i < n; i++) {
                if (buf[i] != '\n' && u->n_note < NOTE_MAX - 1)
                        u->note[u->n_note++] = buf[i];
                if (buf[i] != '\n')
                        continue;
                u->note[u->n_note] = 0;
                u->n_note = 0;
                take_note(u);
        }
}

/* Whether there is something to be read, and somebody to take it. */
static int pass_archive(Unpacking *u, bool comes, short goes, Error *err) {
        if (comes)
                return take_archive(u, err);
        if (u->in < 0 || !goes)
                return 0;
        if (u->written < u->have)
                return give_archive(u, err);
        pipe_close(&u->in); /* it went away */
        return 0;
}

/* It has ended when nobody can say anything any more. */
static int pump(Unpacking *u, Error *err) {
        int r = 0;

        while ((u->words >= 0 || u->notes >= 0) && r >= 0) {
                bool is_empty = u->written == u->have, reads = u->in >= 0 && is_empty;
                struct pollfd fds[] = {
                        { .fd = u->words, .events = POLLIN },
                        { .fd = target_end(u->target) },
                        { .fd = reads && u->source->n_head == 0 ? u->source->fd : -1, .events = POLLIN },
                        { .fd = u->in, .events = is_empty ? 0 : POLLOUT },
                        { .fd = u->notes, .events = POLLIN },
                };

                if (poll(fds, ELEMENTSOF(fds), reads && u->source->n_head > 0 ? 0 : -1) < 0 && errno != EINTR)
                        return error_errno(err, errno, "cannot wait for tar");
                if (fds[1].revents)
                        _exit(EXIT_FAILURE); /* quarryd tells why itself */
                if (fds[0].revents)
                        take_words(u);
                if (fds[4].revents)
                        take_notes(u);
                r = pass_archive(u, reads && (fds[2].revents || u->source->n_head > 0), fds[3].revents, err);
        }
        return r;
}

int unpack(Target *target, Input *source, Progress *progress, Error *err) {
        Unpacking u = {
                .target = target, .source = source, .progress = progress, .in = -EBADF, .words = -EBADF, .notes = -EBADF
        };
        int r, status = 0;

        (void) signal(SIGCHLD, SIG_DFL); /* ignored, as some leave it behind, it would hide how tar ended */
        u.buffer = must_have(malloc(BUFFER_SIZE));
        r = tar_start(&u, err);
        if (r >= 0)
                r = pump(&u, err);
        pipe_close(&u.in);
        pipe_close(&u.words);
        pipe_close(&u.notes);
        if (r < 0 && u.tar > 0)
                (void) kill(u.tar, SIGKILL);
        while (u.tar > 0 && waitpid(u.tar, &status, 0) < 0 && errno == EINTR)
                ;
        free(u.buffer);
        progress_clear();
        return r < 0 ? r : tar_judge(&u, status, err);
}
