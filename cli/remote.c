#include "remote.h"

#include "child.h"
#include "must.h"
#include "report.h"

#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SSH "/usr/bin/ssh"
#define SSH_FAILED 255
#define SHELL_FOUND_NOTHING 127
#define ALIVE_SECONDS "15" /* a host that is gone is asked so often, and three times */
#define ANSWER_MAX (64 * MIB)
#define PATIENCE_MSEC 500

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* --- where it is ------------------------------------------------------------------------------------------ */

static bool is_made_of(const char *s, const char *set) {
        return *s && *s != '-' && strspn(s, set) == strlen(s);
}

static int wrong(const char *what, const char *text, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, "--to", "--to: \"%s\" is no %s: write ssh://[USER@]HOST[:PORT][/[POOL:][TENANT/]NAME]",
                           text_echo(text, echo), what);
}

/* [::1]:22 or host:22; the brackets go. */
static int take_host(char *text, Remote *ret, Error *err) {
        bool is_number = *text == '[';
        char *end = is_number ? strchr(text, ']') : text + strcspn(text, ":");
        uint64_t port;

        if (!end)
                return wrong("host", text, err);
        if (is_number)
                *end++ = 0;
        if (*end && *end != ':')
                return wrong("host", text, err);
        if (*end) {
                *end++ = 0;
                if (number_parse(end, &port) < 0 || port < 1 || port > UINT16_MAX)
                        return wrong("port", end, err);
                ret->port = must_have(strdup(end));
        }
        text += is_number;
        if (!is_made_of(text, is_number ? LETTERS DIGITS ".:%" : LETTERS DIGITS "._-"))
                return wrong("host", text, err);
        ret->host = must_have(strdup(text));
        return 0;
}

int remote_parse(const char *url, Remote *ret, Error *err) {
        const char *rest = startswith(url, "ssh://");
        _cleanup_free_ char *place = NULL;
        Remote remote = {};
        char *at, *host;
        int r;

        if (!rest)
                return wrong("address of another host", url, err);
        place = must_have(strndup(rest, strcspn(rest, "/")));
        rest += strlen(place);
        rest += *rest == '/';
        host = place;
        at = strrchr(place, '@');
        if (at) {
                *at = 0;
                host = at + 1;
                if (!is_made_of(place, LETTERS DIGITS "._-@+"))
                        return wrong("user", place, err);
                remote.user = must_have(strdup(place));
        }
        r = take_host(host, &remote, err);
        if (r >= 0 && *rest)
                r = reference_parse(rest, "--to", &remote.name, err);
        if (r >= 0 && *remote.name.snapshot)
                r = wrong("name of a volume", rest, err);
        if (r < 0) {
                remote_done(&remote);
                return r;
        }
        *ret = remote;
        return 0;
}

/* --- asking it -------------------------------------------------------------------------------------------- */

/* Up to where the host is named. The connection stays for a minute when nobody uses it, should this be killed. */
static char **ssh_arguments(const Remote *remote, const char *control) {
        _cleanup_free_ char *socket = must_have(format_new("-oControlPath=%s/ssh", remote->folder));
        char **list = NULL;

        must(strv_append(&list, "ssh"));
        must(strv_append(&list, "-oControlMaster=auto"));
        must(strv_append(&list, "-oControlPersist=60"));
        must(strv_append(&list, "-oServerAliveInterval=" ALIVE_SECONDS));
        must(strv_append(&list, socket));
        must(strv_append(&list, "-oClearAllForwardings=yes")); /* these settings are for a shell */
        must(strv_append(&list, "-oRemoteCommand=none"));
        must(strv_append(&list, "-T"));
        if (control) {
                must(strv_append(&list, "-q"));
                must(strv_append(&list, "-O"));
                must(strv_append(&list, control));
        }
        if (remote->port) {
                must(strv_append(&list, "-p"));
                must(strv_append(&list, remote->port));
        }
        if (remote->user) {
                must(strv_append(&list, "-l"));
                must(strv_append(&list, remote->user));
        }
        must(strv_append(&list, "--"));
        must(strv_append(&list, remote->host));
        return list;
}

static int folder_make(Remote *remote, Error *err) {
        if (*remote->folder)
                return 0;
        buffer_format(remote->folder, sizeof(remote->folder), "/tmp/quarry-XXXXXX");
        if (mkdtemp(remote->folder))
                return 0;
        *remote->folder = 0;
        return error_errno(err, errno, "cannot make a folder in /tmp");
}

int remote_start(Remote *remote, char *const *words, int in, RemoteCall *ret, Error *err) {
        _cleanup_strv_ char **list = NULL;
        int ends[2], r;

        r = folder_make(remote, err);
        if (r < 0)
                return r;
        list = ssh_arguments(remote, NULL);
        must(strv_append(&list, "quarry"));
        for (; *words; words++)
                must(strv_append(&list, *words));
        must(strv_append(&list, "--json"));
        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        r = child_start(SSH, list, in, ends[1], &ret->pid, err);
        (void) close(ends[1]);
        if (r < 0)
                (void) close(ends[0]);
        else
                ret->out = ends[0];
        return r;
}

