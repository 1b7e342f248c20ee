#pragma once

/* One call of a container engine, and what its routes share. */

#include "broker/volume.h"
#include "front/http.h"

#include <quarry/docker.h>

typedef struct DockerCall DockerCall;

struct Driver {
        Driver *next;
        Driver *sibling; /* that is closed with it, or NULL */
        Server *server;
        uint64_t began_usec; /* to listen: CLOCK_MONOTONIC */
        char tenant[TENANT_NAME_MAX + 1];
        HttpListener *listener; /* NULL: closed, and freed with the last of its calls */
        size_t n_calls;
        DockerCall *held; /* of these: what waits for pools */
        sd_event_source *again;
};

typedef struct Route {
        const char *path;
        const char *verb; /* for the audit */
        void (*run)(DockerCall *call);
        bool has_body;    /* without one it is a request that was sent again without what it had */
        bool has_id;
        bool at_once;     /* whatever is with the pools */
        bool hangs_up;    /* when it cannot be told whether there is the volume: any error says that there is not */
} Route;

struct DockerCall {
        DockerCall *next; /* in Driver.held */
        Driver *driver;
        HttpCall *http;
        const Route *route;
        DockerRequest request;
        Caller counted; /* uid and admin, for server_call_leave() */
        bool entered;
        bool waits;       /* an engine of the host's, for what it mounts */
        uint64_t since;   /* it is held: CLOCK_MONOTONIC, microseconds */
        char *schedule;   /* that a new volume is to have then, or NULL */
        int (*reply)(DockerCall *call, Operation *operation, sd_json_variant **ret);
};

static inline Manager *docker_call_manager(const DockerCall *call) {
        return server_manager(call->driver->server);
}

/* To be given to the broker: the call ends with the operation, with what reply makes of it, or {} without that. */
Watcher docker_call_watcher(DockerCall *call);

/* Each answers and frees the call. */
void docker_call_end(DockerCall *call, sd_json_variant *v);
void docker_call_end_empty(DockerCall *call); /* {} */
void docker_call_end_error(DockerCall *call, const Error *err);
/* What was not begun: the same, and told if a right or limit is against it. entry: what it is about, or NULL. */
void docker_call_end_refused(DockerCall *call, const VolumeEntry *entry, const Error *err);

/* docker-create.c */
void http_route_create(DockerCall *call);
