#pragma once

/* The public Varlink socket: connections and who is behind them. */

#include "broker/manager.h"

#include <systemd/sd-varlink.h>

typedef struct Driver Driver;
typedef struct Server Server;

/* Listens on the sockets that systemd handed over; environment QUARRY_SOCKET, QUARRY_STORAGE_SOCKET: on these paths,
 * for tests. */
int server_new(Manager *manager, Server **ret, Error *err);
void server_free(Server *server);
DEFINE_CLEANUP(Server *, server_free)

Manager *server_manager(Server *server);

/* Who is at the other end; supplementary groups count. To be freed with server_caller_done(). */
int server_caller(Server *server, sd_varlink *link, Caller *ret);
int server_caller_of(int fd, Manager *manager, Caller *ret); /* of a connected socket */
void server_caller_done(Caller *caller);

Driver **server_drivers(Server *server); /* the first of those that listen */

/* Every call asks this first. While the pools are still being activated it waits, unless it can go on all the same:
 * returns true, and the handler returns 0. It is called again at each that is there, and when all are. */
bool server_call_waits(Server *server, sd_varlink *link, bool can_go_on);

/* Calls back once when the client is gone, or quarryd ends; for a call that has no end of its own. */
int server_on_gone(Server *server, sd_varlink *link, void (*on_gone)(void *userdata), void *userdata);

/* A call begins, and ends: also one whose client is gone, or that wants no answer. ERROR_OVERLOADED for one too many of
 * a user who is no administrator. */
int server_call_enter(Server *server, const Caller *caller, Error *err);
void server_call_leave(Server *server, const Caller *caller);
