#include "front/server.h"

#include "broker/policy.h"
#include "front/docker.h"
#include "front/doctor.h"
#include "front/driver.h"
#include "front/event.h"
#include "front/gate.h"
#include "front/key.h"
#include "front/pool.h"
#include "front/storage-provider.h"
#include "front/stream.h"
#include "front/tenant.h"
#include "front/volume.h"

#include <quarry/api.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

/* Idle connections cost little, but not nothing, and up to 16 MiB when they hold the begin of a message: above
 * this many of one user, or of all who are no administrators, the one that was idle longest is closed. Calls in
 * progress are never cut. */
#define IDLE_PER_ADMIN_MAX 128u
#define IDLE_PER_OTHER_MAX 16u
#define IDLE_OTHERS_MAX 48u
#define GROUPS_MAX 65536u

/* The library closes what is too much for it without a look at what came with it: it never gets so far. */
#define CONNECTIONS_PER_USER_MAX 1024u
#define DESCRIPTORS_OF_OTHER 3u /* that a connection takes */
#define PART_OF_TENANT 2u /* of what there is for others than administrators its members have this part at most */

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
        Server *server;
        Caller caller;
        char tenant[TENANT_NAME_MAX + 1]; /* the first that they are a member of, when they came; "": none */
        bool waits; /* for the pools; we have a reference to it meanwhile */
        bool waited; /* the call that begins now has been waiting */
        void (*on_gone)(void *userdata); /* see server_on_gone() */
        void *gone_userdata;
        Gate *gate; /* of others than administrators */
} Connection;

struct Server {
        Manager *manager;
        sd_varlink_server *varlink;
        sd_varlink_server *storage; /* io.systemd.StorageProvider, at a socket of its own */
        Connection *newest, *oldest;
        User *users; /* who have calls, and are no administrators: few */
        Driver *drivers;
        Gates gates;
        unsigned descriptors_max; /* for connections */
        sd_event_source *exit_source;
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

static Connection *connection_find(Server *s, sd_varlink *link) {
        for (Connection *c = s->newest; c; c = c->older)
                if (c->link == link)
                        return c;
        return NULL;
}

int server_caller(Server *s, sd_varlink *link, Caller *ret) {
        const Connection *c = connection_find(s, link);
        gid_t *groups;

        if (!c)
                return -ENOTCONN;
        groups = malloc(c->caller.n_groups * sizeof(gid_t));
        if (!groups)
                return -ENOMEM;
        *ret = c->caller;
        ret->groups = memcpy(groups, c->caller.groups, c->caller.n_groups * sizeof(gid_t));
        return 0;
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
                if (c->caller.uid == caller->uid) {
                        n_user++;
                        of_user = c;
                }
                if (!c->caller.admin) {
                        n_others++;
                        of_others = c;
                }
        }
        if (n_user > (caller->admin ? IDLE_PER_ADMIN_MAX : IDLE_PER_OTHER_MAX))
                (void) sd_varlink_close(of_user->link);
        else if (n_others > IDLE_OTHERS_MAX)
                (void) sd_varlink_close(of_others->link);
}

/* The library closes a connection whose call nobody could answer any more, from version 262 on. */
static void connection_set_waits(Connection *c, bool waits) {
        if (waits && !c->waits)
                sd_varlink_ref(c->link);
        else if (!waits && c->waits)
                sd_varlink_unref(c->link);
        c->waits = waits;
}

static void connection_free(Connection *c) {
        if (!c)
                return;
        connection_set_waits(c, false);
        if (c->on_gone)
                c->on_gone(c->gone_userdata);
        if (c->gate)
                gate_free(c->gate);
        server_caller_done(&c->caller);
        free(c);
}
DEFINE_CLEANUP(Connection *, connection_free)

/* Whose member somebody is, is only known once the pools are there. */
static int may_pass(void *client, char tenant[static TENANT_NAME_MAX + 1]) {
        const Connection *c = client;

        if (policy_first_tenant(c->server->manager, &c->caller, tenant))
                return 1;
        return c->server->manager->ready ? 0 : -EAGAIN;
}

