#include "request.h"

#include "failure.h"

#include <quarry/clock.h>
#include <quarry/text.h>

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#define TRIES_MAX 5u
#define COMPLAINT_MAX 65536u /* bytes of an answer that is an error */
#define SLOW 1024            /* bytes a second: less of them for some time, and a try is given up */

struct Service {
        CURL *curl;
        const S3Place *place;
        const S3Credentials *credentials;
        int watched;
        char *scope; /* for the signature */
        struct curl_slist *headers;
        bool is_bucket_seen;
};

/* One try. */
typedef struct Try {
        const Request *request;
        Service *service;
        Answer answer;
        bool is_too_large;
} Try;

void answer_done(Answer *answer) {
        free(answer->data);
        *answer = (Answer) {};
}

/* --- the library ------------------------------------------------------------------------------------------ */

static int header_add(Service *service, const char *text) {
        struct curl_slist *more = curl_slist_append(service->headers, text);

        if (!more)
                return -ENOMEM;
        service->headers = more;
        return 0;
}

/* Without Expect: no service refuses a body of 4 MiB after its head, and those that do not know it would be waited
 * for. */
static int headers_make(Service *service) {
        char token[sizeof(service->credentials->session_token) + 32];
        int r;

        r = header_add(service, "Content-Type: application/octet-stream");
        if (r >= 0)
                r = header_add(service, "Expect:");
        if (r < 0 || !*service->credentials->session_token)
                return r;
        (void) buffer_format(token, sizeof(token), "x-amz-security-token: %s", service->credentials->session_token);
        r = header_add(service, token);
        explicit_bzero(token, sizeof(token));
        return r;
}

int service_new(const S3Place *place, const S3Credentials *credentials, int watched, Service **ret, Error *err) {
        _cleanup_(service_freep) Service *service = calloc(1, sizeof(*service));

        if (!service)
                return error_oom(err);
        *service = (Service) { .place = place, .credentials = credentials, .watched = watched };
        service->scope = format_new("aws:amz:%s:s3", place->region);
        if (!service->scope || headers_make(service) < 0)
                return error_oom(err);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(service->curl = curl_easy_init()))
                return error_set(err, ERROR_FAILED, ENOTSUP, "libcurl cannot be used");
        *ret = TAKE_PTR(service);
        return 0;
}

void service_free(Service *service) {
        for (struct curl_slist *h = service->headers; h; h = h->next)
                explicit_bzero(h->data, strlen(h->data));
        curl_slist_free_all(service->headers);
        if (service->curl)
                curl_easy_cleanup(service->curl);
        curl_global_cleanup();
        free(service->scope);
        free(service);
}

bool service_has_seen_bucket(const Service *service) {
        return service->is_bucket_seen;
}

/* Whom this is done for has gone, or comes to an end. */
static bool is_left(const Service *service, int milliseconds) {
        struct pollfd fd = { .fd = service->watched, .events = POLLRDHUP };

        return poll(&fd, 1, milliseconds) > 0;
}

static int on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                       curl_off_t upload_now) {
        return is_left(userdata, 0);
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata) {
        Try *t = userdata;
        Answer *a = &t->answer;
        long status = 0;

        (void) curl_easy_getinfo(t->service->curl, CURLINFO_RESPONSE_CODE, &status);
        size_t max = status == 200 ? t->request->answer_max : COMPLAINT_MAX;
        if (size > max - a->size) {
                t->is_too_large = true;
                return 0;
        }
        char *bigger = realloc(a->data, a->size + size + 1);
        if (!bigger)
                return 0;
        a->data = bigger;
        memcpy(a->data + a->size, data, size);
        a->size += size;
        a->data[a->size] = 0;
        return size;
}

/* --- one try ---------------------------------------------------------------------------------------------- */

static char *url_make(const Service *service, const Request *q) {
        const S3Place *place = service->place;

        return format_new("%s/%s%s%s%s%s%s%s", place->endpoint, place->bucket, q->name ? "/" : "",
                          q->name ? place->prefix : "", q->name && *place->prefix ? "/" : "", q->name ?: "",
                          q->query ? "?" : "", q->query ?: "");
}

static unsigned at_least_one(unsigned n) {
        return n > 0 ? n : 1;
}

/* What cannot be set would be a library without it: none of this may be left out. */
#define SET(option, value)                                         \
        if (curl_easy_setopt(curl, (option), (value)) != CURLE_OK) \
        return -ENOTSUP

static int set_manners(Service *service) {
        CURL *curl = service->curl;
        unsigned patience = service->place->patience;

        SET(CURLOPT_PROTOCOLS_STR, "http,https");
        SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_FOLLOWLOCATION, 0L);
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_CONNECTTIMEOUT, (long) at_least_one(patience / 6));
        SET(CURLOPT_LOW_SPEED_LIMIT, (long) SLOW);
        SET(CURLOPT_LOW_SPEED_TIME, (long) at_least_one(patience / 4));
        SET(CURLOPT_TIMEOUT, (long) patience * 5);
        SET(CURLOPT_NOPROGRESS, 0L);
        SET(CURLOPT_XFERINFOFUNCTION, on_progress);
        SET(CURLOPT_XFERINFODATA, service);
        return 0;
}

