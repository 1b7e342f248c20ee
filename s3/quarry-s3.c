/* quarry-s3: speaks to an S3 service for `quarry`, which starts it, without any right of quarry's. It is told on its
 * socket, descriptor 3, what to do, and ends with it. */

#include "confine.h"
#include "object.h"

#include <quarry/s3.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void opening_done(S3Opening *opening) {
        s3_credentials_done(&opening->credentials);
}

/* The first message, to which nothing is answered unless it is refused. */
static int opening_receive(S3Opening *ret, Error *err) {
        _cleanup_(s3_message_done) S3Message message = {};
        int r;

        r = s3_message_receive(S3_HELPER_FD, &message);
        if (r <= 0 || message.op != S3_OPEN || message.size != sizeof(S3Opening))
                return error_set(err, ERROR_FAILED, EBADMSG, "it is started by quarry, and not otherwise");
        memcpy(ret, message.data, sizeof(*ret));
        r = s3_place_check(&ret->place, err);
        return r < 0 ? r : s3_credentials_check(&ret->credentials, err);
}

static int item_send(const char *name, void *userdata) {
        return s3_message_send(S3_HELPER_FD, S3_ITEM, name, NULL, 0);
}

/* Returns < 0 if it failed, with error set, and else what S3_DONE says. */
static int serve(Service *service, const S3Place *place, const S3Message *m, Answer *answer, Error *err) {
        if (!s3_name_is_valid(m->name))
                return error_field(err, "name", "no object has such a name");
        switch (m->op) {
        case S3_PUT:
                return object_put(service, m->name, m->data, m->size, err);
        case S3_GET:
                return object_get(service, m->name, answer, err);
        case S3_HAS:
                return object_has(service, m->name, err);
        case S3_LIST:
                return object_list(service, place, m->name, item_send, NULL, err);
        case S3_REMOVE:
                return object_remove(service, m->name, err);
        default:
                return error_field(err, "op", "there is no such request");
        }
}

/* Returns 1, 0 when there is nobody any more, or -errno when the socket is of no use. */
static int serve_next(Service *service, const S3Place *place) {
        _cleanup_(s3_message_done) S3Message message = {};
        _cleanup_(answer_done) Answer answer = {};
        Error err = {};
        int r;

        r = s3_message_receive(S3_HELPER_FD, &message);
        if (r <= 0)
                return r;
        r = serve(service, place, &message, &answer, &err);
        r = r < 0 ? s3_error_send(S3_HELPER_FD, &err)
                  : s3_message_send(S3_HELPER_FD, S3_DONE, r > 0 ? "1" : NULL, answer.data, answer.size);
        return r < 0 ? r : 1;
}

static int run(Error *err) {
        _cleanup_(opening_done) S3Opening opening = {};
        _cleanup_(service_freep) Service *service = NULL;
        int r;

        r = confine(err);
        if (r >= 0)
                r = opening_receive(&opening, err);
        if (r >= 0)
                r = service_new(&opening.place, &opening.credentials, S3_HELPER_FD, &service, err);
        if (r < 0)
                return r;
        while (serve_next(service, &opening.place) > 0)
                ;
        return 0;
}

int main(void) {
        Error err = {};

        (void) signal(SIGPIPE, SIG_IGN); /* of a service that closes while TLS writes to it */
        if (run(&err) >= 0)
                return EXIT_DONE;
        if (s3_error_send(S3_HELPER_FD, &err) < 0)
                fprintf(stderr, "quarry-s3: %s\n", err.text);
        return EXIT_FAILED;
}