/* The library goes on at the gate's other end under the number that it knows. */
static int gate_put(Connection *c) {
        _cleanup_close_ int fd = -EBADF, inner = -EBADF;
        int number = sd_varlink_get_fd(c->link), r;

        if (number < 0)
                return number;
        fd = fcntl(number, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        sd_varlink_detach_event(c->link);
        r = gate_new(&c->server->gates, TAKE_FD(fd), c->caller.uid, c, &c->gate, &inner);
        if (r < 0)
                return r;
        if (dup3(inner, number, O_CLOEXEC) < 0)
                return -errno;
        return sd_varlink_attach_event(c->link, c->server->manager->event, SD_EVENT_PRIORITY_NORMAL);
}

/* Administrators have room of their own, and no tenant, with however many users, takes that of all others. */
static bool has_too_many(const Server *s, const Connection *one) {
        unsigned n = 0, n_user = 0, n_tenant = 0, max = s->descriptors_max / 8 * (one->caller.admin ? 8 : 7);

        for (const Connection *c = s->newest; c; c = c->older) {
                n += c->caller.admin ? 1 : DESCRIPTORS_OF_OTHER;
                n_user += c->caller.uid == one->caller.uid;
                n_tenant += !c->caller.admin && streq(c->tenant, one->tenant) ? DESCRIPTORS_OF_OTHER : 0;
        }
        return n >= max || n_user >= CONNECTIONS_PER_USER_MAX ||
               (!one->caller.admin && n_tenant >= max / PART_OF_TENANT);
}

static int on_connect(sd_varlink_server *varlink, sd_varlink *link, void *userdata) {
        _cleanup_(connection_freep) Connection *c = calloc(1, sizeof(*c));
        Server *s = userdata;
        int r;

        if (!c)
                return -ENOMEM;
        c->link = link;
        c->server = s;
        r = server_caller_of(sd_varlink_get_fd(link), s->manager, &c->caller);
        if (r >= 0 && !c->caller.admin)
                (void) policy_first_tenant(s->manager, &c->caller, c->tenant);
        if (r >= 0 && !c->caller.admin)
                r = gate_put(c);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_input(link, 1);
        if (r >= 0)
                r = sd_varlink_set_allow_fd_passing_output(link, 1);
        if (r >= 0 && has_too_many(s, c))
                r = -EUSERS;
        if (r < 0)
                return r;
        close_oldest_idle(s, &c->caller);
        connection_link(s, TAKE_PTR(c));
        return 0;
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

bool server_call_waits(Server *s, sd_varlink *link, bool can_go_on) {
        Connection *c = connection_find(s, link);
        bool waited;

        if (!c)
                return false;
        connection_unlink(s, c);
        connection_link(s, c);
        waited = c->waited;
        c->waited = false;
        if (c->gate)
                gate_call_begins(c->gate);
        if (s->manager->ready && c->caller.admin && !waited)
                manager_try_again(s->manager);
        connection_set_waits(c, !s->manager->ready && !can_go_on);
        return c->waits;
}

static void on_ready(void *userdata) {
        Server *s = userdata;

        for (Connection *c = s->newest, *next; c; c = next) {
                next = c->older;
                if (!c->waits)
                        continue;
                c->waited = true;
                if (sd_varlink_dispatch_again(c->link) < 0)
                        (void) sd_varlink_close(c->link);
                else
                        connection_set_waits(c, false);
        }
        drivers_look_again(s);
        gates_go_on(&s->gates);
}

/* The library waits at the end until all is written, and nobody would take it off any more. */
static int on_exit_begins(sd_event_source *source, void *userdata) {
        Server *s = userdata;

        for (Connection *c = s->newest, *next; c; c = next) {
                next = c->older;
                while (c->gate && sd_varlink_get_events(c->link) & EPOLLOUT && gate_flush(c->gate))
                        if (sd_varlink_process(c->link) <= 0)
                                break;
        }
        return 0;
}

/* --- set-up --------------------------------------------------------------------------------------------- */

/* What systemd hands over is told apart by where it lies. Returns how many there were. */
static int listen_on_handed_over(Server *s) {
        _cleanup_strv_ char **names = NULL;
        int r, n = 0, count = sd_listen_fds_with_names(false, &names);

        for (int i = 0; i < count; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (!streq(names[i], "varlink"))
                        continue;
                r = sd_is_socket_unix(fd, SOCK_STREAM, 1, API_STORAGE_PROVIDER_SOCKET, 0);
                if (r >= 0)
                        r = sd_varlink_server_listen_fd(r > 0 ? s->storage : s->varlink, fd);
                if (r < 0)
                        return r;
                n++;
        }
        return count < 0 ? count : n;
}

static int listen_on(Server *s) {
        const char *path = getenv("QUARRY_SOCKET"), *storage = getenv("QUARRY_STORAGE_SOCKET");
        int r;

        r = path ? sd_varlink_server_listen_address(s->varlink, path, 0666) : listen_on_handed_over(s);
        if (r >= 0 && path && storage)
                return sd_varlink_server_listen_address(s->storage, storage, 0666);
        return r == 0 && !path ? -ENOTCONN : r;
}

static int varlink_new(Server *s, sd_varlink_server **ret) {
        int r;

        r = sd_varlink_server_new(ret, SD_VARLINK_SERVER_ACCOUNT_UID); /* else it does not count */
        if (r < 0)
                return r;
        sd_varlink_server_set_userdata(*ret, s);
        r = sd_varlink_server_set_connections_max(*ret, s->descriptors_max + 1);
        if (r >= 0)
                r = sd_varlink_server_set_connections_per_uid_max(*ret, CONNECTIONS_PER_USER_MAX + 1);
        if (r >= 0)
                r = sd_varlink_server_set_info(*ret, "Quarry", "quarryd", QUARRY_VERSION, NULL);
        if (r >= 0)
                r = sd_varlink_server_bind_connect(*ret, on_connect);
        return r < 0 ? r : sd_varlink_server_bind_disconnect(*ret, on_disconnect);
}

static int servers_new(Server *s) {
        struct rlimit limit;
        int r;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;
        s->descriptors_max = limit.rlim_cur < INT_MAX ? (unsigned) limit.rlim_cur / 4 * 3 : INT_MAX;
        r = varlink_new(s, &s->varlink);
        if (r >= 0)
                r = varlink_new(s, &s->storage);
        if (r >= 0)
                r = gates_init(&s->gates, s->manager->event, may_pass);
        if (r >= 0)
                r = sd_event_add_exit(s->manager->event, &s->exit_source, on_exit_begins, s);
        return r < 0 ? r : sd_event_source_set_priority(s->exit_source, SD_EVENT_PRIORITY_IMPORTANT);
}

static int interfaces_bind(Server *s) {
        int r;

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
        if (r >= 0)
                r = front_stream_bind(s->varlink);
        return r < 0 ? r : front_storage_provider_bind(s->storage);
}

int server_new(Manager *m, Server **ret, Error *err) {
        _cleanup_(server_freep) Server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return error_oom(err);
        s->manager = m;
        m->on_ready = on_ready;
        m->on_ready_userdata = s;

        r = servers_new(s);
        if (r >= 0)
                r = interfaces_bind(s);
        if (r < 0)
                return error_errno(err, r, "cannot set up the Varlink server");

        r = listen_on(s);
        if (r == -ENOTCONN) {
                r = error_set(err, ERROR_FAILED, ENOTCONN, "quarryd is started by systemd through quarryd.socket");
                error_hint(err, "systemctl start quarryd.socket");
                return r;
        }
        if (r >= 0)
                r = sd_varlink_server_attach_event(s->varlink, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_varlink_server_attach_event(s->storage, m->event, SD_EVENT_PRIORITY_NORMAL);
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
        gates_done(&s->gates);
        sd_event_source_disable_unref(s->exit_source);
        sd_varlink_server_unref(s->varlink);
        sd_varlink_server_unref(s->storage);
        while (s->users) {
                User *next = s->users->next;

                free(s->users);
                s->users = next;
        }
        free(s);
}
