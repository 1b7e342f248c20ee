#pragma once

/* The quarry of another host, asked through ssh: the user's own, with its settings, keys and agent. It logs in once,
 * and may ask for a password then; what follows goes through the same connection. */

#include <quarry/volume.h>

#include <systemd/sd-json.h>

typedef struct Remote {
        char *user, *host, *port; /* user, port: NULL if not said */
        Reference name; /* of the volume there; empty: not said */
        char folder[32]; /* which has the socket of the connection */
} Remote;

/* ssh://[USER@]HOST[:PORT][/[POOL:][TENANT/]NAME]. Refuses (ERROR_BAD_REQUEST, field --to) what ssh or a shell could
 * take for anything else. */
int remote_parse(const char *url, Remote *ret, Error *err);
/* Ends the connection. */
void remote_done(Remote *remote);

typedef struct RemoteCall {
        pid_t pid;
        int out;
} RemoteCall;

/* Runs quarry there with these words, each of letters, digits and _ . : / @ = - or quoted, and --json; in, borrowed,
 * is what it reads. */
int remote_start(Remote *remote, char *const *words, int in, RemoteCall *ret, Error *err);
/* Waits for it. *ret (may be NULL): its document. Its failure is the error, of the kind that it has there. */
int remote_finish(const Remote *remote, RemoteCall *call, sd_json_variant **ret, Error *err);
/* Both, of what reads nothing. */
int remote_call(Remote *remote, char *const *words, sd_json_variant **ret, Error *err);

/* text as one word of a shell's command line, whichever shell it is; NULL: it has what shells read in different ways.
 * To be freed. */
char *remote_quote(const char *text);
