#include "secret.h"

#include "must.h"
#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <quarry/fd.h>
#include <quarry/text.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>

/* While one of these exists no core dump of the process is written and no other process can read its memory. */
typedef struct Secret {
        char *data; /* SECRET_SIZE_MAX + 1 bytes: one more shows that there is too much */
        size_t size;
        int was_dumpable;
} Secret;

static void secret_done(Secret *secret) {
        secret_free(secret->data, SECRET_SIZE_MAX + 1);
        (void) prctl(PR_SET_DUMPABLE, secret->was_dumpable);
}

static void secret_init(Secret *ret) {
        const size_t whole = SECRET_SIZE_MAX + 2; /* secret_free() unlocks one byte behind */

        ret->was_dumpable = prctl(PR_GET_DUMPABLE) == 1;
        (void) prctl(PR_SET_DUMPABLE, 0);
        ret->data = must_have(calloc(1, whole));
        ret->size = 0;
        (void) mlock(ret->data, whole); /* the limit of an ordinary user may be lower */
}

/* Takes over everything up to the end. */
static int secret_fill(Secret *secret, int fd) {
        while (secret->size <= SECRET_SIZE_MAX) {
                ssize_t n = RET_NERRNO(read(fd, secret->data + secret->size, SECRET_SIZE_MAX + 1 - secret->size));

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        return (int) n;
                secret->size += (size_t) n;
        }
        return -EFBIG;
}

static int secret_to_fd(const Secret *secret, Error *err) {
        int fd = secret_seal(secret->data, secret->size);

        return fd < 0 ? error_errno(err, fd, "cannot put the passphrase into sealed memory") : fd;
}

int secret_from_file(const char *path, Error *err) {
        return secret_from_file_of("--key-file", path, err);
}

int secret_from_file_of(const char *option, const char *path, Error *err) {
        _cleanup_(secret_done) Secret secret = {};
        bool is_stdin = streq(path, "-");
        _cleanup_close_ int fd = RET_NERRNO(is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                                     : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY));
        const char *name = is_stdin ? "standard input" : path;

        secret_init(&secret);
        int r = fd < 0 ? fd : secret_fill(&secret, fd);
        if (r == -EFBIG)
                return error_field(err, option, "%s: %s has more than %u bytes", option, name, SECRET_SIZE_MAX);
        if (r < 0)
                return error_field(err, option, "%s: cannot read %s: %s", option, name, strerror(-r));
        if (secret.size == 0)
                return error_field(err, option, "%s: %s is empty: an empty passphrase protects nothing", option, name);
        return secret_to_fd(&secret, err);
}

static volatile sig_atomic_t caught;

static void on_signal(int number) {
        caught = number;
}

/* Waits for a line, and for signals only while it waits. The terminal hands out whole lines, which are never
 * longer than what a Secret has room for. */
static int line_read(int tty, const sigset_t *signals, Secret *secret) {
        struct pollfd poll = { .fd = tty, .events = POLLIN };

        int r = RET_NERRNO(ppoll(&poll, 1, NULL, signals));
        if (r < 0)
                return r;
        ssize_t n = RET_NERRNO(read(tty, secret->data, SECRET_SIZE_MAX));
        if (n < 0)
                return (int) n;

        secret->size = n > 0 && secret->data[n - 1] == '\n' ? (size_t) n - 1 : (size_t) n;
        return 0;
}

static int ask_silently(int tty, const char *prompt, const sigset_t *signals, Secret *secret) {
        struct termios before, silent;

        if (tcgetattr(tty, &before) < 0)
                return -errno;
        silent = before;
        silent.c_lflag &= ~(tcflag_t) ECHO;
        silent.c_lflag |= ICANON | ECHONL;

        int r = RET_NERRNO(tcsetattr(tty, TCSAFLUSH, &silent));
        if (r >= 0)
                r = write_all(tty, prompt, strlen(prompt));
        if (r >= 0)
                r = line_read(tty, signals, secret);
        (void) tcsetattr(tty, TCSAFLUSH, &before);
        return r;
}

/* A signal that ends the program must not leave the terminal without echo: it waits until that is set right. */
static int ask_guarded(int tty, const char *prompt, Secret *secret) {
        static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        struct sigaction old[ELEMENTSOF(ending)], action = { .sa_handler = on_signal };
        sigset_t blocked, before;

        sigemptyset(&blocked);
        for (size_t i = 0; i < ELEMENTSOF(ending); i++) {
                sigaddset(&blocked, ending[i]);
                sigaction(ending[i], &action, &old[i]);
        }
        sigprocmask(SIG_BLOCK, &blocked, &before);

        int r = ask_silently(tty, prompt, &before, secret);

        for (size_t i = 0; i < ELEMENTSOF(ending); i++)
                sigaction(ending[i], &old[i], NULL);
        if (caught) {
                (void) write_all(tty, "\n", 1);
                raise(caught);
        }
        sigprocmask(SIG_SETMASK, &before, NULL); /* what was raised, or came meanwhile, ends the program here */
        return r;
}

static int ask(int tty, const char *prompt, Secret *secret, Error *err) {
        int r = ask_guarded(tty, prompt, secret);

        if (r < 0)
                return error_errno(err, r, "cannot read the passphrase");
        if (secret->size == 0)
                return error_field(err, "passphrase", "no passphrase was typed");
        return 0;
}

int secret_from_terminal(const char *prompt, bool confirm, Error *err) {
        _cleanup_(secret_done) Secret secret = {}, again = {};
        _cleanup_close_ int tty = isatty(STDIN_FILENO) ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -EBADF;
        int r;

        secret_init(&secret);
        secret_init(&again);
        if (tty < 0) {
                error_field(err, "passphrase", "a passphrase is needed and there is no terminal to ask for it");
                error_hint(err, "--key-file FILE, or --key-file - for standard input");
                return error_code(err);
        }

        fflush(stdout);
        r = ask(tty, prompt, &secret, err);
        if (r >= 0 && confirm)
                r = ask(tty, "The same again: ", &again, err);
        if (r < 0)
                return r;
        if (confirm && (secret.size != again.size || memcmp(secret.data, again.data, secret.size) != 0))
                return error_field(err, "passphrase", "the two passphrases differ");
        return secret_to_fd(&secret, err);
}