/* Of somebody who was ended by a signal the connection may keep the other end of the pipe, whose host is gone. */
static bool comes_more(const RemoteCall *call) {
        struct pollfd fds = { .fd = call->out, .events = POLLIN };
        siginfo_t info = {};

        for (;;) {
                if (poll(&fds, 1, PATIENCE_MSEC) > 0)
                        return true;
                if (child_caught() && waitid(P_PID, (id_t) call->pid, &info, WEXITED | WNOHANG | WNOWAIT) >= 0 &&
                    info.si_pid == call->pid)
                        return false;
        }
}

/* NULL: there is no end of it. */
static char *read_all(const RemoteCall *call) {
        size_t size = 0, room = 4096;
        char *text = must_have(malloc(room));
        ssize_t n;

        while (comes_more(call) && (n = read(call->out, text + size, room - size - 1)) != 0) {
                if (n < 0 && errno != EINTR)
                        break;
                size += n > 0 ? (size_t) n : 0;
                if (size >= ANSWER_MAX) {
                        free(text);
                        return NULL;
                }
                if (room - size < 2)
                        text = must_have(realloc(text, room *= 2));
        }
        text[size] = 0;
        return text;
}

static int take_failure(const Remote *remote, sd_json_variant *document, Error *err) {
        sd_json_variant *failure = sd_json_variant_by_key(document, "error");

        if (!failure)
                failure = sd_json_variant_by_index(sd_json_variant_by_key(document, "errors"), 0);
        if (!failure)
                return 0;
        error_from_json(err, json_string(failure, "kind"), failure);
        error_prefix(err, "at %s", remote->host);
        if (*err->hint) {
                _cleanup_free_ char *hint = must_have(strdup(err->hint));

                error_hint(err, "at %s: %s", remote->host, hint);
        }
        return error_code(err);
}

static int judge(const Remote *remote, int status, Error *err) {
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

        if (child_caught())
                return error_set(err, ERROR_FAILED, ECANCELED, "it was ended by a signal");
        if (code == SHELL_FOUND_NOTHING) {
                error_set(err, ERROR_FAILED, ENOENT, "%s has no quarry in the PATH of who logs in", remote->host);
                error_hint(err, "ssh %s quarry --version", remote->host);
                return error_code(err);
        }
        if (code == SSH_FAILED || code < 0)
                return error_set(err, ERROR_FAILED, ECONNRESET, "ssh to %s%s%s failed", remote->host,
                                 remote->port ? ", port " : "", remote->port ?: "");
        return error_set(err, ERROR_FAILED, EPROTO, "quarry at %s ended with %d, and no answer that is understood",
                         remote->host, code);
}

int remote_finish(const Remote *remote, RemoteCall *call, sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *text = read_all(call);
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        int status, r;

        closep(&call->out);
        if (!text)
                (void) kill(call->pid, SIGTERM);
        status = child_wait(call->pid);
        if (!text)
                return error_set(err, ERROR_FAILED, EPROTO, "quarry at %s says more than is taken for an answer",
                                 remote->host);
        if (sd_json_parse(text, 0, &document, NULL, NULL) < 0 || !sd_json_variant_is_object(document))
                return judge(remote, status, err);
        r = take_failure(remote, document, err);
        if (r < 0)
                return r;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_DONE)
                return judge(remote, status, err);
        if (json_unsigned(document, "version") != 1)
                return error_set(err, ERROR_NOT_SUPPORTED, EPROTO, "quarry at %s is of another kind than this one",
                                 remote->host);
        if (ret)
                *ret = TAKE_PTR(document);
        return 0;
}

int remote_call(Remote *remote, char *const *words, sd_json_variant **ret, Error *err) {
        RemoteCall call;
        int r;

        r = remote_start(remote, words, -EBADF, &call, err);
        return r < 0 ? r : remote_finish(remote, &call, ret, err);
}

void remote_done(Remote *remote) {
        if (*remote->folder) {
                _cleanup_strv_ char **list = ssh_arguments(remote, "exit");
                _cleanup_free_ char *socket = must_have(format_new("%s/ssh", remote->folder));
                _cleanup_close_ int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
                Error ignored = {};
                pid_t pid;

                if (child_start(SSH, list, -EBADF, nothing, &pid, &ignored) >= 0)
                        (void) child_wait(pid);
                (void) unlink(socket); /* it says that it ends, and takes that away later */
                (void) rmdir(remote->folder);
        }
        free(remote->user);
        free(remote->host);
        free(remote->port);
        *remote = (Remote) {};
}

char *remote_quote(const char *text) {
        for (const char *c = text; *c; c++)
                if (strchr("'\\!", *c) || (unsigned char) *c < ' ')
                        return NULL;
        return must_have(format_new("'%s'", text));
}
