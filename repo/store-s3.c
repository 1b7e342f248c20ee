/* A bucket of an S3 service, by way of quarry-s3: libcurl, and all that parses what the network says, is there, in a
 * process without rights. */

#include "store-s3.h"

#include <quarry/text.h>

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ANSWER_SECONDS_MIN 60 /* beside what it may try */
#define END_MSEC 2000         /* of one that has nothing to do */

static_assert(S3_NAME_MAX == STORE_NAME_MAX && S3_OBJECT_MAX == STORE_OBJECT_MAX, "they carry the same objects");

typedef struct StoreS3 {
        Store store;
        int fd;
        pid_t child;    /* 0 when it has ended */
        bool is_listing; /* its answers are items */
        Error broken;   /* what every call fails with, once one was not answered */
} StoreS3;

/* --- the helper ------------------------------------------------------------------------------------------- */

/* Signals of the terminal are quarry's, which ends this one. */
static _Noreturn void helper_exec(int fd) {
        const char *path = getenv("QUARRY_S3_HELPER") ?: S3_HELPER;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
        sigset_t none;
        Error err = {};

        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) setsid();
        if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0 &&
            (fd == S3_HELPER_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, S3_HELPER_FD)) >= 0 &&
            close_range(S3_HELPER_FD + 1, UINT32_MAX, 0) >= 0)
                execl(path, path, (char *) NULL);
        error_errno(&err, errno, "cannot run %s", path);
        error_hint(&err, "install what speaks to S3 services: %s", S3_HELPER);
        (void) s3_error_send(S3_HELPER_FD, &err);
        _exit(EXIT_FAILED);
}

static int helper_start(StoreS3 *s, Error *err) {
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return error_errno(err, errno, "cannot make a socket");
        pid_t child = fork();
        if (child == 0)
                helper_exec(ends[1]);
        int r = child < 0 ? error_errno(err, errno, "cannot start another process") : 0;
        (void) close(ends[1]);
        s->fd = ends[0];
        s->child = child > 0 ? child : 0;
        return r;
}

/* One that has nothing to do ends by itself, when nobody is at the other end. Returns how it ended, as waitpid() says
 * it. */
static int helper_end(StoreS3 *s, bool by_force) {
        _cleanup_close_ int pidfd = s->child > 0 ? pidfd_open(s->child, 0) : -EBADF;
        struct pollfd ended = { .fd = pidfd, .events = POLLIN };
        int status = 0;

        if (s->fd >= 0)
                (void) close(s->fd);
        s->fd = -EBADF;
        if (s->child <= 0)
                return 0;
        if (by_force || pidfd < 0 || poll(&ended, 1, END_MSEC) <= 0)
                (void) kill(s->child, SIGKILL);
        while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
                ;
        s->child = 0;
        return status;
}

/* --- requests --------------------------------------------------------------------------------------------- */

/* Nothing is asked of it any more, neither now nor later: what it says cannot be believed. */
static int break_off(StoreS3 *s, int number, Error *err) {
        bool has_gone = number == 0 || number == -EPIPE || number == -ECONNRESET;
        int status = helper_end(s, !has_gone);
        Error *why = &s->broken;

        if (!has_gone && (number == -EAGAIN || number == -EWOULDBLOCK))
                error_set(why, ERROR_FAILED, ETIMEDOUT, "quarry-s3 does not answer");
        else if (!has_gone)
                error_errno(why, number, "quarry-s3 is not understood");
        else if (WIFSIGNALED(status))
                error_set(why, ERROR_FAILED, ECONNRESET, "quarry-s3 was ended by signal %d", WTERMSIG(status));
        else
                error_set(why, ERROR_FAILED, ECONNRESET, "quarry-s3 ended with %d", WEXITSTATUS(status));
        error_hint(why, "run it again: what is in the bucket already is not sent twice");
        if (err)
                *err = *why;
        return error_code(why);
}

static int receive(StoreS3 *s, S3Message *ret, Error *err) {
        int r = s3_message_receive(s->fd, ret);

        return r > 0 ? 0 : break_off(s, r, err);
}

/* Returns 0 with the last answer in ret, which is S3_DONE; what comes before goes to each. */
static int request_finish(StoreS3 *s, int (*on_item)(const char *name, void *userdata), void *userdata, S3Message *ret,
                          Error *err) {
        int r;

        for (;;) {
                _cleanup_(s3_message_done) S3Message m = {};

                r = receive(s, &m, err);
                if (r < 0)
                        return r;
                if (m.op == S3_FAILED)
                        return s3_error_take(&m, err);
                if (m.op == S3_DONE) {
                        *ret = m;
                        m = (S3Message) {};
                        return 0;
                }
                if (m.op != S3_ITEM || !on_item)
                        return break_off(s, -EBADMSG, err);
                r = on_item(m.name, userdata);
                if (r < 0)
                        return break_off(s, r, err);
        }
}

