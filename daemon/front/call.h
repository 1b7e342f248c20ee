#pragma once

/* A Varlink call that waits for an operation. Every handler ends in one of these functions, so that no call is
 * left without its answer. */

#include "broker/operation.h"
#include "broker/view.h"
#include "front/server.h"

typedef struct Call Call;

/* Answers a finished operation: replies on the link and returns what the reply returned. */
typedef int (*CallReply)(Call *call, Operation *operation);
/* The same with an error; what it returns a handler may return. */
typedef int (*CallFailure)(Call *call, const Error *err);
/* Begins another operation, with call_watcher(), behind the one that was done, whoever waits for it. */
typedef int (*CallNext)(Call *call, Operation *operation, Error *err);

typedef enum ListType { LIST_VOLUMES, LIST_SNAPSHOTS, LIST_ALL, _LIST_TYPE_MAX } ListType;

struct Call {
        sd_varlink *link;
        Server *server;
        Caller caller;
        const char *interface; /* whose errors are answered with; NULL: those of every service */
        const char *verb; /* what is asked for, for the audit */
        bool more, oneway; /* wants progress; wants no answer */
        bool entered; /* it counts, see server_call_enter() */
        CallReply reply;
        CallFailure fail; /* NULL: with the error of its kind */
        CallNext next; /* NULL: the operation is answered */
        char *image, **labels; /* of a snapshot, for next */
        sd_id128_t object; /* what the call is about, for reply */
        Reference filter;  /* the same, for a list, */
        ListType type;     /* of what, */
        VolumeMembers members; /* and what of each */
        char *pattern;     /* of their names, or NULL */
};

/* What every handler begins with once it has its parameters. Returns 1 and the call; 0 if the call waits and will be
 * dispatched again; -ENOMEM, also when the peer cannot be identified. */
int call_begin(sd_varlink *link, sd_varlink_method_flags_t flags, const char *interface, const char *verb,
               CallReply reply, Call **ret);
/* The same for a method of API_VOLUME about one volume or snapshot: parameters are dispatched into p, whose first
 * member is its reference. Returns 0 when the call waits, was answered, or failed with *ret_r; 1 to go on with the
 * two. */
int call_begin_on_volume(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                         const char *verb, const sd_json_dispatch_field *table, void *p, CallReply reply,
                         Call **ret_call, VolumeEntry **ret_entry, int *ret_r);
/* The same for another interface. */
int call_begin_on_volume_of(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            const char *interface, const char *verb, const sd_json_dispatch_field *table, void *p,
                            CallReply reply, Call **ret_call, VolumeEntry **ret_entry, int *ret_r);
void call_free(Call *call);
DEFINE_CLEANUP(Call *, call_free)

/* To be given to the broker; the call belongs to the watcher once an operation was begun with it. */
Watcher call_watcher(Call *call);

/* What every handler ends with: an operation has the call (r >= 0), or it is answered now with the error and freed.
 * Returns what a handler may return. */
int call_end(Call *call, int r, const Error *err);

/* Answers with an error object, under the interface's name, or as io.systemd.System if that is NULL; returns what a
 * handler may return. */
int call_error(sd_varlink *link, const char *interface, const Error *err);

/* As sd_json_dispatch_*(), but null is the same as nothing: the member keeps what it was set to. For fields with
 * SD_JSON_NULLABLE. */
int call_dispatch_uint64(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata);
int call_dispatch_uint32(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata);
int call_dispatch_index(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags,
                        void *userdata); /* int, not negative */
int call_dispatch_strv(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata);
int call_dispatch_bool(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata);

/* Duplicates the descriptor that came with the message, for the request's field; index < 0: none, *ret is -EBADF. */
int call_take_fd(sd_varlink *link, int index, const char *field, int *ret, Error *err);
/* That of a passphrase. */
int call_take_key(sd_varlink *link, int index, int *ret, Error *err);
