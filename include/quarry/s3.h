#pragma once

/* What `quarry` and its helper `quarry-s3`, which alone speaks to the network, say to each other: over a socket, one
 * request after the other, each answered by S3_DONE or S3_FAILED, and before it by any number of S3_ITEM if it is
 * S3_LIST. The first tells the place and how to get in there. Neither side believes the other. */

#include <quarry/error.h>

#define S3_HELPER "/usr/lib/quarry/quarry-s3"
#define S3_HELPER_FD 3
#define S3_NAME_MAX 128u                     /* bytes of an object's name */
#define S3_OBJECT_MAX (UINT32_C(4) << 20) /* bytes of an object */

/* A bucket of a service, or what lies below a prefix in it. */
typedef struct S3Place {
        char endpoint[256]; /* http://HOST[:PORT], or https */
        char region[64];
        char bucket[64];
        char prefix[256]; /* without a slash at either end; empty for none */
        uint32_t patience; /* seconds for which what fails is tried again */
} S3Place;

#define S3_REGION "us-east-1"
#define S3_PATIENCE 60u

typedef struct S3Credentials {
        char access_key_id[256];
        char secret_access_key[256];
        char session_token[4096]; /* empty for none */
} S3Credentials;

/* Wipes. */
void s3_credentials_done(S3Credentials *credentials);

/* Both are checked by each side. */
int s3_place_check(const S3Place *place, Error *err);
int s3_credentials_check(const S3Credentials *credentials, Error *err);

/* "KIND/NAME", or KIND alone: of letters, digits, '.', '_', '-' and '/', no part of it empty, "." or "..". */
bool s3_name_is_valid(const char *name);

typedef enum S3Op {
        S3_OPEN = 1, /* data: S3Opening; no answer */
        S3_PUT,
        S3_GET,
        S3_HAS,
        S3_LIST, /* name: KIND */
        S3_REMOVE,
        S3_DONE,   /* name: "1" if there is such an object, for S3_GET and S3_HAS; data: the object's */
        S3_ITEM,   /* name: of one object */
        S3_FAILED, /* name: kind of the error, data: its text, NUL, its hint */
        _S3_OP_MAX,
} S3Op;

typedef struct S3Opening {
        S3Place place;
        S3Credentials credentials;
} S3Opening;

typedef struct S3Message {
        S3Op op;
        char name[S3_NAME_MAX + 1];
        uint8_t *data; /* and a NUL behind it */
        size_t size;
} S3Message;

/* Wipes what was sent, and frees it. */
void s3_message_done(S3Message *message);

/* name and data may be NULL. Returns 0 or -errno; nobody gets SIGPIPE. */
int s3_message_send(int fd, S3Op op, const char *name, const void *data, size_t size);

/* Returns 1, 0 if the other side closed before a message, -EBADMSG if what came is none, or -errno. No more memory is
 * taken than a message of its kind may have. */
int s3_message_receive(int fd, S3Message *ret);

int s3_error_send(int fd, const Error *err);
/* The error that an S3_FAILED says, cleaned; returns what a function with it returns. */
int s3_error_take(const S3Message *message, Error *err);
