#include "front/http.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONTENT_TYPE "application/vnd.docker.plugins.v1.2+json"
#define BODY_MAX (64u << 10) /* a request has some hundred bytes; with labels, some KiB */
#define BODY_READ_MAX (1u << 20)
#define MEMORY_OF_ONE (16u << 10) /* of a connection, for the head of a request */

/* A container engine that starts asks for every volume at once, each on a connection of its own: those above wait to
 * be accepted. Others than administrators get few, and are cut off when they say nothing for long. Who is only told
 * that nothing is there for him, with however many ids, takes no member's place. */
#define PEERS_MAX 4096u
#define PEERS_OF_OTHERS_MAX 512u
#define PEERS_OF_STRANGERS_MAX 64u
#define PEERS_PER_OTHER_MAX 32u
#define OTHERS_IDLE_SECONDS 60u
#define ACCEPTED_AT_ONCE 64u
#define ACCEPT_PAUSE_MS 1000

/* Of one of them, on all connections together, and how many of these may come at once after a while without. */
#define REQUEST_USEC (UINT64_C(1000000) / 50)
#define REQUESTS_AT_ONCE 250u
#define PACE_MS 100

typedef struct Payer { /* who is no administrator, and has asked lately */
        struct Payer *next;
        uid_t uid;
        uint64_t paid_until; /* CLOCK_MONOTONIC: each request takes its time, ahead of now it is borrowed */
} Payer;

typedef struct Peer { /* of one connection */
        struct Peer *next, *previous;
        Caller caller;
} Peer;

struct HttpListener {
        Server *server;
        HttpEvents events;
        struct MHD_Daemon *mhd;
        int fd;
        sd_event_source *accept, *io, *timer, *soon;
        Peer *peers, *admitted; /* whose connection is being made */
        size_t n_peers;
        HttpCall *calls;
        Payer *payers;
        bool paces; /* some calls are not begun before they are paid for */
        bool runs; /* the library has been called */
        bool ends;
};

typedef enum HttpState { HTTP_READING, HTTP_PACED, HTTP_HANDLED, HTTP_WAITING, HTTP_ANSWERED } HttpState;

struct HttpCall {
        HttpCall *next, *previous;
        HttpListener *listener;            /* these two are NULL once the client is gone */
        struct MHD_Connection *connection;
        const Peer *peer;
        char *path, *body;
        size_t size;
        bool post;
        HttpState state;
        unsigned status;
        char *answer;
};

/* --- the loop -------------------------------------------------------------------------------------------- */

/* The library has its own epoll descriptor, and may want to look at connections although nothing came. */
static void arm(HttpListener *l) {
        int64_t ms = MHD_get_timeout64s(l->mhd);
        int accepts = SD_EVENT_ON;

        (void) sd_event_source_get_enabled(l->accept, &accepts);
        if (accepts == SD_EVENT_OFF && l->n_peers < PEERS_MAX && (ms < 0 || ms > ACCEPT_PAUSE_MS))
                ms = ACCEPT_PAUSE_MS;
        if (l->paces && (ms < 0 || ms > PACE_MS))
                ms = PACE_MS;
        if (ms > 0)
                (void) sd_event_source_set_time_relative(l->timer, (uint64_t) ms * 1000);
        (void) sd_event_source_set_enabled(l->timer, ms > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (ms == 0)
                (void) sd_event_source_set_enabled(l->soon, SD_EVENT_ONESHOT);
}

void http_flush(HttpListener *l) {
        if (!l || l->runs)
                return;
        l->runs = true;
        (void) MHD_run(l->mhd);
        l->runs = false;
        arm(l);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        http_flush(userdata);
        return 0;
}

static int on_soon(sd_event_source *source, void *userdata) {
        http_flush(userdata);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        HttpListener *l = userdata;

        if (l->n_peers < PEERS_MAX)
                (void) sd_event_source_set_enabled(l->accept, SD_EVENT_ON);
        l->paces = false;
        for (HttpCall *call = l->calls; call; call = call->next)
                if (call->state == HTTP_PACED)
                        MHD_resume_connection(call->connection);
        http_flush(l);
        return 0;
}

/* --- connections ----------------------------------------------------------------------------------------- */

static void peer_free(HttpListener *l, Peer *peer) {
        *(peer->previous ? &peer->previous->next : &l->peers) = peer->next;
        if (peer->next)
                peer->next->previous = peer->previous;
        l->n_peers--;
        server_caller_done(&peer->caller);
        free(peer);
        if (!l->ends)
                (void) sd_event_source_set_enabled(l->accept, SD_EVENT_ON);
}

static bool is_welcome(const HttpListener *l, const Caller *caller) {
        unsigned n_alike = 0, n_user = 0;
        bool stranger;

        if (caller->admin)
                return true;
        stranger = l->events.is_stranger(caller, l->events.userdata);
        for (const Peer *p = l->peers; p; p = p->next) {
                n_alike += !p->caller.admin && l->events.is_stranger(&p->caller, l->events.userdata) == stranger;
                n_user += p->caller.uid == caller->uid;
        }
        return n_alike < (stranger ? PEERS_OF_STRANGERS_MAX : PEERS_OF_OTHERS_MAX) && n_user < PEERS_PER_OTHER_MAX;
}

static Peer *peer_new(HttpListener *l, int fd) {
        Peer *peer = calloc(1, sizeof(*peer));

        if (!peer)
                return NULL;
        if (server_caller_of(fd, server_manager(l->server), &peer->caller) < 0 || !is_welcome(l, &peer->caller)) {
                log_debug("http", "a connection of user %u is refused", peer->caller.uid);
                server_caller_done(&peer->caller);
                free(peer);
                return NULL;
        }
        peer->next = l->peers;
        if (l->peers)
                l->peers->previous = peer;
        l->peers = peer;
        l->n_peers++;
        return peer;
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code) {
        HttpListener *l = userdata;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                Peer *peer = TAKE_PTR(l->admitted);

                *context = peer;
                if (peer && peer->caller.admin)
                        (void) MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
        } else if (*context)
                peer_free(l, TAKE_PTR(*context));
}

