#include "front/gate.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* What may come before it is a request: one has some hundred bytes, while the library would take up to 16 MiB, and
 * parse for seconds what it holds, before anybody can look at it. */
#define INPUT_MAX (256u << 10)
#define CHUNK (64u << 10)

/* Requests of one user, of which this many may come at once after a while without. */
#define REQUEST_USEC (UINT64_C(1000000) / 50)
#define REQUESTS_AT_ONCE 250u
#define PACE_USEC UINT64_C(100000)
#define RECENT_MAX 1000u
#define DESCRIPTORS_MAX 253u /* in one message; the kernel's SCM_MAX_FD */

/* One may wait for ever, if its user wants it to; and one user may have the ids of many. So a tenant has a part of
 * those that there can be, and who is of none takes no place of a member's. */
#define CHILDREN_MAX 128u
#define CHILDREN_PER_TENANT_MAX 48u
#define CHILDREN_PER_USER_MAX 32u
#define CHILDREN_OF_STRANGERS_MAX 32u

struct GateChild {
        GateChild *next;
        Gates *gates;
        Gate *gate; /* that goes on when it ends, if that is still there */
        uid_t uid;
        char tenant[TENANT_NAME_MAX + 1]; /* of its user; "": none */
        sd_event_source *source;
};

struct GateUser {
        GateUser *next;
        uid_t uid;
        unsigned n_gates;
        uint64_t paid_until; /* CLOCK_MONOTONIC: each request takes its time, ahead of now it is borrowed */
        unsigned recent; /* requests, of which half is forgotten with each second */
        uint64_t recent_at; /* CLOCK_MONOTONIC, microseconds */
};

struct Gate {
        Gate *next;
        GateUser *user;
        Gates *gates;
        void *client;
        uid_t uid;
        int fd, inner;
        sd_event_source *fd_source, *inner_source;
        GateChild *child; /* reads what comes next */
        bool waits; /* what comes next, until there may be a child for it */
        bool paced; /* its user has asked for too much: nothing is read until that is paid for */
        bool in_is_full, out_is_full; /* the library, and the client, take no more now */
        bool eof, ended;
        bool has_dropped; /* descriptors of somebody who may send none */
        size_t n_input;
};

/* Descriptors that hang on what is read or written. */
typedef struct Passed {
        int fds[DESCRIPTORS_MAX];
        size_t n;
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
        } control;
} Passed;

/* --- messages ------------------------------------------------------------------------------------------- */

/* What is there stays there. Without a place for descriptors the kernel says that there were some: what is returned
 * then may not be taken off here. */
static ssize_t peek(int fd, void *buffer, size_t size, Passed *passed, bool *ret_has) {
        struct msghdr message = {
                .msg_iov = &(struct iovec) { .iov_base = buffer, .iov_len = size },
                .msg_iovlen = 1,
                .msg_control = passed ? &passed->control : NULL,
                .msg_controllen = passed ? sizeof(passed->control) : 0,
        };
        ssize_t n = RET_NERRNO(recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC));

        if (n < 0)
                return n;
        if (ret_has)
                *ret_has = message.msg_flags & MSG_CTRUNC;
        if (!passed)
                return n;
        passed->n = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                        passed->n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(passed->fds, CMSG_DATA(c), passed->n * sizeof(int));
                }
        return n;
}

