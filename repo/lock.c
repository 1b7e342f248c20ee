#include "lock.h"

#include <quarry/clock.h>
#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-json.h>

#define LOCKS "locks"
#define ID_PREFIX "by-" /* so that a directory has all of them in one folder, which takes no room more */
#define RESERVES 4u /* what a lock takes is here when there is no room left: blocks, inodes */
#define RESERVE_SIZE (UINT32_C(256) << 10) /* bytes of each: XFS sets as much aside for one new file */
#define MINUTE_USEC UINT64_C(60000000)
#define HOLDS_USEC (60 * MINUTE_USEC)
#define RENEW_USEC (10 * MINUTE_USEC)
#define CLOCKS_DIFFER_USEC (10 * MINUTE_USEC) /* at most, between two hosts */

struct RepositoryLock {
        Repository *r;
        RepositoryUse use;
        bool is_held;
        char *what;
        char id[sizeof(ID_PREFIX) + 32];
        char names[2][STORE_NAME_MAX]; /* of the object, which changes with each renewal; while that goes on, of two */
        uint64_t at_usec; /* CLOCK_BOOTTIME: the other may be set meanwhile */
        unsigned serial;
};

/* A number of a process is another's soon; with the time of its start it is not. 0: there is none. */
static uint64_t start_of(pid_t pid) {
        _cleanup_free_ char *text = NULL;
        char path[40];
        const char *at;
        uint64_t ticks = 0;

        buffer_format(path, sizeof(path), "/proc/%d/stat", (int) pid);
        if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0 || !(at = strrchr(text, ')')))
                return 0;
        for (unsigned i = 0; i < 20 && at; i++) /* the 22nd field; the name was the 2nd */
                at = strchr(at + 1, ' ');
        return at && sscanf(at, " %" SCNu64, &ticks) == 1 ? ticks : 0;
}

static int is_there(RepositoryLock *l, const char *name, Error *err) {
        Store *store = repository_store(l->r);

        return *name ? store->ops->has(store, name, err) : 0;
}

static int check_there(RepositoryLock *l, const char *name, Error *err) {
        int n = is_there(l, name, err);

        return n != 0 ? n
                      : error_set(err, ERROR_FAILED, ETIMEDOUT,
                                  "somebody took this for dead and worked in the repository meanwhile: it was "
                                  "stopped for more than an hour, or the clocks of two hosts differ");
}

/* The old one goes last, and only if it was there all the time; or the new one was, of an attempt that failed. */
static int write_lock(RepositoryLock *l, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Store *store = repository_store(l->r);
        _cleanup_free_ char *text = NULL;
        char *name = l->names[l->serial % 2], *old = l->names[(l->serial + 1) % 2], host[65] = "";
        uint64_t now = clock_usec(CLOCK_BOOTTIME);
        sd_id128_t machine = {}, boot = {};
        int n, stood;

        (void) gethostname(host, sizeof(host) - 1);
        (void) sd_id128_get_machine(&machine);
        (void) sd_id128_get_boot(&boot);
        n = sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_BOOLEAN("alone", l->use == REPOSITORY_ALONE),
                        SD_JSON_BUILD_PAIR_STRING("what", l->what),
                        SD_JSON_BUILD_PAIR_STRING("host", host),
                        SD_JSON_BUILD_PAIR_ID128("machine", machine),
                        SD_JSON_BUILD_PAIR_ID128("boot", boot),
                        SD_JSON_BUILD_PAIR_UNSIGNED("pid", (uint64_t) getpid()),
                        SD_JSON_BUILD_PAIR_UNSIGNED("started", start_of(getpid())),
                        SD_JSON_BUILD_PAIR_UNSIGNED("untilUsec", clock_usec(CLOCK_REALTIME) + HOLDS_USEC));
        if (n >= 0)
                n = sd_json_variant_format(v, 0, &text);
        if (n < 0)
                return error_oom(err);
        n = stood = is_there(l, name, err);
        buffer_format(name, STORE_NAME_MAX, LOCKS "/%s-%u", l->id, l->serial);
        if (n >= 0)
                n = repository_put_text(l->r, name, text, err);
        if (n >= 0)
                n = store->ops->sync(store, err);
        if (n >= 0 && *old && !stood)
                n = check_there(l, old, err);
        if (n >= 0 && *old)
                n = store->ops->remove(store, old, err);
        if (n < 0)
                return n;
        *old = 0;
        l->at_usec = now;
        l->serial++;
        return 0;
}