/* The library takes the descriptor over in every case. */
static void admit(HttpListener *l, int fd, const struct sockaddr_un *address, socklen_t size) {
        Peer *peer = peer_new(l, fd);

        if (!peer) {
                close(fd);
                return;
        }
        l->admitted = peer;
        (void) MHD_add_connection(l->mhd, fd, (const struct sockaddr *) address, size);
        if (l->admitted)
                peer_free(l, TAKE_PTR(l->admitted));
}

/* Where descriptors are scarce it is tried again a little later. */
static int on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        HttpListener *l = userdata;

        for (unsigned i = 0; i < ACCEPTED_AT_ONCE; i++) {
                struct sockaddr_un address;
                socklen_t size = sizeof(address);
                int r = -EMFILE;

                if (l->n_peers < PEERS_MAX)
                        r = RET_NERRNO(accept4(fd, (struct sockaddr *) &address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
                if (r >= 0)
                        admit(l, r, &address, size);
                else if (r == -EAGAIN)
                        break;
                else if (r != -EINTR && r != -ECONNABORTED) {
                        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
                        break;
                }
        }
        (void) sd_event_source_set_enabled(l->soon, SD_EVENT_ONESHOT);
        return 0;
}

/* --- calls ----------------------------------------------------------------------------------------------- */

const Caller *http_caller(const HttpCall *call) {
        return &call->peer->caller;
}

const char *http_path(const HttpCall *call) {
        return call->path;
}

const char *http_body(const HttpCall *call) {
        if (!call->body)
                return "";
        return strlen(call->body) == call->size ? call->body : NULL;
}

bool http_is_post(const HttpCall *call) {
        return call->post;
}

int http_process(const HttpCall *call) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(call->connection,
                                                                       MHD_CONNECTION_INFO_CONNECTION_FD);
        socklen_t size = sizeof(int);
        int fd;

        if (!info)
                return -ENOTCONN;
        return getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) < 0 ? -errno : fd;
}

bool http_is_gone(const HttpCall *call) {
        const union MHD_ConnectionInfo *info = call->connection
                                                       ? MHD_get_connection_info(call->connection,
                                                                                 MHD_CONNECTION_INFO_CONNECTION_FD)
                                                       : NULL;
        struct pollfd peer = { .fd = info ? info->connect_fd : -EBADF };

        return !info || (poll(&peer, 1, 0) > 0 && peer.revents & (POLLHUP | POLLERR));
}

static HttpCall *call_new(HttpListener *l, struct MHD_Connection *connection, const char *path, const char *method) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        HttpCall *call = calloc(1, sizeof(*call));

        if (!call || !info || !info->socket_context) {
                free(call);
                return NULL;
        }
        *call = (HttpCall) { .listener = l,
                             .connection = connection,
                             .peer = info->socket_context,
                             .path = strdup(path),
                             .post = streq(method, MHD_HTTP_METHOD_POST) };
        if (!call->path) {
                free(call);
                return NULL;
        }
        call->next = l->calls;
        if (l->calls)
                l->calls->previous = call;
        l->calls = call;
        return call;
}

