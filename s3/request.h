#pragma once

/* One request to the service: signed, sent, tried again for as long as it may pass, and then given up. */

#include <quarry/s3.h>

typedef struct Service Service;

/* Keeps both. watched: a socket; once its other side is closed, nothing is waited for any more. */
int service_new(const S3Place *place, const S3Credentials *credentials, int watched, Service **ret, Error *err);
void service_free(Service *service);
DEFINE_CLEANUP(Service *, service_free)

/* An answer has shown that the bucket is there. */
bool service_has_seen_bucket(const Service *service);

typedef struct Request {
        const char *what;   /* for the error: "write" */
        const char *method; /* "PUT" */
        const char *name;   /* of the object; NULL for the bucket itself */
        const char *query;  /* quoted, or NULL */
        const void *body;
        size_t body_size;
        size_t answer_max; /* bytes */
        bool is_sized;     /* an answer is nothing unless the service said before how large it is */
        /* Reads an answer that came whole, or returns < 0 if it is none; may be NULL. */
        int (*understand)(const char *data, size_t size, void *userdata);
        void *userdata;
} Request;

typedef struct Answer {
        char *data; /* and a NUL behind it */
        size_t size;
} Answer;

void answer_done(Answer *answer);

/* Returns 1 if it was done, 0 if there is no such object, or, after HEAD, perhaps no such bucket. ret may be NULL. */
int service_request(Service *service, const Request *q, Answer *ret, Error *err);
