#pragma once

/* What clients who are no administrators send comes through here before the library reads it.
 *
 * Whoever takes a descriptor out of a message has to close it, and the last to let go of a file waits for what its
 * owner has made of it: a filesystem in user space that never answers, a socket that lingers. The kernel waits just so
 * in the process that reads past a descriptor, or closes a connection on which one is left. So quarryd reads only what
 * has none, and has a child read what has. The child hands on the descriptors that a request may have, and lets go of
 * the others. */

#include <quarry/base.h>
#include <quarry/volume.h>

#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Gate Gate;
typedef struct GateChild GateChild;
typedef struct GateUser GateUser;

/* Those of one server. */
typedef struct Gates {
        sd_event *event;
        /* Whether a client's descriptors are handed on, 1, with the tenant of which its user is a member, or none of
         * them, 0; -EAGAIN: gates_go_on() is called when that is known. */
        int (*may_pass)(void *client, char tenant[static TENANT_NAME_MAX + 1]);
        Gate *first;
        GateChild *children;
        GateUser *users;
        sd_event_source *pace_source;
} Gates;

int gates_init(Gates *gates, sd_event *event, int (*may_pass)(void *client, char tenant[static TENANT_NAME_MAX + 1]));

void gates_go_on(Gates *gates);
void gates_done(Gates *gates);

/* fd is the connection of this user, which the gate takes, also when this fails; *ret_inner the end at which the
 * library reads and writes instead. Both hang up together. */
int gate_new(Gates *gates, int fd, uid_t uid, void *client, Gate **ret, int *ret_inner);
void gate_free(Gate *gate);

/* A whole request has arrived: a client may send so much and no more until then; and a user only so many, on all
 * connections together: more of them wait. */
void gate_call_begins(Gate *gate);

/* Hands on what the library has written. Returns false, and the library sees a hang-up, if the client takes no more. */
bool gate_flush(Gate *gate);
