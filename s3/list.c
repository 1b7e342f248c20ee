/* What is in a bucket, 1000 objects at a time. */

#include "answer.h"
#include "object.h"

#include <curl/curl.h>

#define PARTS_MAX 100000u

/* Where a part begins: what goes into the query before and behind the rest of it, which is sorted. */
typedef struct Position {
        char *token, *after;
} Position;

static void position_done(Position *position) {
        free(position->token);
        free(position->after);
        *position = (Position) {};
}

static char *parameter(const char *name, const char *value) {
        char *quoted = curl_easy_escape(NULL, value, 0);
        char *pair = quoted ? format_new("%s=%s", name, quoted) : NULL;

        curl_free(quoted);
        return pair;
}

/* libcurl (8.14) signs a '+' in a query as if it were a blank. So a token that has one is not used, but the last key
 * in its place, and one that has one is cut there: no name of ours has a '+', nor lies between it and ','. */
static int position_find(const Listing *part, Position *ret, Error *err) {
        Position position = {};

        if (!isempty(part->token) && !strchr(part->token, '+'))
                position.token = parameter("continuation-token", part->token);
        else if (part->keys) {
                char *key = part->keys[strv_length(part->keys) - 1], *plus = strchr(key, '+');

                if (plus)
                        memcpy(plus, ",", 2);
                position.after = parameter("start-after", key);
        } else
                return error_set(err, ERROR_FAILED, EBADMSG, "the service does not say where its list goes on");
        if (!position.token && !position.after)
                return error_oom(err);
        *ret = position;
        return 0;
}

static int on_listing(const char *data, size_t size, void *userdata) {
        return listing_parse(data, size, userdata); /* what came before it did not come whole, and left nothing */
}

/* prefix: of the keys. */
static int part_get(Service *service, const char *kind, const char *prefix, const Position *at, Listing *ret,
                    Error *err) {
        _cleanup_free_ char *what = format_new("list %s of", kind), *query = NULL, *of = parameter("prefix", prefix);

        if (of)
                query = format_new("%s%sencoding-type=url&list-type=2&%s%s%s", at->token ?: "", at->token ? "&" : "",
                                   of, at->after ? "&" : "", at->after ?: "");
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
        _cleanup_(position_done) Position at = {};

        if (!prefix)
                return error_oom(err);
        for (unsigned parts = 0; parts < PARTS_MAX; parts++) {
                _cleanup_(listing_done) Listing part = {};
                Position next = {};
                int r;

                r = part_get(service, kind, prefix, &at, &part, err);
                if (r < 0)
                        return r;
                r = part_tell(&part, place, prefix, each, userdata);
                if (r < 0)
                        return error_errno(err, r, "what is listed cannot be handed on");
                if (!part.is_truncated)
                        return 0;
                r = position_find(&part, &next, err);
                if (r < 0)
                        return r;
                bool is_same = streq_ptr(at.token, next.token) && streq_ptr(at.after, next.after);
                position_done(&at);
                at = next;
                if (is_same)
                        break;
        }
        return error_set(err, ERROR_FAILED, ELOOP, "cannot list %s of s3://%s: the service finds no end", kind,
                         place->bucket);
}
