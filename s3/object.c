#include "object.h"

int object_put(Service *service, const char *name, const void *data, size_t size, Error *err) {
        Request q = { .what = "write", .method = "PUT", .name = name, .body = data, .body_size = size };
        int r;

        q.answer_max = S3_OBJECT_MAX;
        r = service_request(service, &q, NULL, err);
        return r == 0 ? error_set(err, ERROR_FAILED, ENOENT, "the service takes no object %s", name) : r;
}

int object_get(Service *service, const char *name, Answer *ret, Error *err) {
        Request q = { .what = "read", .method = "GET", .name = name, .answer_max = S3_OBJECT_MAX, .is_sized = true };

        return service_request(service, &q, ret, err);
}

/* An answer to HEAD does not say what it is that is not there. */
int object_has(Service *service, const char *name, Error *err) {
        Request q = { .what = "look for", .method = "HEAD", .name = name };
        Request bucket = { .what = "look into", .method = "GET", .query = "list-type=2&max-keys=1" };
        int r;

        bucket.answer_max = LISTING_MAX;
        r = service_request(service, &q, NULL, err);
        if (r != 0 || service_has_seen_bucket(service))
                return r;
        r = service_request(service, &bucket, NULL, err);
        return r < 0 ? r : 0;
}

int object_remove(Service *service, const char *name, Error *err) {
        Request q = { .what = "remove", .method = "DELETE", .name = name };
        int r;

        r = service_request(service, &q, NULL, err);
        return r < 0 ? r : 0;
}