static int request_send(StoreS3 *s, S3Op op, const char *name, const void *data, size_t size, Error *err) {
        int r;

        if (s->is_listing)
                return error_set(err, ERROR_FAILED, EBUSY, "nothing is asked of a bucket while it is listed");
        if (s->fd < 0) {
                if (err)
                        *err = s->broken;
                return error_code(&s->broken);
        }
        if (!s3_name_is_valid(name) || size > S3_OBJECT_MAX)
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "no object has name %s and %zu bytes", name, size);
        r = s3_message_send(s->fd, op, name, data, size);
        if (r == -EPIPE || r == -ECONNRESET)
                return 0; /* what it said before it went says more */
        return r < 0 ? break_off(s, r, err) : 0;
}

static int request(StoreS3 *s, S3Op op, const char *name, const void *data, size_t size, S3Message *ret, Error *err) {
        int r;

        r = request_send(s, op, name, data, size, err);
        return r < 0 ? r : request_finish(s, NULL, NULL, ret, err);
}

/* --- the store -------------------------------------------------------------------------------------------- */

static void s3_free(Store *store) {
        StoreS3 *s = (StoreS3 *) store;

        (void) helper_end(s, false);
        free(s);
}

static int s3_put(Store *store, const char *name, const void *data, size_t size, Error *err) {
        _cleanup_(s3_message_done) S3Message answer = {};

        return request((StoreS3 *) store, S3_PUT, name, data, size, &answer, err);
}

static int s3_get(Store *store, const char *name, uint8_t **ret, size_t *ret_size, Error *err) {
        _cleanup_(s3_message_done) S3Message answer = {};
        int r;

        r = request((StoreS3 *) store, S3_GET, name, NULL, 0, &answer, err);
        if (r < 0 || !streq(answer.name, "1"))
                return r;
        *ret = TAKE_PTR(answer.data);
        *ret_size = answer.size;
        return 1;
}

static int s3_has(Store *store, const char *name, Error *err) {
        _cleanup_(s3_message_done) S3Message answer = {};
        int r;

        r = request((StoreS3 *) store, S3_HAS, name, NULL, 0, &answer, err);
        return r < 0 ? r : streq(answer.name, "1");
}

static int s3_remove(Store *store, const char *name, Error *err) {
        _cleanup_(s3_message_done) S3Message answer = {};

        return request((StoreS3 *) store, S3_REMOVE, name, NULL, 0, &answer, err);
}

/* A service that has answered has it on its disks. */
static int s3_sync(Store *store, Error *err) {
        return 0;
}

typedef struct Walk {
        const char *kind;
        int (*each)(const char *name, void *userdata);
        void *userdata;
        int ended; /* what each returned to end it: the rest is received and passed over */
} Walk;

static int on_item(const char *name, void *userdata) {
        Walk *walk = userdata;
        const char *rest = startswith(name, walk->kind);

        if (!rest || *rest != '/' || !s3_name_is_valid(name))
                return -EBADMSG;
        if (walk->ended >= 0)
                walk->ended = walk->each(name, walk->userdata);
        return 0;
}

static int s3_list(Store *store, const char *kind, int (*each)(const char *name, void *userdata), void *userdata,
                   Error *err) {
        _cleanup_(s3_message_done) S3Message answer = {};
        Walk walk = { .kind = kind, .each = each, .userdata = userdata };
        StoreS3 *s = (StoreS3 *) store;
        int r;

        r = request_send(s, S3_LIST, kind, NULL, 0, err);
        if (r < 0)
                return r;
        s->is_listing = true;
        r = request_finish(s, on_item, &walk, &answer, err);
        s->is_listing = false;
        return r < 0 ? r : walk.ended < 0 ? walk.ended : 0;
}

static const StoreOps s3_ops = {
        .free = s3_free,
        .put = s3_put,
        .get = s3_get,
        .has = s3_has,
        .list = s3_list,
        .remove = s3_remove,
        .sync = s3_sync,
};

static void storep(StoreS3 **s) {
        if (*s)
                s3_free(&(*s)->store);
}

/* It has its own limits; longer than these takes only one that is stuck. */
static int limit_waiting(int fd, unsigned patience) {
        struct timeval time = { .tv_sec = ANSWER_SECONDS_MIN + 7 * (time_t) patience };

        return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0 ||
                               setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0
                       ? -errno
                       : 0;
}

int store_s3_new(const S3Place *place, const S3Credentials *credentials, Store **ret, Error *err) {
        _cleanup_(storep) StoreS3 *s = calloc(1, sizeof(*s));
        S3Opening opening = {};
        int r;

        if (!s)
                return error_oom(err);
        s->store.ops = &s3_ops;
        s->fd = -EBADF;
        r = s3_place_check(place, err);
        if (r >= 0)
                r = s3_credentials_check(credentials, err);
        if (r >= 0)
                r = helper_start(s, err);
        if (r < 0)
                return r;
        opening.place = *place;
        opening.credentials = *credentials;
        r = limit_waiting(s->fd, place->patience);
        if (r >= 0)
                r = s3_message_send(s->fd, S3_OPEN, NULL, &opening, sizeof(opening));
        s3_credentials_done(&opening.credentials);
        if (r < 0 && r != -EPIPE && r != -ECONNRESET) /* else the first request says why */
                return error_errno(err, r, "cannot speak to quarry-s3");
        *ret = &TAKE_PTR(s)->store;
        return 0;
}