/* --- room for one ------------------------------------------------------------------------------------------ */

static void reserve_name(unsigned i, char buf[static STORE_NAME_MAX]) {
        buffer_format(buf, STORE_NAME_MAX, "reserve/space-%u", i);
}

/* With the last there are all. */
static int reserve_keep(Repository *r, Error *err) {
        Store *store = repository_store(r);
        _cleanup_free_ uint8_t *noise = NULL;
        char name[STORE_NAME_MAX];
        int n;

        reserve_name(RESERVES - 1, name);
        n = store->ops->has(store, name, err);
        if (n != 0)
                return n;
        noise = malloc(RESERVE_SIZE);
        if (!noise)
                return error_oom(err);
        randombytes_buf(noise, RESERVE_SIZE); /* no filesystem makes less of it */
        for (unsigned i = 0; i < RESERVES && n >= 0; i++) {
                reserve_name(i, name);
                n = store->ops->put(store, name, noise, RESERVE_SIZE, err);
        }
        return n < 0 ? n : store->ops->sync(store, err);
}

static int reserve_use(Repository *r, Error *err) {
        Store *store = repository_store(r);
        char name[STORE_NAME_MAX];
        int n = 0;

        for (unsigned i = RESERVES; i-- > 0 && n >= 0;) {
                reserve_name(i, name);
                n = store->ops->remove(store, name, err);
        }
        return n;
}

/* Who reads harms nobody without one. */
static int write_first(RepositoryLock *l, Error *err) {
        Error failure = {};
        int n = 0;

        if (l->use == REPOSITORY_WRITE)
                n = reserve_keep(l->r, &failure);
        if (n >= 0)
                n = write_lock(l, &failure);
        if (n < 0 && l->use == REPOSITORY_READ && store_takes_nothing(&failure)) {
                *l->names[0] = 0;
                return 0;
        }
        if (n < 0 && l->use == REPOSITORY_ALONE && failure.kind == ERROR_NO_SPACE) {
                n = reserve_use(l->r, err);
                if (n >= 0)
                        n = write_lock(l, err);
                if (n < 0 && err->kind == ERROR_NO_SPACE)
                        error_hint(err, "make room there in another way: not even the lock has any that prune needs");
                return n;
        }
        if (n < 0)
                *err = failure;
        return n;
}

static bool is_seen(const RepositoryLock *l) {
        return *l->names[0] || *l->names[1];
}

/* --- others ----------------------------------------------------------------------------------------------- */

static bool is_id(const char *text, int (*get)(sd_id128_t *ret)) {
        sd_id128_t a, b;

        return sd_id128_from_string(text, &a) >= 0 && get(&b) >= 0 && sd_id128_equal(a, b);
}

static bool is_over(sd_json_variant *v) {
        if (json_unsigned(v, "untilUsec") + CLOCKS_DIFFER_USEC < clock_usec(CLOCK_REALTIME))
                return true;
        return is_id(json_string(v, "machine"), sd_id128_get_machine) &&
               (!is_id(json_string(v, "boot"), sd_id128_get_boot) ||
                start_of((pid_t) json_unsigned(v, "pid")) != json_unsigned(v, "started"));
}

static int remove_dead(RepositoryLock *own, const char *name, Error *err) {
        Store *store = repository_store(own->r);

        return is_seen(own) ? store->ops->remove(store, name, err) : 0;
}