static void call_free(HttpCall *call) {
        free(call->path);
        free(call->body);
        free(call->answer);
        free(call);
}

/* The client is gone, or has its answer. A call that waits is freed when that is answered. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code) {
        HttpListener *l = userdata;
        HttpCall *call = TAKE_PTR(*context);

        if (!call)
                return;
        *(call->previous ? &call->previous->next : &l->calls) = call->next;
        if (call->next)
                call->next->previous = call->previous;
        call->listener = NULL;
        call->connection = NULL;
        call->peer = NULL;
        if (call->state != HTTP_WAITING)
                call_free(call);
}

static void answer(HttpCall *call, unsigned status, char *text) {
        HttpListener *l = call->listener;
        HttpState before = call->state;

        call->status = status;
        call->answer = text;
        call->state = HTTP_ANSWERED;
        if (before != HTTP_WAITING) /* the library has called us */
                return;
        if (!l)
                call_free(call);
        else {
                MHD_resume_connection(call->connection);
                (void) sd_event_source_set_enabled(l->soon, SD_EVENT_ONESHOT);
        }
}

/* NULL: out of memory, and the connection is closed. */
static char *format(sd_json_variant *v) {
        char *text = NULL;

        if (sd_json_variant_format(v, 0, &text) < 0)
                log_error("http", "cannot answer: out of memory");
        return text;
}

void http_answer(HttpCall *call, sd_json_variant *v) {
        answer(call, MHD_HTTP_OK, format(v));
}

static char *format_error(const Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char text[sizeof(err->text) + sizeof(err->hint) + 16];

        buffer_format(text, sizeof(text), "%s%s%s", isempty(err->text) ? error_kind_sentence(err->kind) : err->text,
                      isempty(err->hint) ? "" : "; try: ", err->hint);
        (void) sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("Err", text));
        return format(v);
}

void http_answer_error_as(HttpCall *call, unsigned status, const Error *err) {
        answer(call, status, format_error(err));
}

void http_answer_error(HttpCall *call, const Error *err) {
        http_answer_error_as(call, error_kind_http_status(err->kind), err);
}

void http_hang_up(HttpCall *call) {
        answer(call, 0, NULL);
}

static enum MHD_Result send_answer(HttpCall *call) {
        struct MHD_Response *response;
        enum MHD_Result result;

        if (!call->answer)
                return MHD_NO;
        response = MHD_create_response_from_buffer(strlen(call->answer), call->answer, MHD_RESPMEM_MUST_FREE);
        if (!response)
                return MHD_NO;
        call->answer = NULL;
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, CONTENT_TYPE);
        if (result == MHD_YES)
                result = MHD_queue_response(call->connection, call->status, response);
        MHD_destroy_response(response);
        return result;
}

/* What is too large is read, so that its sender hears the answer, and forgotten; what does not end is cut off. */
static enum MHD_Result take_body(HttpCall *call, const char *data, size_t *size) {
        size_t n = *size;
        char *body;

        *size = 0;
        call->size += n;
        if (call->size > BODY_MAX)
                return call->size > BODY_READ_MAX ? MHD_NO : MHD_YES;
        body = realloc(call->body, call->size + 1);
        if (!body)
                return MHD_NO;
        memcpy(body + call->size - n, data, n);
        body[call->size] = 0;
        call->body = body;
        return MHD_YES;
}

/* Takes those off the list who owe nothing. */
static Payer *payer_find(HttpListener *l, uid_t uid, uint64_t now) {
        Payer *found = NULL;

        for (Payer **at = &l->payers; *at;) {
                Payer *payer = *at;

                if (payer->uid == uid)
                        found = payer;
                if (payer->uid == uid || payer->paid_until > now) {
                        at = &payer->next;
                        continue;
                }
                *at = payer->next;
                free(payer);
        }
        if (!found && (found = calloc(1, sizeof(*found)))) {
                found->uid = uid;
                found->next = l->payers;
                l->payers = found;
        }
        return found;
}

static bool is_paid(HttpListener *l, const Caller *caller) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);
        Payer *payer = caller->admin ? NULL : payer_find(l, caller->uid, now);

        if (!payer)
                return caller->admin;
        if (payer->paid_until > now + REQUESTS_AT_ONCE * REQUEST_USEC)
                return false;
        payer->paid_until = (payer->paid_until > now ? payer->paid_until : now) + REQUEST_USEC;
        return true;
}

