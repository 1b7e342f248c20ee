#include "front/server.h"

#include "broker/policy.h"
#include "front/docker.h"
#include "front/doctor.h"
#include "front/driver.h"
#include "front/event.h"
#include "front/key.h"
#include "front/pool.h"
#include "front/tenant.h"
#include "front/volume.h"

#include <quarry/api.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

/* Idle connections cost little, but not nothing, and up to 16 MiB when they hold the begin of a message: above
 * this many of one user, or of all who are no administrators, the one that was idle longest is closed. Calls in
 * progress are never cut. */
#define IDLE_PER_ADMIN_MAX 128u
#define IDLE_PER_OTHER_MAX 16u
#define IDLE_OTHERS_MAX 48u
#define GROUPS_MAX 65536u

/* Whose member somebody is, is only known once the pools are there. Until then so many connections of others, and so
 * many of one of them, may send descriptors: each may hold 253. */
#define EARLY_MAX 16u
#define EARLY_PER_OTHER_MAX 4u

/* What others may send before it is a call: a request of theirs has some hundred bytes, while the library would take up
 * to 16 MiB, and parse for seconds what it holds, before anybody can look at it. */
#define INPUT_OF_OTHERS_MAX (256 << 10)

/* Calls of one of them at once, as many as there can be connections: a client that goes away, or wants no answer,
 * leaves its call behind, and could leave any number. */
#define CALLS_PER_OTHER_MAX 1024u

typedef struct User {
        struct User *next;
        uid_t uid;
        unsigned n_calls;
} User;

typedef struct Connection {
        struct Connection *newer, *older; /* in the order of their last call */
        sd_varlink *link;
        uid_t uid;
        bool admin;
        bool early; /* it may send descriptors until the pools are there */
        bool waits; /* for the pools */
        bool waited; /* the call that begins now has been waiting */
        void (*on_gone)(void *userdata); /* see server_on_gone() */
        void *gone_userdata;
        sd_event_source *input_source; /* of others: tells when something arrives, before the library reads it */
} Connection;

struct Server {
        Manager *manager;
        sd_varlink_server *varlink;
        Connection *newest, *oldest;
        User *users; /* who have calls, and are no administrators: few */
        Driver *drivers;
};

Manager *server_manager(Server *server) {
        return server->manager;
}

Driver **server_drivers(Server *server) {
        return &server->drivers;
}

/* --- who is there --------------------------------------------------------------------------------------- */

/* Supplementary ones, and its own. */
static int peer_groups(int fd, gid_t own, gid_t **ret, size_t *ret_n) {
        socklen_t size = 64 * sizeof(gid_t);

        for (;;) {
                gid_t *list = malloc(size + sizeof(gid_t));

                if (!list)
                        return -ENOMEM;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &size) >= 0) {
                        list[size / sizeof(gid_t)] = own;
                        *ret = list;
                        *ret_n = size / sizeof(gid_t) + 1;
                        return 0;
                }
                free(list);
                if (errno != ERANGE || size > GROUPS_MAX * sizeof(gid_t)) /* else size is what it takes */
                        return -errno;
        }
}

int server_caller_of(int fd, Manager *m, Caller *ret) {
        socklen_t size = sizeof(struct ucred);
        gid_t *groups = NULL;
        struct ucred peer;
        size_t n = 0;
        int r;

        r = RET_NERRNO(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size));
        if (r >= 0)
                r = peer_groups(fd, peer.gid, &groups, &n);
        if (r < 0)
                return r;
        *ret = (Caller) { .uid = peer.uid,
                          .gid = peer.gid,
                          .pid = peer.pid,
                          .admin = policy_is_admin(m, peer.uid, groups, n),
                          .groups = groups,
                          .n_groups = n };
        return 0;
}

int server_caller(sd_varlink *link, Manager *m, Caller *ret) {
        return server_caller_of(sd_varlink_get_fd(link), m, ret);
}

void server_caller_done(Caller *caller) {
        free((void *) caller->groups);
        *caller = (Caller) {};
}

/* --- connections ---------------------------------------------------------------------------------------- */

static void connection_unlink(Server *s, Connection *c) {
        *(c->newer ? &c->newer->older : &s->newest) = c->older;
        *(c->older ? &c->older->newer : &s->oldest) = c->newer;
}

static void connection_link(Server *s, Connection *c) {
        c->newer = NULL;
        c->older = s->newest;
        *(c->older ? &c->older->newer : &s->oldest) = c;
        s->newest = c;
}

