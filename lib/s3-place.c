#include <quarry/s3.h>

#include <quarry/text.h>

/* Nothing of a name of ours has to be quoted in a URL. */
static bool is_plain(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
}

static bool part_is_valid(const char *part, size_t length) {
        if (length == 0 || strspn(part, ".") >= length)
                return false;
        for (size_t i = 0; i < length; i++)
                if (!is_plain(part[i]))
                        return false;
        return true;
}

static bool parts_are_valid(const char *s) {
        for (;;) {
                size_t length = strcspn(s, "/");

                if (!part_is_valid(s, length))
                        return false;
                if (!s[length])
                        return true;
                s += length + 1;
        }
}

bool s3_name_is_valid(const char *name) {
        return strlen(name) <= S3_NAME_MAX && parts_are_valid(name);
}

/* Of the other side: a field that has no end is none. */
#define field_is_whole(field) (memchr((field), 0, sizeof(field)))

static bool endpoint_is_valid(const char *endpoint) {
        const char *host = startswith(endpoint, "https://") ?: startswith(endpoint, "http://");
        size_t length = strlen(endpoint);

        if (isempty(host) || *host == '/' || endpoint[length - 1] == '/')
                return false;
        for (const char *p = host; *p; p++)
                if (!is_plain(*p) && !strchr("/:[]", *p)) /* neither a user nor a query */
                        return false;
        return true;
}

int s3_place_check(const S3Place *place, Error *err) {
        if (!field_is_whole(place->endpoint) || !endpoint_is_valid(place->endpoint))
                return error_field(err, "endpoint", "endpoint: it is https://HOST[:PORT] or http://HOST[:PORT]");
        if (!field_is_whole(place->region) || !part_is_valid(place->region, strlen(place->region)))
                return error_field(err, "region", "region: it is a word such as " S3_REGION);
        if (!field_is_whole(place->bucket) || strlen(place->bucket) < 3 ||
            !part_is_valid(place->bucket, strlen(place->bucket)))
                return error_field(err, "bucket", "bucket: it is 3 to 63 letters, digits, '.', '_' and '-'");
        if (!field_is_whole(place->prefix) || (*place->prefix && !parts_are_valid(place->prefix)))
                return error_field(err, "prefix", "prefix: it is of letters, digits, '.', '_', '-' and single '/'");
        if (place->patience == 0 || place->patience > 3600)
                return error_field(err, "patience", "patience: it is 1 to 3600 seconds");
        return 0;
}

/* What goes into a header of a request has no room for a line of its own. */
static bool credential_is_valid(const char *s) {
        for (; *s; s++)
                if (*s <= ' ' || *s > '~')
                        return false;
        return true;
}

int s3_credentials_check(const S3Credentials *credentials, Error *err) {
        const S3Credentials *c = credentials;

        if (!field_is_whole(c->access_key_id) || !*c->access_key_id || !credential_is_valid(c->access_key_id))
                return error_field(err, "access_key_id", "access_key_id: it is missing, or not one of S3");
        if (!field_is_whole(c->secret_access_key) || !*c->secret_access_key ||
            !credential_is_valid(c->secret_access_key))
                return error_field(err, "secret_access_key", "secret_access_key: it is missing, or not one of S3");
        if (!field_is_whole(c->session_token) || !credential_is_valid(c->session_token))
                return error_field(err, "session_token", "session_token: it is not one of S3");
        return 0;
}

void s3_credentials_done(S3Credentials *credentials) {
        explicit_bzero(credentials, sizeof(*credentials));
}
