/* quarry-s3: speaks to an S3 service for `quarry`, which starts it, without any right of quarry's. It is told on its
 * socket, descriptor 3, what to do, and ends with it. */

#include "confine.h"

#include <quarry/s3.h>
#include <string.h>

#include <stdio.h>

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

static int run(Error *err) {
        S3Opening opening = {};
        int r;

        r = confine(err);
        if (r >= 0)
                r = opening_receive(&opening, err);
        s3_credentials_done(&opening.credentials);
        return r;
}

int main(void) {
        Error err = {};

        if (run(&err) >= 0)
                return EXIT_DONE;
        if (s3_error_send(S3_HELPER_FD, &err) < 0)
                fprintf(stderr, "quarry-s3: %s\n", err.text);
        return EXIT_FAILED;
}