static void close_oldest_idle(Server *s, const Caller *caller) {
        Connection *of_user = NULL, *of_others = NULL;
        unsigned n_user = 0, n_others = 0;

        for (Connection *c = s->newest; c; c = c->older) {
                if (sd_varlink_is_idle(c->link) <= 0)
                        continue;
                if (c->uid == caller->uid) {
                        n_user++;
                        of_user = c;
                }
                if (!c->admin) {
                        n_others++;
                        of_others = c;
                }
        }
        if (n_user > (caller->admin ? IDLE_PER_ADMIN_MAX : IDLE_PER_OTHER_MAX))
                (void) sd_varlink_close(of_user->link);
        else if (n_others > IDLE_OTHERS_MAX)
                (void) sd_varlink_close(of_others->link);
}

static void connection_free(Connection *c) {
        if (c->on_gone)
                c->on_gone(c->gone_userdata);
        sd_event_source_disable_unref(c->input_source);
        free(c);
}

/* Where the next MSG_PEEK would begin, which nobody asks for: the kernel takes off it what is read, see socket(7). */
static int input_count_anew(int fd) {
        return RET_NERRNO(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int) { INT_MAX }, sizeof(int)));
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Connection *c = userdata;
        socklen_t size = sizeof(int);
        int pending, left;

        if (ioctl(fd, FIONREAD, &pending) < 0 || getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &left, &size) < 0)
                return 0;
        if (INT_MAX - left > INPUT_OF_OTHERS_MAX - pending) {
                log_debug("varlink", "user %u sends more than a request can have: the connection is closed", c->uid);
                (void) sd_varlink_close(c->link);
        }
        return 0;
}

/* Edge-triggered, and before the library: it is told of all that comes, once. */
static int input_watch(Server *s, Connection *c) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = fcntl(sd_varlink_get_fd(c->link), F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        r = input_count_anew(fd);
        if (r >= 0)
                r = sd_event_add_io(s->manager->event, &c->input_source, fd, EPOLLIN | EPOLLET, on_input, c);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(c->input_source, true);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        return sd_event_source_set_priority(c->input_source, SD_EVENT_PRIORITY_IMPORTANT);
}

static bool may_come_early(const Server *s, const Caller *caller) {
        unsigned n = 0, n_user = 0;

        for (const Connection *c = s->newest; c; c = c->older)
                if (c->early) {
                        n++;
                        n_user += c->uid == caller->uid;
                }
        return !s->manager->ready && n < EARLY_MAX && n_user < EARLY_PER_OTHER_MAX;
}

static void early_end(Server *s, Connection *c) {
        _cleanup_(server_caller_done) Caller caller = {};

        c->early = false;
        if (server_caller(c->link, s->manager, &caller) < 0 || !policy_has_tenant(s->manager, &caller))
                (void) sd_varlink_set_allow_fd_passing_input(c->link, 0);
}

static int on_connect(sd_varlink_server *varlink, sd_varlink *link, void *userdata) {
        _cleanup_(server_caller_done) Caller caller = {};
        Server *s = userdata;
        bool member, early;
        Connection *c;
        int r;

        r = server_caller(link, s->manager, &caller);
        if (r < 0)
                return r;
        /* Descriptors that others send are dropped by the kernel: they could use up ours. */
        member = caller.admin || policy_has_tenant(s->manager, &caller);
        early = !member && may_come_early(s, &caller);
        r = sd_varlink_set_allow_fd_passing_input(link, member || early);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_output(link, 1);
        if (r < 0)
                return r;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        *c = (Connection) { .link = link, .uid = caller.uid, .admin = caller.admin, .early = early };
        r = caller.admin ? 0 : input_watch(s, c);
        if (r < 0) {
                connection_free(c);
                return r;
        }
        close_oldest_idle(s, &caller);
        connection_link(s, c);
        return 0;
}

static Connection *connection_find(Server *s, sd_varlink *link) {
        for (Connection *c = s->newest; c; c = c->older)
                if (c->link == link)
                        return c;
        return NULL;
}

static void on_disconnect(sd_varlink_server *varlink, sd_varlink *link, void *userdata) {
        Server *s = userdata;
        Connection *c = connection_find(s, link);

        if (!c)
                return;
        connection_unlink(s, c);
        connection_free(c);
}

int server_on_gone(Server *s, sd_varlink *link, void (*on_gone)(void *userdata), void *userdata) {
        Connection *c = connection_find(s, link);

        if (!c)
                return -ENOTCONN;
        c->on_gone = on_gone;
        c->gone_userdata = userdata;
        return 0;
}

/* --- calls ---------------------------------------------------------------------------------------------- */

static User **user_find(Server *s, uid_t uid) {
        User **at = &s->users;

        while (*at && (*at)->uid != uid)
                at = &(*at)->next;
        return at;
}

