#pragma once

/* Where the objects of a repository lie: a directory, or a bucket of an S3 service. An object has a name, "KIND/NAME",
 * and is there whole or not at all; nobody changes one. */

#include <quarry/error.h>

#include <stddef.h>

#define STORE_OBJECT_MAX (UINT32_C(4) << 20) /* bytes of one */
#define STORE_NAME_MAX 128u

typedef struct Store Store;

/* What it costs and how it fails is each one's own; the errors say which object of which place it was about. Every call
 * ends: a service that does not answer is tried again for some time, and then given up. */
typedef struct StoreOps {
        void (*free)(Store *store);
        /* One that is there already is left as it is or replaced by the same. ERROR_NO_SPACE when the place is full. */
        int (*put)(Store *store, const char *name, const void *data, size_t size, Error *err);
        /* *ret: size bytes, the caller's. Returns 0 if there is none, 1 if there is. */
        int (*get)(Store *store, const char *name, uint8_t **ret, size_t *ret_size, Error *err);
        /* Returns 0 if there is none, 1 if there is. */
        int (*has)(Store *store, const char *name, Error *err);
        /* Each whose name begins with kind and a slash, in any order; each returns < 0 to end, and asks the store for
         * nothing. */
        int (*list)(Store *store, const char *kind, int (*each)(const char *name, void *userdata), void *userdata,
                    Error *err);
        /* One that is not there is no error. */
        int (*remove)(Store *store, const char *name, Error *err);
        /* What was put before is durable behind it. */
        int (*sync)(Store *store, Error *err);
} StoreOps;

/* Begins what each kind of store has. */
struct Store {
        const StoreOps *ops;
};

/* url: file:///DIRECTORY, or s3://BUCKET[/PREFIX]?endpoint=URL[&region=REGION]. credentials: a file, as
 * s3_credentials_parse() reads it, that belongs to the caller or root and nobody else can read; NULL for none. make: a
 * directory that is not there is made. */
int store_open(const char *url, const char *credentials, bool make, Store **ret, Error *err);
/* Whether a store can be called that; nothing is opened. */
int store_check_url(const char *url, Error *err);
void store_free(Store *store);
DEFINE_CLEANUP(Store *, store_free)

/* Whether that is why a call failed: it is full, or may only be read. */
bool store_takes_nothing(const Error *err);

/* All names of a kind, NULL-terminated, to be freed by strv_free(). */
int store_list(Store *store, const char *kind, char ***ret, Error *err);
