#pragma once

/* A catalog in a folder of its own, and words for what becomes of it. */

#include "store/catalog.h"

#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../unit.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* not every test says all of them */

/* --- a folder, and what is in it ---------------------------------------------------------------------------- */

static char folder[64], file[80];

static int setup(void **state) {
        buffer_format(folder, sizeof(folder), "/tmp/catalog-XXXXXX");
        assert_non_null(mkdtemp(folder));
        buffer_format(file, sizeof(file), "%s/catalog.db", folder);
        return 0;
}

static int teardown(void **state) {
        DIR *d = opendir(folder);

        for (struct dirent *entry; (entry = readdir(d));)
                (void) unlinkat(dirfd(d), entry->d_name, 0);
        closedir(d);
        return rmdir(folder);
}

/* --- opening ------------------------------------------------------------------------------------------------- */

typedef struct Loaded {
        bool over;
        Error err;
        char text[8192];
        Volume last;
} Loaded;

static int on_volume(Volume *volume, void *userdata, Error *err) {
        Loaded *loaded = userdata;
        size_t n = strlen(loaded->text);

        buffer_format(loaded->text + n, sizeof(loaded->text) - n, "%s%s:%u:%s", n > 0 ? " " : "", volume->spec.name,
                      volume->thin_id, volume_state_to_string(volume->state));
        volume_done(&loaded->last);
        loaded->last = *volume;
        *volume = (Volume) {};
        return 0;
}

static void on_opened(const Error *err, void *userdata) {
        Loaded *loaded = userdata;

        loaded->over = true;
        if (err)
                loaded->err = *err;
}

static void dispatch(Catalog *c) {
        struct pollfd p = { .fd = catalog_fd(c), .events = POLLIN };

        assert_int_equal(poll(&p, 1, 10000), 1);
        catalog_dispatch(c);
}

static Catalog *load(const char *path, CatalogVolume on, Loaded *loaded) {
        Catalog *c = NULL;
        Error err = {};

        if (catalog_open(path, on, on_opened, loaded, &c, &err) < 0)
                fail_msg("%s", err.text);
        while (!loaded->over)
                dispatch(c);
        return c;
}

static Catalog *catalog_at(const char *path) {
        Loaded loaded = {};
        Catalog *c = load(path, on_volume, &loaded);

        volume_done(&loaded.last);
        if (loaded.err.kind != ERROR_NONE)
                fail_msg("%s", loaded.err.text);
        return c;
}

static void refused_at(const char *path, const char *part, ErrorKind kind) {
        Loaded loaded = {};

        catalog_free(load(path, on_volume, &loaded));
        volume_done(&loaded.last);
        if (!strstr(loaded.err.text, part))
                fail_msg("\"%s\" is not in \"%s\"", part, loaded.err.text);
        assert_int_equal(loaded.err.kind, kind);
}

static void refused(const char *part, ErrorKind kind) {
        refused_at(folder, part, kind);
}

static void on_closed(void *userdata) {
        *(bool *) userdata = true;
}

static void close_catalog(Catalog *c) {
        bool closed = false;

        catalog_close(c, on_closed, &closed);
        while (!closed)
                dispatch(c);
        catalog_free(c);
}

/* Closes the catalog, and reads it again. */
static void holds(Catalog **c, const char *expected) {
        Loaded loaded = {};

        close_catalog(*c);
        *c = load(folder, on_volume, &loaded);
        assert_int_equal(loaded.err.kind, ERROR_NONE);
        assert_string_equal(loaded.text, expected);
        volume_done(&loaded.last);
}

/* --- volumes ------------------------------------------------------------------------------------------------- */

static sd_id128_t uuid_of(unsigned n) {
        sd_id128_t id = { .qwords = { 1, n } };

        return id;
}

static Volume volume_of(unsigned n, const char *name) {
        Volume v = {
                .uuid = uuid_of(n), .thin_id = n, .spec = VOLUME_SPEC_DEFAULT, .created_usec = 1700000000000000 + n
        };

        buffer_format(v.spec.name, sizeof(v.spec.name), "%s", name);
        v.spec.size = GIB;
        return v;
}

/* of volume n */
static Volume snapshot_of(unsigned n, unsigned origin, const char *name) {
        Volume v = volume_of(n, name);

        v.spec.role = ROLE_SNAPSHOT;
        v.spec.origin = uuid_of(origin);
        return v;
}

/* --- changes, and their ends ---------------------------------------------------------------------------------- */

static char ended[4096]; /* one letter for each change in the order of their ends; "!" behind one that failed */
static unsigned n_ended;
static Error last_error;

static void on_done(const Error *err, void *userdata) {
        size_t n = strlen(ended);

        buffer_format(ended + n, sizeof(ended) - n, "%c%s", (char) (intptr_t) userdata, err ? "!" : "");
        if (err)
                last_error = *err;
        n_ended++;
}

static void put(Catalog *c, const Volume *v, char letter) {
        Error err = {};

        assert_int_equal(catalog_put_volume(c, v, on_done, (void *) (intptr_t) letter, &err), 0);
}

static void settle(Catalog *c, unsigned n) {
        while (n_ended < n)
                dispatch(c);
        assert_int_equal(n_ended, n);
}

static void begin(void) {
        ended[0] = 0;
        n_ended = 0;
        last_error = (Error) {};
}