static ssize_t put(int fd, const void *buffer, size_t size, Passed *passed) {
        struct msghdr message = {
                .msg_iov = &(struct iovec) { .iov_base = (void *) buffer, .iov_len = size },
                .msg_iovlen = 1,
        };

        if (passed && passed->n > 0) {
                struct cmsghdr *c = &passed->control.header;

                message.msg_control = &passed->control;
                message.msg_controllen = CMSG_SPACE(passed->n * sizeof(int));
                *c = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS,
                                        .cmsg_len = CMSG_LEN(passed->n * sizeof(int)) };
                memcpy(passed->control.space + CMSG_LEN(0), passed->fds, passed->n * sizeof(int));
        }
        return RET_NERRNO(sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* Takes off what was peeked at. */
static void take(int fd, char *buffer, size_t size) {
        (void) recv(fd, buffer, size, MSG_DONTWAIT);
}

/* --- in a child ----------------------------------------------------------------------------------------- */

/* Whatever it waits for, nobody else's connection or file waits with it. */
static void close_others(int a, int b) {
        int low = a < b ? a : b, high = a < b ? b : a;

        if (low > 3)
                (void) close_range(3, (unsigned) low - 1, 0);
        if (high > low + 1)
                (void) close_range((unsigned) low + 1, (unsigned) high - 1, 0);
        (void) close_range((unsigned) high + 1, UINT_MAX, 0);
}

/* A passphrase in memory, or a user namespace. Every other kind has a path, or another word for its name. */
static bool may_belong_to_request(int fd) {
        char path[64], name[sizeof("user:[")];

        if (fcntl(fd, F_GET_SEALS) >= 0)
                return true;
        buffer_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        return readlink(path, name, sizeof(name)) > 6 && strncmp(name, "user:[", 6) == 0;
}

/* Its bytes go on with all of its descriptors, or with none: they are known by their number. Whoever is asked whether
 * one is harmless may not answer either. */
static int hand_on(int fd, int inner, bool with_descriptors) {
        char buffer[CHUNK];
        Passed passed = {};
        ssize_t n = peek(fd, buffer, sizeof(buffer), with_descriptors ? &passed : NULL, NULL);

        if (n <= 0)
                return (int) n;
        for (size_t i = 0; i < passed.n; i++)
                if (!may_belong_to_request(passed.fds[i])) {
                        passed.n = 0;
                        break;
                }
        for (ssize_t done = 0, m; done < n; done += m) {
                m = put(inner, buffer + done, (size_t) (n - done), &passed);
                if (m == -EAGAIN) {
                        (void) poll(&(struct pollfd) { .fd = inner, .events = POLLOUT }, 1, -1);
                        m = 0;
                } else if (m < 0)
                        return (int) m;
                else
                        passed.n = 0;
        }
        (void) alarm(1); /* a socket that lingers does not when its process ends */
        take(fd, buffer, (size_t) n);
        return 0;
}

/* inner < 0: what the connection has left goes with it, here. */
_Noreturn static void child_run(int fd, int inner, bool with_descriptors) {
        close_others(fd, inner >= 0 ? inner : fd);
        _exit(inner >= 0 && hand_on(fd, inner, with_descriptors) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* --- children ------------------------------------------------------------------------------------------- */

static void child_free(GateChild *child) {
        GateChild **at = &child->gates->children;

        while (*at != child)
                at = &(*at)->next;
        *at = child->next;
        if (child->gate)
                child->gate->child = NULL;
        sd_event_source_disable_unref(child->source);
        free(child);
}

static void gate_end(Gate *gate);

static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata) {
        GateChild *child = userdata;
        Gates *gates = child->gates;

        /* One that was killed at its last act has handed on everything. */
        if (child->gate && !(si->si_code == CLD_EXITED ? si->si_status == 0 : si->si_status == SIGALRM))
                gate_end(child->gate);
        child_free(child);
        gates_go_on(gates);
        return 0;
}

static bool may_have_child(const Gates *gates, uid_t uid, const char *tenant) {
        unsigned n_members = 0, n_tenant = 0, n_user = 0;

        for (const GateChild *c = gates->children; c; c = c->next) {
                n_members += !isempty(c->tenant);
                n_tenant += streq(c->tenant, tenant); /* or of none */
                n_user += c->uid == uid;
        }
        if (n_user >= CHILDREN_PER_USER_MAX)
                return false;
        return isempty(tenant) ? n_tenant < CHILDREN_OF_STRANGERS_MAX
                               : n_tenant < CHILDREN_PER_TENANT_MAX && n_members < CHILDREN_MAX;
}

/* Descriptors go on if its user is of a tenant. */
static int child_start(Gate *gate, int inner, const char *tenant) {
        GateChild *child = calloc(1, sizeof(*child));
        pid_t pid;
        int r;

        if (!child)
                return -ENOMEM;
        pid = fork();
        if (pid == 0)
                child_run(gate->fd, inner, !isempty(tenant));
        if (pid < 0) {
                r = -errno;
                free(child);
                return r;
        }
        *child = (GateChild) { .gates = gate->gates, .uid = gate->uid, .next = gate->gates->children };
        buffer_format(child->tenant, sizeof(child->tenant), "%s", tenant);
        gate->gates->children = child;
        r = sd_event_add_child(gate->gates->event, &child->source, pid, WEXITED, on_child, child);
        if (r < 0) { /* nobody will tell when it is done with the connection */
                child_free(child);
                return inner >= 0 ? r : 0;
        }
        if (inner >= 0) {
                child->gate = gate;
                gate->child = child;
        }
        return 0;
}

/* --- both ways ------------------------------------------------------------------------------------------ */

static bool may_read(const Gate *gate) {
        return !gate->ended && !gate->eof && !gate->child && !gate->waits && !gate->paced && !gate->in_is_full;
}

/* Sources hear of a hang-up whatever they wait for: one that can do nothing about it yet is turned off. */
static void listen_anew(Gate *gate) {
        bool reads = may_read(gate);
        bool hears = !gate->ended && (reads || gate->out_is_full || gate->eof);

        (void) sd_event_source_set_io_events(gate->fd_source,
                                             (reads ? EPOLLIN : 0u) | (gate->out_is_full ? EPOLLOUT : 0u));
        (void) sd_event_source_set_enabled(gate->fd_source, hears ? SD_EVENT_ON : SD_EVENT_OFF);
        (void) sd_event_source_set_io_events(gate->inner_source,
                                             (gate->out_is_full ? 0u : EPOLLIN) | (gate->in_is_full ? EPOLLOUT : 0u));
        (void) sd_event_source_set_enabled(gate->inner_source, gate->ended ? SD_EVENT_OFF : SD_EVENT_ON);
}

/* The library sees the hang-up, and frees what belongs to the connection. */
static void gate_end(Gate *gate) {
        gate->ended = true;
        (void) shutdown(gate->inner, SHUT_RDWR);
        listen_anew(gate);
}

static void pass_descriptors(Gate *gate) {
        char tenant[TENANT_NAME_MAX + 1] = "";
        int may = gate->gates->may_pass(gate->client, tenant);

        gate->waits = may == -EAGAIN || !may_have_child(gate->gates, gate->uid, tenant);
        if (gate->waits)
                return;
        if (may <= 0 && gate->has_dropped) {
                log_debug("varlink", "user %u sends descriptors again and again: the connection is closed", gate->uid);
                return gate_end(gate);
        }
        gate->has_dropped = may <= 0;
        if (child_start(gate, gate->inner, tenant) < 0)
                gate_end(gate);
}

static uint64_t now(const Gates *gates) {
        uint64_t usec = 0;

        (void) sd_event_now(gates->event, CLOCK_MONOTONIC, &usec);
        return usec;
}

static int on_pace(sd_event_source *source, uint64_t usec, void *userdata) {
        Gates *gates = userdata;

        for (Gate *gate = gates->first; gate; gate = gate->next) {
                gate->paced = false;
                listen_anew(gate);
        }
        return 0;
}

static bool asks_too_much(Gate *gate) {
        Gates *gates = gate->gates;

        gate->paced = gate->user->paid_until > now(gates) + REQUESTS_AT_ONCE * REQUEST_USEC;
        if (gate->paced && sd_event_source_get_enabled(gates->pace_source, NULL) == 0) {
                (void) sd_event_source_set_time_relative(gates->pace_source, PACE_USEC);
                (void) sd_event_source_set_enabled(gates->pace_source, SD_EVENT_ONESHOT);
        }
        return gate->paced;
}

/* Who asked for less of late goes first: a request of theirs waits for one of somebody who asks all the time, and not
 * for one on each of that user's connections. */
static int take_turn(Gate *gate) {
        unsigned recent = gate->user->recent < RECENT_MAX ? gate->user->recent : RECENT_MAX;

        return sd_event_source_set_priority(gate->fd_source, SD_EVENT_PRIORITY_NORMAL + 1 + (int) recent);
}

/* The end of each request is a zero; who sends parts of them pays for each. */
static void pay(Gate *gate, const char *data, size_t size) {
        GateUser *user = gate->user;
        uint64_t usec = now(gate->gates), seconds = (usec - user->recent_at) / 1000000;
        unsigned n = 0;

        for (size_t i = 0; i < size; i++)
                n += data[i] == 0;
        n = n > 0 ? n : 1;
        user->paid_until = (user->paid_until > usec ? user->paid_until : usec) + n * REQUEST_USEC;
        user->recent = (seconds < 32 ? user->recent >> seconds : 0) + n;
        user->recent_at += seconds * 1000000;
        (void) take_turn(gate);
}

static void pass_in(Gate *gate) {
        char buffer[CHUNK];
        bool has_descriptors;
        ssize_t n = peek(gate->fd, buffer, sizeof(buffer), NULL, &has_descriptors);

        if (n == -EAGAIN)
                return;
        if (n <= 0) {
                gate->eof = true;
                (void) shutdown(gate->inner, SHUT_WR);
                return;
        }
        if (asks_too_much(gate))
                return;
        if (has_descriptors) {
                pay(gate, buffer, (size_t) n);
                return pass_descriptors(gate);
        }
        n = put(gate->inner, buffer, (size_t) n, NULL);
        gate->in_is_full = n == -EAGAIN;
        if (gate->in_is_full)
                return;
        if (n < 0)
                return gate_end(gate);
        take(gate->fd, buffer, (size_t) n);
        pay(gate, buffer, (size_t) n);
        gate->n_input += (size_t) n;
        if (gate->n_input > INPUT_MAX) {
                log_debug("varlink", "user %u sends more than a request can have: the connection is closed", gate->uid);
                gate_end(gate);
        }
}

/* Whether there may be more. */
static bool pass_out(Gate *gate) {
        char buffer[CHUNK];
        Passed passed = {};
        ssize_t n = peek(gate->inner, buffer, sizeof(buffer), &passed, NULL);

        if (n <= 0)
                return false;
        n = put(gate->fd, buffer, (size_t) n, &passed);
        for (size_t i = 0; i < passed.n; i++)
                (void) close(passed.fds[i]);
        gate->out_is_full = n == -EAGAIN;
        if (n > 0)
                take(gate->inner, buffer, (size_t) n);
        else if (n != -EAGAIN)
                gate_end(gate);
        return n > 0;
}

static int on_fd(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Gate *gate = userdata;

        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                (void) pass_out(gate);
        if (may_read(gate))
                pass_in(gate);
        if (gate->eof && (events & EPOLLHUP))
                gate_end(gate);
        listen_anew(gate);
        return 0;
}

static int on_inner(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Gate *gate = userdata;

        if (events & EPOLLIN)
                (void) pass_out(gate);
        if (events & EPOLLOUT)
                gate->in_is_full = false;
        listen_anew(gate);
        return 0;
}

void gates_go_on(Gates *gates) {
        for (Gate *gate = gates->first; gate; gate = gate->next) {
                gate->waits = false;
                listen_anew(gate);
        }
}

int gates_init(Gates *gates, sd_event *event, int (*may_pass)(void *client, char tenant[static TENANT_NAME_MAX + 1])) {
        int r;

        *gates = (Gates) { .event = event, .may_pass = may_pass };
        r = sd_event_add_time(event, &gates->pace_source, CLOCK_MONOTONIC, 0, 0, on_pace, gates);
        return r < 0 ? r : sd_event_source_set_enabled(gates->pace_source, SD_EVENT_OFF);
}

void gates_done(Gates *gates) {
        sd_event_source_disable_unref(gates->pace_source);
        while (gates->children)
                child_free(gates->children);
        while (gates->users) {
                GateUser *next = gates->users->next;

                free(gates->users);
                gates->users = next;
        }
}

void gate_call_begins(Gate *gate) {
        gate->n_input = 0;
}

bool gate_flush(Gate *gate) {
        while (pass_out(gate))
                ;
        if (gate->out_is_full)
                gate_end(gate);
        return !gate->ended;
}

/* --- their life ----------------------------------------------------------------------------------------- */

/* What somebody borrowed is remembered as long as it is owed, or a connection of theirs is there. */
static GateUser *user_get(Gates *gates, uid_t uid) {
        GateUser **at = &gates->users, *user;
        uint64_t usec = now(gates);

        while ((user = *at) && user->uid != uid)
                if (user->n_gates == 0 && user->paid_until <= usec) {
                        *at = user->next;
                        free(user);
                } else
                        at = &user->next;
        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return NULL;
                user->uid = uid;
                *at = user;
        }
        user->n_gates++;
        return user;
}

static int add_source(Gate *gate, int fd, sd_event_io_handler_t on_io, sd_event_source **ret) {
        return sd_event_add_io(gate->gates->event, ret, fd, EPOLLIN, on_io, gate);
}

int gate_new(Gates *gates, int fd, uid_t uid, void *client, Gate **ret, int *ret_inner) {
        int pair[2], r;
        GateUser *user;
        Gate *gate;

        gate = calloc(1, sizeof(*gate));
        if (!gate) {
                (void) close(fd);
                return -ENOMEM;
        }
        user = user_get(gates, uid);
        r = user ? RET_NERRNO(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) : -ENOMEM;
        if (r < 0) {
                if (user)
                        user->n_gates--;
                (void) close(fd);
                free(gate);
                return r;
        }
        *gate = (Gate) { .next = gates->first,
                         .gates = gates,
                         .user = user,
                         .client = client,
                         .uid = uid,
                         .fd = fd,
                         .inner = pair[0] };
        /* Else what is sent out of band goes, and its descriptors with it, when something else is read. */
        r = RET_NERRNO(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int) { 1 }, sizeof(int)));
        if (r >= 0)
                r = add_source(gate, fd, on_fd, &gate->fd_source);
        if (r >= 0)
                r = add_source(gate, gate->inner, on_inner, &gate->inner_source);
        if (r >= 0) /* each message by itself: its descriptors shall not come with the one before */
                r = sd_event_source_set_priority(gate->inner_source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = take_turn(gate);
        gates->first = gate;
        if (r < 0) {
                (void) close(pair[1]);
                gate_free(gate);
                return r;
        }
        *ret = gate;
        *ret_inner = pair[1];
        return 0;
}

/* Nothing comes any more. What is there without descriptors is taken off, so that this ends. */
static bool has_descriptors(int fd) {
        char buffer[CHUNK];
        bool has;

        for (;;) {
                ssize_t n = peek(fd, buffer, sizeof(buffer), NULL, &has);

                if (n <= 0)
                        return false;
                if (has)
                        return true;
                take(fd, buffer, (size_t) n);
        }
}

void gate_free(Gate *gate) {
        Gate **at = &gate->gates->first;

        while (*at != gate)
                at = &(*at)->next;
        *at = gate->next;
        (void) gate_flush(gate);
        (void) shutdown(gate->fd, SHUT_RDWR);
        /* Before a child has the connection, too: it would still be listened to when it is closed here. */
        gate->fd_source = sd_event_source_disable_unref(gate->fd_source);
        gate->inner_source = sd_event_source_disable_unref(gate->inner_source);
        if (gate->child)
                gate->child->gate = NULL;
        if ((gate->child || has_descriptors(gate->fd)) && child_start(gate, -1, "") < 0)
                log_warning("varlink", "a connection of user %u is left open: closing it may take for ever", gate->uid);
        else
                (void) close(gate->fd);
        (void) close(gate->inner);
        gate->user->n_gates--;
        free(gate);
}
