#include "s3-credentials.h"

#include <quarry/text.h>

#define LINE_MAX_SIZE 8192

#define BLANKS " \t\r"

static char *strip(char *s) {
        s += strspn(s, BLANKS);
        for (size_t n = strlen(s); n > 0 && strchr(BLANKS, s[n - 1]); n--)
                s[n - 1] = 0;
        return s;
}

/* A line's name and value, in place. */
static int assign(const char *name, const char *value, S3Credentials *c, unsigned line, Error *err) {
        const struct {
                const char *name;
                char *field;
                size_t size;
        } fields[] = {
                { "access_key_id", c->access_key_id, sizeof(c->access_key_id) },
                { "secret_access_key", c->secret_access_key, sizeof(c->secret_access_key) },
                { "session_token", c->session_token, sizeof(c->session_token) },
        };

        name = startswith(name, "aws_") ?: name;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                if (!streq(name, fields[i].name))
                        continue;
                if (*fields[i].field)
                        return error_field(err, fields[i].name, "line %u: %s stands there twice", line, fields[i].name);
                if (!buffer_format(fields[i].field, fields[i].size, "%s", value))
                        return error_field(err, fields[i].name, "line %u: %s is too long", line, fields[i].name);
                return 0;
        }
        return 0; /* AWS' tools keep more there, such as region */
}

static int line_parse(char *s, bool *is_ours, S3Credentials *c, unsigned line, Error *err) {
        char *value;

        s = strip(s);
        if (!*s || *s == '#' || *s == ';')
                return 0;
        if (*s == '[') {
                *is_ours = streq(s, "[default]");
                return 0;
        }
        if (!*is_ours)
                return 0;
        value = strchr(s, '=');
        if (!value)
                return error_set(err, ERROR_BAD_REQUEST, 0, "line %u is not NAME = VALUE", line);
        *value++ = 0;
        return assign(strip(s), strip(value), c, line, err);
}

int s3_credentials_parse(const char *text, S3Credentials *ret, Error *err) {
        _cleanup_(s3_credentials_done) S3Credentials c = {};
        char buf[LINE_MAX_SIZE];
        bool is_ours = true;
        unsigned line = 0;
        int r = 0;

        while (*text && r >= 0) {
                size_t length = strcspn(text, "\n");

                line++;
                if (length >= sizeof(buf)) {
                        r = error_set(err, ERROR_BAD_REQUEST, 0, "line %u is too long", line);
                        break;
                }
                memcpy(buf, text, length);
                buf[length] = 0;
                r = line_parse(buf, &is_ours, &c, line, err);
                text += length + (text[length] == '\n');
        }
        explicit_bzero(buf, sizeof(buf));
        if (r >= 0)
                r = s3_credentials_check(&c, err);
        if (r < 0) {
                error_hint(err, "write two lines: access_key_id = ID, and secret_access_key = SECRET");
                return r;
        }
        *ret = c;
        return 0;
}