int server_call_enter(Server *s, const Caller *caller, Error *err) {
        User **at = user_find(s, caller->uid);

        if (caller->admin)
                return 0;
        if (!*at) {
                *at = calloc(1, sizeof(**at));
                if (!*at)
                        return error_oom(err);
                (*at)->uid = caller->uid;
        }
        if ((*at)->n_calls >= CALLS_PER_OTHER_MAX)
                return error_set(err, ERROR_OVERLOADED, EBUSY, "user %u has %u requests that are not done yet",
                                 caller->uid, (*at)->n_calls);
        (*at)->n_calls++;
        return 0;
}

void server_call_leave(Server *s, const Caller *caller) {
        User **at = user_find(s, caller->uid), *user = *at;

        if (caller->admin || !user || --user->n_calls > 0)
                return;
        *at = user->next;
        free(user);
}

/* --- before the pools are there ------------------------------------------------------------------------- */

bool server_call_waits(Server *s, sd_varlink *link) {
        Connection *c = connection_find(s, link);
        bool waited;

        if (!c)
                return false;
        connection_unlink(s, c);
        connection_link(s, c);
        waited = c->waited;
        c->waited = false;
        if (c->input_source)
                (void) input_count_anew(sd_varlink_get_fd(link));
        if (s->manager->ready && c->admin && !waited)
                manager_try_again(s->manager);
        c->waits = !s->manager->ready;
        return c->waits;
}

static void on_ready(void *userdata) {
        Server *s = userdata;

        for (Connection *c = s->newest, *next; c; c = next) {
                next = c->older;
                if (c->early)
                        early_end(s, c);
                if (!c->waits)
                        continue;
                c->waits = false;
                c->waited = true;
                if (sd_varlink_dispatch_again(c->link) < 0)
                        (void) sd_varlink_close(c->link);
        }
        drivers_look_again(s);
}

/* --- set-up --------------------------------------------------------------------------------------------- */

static int listen_on(Server *s) {
        const char *path = getenv("QUARRY_SOCKET");
        int r;

        if (path)
                return sd_varlink_server_listen_address(s->varlink, path, 0666);
        r = sd_varlink_server_listen_auto(s->varlink);
        return r == 0 ? -ENOTCONN : r;
}

int server_new(Manager *m, Server **ret, Error *err) {
        _cleanup_(server_freep) Server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return error_oom(err);
        s->manager = m;
        m->on_ready = on_ready;
        m->on_ready_userdata = s;

        /* With this flag the library counts connections: 4096, 1024 of one user, fewer where descriptors are scarce. */
        r = sd_varlink_server_new(&s->varlink, SD_VARLINK_SERVER_ACCOUNT_UID);
        if (r >= 0)
                r = sd_varlink_server_set_info(s->varlink, "Quarry", "quarryd", QUARRY_VERSION, NULL);
        if (r >= 0)
                r = sd_varlink_server_bind_connect(s->varlink, on_connect);
        if (r >= 0)
                r = sd_varlink_server_bind_disconnect(s->varlink, on_disconnect);
        if (r >= 0)
                r = front_volume_bind(s->varlink);
        if (r >= 0)
                r = front_pool_bind(s->varlink);
        if (r >= 0)
                r = front_tenant_bind(s->varlink);
        if (r >= 0)
                r = front_key_bind(s->varlink);
        if (r >= 0)
                r = front_doctor_bind(s->varlink);
        if (r >= 0)
                r = front_event_bind(s->varlink);
        if (r >= 0)
                r = front_driver_bind(s->varlink);
        if (r < 0)
                return error_errno(err, r, "cannot set up the Varlink server");
        sd_varlink_server_set_userdata(s->varlink, s);

        r = listen_on(s);
        if (r == -ENOTCONN) {
                r = error_set(err, ERROR_FAILED, ENOTCONN, "quarryd is started by systemd through quarryd.socket");
                error_hint(err, "systemctl start quarryd.socket");
                return r;
        }
        if (r >= 0)
                r = sd_varlink_server_attach_event(s->varlink, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return error_errno(err, r, "cannot listen");
        *ret = TAKE_PTR(s);
        return 0;
}

void server_free(Server *s) {
        if (!s)
                return;
        s->manager->on_ready = NULL;
        while (s->newest) {
                Connection *c = s->newest;

                connection_unlink(s, c);
                connection_free(c);
        }
        sd_varlink_server_unref(s->varlink);
        while (s->users) {
                User *next = s->users->next;

                free(s->users);
                s->users = next;
        }
        free(s);
}
