/* quarry export: the files of a volume, as an archive of tar's. */

#include "attach.h"
#include "client.h"
#include "must.h"
#include "verbs.h"
#include "volume.h"

#include <fcntl.h>
#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>
#include <signal.h>
#include <sys/wait.h>
#include <systemd/sd-id128.h>

#define TAR "/usr/bin/tar"

static const char *arg_to;
static Attachment arg_how;
static int caught; /* the signal that ended it */

const Option export_options[] = {
        { 0, "to", "FILE", "Write FILE, which must not be there yet", option_output, &arg_to },
        { 0, "key-file", "FILE", "FILE holds the passphrase; - is stdin", option_string, &arg_how.key_file },
        {},
};

/* --- what is read ----------------------------------------------------------------------------------------- */

/* A volume changes while it is read, a snapshot does not: one is made that lasts as long as this. Returns 1 then. */
static int image_make(const char *name, char **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("making a snapshot of %s", name));
        _cleanup_free_ char *image = NULL;
        sd_id128_t id;
        int r;

        r = volume_inspect(name, &volume, err);
        if (r < 0)
                return r;
        if (streq(json_string(volume, "filesystem"), "none")) {
                error_set(err, ERROR_NOT_SUPPORTED, 0, "it has no filesystem, and so no files");
                error_hint(err, "quarry mount %s; and read the device whose path it prints", name);
                return error_code(err);
        }
        if (strchr(name, '@') || !streq(json_string(volume, "kind"), "block")) {
                *ret = must_have(strdup(name));
                return 0;
        }
        must(sd_id128_randomize(&id));
        image = must_have(
                format_new("%s@export-%02x%02x%02x%02x", name, id.bytes[0], id.bytes[1], id.bytes[2], id.bytes[3]));
        char *images[] = { image, NULL };
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRV("volumes", images)));
        Call call = { .method = API_VOLUME ".Snapshot", .parameters = parameters, .what = what };
        r = client_call(&call, NULL, NULL, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(image);
        return 1;
}

static int image_remove(const char *image, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", image)));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters };
        int r = client_call(&call, NULL, NULL, err);
        if (r < 0)
                error_hint(err, "quarry rm %s", image);
        return r;
}

/* --- the archive ------------------------------------------------------------------------------------------ */

/* A mount that is attached nowhere has no name but this, and goes with the process. */
static int tar_run(const char *image, int out, Error *err) {
        _cleanup_free_ char *folder = NULL;
        int fd, r;

        must(mount_spec_add_option(&arg_how.spec, "ro", err));
        r = attach_open(image, &arg_how, &fd, err);
        if (r < 0)
                return r;
        folder = must_have(format_new("--directory=/proc/self/fd/%d", fd));
        if (fcntl(fd, F_SETFD, 0) < 0 || dup2(out, STDOUT_FILENO) < 0)
                return error_errno(err, errno, "cannot hand on the files");
        execl(TAR, TAR, "--create", "--file=-", folder, "--format=posix", "--numeric-owner", "--sparse", "--acls",
              "--selinux", "--xattrs", "--xattrs-include=*", "--one-file-system", ".", (char *) NULL);
        return error_errno(err, errno, "cannot run " TAR);
}

/* Whoever ends this ends tar: what was made for it goes nevertheless, and this only then. */
static int wait_for(pid_t child, const sigset_t *signals) {
        int status = W_EXITCODE(EXIT_FAILURE, 0), signal; /* unless the kernel says otherwise */

        while (waitpid(child, &status, WNOHANG) == 0)
                if (sigwait(signals, &signal) == 0 && signal != SIGCHLD) {
                        caught = signal;
                        (void) kill(child, signal);
                }
        return status;
}

static int judge(int status, Error *err) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
                return error_set(err, ERROR_FAILED, EPIPE,
                                 "whoever reads the archive went away before all of it was there");
        if (WIFSIGNALED(status))
                return error_set(err, ERROR_FAILED, EINTR, "tar was ended by signal %d", WTERMSIG(status));
        return error_set(err, ERROR_FAILED, EIO, "tar ended with %d: the archive is not whole", WEXITSTATUS(status));
}

/* In a child, which may ask for a passphrase, and be ended while it does. What failed before it is tar comes back
 * through the pipe. */
static int archive_write(const char *image, int out, const sigset_t *signals, const sigset_t *before, Error *err) {
        int ends[2], status;
        Error failure = {};
        pid_t child;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        child = fork();
        if (child == 0) {
                (void) sigprocmask(SIG_SETMASK, before, NULL);
                (void) tar_run(image, out, &failure);
                (void) write_all(ends[1], &failure, sizeof(failure));
                _exit(EXIT_FAILURE);
        }
        status = child < 0 ? -errno : wait_for(child, signals);
        (void) close(ends[1]);
        bool failed = read(ends[0], &failure, sizeof(failure)) == sizeof(failure);
        (void) close(ends[0]);
        if (child < 0)
                return error_errno(err, status, "cannot start another process");
        if (!failed)
                return judge(status, err);
        *err = failure;
        return error_code(err);
}

/* What is read of a volume is made for it, and goes again. */
static int export(const char *name, int out, const sigset_t *signals, const sigset_t *before, Error *err) {
        _cleanup_free_ char *image = NULL;
        Error later = {};
        int made, r;

        made = r = image_make(name, &image, err);
        if (r >= 0)
                r = archive_write(image, out, signals, before, err);
        if (made <= 0 || image_remove(image, &later) >= 0)
                return r;
        if (r < 0) /* the first failure is what is told, and this beside it */
                fprintf(stderr, "quarry: snapshot %s stays: %s\n", image, later.text);
        else
                *err = later;
        return error_code(err);
}

/* What was begun and did not become whole goes again. */
static int export_to_file(const char *name, const sigset_t *signals, const sigset_t *before, Error *err) {
        int fd, r;

        fd = output_make(arg_to, err);
        if (fd < 0)
                return fd;
        r = export(name, fd, signals, before, err);
        if (r >= 0 && fsync(fd) < 0)
                r = error_errno(err, errno, "cannot write %s", arg_to);
        (void) close(fd);
        if (r < 0)
                (void) unlink(arg_to);
        return r;
}

int verb_export(char **arguments) {
        static const int ending[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        sigset_t signals, before;
        Error err = {};
        int r;

        if (!arg_to && (arg_json || isatty(STDOUT_FILENO))) {
                error_field(&err, "--to", "--to: an archive is no text: name a file for it, or a pipe");
                return report_error("cannot export", arguments[0], &err);
        }
        (void) signal(SIGCHLD, SIG_DFL); /* ignored, as some leave it behind, it would hide how tar ended */
        sigemptyset(&signals);
        for (size_t i = 0; i < ELEMENTSOF(ending); i++)
                sigaddset(&signals, ending[i]);
        (void) sigprocmask(SIG_BLOCK, &signals, &before);
        r = arg_to ? export_to_file(arguments[0], &signals, &before, &err)
                   : export(arguments[0], STDOUT_FILENO, &signals, &before, &err);
        (void) sigprocmask(SIG_SETMASK, &before, NULL); /* a signal that came meanwhile ends this here */
        if (caught)
                (void) raise(caught);
        if (r < 0)
                return report_error("cannot export", arguments[0], &err);
        if (!arg_json)
                return EXIT_DONE;
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_STRING("file", arg_to)));
        return report_document(document);
}