static int set_request(Service *service, const Request *q, Try *t, char *trouble, const char *url) {
        CURL *curl = service->curl;

        SET(CURLOPT_URL, url);
        SET(CURLOPT_ERRORBUFFER, trouble);
        SET(CURLOPT_AWS_SIGV4, service->scope);
        SET(CURLOPT_USERNAME, service->credentials->access_key_id);
        SET(CURLOPT_PASSWORD, service->credentials->secret_access_key);
        SET(CURLOPT_HTTPHEADER, service->headers);
        SET(CURLOPT_WRITEFUNCTION, on_data);
        SET(CURLOPT_WRITEDATA, t);
        if (streq(q->method, "HEAD")) {
                SET(CURLOPT_NOBODY, 1L);
        } else
                SET(CURLOPT_CUSTOMREQUEST, q->method);
        if (q->body) { /* so that its sum is signed: what is not what was sent is refused there */
                SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) q->body_size);
                SET(CURLOPT_POSTFIELDS, q->body);
        }
        return 0;
}

static bool is_whole(Service *service, const Request *q, const Try *t) {
        curl_off_t said = -1;

        (void) curl_easy_getinfo(service->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &said);
        if (q->is_sized && (said < 0 || (size_t) said != t->answer.size))
                return false;
        return !q->understand || q->understand(t->answer.data ?: "", t->answer.size, q->userdata) >= 0;
}

static int try_once(Service *service, const Request *q, Outcome *ret, Answer *ret_answer, Error *err) {
        _cleanup_free_ char *url = url_make(service, q);
        Try t = { .request = q, .service = service };
        Outcome o = { .is_bare = streq(q->method, "HEAD") };

        if (!url)
                return error_oom(err);
        curl_easy_reset(service->curl); /* connections stay */
        if (set_manners(service) < 0 || set_request(service, q, &t, o.trouble, url) < 0)
                return error_set(err, ERROR_FAILED, ENOTSUP, "libcurl lacks what is needed for S3");
        o.result = curl_easy_perform(service->curl);
        (void) curl_easy_getinfo(service->curl, CURLINFO_RESPONSE_CODE, &o.status);
        if (t.is_too_large)
                (void) buffer_format(o.trouble, sizeof(o.trouble), "the answer is larger than any object of ours");
        if (o.result == CURLE_OK && o.status == 200)
                o.is_short = !is_whole(service, q, &t);
        else if (t.answer.data)
                complaint_parse(t.answer.data, t.answer.size, &o.complaint);
        if (outcome_is_done(&o) && ret_answer) {
                *ret_answer = t.answer;
                t.answer = (Answer) {};
        }
        answer_done(&t.answer);
        *ret = o;
        return 0;
}

/* --- all of them ------------------------------------------------------------------------------------------ */

/* Twice as long each time, and by chance up to half less, so that not all who wait come back at once. */
static unsigned pause_length(const Service *service, unsigned tries) {
        unsigned milliseconds = (service->place->patience * 1000 / 60) << (tries - 1), chance;

        if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
                chance = 0;
        return milliseconds - chance % (milliseconds / 2 + 1);
}

static int give_up(const Service *service, const Request *q, const Outcome *o, unsigned tries, Error *err) {
        const S3Place *place = service->place;
        Error why = {};

        (void) outcome_describe(o, place, &why);
        error_set(err, why.kind, why.number, "cannot %s %s%ss3://%s%s%s: %s", q->what, q->name ?: "",
                  q->name ? " of " : "", place->bucket, *place->prefix ? "/" : "", place->prefix, why.text);
        if (tries > 1) {
                size_t n = strlen(err->text);
                (void) buffer_format(err->text + n, sizeof(err->text) - n, " (tried %u times)", tries);
        }
        error_hint(err, "%s", why.hint);
        return error_code(err);
}

int service_request(Service *service, const Request *q, Answer *ret, Error *err) {
        uint64_t end = clock_usec(CLOCK_MONOTONIC) + (uint64_t) service->place->patience * 1000000;
        Outcome o;
        int r;

        for (unsigned tries = 1;; tries++) {
                r = try_once(service, q, &o, ret, err);
                if (r < 0)
                        return r;
                bool is_done = outcome_is_done(&o);
                if (is_done || outcome_is_missing(&o)) {
                        service->is_bucket_seen = service->is_bucket_seen || is_done || !o.is_bare;
                        return is_done;
                }
                unsigned pause = pause_length(service, tries);
                if (!outcome_is_passing(&o) || tries == TRIES_MAX ||
                    clock_usec(CLOCK_MONOTONIC) + (uint64_t) pause * 1000 >= end)
                        return give_up(service, q, &o, tries, err);
                if (is_left(service, (int) pause))
                        return error_set(err, ERROR_FAILED, ECANCELED, "nobody waits for it any more");
        }
}