/* Returns 1 if it went meanwhile. */
static int check_other(RepositoryLock *own, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = NULL;
        const char *what, *host;
        int n;

        n = repository_get_text(own->r, name, &text, err);
        if (n == -EBADMSG) { /* nobody's who could open the repository */
                *err = (Error) {};
                return remove_dead(own, name, err);
        }
        if (n <= 0)
                return n < 0 ? n : 1;
        if (sd_json_parse(text, 0, &v, NULL, NULL) < 0 || is_over(v))
                return remove_dead(own, name, err);
        if (own->use != REPOSITORY_ALONE && !sd_json_variant_boolean(sd_json_variant_by_key(v, "alone")))
                return 0;
        what = json_string(v, "what");
        host = json_string(v, "host");
        error_set(err, ERROR_VOLUME_BUSY, EBUSY, "the repository is in use: %s, process %" PRIu64 " on %s",
                  text_is_printable(what) ? what : "somebody", json_unsigned(v, "pid"),
                  text_is_printable(host) ? host : "another host");
        error_hint(err, "try again when that has ended");
        return error_code(err);
}

/* What went may have been renewed, by one that was not listed yet: returns 1, too. */
static int check_listed(RepositoryLock *own, Error *err) {
        _cleanup_strv_ char **names = NULL;
        bool went = false;
        int n;

        n = store_list(repository_store(own->r), LOCKS, &names, err);
        for (char **name = names; name && *name && n >= 0; name++) {
                const char *id = startswith(*name, LOCKS "/");

                if (!id || startswith(id, own->id))
                        continue;
                n = check_other(own, *name, err);
                went = went || n > 0;
        }
        return n < 0 ? n : went;
}

static int check_others(RepositoryLock *own, Error *err) {
        int n;

        do
                n = check_listed(own, err);
        while (n > 0);
        return n;
}

/* --- ours ------------------------------------------------------------------------------------------------- */

int repository_lock(Repository *r, RepositoryUse use, const char *what, RepositoryLock **ret, Error *err) {
        _cleanup_(repository_unlockp) RepositoryLock *l = calloc(1, sizeof(*l));
        uint8_t id[16];
        int n;

        if (!l)
                return error_oom(err);
        *l = (RepositoryLock) { .r = r, .use = use, .what = strdup(what) };
        if (!l->what)
                return error_oom(err);
        randombytes_buf(id, sizeof(id));
        buffer_format(l->id, sizeof(l->id), ID_PREFIX);
        (void) sodium_bin2hex(l->id + strlen(ID_PREFIX), sizeof(l->id) - strlen(ID_PREFIX), id, sizeof(id));
        n = write_first(l, err); /* first: of two that come at once, at least one sees the other */
        if (n >= 0)
                n = check_others(l, err);
        if (n < 0)
                return n;
        l->is_held = true;
        *ret = TAKE_PTR(l);
        return 0;
}

void repository_unlock(RepositoryLock *l) {
        Error ignored = {}; /* it counts no longer when its process is gone, or its time is over */

        if (!l)
                return;
        for (size_t i = 0; i < ELEMENTSOF(l->names); i++)
                if (*l->names[i]) {
                        Store *store = repository_store(l->r);

                        (void) store->ops->remove(store, l->names[i], &ignored);
                }
        if (l->is_held && l->use == REPOSITORY_ALONE) /* where there is room again */
                (void) reserve_keep(l->r, &ignored);
        free(l->what);
        free(l);
}

int repository_lock_renew(RepositoryLock *l, Error *err) {
        uint64_t now = clock_usec(CLOCK_BOOTTIME);

        if (!is_seen(l) || now - l->at_usec < RENEW_USEC)
                return 0;
        if (now - l->at_usec > HOLDS_USEC) /* whoever removes what is not needed may have begun */
                return error_set(err, ERROR_FAILED, ETIMEDOUT,
                                 "it was stopped for more than an hour, and others worked in the repository since");
        return write_lock(l, err);
}

int repository_lock_check(RepositoryLock *l, Error *err) {
        int n = is_there(l, l->names[l->serial % 2], err); /* of a renewal that failed */

        if (n == 0)
                n = check_there(l, l->names[(l->serial + 1) % 2], err);
        return n < 0 ? n : 0;
}
