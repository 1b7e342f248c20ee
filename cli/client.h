#pragma once

/* Asking quarryd. Each call has its own connection: the daemon answers one call of a connection after the
 * other, and may be restarted between two. There is no time limit: making a filesystem takes what it takes. */

#include <quarry/api.h>
#include <quarry/error.h>

/* The index under which the passphrase travels, for "keyFileDescriptor". */
#define KEY_INDEX 0

typedef struct Call {
        const char *method;
        sd_json_variant *parameters; /* borrowed; NULL: none */
        const char *collect;         /* array that is spread over several replies, or NULL */
        sd_json_variant **last;      /* with collect: the last reply's parameters, to be unreferenced; or NULL */
        /* Each reply's parameters as they come, of what is told until somebody ends it; or NULL. */
        void (*on_part)(sd_json_variant *parameters);
        /* A reply that is not the last brought these two: takes over both; or NULL. */
        void (*on_fill)(int mount_fd, int done_fd, void *userdata);
        void *userdata;
        const char *what;            /* for the line of progress: "creating db" */
        const int *key_fd;           /* sealed memfd passed along; NULL or a negative one: none */
        const int *second_fd;        /* another one, or a user namespace, passed behind it; the same, */
        const char *second_field;    /* and the parameter that names it */
} Call;

/* The last reply's parameters go to *ret (with collect: the array, empty if there was none), the descriptor
 * that came with it to *ret_fd (-EBADF if none); both may be NULL. error_is_unreachable() when the daemon
 * could not be asked. */
int client_call(const Call *call, sd_json_variant **ret, int *ret_fd, Error *err);
