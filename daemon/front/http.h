#pragma once

/* HTTP on Unix sockets, on quarryd's own loop: connections, who is behind them, requests and their answers in JSON.
 * What a request means is others'. */

#include "broker/manager.h"
#include "front/server.h"

#include <systemd/sd-json.h>

typedef struct HttpListener HttpListener;
typedef struct HttpCall HttpCall;

typedef struct HttpEvents {
        /* One request, whole. It is to be answered exactly once, now or later. */
        void (*on_call)(HttpCall *call, void *userdata);
        /* Whether somebody is not to be served, as far as that is known: all those have few connections together. */
        bool (*is_stranger)(const Caller *caller, void *userdata);
        void *userdata;
} HttpEvents;

/* Takes over the listening socket in every case. */
int http_listener_new(Server *server, int fd, const HttpEvents *events, HttpListener **ret, Error *err);
/* Connections are closed. What was not yet answered still has to be; nobody hears it. */
void http_listener_free(HttpListener *listener);
DEFINE_CLEANUP(HttpListener *, http_listener_free)

/* Valid until it is answered. */
const Caller *http_caller(const HttpCall *call);
const char *http_path(const HttpCall *call);
const char *http_body(const HttpCall *call); /* NULL: what was sent is no text */
bool http_is_post(const HttpCall *call);
/* A pidfd of who asks, -errno. */
int http_process(const HttpCall *call);
/* Nobody is there any more who would hear the answer. */
bool http_is_gone(const HttpCall *call);

void http_answer(HttpCall *call, sd_json_variant *v);
/* {"Err": what and what to run next} */
void http_answer_error(HttpCall *call, const Error *err);
/* The same with another status than the kind's. */
void http_answer_error_as(HttpCall *call, unsigned status, const Error *err);
/* The connection is closed without an answer. */
void http_hang_up(HttpCall *call);
/* Has answers leave now. */
void http_flush(HttpListener *listener);
