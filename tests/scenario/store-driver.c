/* Does with an S3 store what the lines of stdin say, and answers each with a line of stdout: for store-s3.py. Takes
 * ENDPOINT BUCKET PREFIX PATIENCE, and a file with credentials. */

#include "../../repo/store-s3.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

/* The same bytes for the same name and size. */
static uint8_t *contents(const char *name, size_t size) {
        uint8_t *data = malloc(size + 1);
        uint32_t state = 2166136261;

        assert(data);
        for (; *name; name++)
                state = (state ^ (uint8_t) *name) * 16777619;
        for (size_t i = 0; i < size; i++) {
                state = state * 1664525 + 1013904223;
                data[i] = (uint8_t) (state >> 24);
        }
        return data;
}

static int put(Store *store, const char *name, size_t size, Error *err) {
        _cleanup_free_ uint8_t *data = contents(name, size);

        return store->ops->put(store, name, data, size, err);
}

static int get(Store *store, const char *name, Error *err) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t size = 0;
        int r;

        r = store->ops->get(store, name, &data, &size, err);
        if (r > 0) {
                _cleanup_free_ uint8_t *want = contents(name, size);
                printf("%zu %s ", size, memcmp(data, want, size) == 0 ? "whole" : "damaged");
        }
        return r;
}

static int fill(Store *store, const char *kind, size_t number, Error *err) {
        int r = 0;

        for (size_t i = 0; i < number && r >= 0; i++) {
                _cleanup_free_ char *name = format_new("%s/%05zu", kind, i);
                r = put(store, name, 3, err);
        }
        return r;
}

typedef struct Listed {
        Store *store;
        size_t count, max;
        char *last;
} Listed;

static int on_name(const char *name, void *userdata) {
        Listed *listed = userdata;
        Error err = {};

        assert(listed->store->ops->has(listed->store, name, &err) == -EBUSY); /* and it goes on */
        listed->count++;
        free(listed->last);
        listed->last = strdup(name);
        return listed->count == listed->max ? -ECANCELED : 0;
}

static int list(Store *store, const char *kind, size_t max, Error *err) {
        Listed listed = { .store = store, .max = max };
        int r;

        r = store->ops->list(store, kind, on_name, &listed, err);
        if (r >= 0 || r == -ECANCELED)
                printf("%zu %s ", listed.count, listed.last ?: "-");
        free(listed.last);
        return r == -ECANCELED ? 0 : r;
}

static int act(Store *store, const char *verb, const char *name, size_t number, Error *err) {
        const StoreOps *ops = store->ops;

        return streq(verb, "put")      ? put(store, name, number, err)
               : streq(verb, "get")    ? get(store, name, err)
               : streq(verb, "has")    ? ops->has(store, name, err)
               : streq(verb, "remove") ? ops->remove(store, name, err)
               : streq(verb, "fill")   ? fill(store, name, number, err)
               : streq(verb, "list")   ? list(store, name, number, err)
                                       : ops->sync(store, err);
}

int main(int argc, char **argv) {
        _cleanup_free_ char *text = NULL;
        S3Credentials credentials = {};
        S3Place place = {};
        char line[512], verb[16], name[256];
        Store *store = NULL;
        Error err = {};
        int r;

        assert(argc == 6);
        snprintf(place.endpoint, sizeof(place.endpoint), "%s", argv[1]);
        snprintf(place.region, sizeof(place.region), S3_REGION);
        snprintf(place.bucket, sizeof(place.bucket), "%s", argv[2]);
        snprintf(place.prefix, sizeof(place.prefix), "%s", argv[3]);
        place.patience = (uint32_t) atoi(argv[4]);
        assert(file_read(AT_FDCWD, argv[5], 8192, &text, NULL) >= 0);
        r = s3_credentials_parse(text, &credentials, &err);
        if (r >= 0)
                r = store_s3_new(&place, &credentials, &store, &err);
        printf("%s %s\n", r < 0 ? error_kind_name(err.kind) : "open", err.text);
        fflush(stdout);
        while (r >= 0 && fgets(line, sizeof(line), stdin)) {
                size_t number = 0;

                err = (Error) {};
                assert(sscanf(line, "%15s %255s %zu", verb, name, &number) >= 1);
                int done = act(store, verb, name, number, &err);
                if (done >= 0)
                        printf("%d\n", done);
                else
                        printf("%s: %s | %s\n", error_kind_name(err.kind), err.text, err.hint);
                fflush(stdout);
        }
        if (store)
                store->ops->free(store);
        s3_credentials_done(&credentials);
        return 0;
}
