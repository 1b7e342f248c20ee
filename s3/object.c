#include "object.h"

#include "answer.h"

#include <curl/curl.h>

#define LISTING_MAX (UINT32_C(8) << 20) /* bytes of 1000 long keys, quoted */
#define PARTS_MAX 100000u               /* of a list, 1000 objects each */

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

/* --- what is there ---------------------------------------------------------------------------------------- */

static void curl_freep(char **p) {
        curl_free(*p);
}

static int on_listing(const char *data, size_t size, void *userdata) {
        return listing_parse(data, size, userdata); /* what came before it did not come whole, and left nothing */
}

/* prefix: of the keys. token: NULL at the beginning. */
static int part_get(Service *service, const char *kind, const char *prefix, const char *token, Listing *ret,
                    Error *err) {
        _cleanup_(curl_freep) char *quoted = curl_easy_escape(NULL, prefix, 0);
        _cleanup_(curl_freep) char *quoted_token = curl_easy_escape(NULL, token ?: "", 0);
        _cleanup_free_ char *what = format_new("list %s of", kind), *query = NULL;

        if (quoted && quoted_token)
                query = format_new("%s%s%sencoding-type=url&list-type=2&prefix=%s", token ? "continuation-token=" : "",
                                   quoted_token, token ? "&" : "", quoted);
        if (!what || !query)
                return error_oom(err);
        Request q = { .what = what, .method = "GET", .query = query, .understand = on_listing, .userdata = ret };
        q.answer_max = LISTING_MAX;
        int r = service_request(service, &q, NULL, err);
        return r == 0 ? error_set(err, ERROR_FAILED, ENOENT, "the service lists nothing") : r;
}

/* What others have laid there is passed over. */
static int part_tell(const Listing *part, const S3Place *place, const char *prefix,
                     int (*each)(const char *name, void *userdata), void *userdata) {
        size_t before = *place->prefix ? strlen(place->prefix) + 1 : 0;

        for (char **key = part->keys; key && *key; key++) {
                if (!startswith(*key, prefix) || !s3_name_is_valid(*key + before))
                        continue;
                int r = each(*key + before, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

int object_list(Service *service, const S3Place *place, const char *kind, int (*each)(const char *name, void *userdata),
                void *userdata, Error *err) {
        _cleanup_free_ char *prefix = format_new("%s%s%s/", place->prefix, *place->prefix ? "/" : "", kind);
        _cleanup_free_ char *token = NULL;

        if (!prefix)
                return error_oom(err);
        for (unsigned parts = 0; parts < PARTS_MAX; parts++) {
                _cleanup_(listing_done) Listing part = {};
                int r;

                r = part_get(service, kind, prefix, token, &part, err);
                if (r < 0)
                        return r;
                r = part_tell(&part, place, prefix, each, userdata);
                if (r < 0)
                        return error_errno(err, r, "what is listed cannot be handed on");
                if (!part.token)
                        return 0;
                if (streq_ptr(token, part.token))
                        break;
                free(token);
                token = TAKE_PTR(part.token);
        }
        return error_set(err, ERROR_FAILED, ELOOP, "cannot list %s of s3://%s: the service finds no end", kind,
                         place->bucket);
}