/* Returns whether it goes on later. */
static bool wait_for_turn(HttpListener *l, HttpCall *call) {
        if (is_paid(l, &call->peer->caller))
                return false;
        call->state = HTTP_PACED;
        l->paces = true;
        MHD_suspend_connection(call->connection);
        return true;
}

static void refuse_large(HttpCall *call) {
        Error err = {};

        error_set(&err, ERROR_BAD_REQUEST, E2BIG, "the request has more than %u bytes", BODY_MAX);
        call->answer = format_error(&err);
        call->status = MHD_HTTP_CONTENT_TOO_LARGE;
        call->state = HTTP_ANSWERED;
}

/* Called when the head of a request is there, for each part of its body, when it is whole, and when a connection that
 * was suspended goes on. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **context) {
        HttpListener *l = userdata;
        HttpCall *call = *context;

        if (!call) {
                *context = call = call_new(l, connection, path, method);
                return call ? MHD_YES : MHD_NO;
        }
        if (*size > 0)
                return take_body(call, data, size);
        if (call->state == HTTP_READING || call->state == HTTP_PACED) {
                if (wait_for_turn(l, call))
                        return MHD_YES;
                call->state = HTTP_HANDLED;
                if (call->size > BODY_MAX)
                        refuse_large(call);
                else
                        l->events.on_call(call, l->events.userdata);
                if (call->state == HTTP_HANDLED) {
                        call->state = HTTP_WAITING;
                        MHD_suspend_connection(connection);
                        return MHD_YES;
                }
        }
        return call->state == HTTP_ANSWERED ? send_answer(call) : MHD_NO;
}

/* --- set-up ---------------------------------------------------------------------------------------------- */

static void on_log(void *userdata, const char *format, va_list ap) {
        char text[256];

        if (vsnprintf(text, sizeof(text), format, ap) < 0)
                return;
        text[strcspn(text, "\n")] = 0;
        text_clean(text);
        log_debug("http", "%s", text);
}

static int library_start(HttpListener *l) {
        l->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_NO_THREAD_SAFETY |
                                          MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
                                  0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                  MHD_OPTION_CONNECTION_LIMIT, PEERS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                  (size_t) MEMORY_OF_ONE, MHD_OPTION_CONNECTION_TIMEOUT, OTHERS_IDLE_SECONDS,
                                  MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_NOTIFY_COMPLETED,
                                  on_completed, l, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
        return l->mhd ? 0 : -EIO;
}

static int loop_attach(HttpListener *l, sd_event *event) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD);
        int r;

        if (!info)
                return -EIO;
        r = sd_event_add_io(event, &l->io, info->epoll_fd, EPOLLIN, on_io, l);
        if (r >= 0)
                r = sd_event_add_io(event, &l->accept, l->fd, EPOLLIN, on_accept, l);
        if (r >= 0)
                r = sd_event_add_time(event, &l->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer, l);
        if (r >= 0)
                r = sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &l->soon, on_soon, l);
        return r < 0 ? r : sd_event_source_set_enabled(l->soon, SD_EVENT_OFF);
}

int http_listener_new(Server *server, int fd, const HttpEvents *events, HttpListener **ret, Error *err) {
        _cleanup_(http_listener_freep) HttpListener *l = calloc(1, sizeof(*l));
        int r;

        if (!l) {
                close(fd);
                return error_oom(err);
        }
        *l = (HttpListener) { .server = server, .events = *events, .fd = fd };
        r = library_start(l);
        if (r >= 0)
                r = loop_attach(l, server_manager(server)->event);
        if (r < 0)
                return error_errno(err, r, "cannot serve the socket");
        *ret = TAKE_PTR(l);
        return 0;
}

/* The library must not be stopped while connections are suspended. */
void http_listener_free(HttpListener *l) {
        if (!l)
                return;
        l->ends = true;
        sd_event_source_disable_unref(l->accept);
        sd_event_source_disable_unref(l->io);
        sd_event_source_disable_unref(l->timer);
        sd_event_source_disable_unref(l->soon);
        for (HttpCall *call = l->calls; call; call = call->next)
                if (call->state == HTTP_WAITING || call->state == HTTP_PACED)
                        MHD_resume_connection(call->connection);
        if (l->mhd)
                MHD_stop_daemon(l->mhd);
        while (l->payers) {
                Payer *next = l->payers->next;

                free(l->payers);
                l->payers = next;
        }
        close(l->fd);
        free(l);
}
