#include "store.h"

#include "store-directory.h"
#include "store-s3.h"

#include <quarry/fd.h>
#include <quarry/s3.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define CREDENTIALS_MAX 65536u

void store_free(Store *store) {
        if (store)
                store->ops->free(store);
}

/* --- the place -------------------------------------------------------------------------------------------- */

static int fail_url(const char *url, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, "URL",
                           "\"%s\" is no place for a repository: it is file:///DIRECTORY or "
                           "s3://BUCKET[/PREFIX]?endpoint=URL[&region=REGION]",
                           text_echo(url, echo));
}

static int take_parameter(const char *text, size_t n, S3Place *place) {
        const struct {
                const char *name;
                char *field;
                size_t size;
        } fields[] = {
                { "endpoint=", place->endpoint, sizeof(place->endpoint) },
                { "region=", place->region, sizeof(place->region) },
        };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                size_t name = strlen(fields[i].name);

                if (n > name && strncmp(text, fields[i].name, name) == 0)
                        return buffer_format(fields[i].field, fields[i].size, "%.*s", (int) (n - name), text + name)
                                       ? 0
                                       : -EINVAL;
        }
        return -EINVAL;
}

/* s3://BUCKET[/PREFIX]?NAME=VALUE[&NAME=VALUE] */
static int s3_place_parse(const char *url, S3Place *ret, Error *err) {
        S3Place place = { .region = S3_REGION, .patience = S3_PATIENCE };
        const char *rest = startswith(url, "s3://");
        size_t bucket = strcspn(rest, "/?");
        const char *prefix = rest + bucket + (rest[bucket] == '/'), *query;
        size_t n = strcspn(prefix, "?");
        int r = 0;

        query = prefix + n;
        while (n > 0 && prefix[n - 1] == '/')
                n--;
        if (!buffer_format(place.bucket, sizeof(place.bucket), "%.*s", (int) bucket, rest) ||
            !buffer_format(place.prefix, sizeof(place.prefix), "%.*s", (int) n, prefix))
                return fail_url(url, err);
        while (*query && r >= 0) {
                size_t length = strcspn(++query, "&");

                r = take_parameter(query, length, &place);
                query += length;
        }
        if (r < 0)
                return fail_url(url, err);
        if (!*place.endpoint)
                return error_field(err, "URL", "an S3 repository needs its endpoint: s3://%s?endpoint=https://HOST",
                                   place.bucket);
        r = s3_place_check(&place, err);
        if (r >= 0)
                *ret = place;
        return r;
}

int store_check_url(const char *url, Error *err) {
        const char *path = startswith(url, "file://");
        S3Place place;

        if (path)
                return path_is_plain(path) ? 0 : fail_url(url, err);
        return startswith(url, "s3://") ? s3_place_parse(url, &place, err) : fail_url(url, err);
}

/* --- credentials ------------------------------------------------------------------------------------------ */

static int credentials_read(const char *path, S3Credentials *ret, Error *err) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        struct stat status;
        char *text = NULL;
        size_t size = 0;
        int r;

        if (fd < 0 || fstat(fd, &status) < 0)
                return error_errno(err, errno, "cannot open %s", path);
        if ((status.st_uid != 0 && status.st_uid != geteuid()) || (status.st_mode & 077) != 0) {
                error_set(err, ERROR_FAILED, EPERM, "others can read or change the credentials in %s", path);
                error_hint(err, "if nobody read them: chmod 0600 %s", path);
                return error_code(err);
        }
        r = file_read(AT_FDCWD, path, CREDENTIALS_MAX, &text, &size);
        if (r < 0)
                return error_errno(err, r, "cannot read %s", path);
        r = s3_credentials_parse(text, ret, err);
        if (r < 0)
                error_prefix(err, "%s", path);
        sodium_memzero(text, size);
        free(text);
        return r;
}

int store_open(const char *url, const char *credentials, bool make, Store **ret, Error *err) {
        const char *path = startswith(url, "file://");
        S3Credentials c = {};
        S3Place place = {};
        int r;

        r = store_check_url(url, err);
        if (r < 0)
                return r;
        if (path)
                return store_directory_new(path, make, ret, err);
        if (!credentials)
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "an S3 repository needs credentials");
        r = s3_place_parse(url, &place, err);
        if (r >= 0)
                r = credentials_read(credentials, &c, err);
        if (r >= 0)
                r = store_s3_new(&place, &c, ret, err);
        s3_credentials_done(&c);
        return r;
}

/* --- names ------------------------------------------------------------------------------------------------ */

typedef struct Names {
        char **list;
        size_t n, room;
} Names;

static int add_name(const char *name, void *userdata) {
        Names *names = userdata;

        if (names->n + 1 >= names->room) {
                size_t room = names->room ? 2 * names->room : 16;
                char **list = reallocarray(names->list, room, sizeof(*list));

                if (!list)
                        return -ENOMEM;
                names->list = list;
                names->room = room;
        }
        names->list[names->n] = strdup(name);
        if (!names->list[names->n])
                return -ENOMEM;
        names->list[++names->n] = NULL;
        return 0;
}

bool store_takes_nothing(const Error *err) {
        return err->kind == ERROR_NO_SPACE || err->kind == ERROR_PERMISSION_DENIED || err->number == EROFS ||
               err->number == EACCES || err->number == EPERM;
}

int store_list(Store *store, const char *kind, char ***ret, Error *err) {
        Names names = {};
        int r;

        r = store->ops->list(store, kind, add_name, &names, err);
        if (r < 0) {
                strv_free(names.list);
                return err->kind == ERROR_NONE ? error_oom(err) : r;
        }
        *ret = names.list;
        return 0;
}
