#include "transit.h"

#include "backup.h"
#include "child.h"
#include "client.h"
#include "must.h"
#include "report.h"
#include "stream.h"
#include "terminal.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#define NUMBER_LENGTH 8
/* What is being received there by somebody whose connection broke ends when its host notices. */
#define RECEIVER_SECONDS 30

void transit_done(Transit *t) {
        remote_done(&t->remote);
        sd_json_variant_unref(t->volume);
        sd_json_variant_unref(t->there);
        free(t->source);
        free(t->target);
}

const char *transit_number(const char *name, const char *prefix) {
        const char *number = startswith(name, prefix);

        return number && strlen(number) == NUMBER_LENGTH && strspn(number, "0123456789abcdef") == NUMBER_LENGTH ? number
                                                                                                                : NULL;
}

static char *snapshot_of(const char *volume, const char *snapshot) {
        return must_have(format_new("%s@%s", volume, snapshot));
}

/* --- what both ends have ---------------------------------------------------------------------------------- */

int transit_look_here(Transit *t, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL;
        int r;

        r = volume_inspect(name, &volume, err);
        if (r < 0)
                return r;
        sd_json_variant_unref(t->volume);
        t->volume = TAKE_PTR(volume);
        free(t->source);
        t->source = volume_reference(t->volume);
        return 0;
}

/* Those of this volume, out of a list of all. */
static sd_json_variant *snapshots_of(sd_json_variant *list, sd_json_variant *volume) {
        const char *own = json_string(volume, "name"), *tenant = json_string(volume, "tenant");
        sd_json_variant *found = NULL;

        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                const char *rest = startswith(json_string(s, "name"), own);

                if (rest && *rest == '@' && streq(json_string(s, "tenant"), tenant))
                        must(sd_json_variant_append_array(&found, s));
        }
        return found;
}

static int list_here(const Transit *t, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *list = NULL;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("type", "snapshot"),
                            SD_JSON_BUILD_PAIR_STRING("tenant", json_string(t->volume, "tenant"))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        r = client_call(&call, &list, NULL, err);
        if (r >= 0)
                *ret = snapshots_of(list, t->volume);
        return r;
}

int transit_has_others(const Transit *t, bool *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r;

        r = list_here(t, &list, err);
        if (r < 0)
                return r;
        *ret = false;
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                char id[BACKUP_ID_MAX];

                if (!transit_number(snapshot_name_of(json_string(s, "name")), TRANSIT_PREFIX) &&
                    !backup_image_id(s, id))
                        *ret = true;
        }
        return 0;
}

static int list_there(Transit *t, sd_json_variant **ret, Error *err) {
        char *words[] = { "ls", "--type", "snapshot", "--tenant", (char *) json_string(t->there, "tenant"), NULL };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        int r;

        r = remote_call(&t->remote, words, &reply, err);
        if (r >= 0)
                *ret = snapshots_of(sd_json_variant_by_key(reply, "volumes"), t->there);
        return r;
}

static sd_json_variant *with_contents(sd_json_variant *list, sd_id128_t contents) {
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                sd_id128_t uuid;
                Error ignored = {};

                if (streq(json_string(s, "state"), "ready") && stream_uuid_of(s, &uuid, &ignored) >= 0 &&
                    sd_id128_equal(uuid, contents))
                        return s;
        }
        return NULL;
}

/* The newest. */
static void base_find(Transit *t, sd_json_variant *here, sd_json_variant *there) {
        const char *newest = "";

        t->base = (Meeting) {};
        for (size_t i = 0; i < sd_json_variant_elements(here); i++) {
                sd_json_variant *s = sd_json_variant_by_index(here, i), *other;
                Meeting found = {};
                Error ignored = {};

                if (!streq(json_string(s, "state"), "ready") || stream_uuid_of(s, &found.contents, &ignored) < 0 ||
                    strcmp(json_string(s, "createdAt"), newest) < 0)
                        continue;
                other = with_contents(there, found.contents);
                if (!other)
                        continue;
                newest = json_string(s, "createdAt");
                buffer_format(found.here, sizeof(found.here), "%s", snapshot_name_of(json_string(s, "name")));
                buffer_format(found.there, sizeof(found.there), "%s", snapshot_name_of(json_string(other, "name")));
                t->base = found;
        }
}

static int settled_find(Transit *t, Error *err) {
        _cleanup_free_ char *snapshot = snapshot_of(t->target, t->base.there);
        char *words[] = { "diff", "--total", snapshot, t->target, NULL };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        int r;

        r = remote_call(&t->remote, words, &reply, err);
        if (r >= 0)
                t->settled = json_unsigned(reply, "totalBytes") == 0;
        return r;
}

/* Waits for what may be the end of an earlier run. */
static int inspect_there(Transit *t, Error *err) {
        char *words[] = { "inspect", t->target, NULL };
        int r;

        for (unsigned i = 0;; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;

                t->there = sd_json_variant_unref(t->there);
                r = remote_call(&t->remote, words, &reply, err);
                if (r < 0 && err->kind == ERROR_NO_SUCH_VOLUME) {
                        *err = (Error) {};
                        return 0;
                }
                if (r < 0)
                        return r;
                t->there = sd_json_variant_ref(sd_json_variant_by_index(sd_json_variant_by_key(reply, "volumes"), 0));
                if (!streq(json_string(t->there, "state"), "creating") || child_caught())
                        return 0;
                if (i == RECEIVER_SECONDS)
                        return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "%s is being received at %s", t->target,
                                         t->remote.host);
                sleep(1);
        }
}

int transit_look_there(Transit *t, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *here = NULL, *there = NULL;
        int r;

        t->base = (Meeting) {};
        t->settled = false;
        r = inspect_there(t, err);
        if (r < 0 || !t->there)
                return r;
        if (streq(json_string(t->there, "uuid"), json_string(t->volume, "uuid")))
                return error_field(err, "--to", "--to: %s at %s is this very volume", t->target, t->remote.host);
        r = list_here(t, &here, err);
        if (r >= 0)
                r = list_there(t, &there, err);
        if (r < 0)
                return r;
        base_find(t, here, there);
        if (!sd_id128_is_null(t->base.contents))
                return settled_find(t, err);
        error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "%s is at %s already, and has no snapshot that %s has, too",
                  t->target, t->remote.host, t->source);
        error_hint(err, "give it another name there: --to ssh://%s/NAME; or, if it is to go: ssh %s quarry rm %s",
                   t->remote.host, t->remote.host, t->target);
        return error_code(err);
}

int transit_left(const Transit *t, uint64_t *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *base = snapshot_of(t->source, t->base.here);
        int r;

        *ret = UINT64_MAX;
        if (!t->settled || !transit_number(t->base.here, TRANSIT_PREFIX))
                return 0;
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("from", base),
                            SD_JSON_BUILD_PAIR_STRING("to", t->source), SD_JSON_BUILD_PAIR_BOOLEAN("totalOnly", true)));
        Call call = { .method = API_VOLUME ".Diff", .parameters = parameters };
        r = client_call(&call, &reply, NULL, err);
        if (r >= 0)
                *ret = json_unsigned(reply, "totalBytes");
        return r;
}

/* --- snapshots made for it -------------------------------------------------------------------------------- */

static int snapshot_make(const Transit *t, Meeting *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("making a snapshot of %s", t->source)), *image = NULL;
        Meeting made = {};
        sd_id128_t id;
        int r;

        must(sd_id128_randomize(&id));
        buffer_format(made.here, sizeof(made.here), TRANSIT_PREFIX "%02x%02x%02x%02x", id.bytes[0], id.bytes[1],
                      id.bytes[2], id.bytes[3]);
        buffer_format(made.there, sizeof(made.there), "%s", made.here);
        image = snapshot_of(t->source, made.here);
        char *images[] = { image, NULL };
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRV("volumes", images)));
        Call call = { .method = API_VOLUME ".Snapshot", .parameters = parameters, .what = what };
        r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        r = stream_uuid_of(sd_json_variant_by_index(sd_json_variant_by_key(reply, "snapshots"), 0), &made.contents,
                           err);
        if (r >= 0)
                *ret = made;
        return r;
}

static int remove_here(const char *snapshot, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot)));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters };
        return client_call(&call, NULL, NULL, err);
}

static int remove_there(Transit *t, const char *snapshot, Error *err) {
        char *words[] = { "rm", "--yes", (char *) snapshot, NULL };

        return remote_call(&t->remote, words, NULL, err);
}

static void say_stays(const char *snapshot, const char *where, const Error *err) {
        progress_clear();
        fprintf(stderr, "quarry: snapshot %s%s%s stays: %s\n", snapshot, *where ? " at " : "", where, err->text);
}

static void tidy_list(Transit *t, sd_json_variant *list, bool is_there, const char *kept) {
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                const char *name = snapshot_name_of(json_string(sd_json_variant_by_index(list, i), "name"));
                _cleanup_free_ char *snapshot = snapshot_of(is_there ? t->target : t->source, name);
                Error err = {};

                if (!transit_number(name, TRANSIT_PREFIX) || streq(name, kept))
                        continue;
                if ((is_there ? remove_there(t, snapshot, &err) : remove_here(snapshot, &err)) < 0)
                        say_stays(snapshot, is_there ? t->remote.host : "", &err);
        }
}

static void tidy_end(Transit *t, bool is_there, const char *kept) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        Error err = {};

        if ((is_there ? list_there(t, &list, &err) : list_here(t, &list, &err)) >= 0)
                tidy_list(t, list, is_there, kept);
        else
                say_stays(TRANSIT_PREFIX "...", is_there ? t->remote.host : "", &err);
}

/* Here first: by what is here the next run knows that there is something to go on with. */
void transit_tidy(Transit *t, bool keep) {
        tidy_end(t, false, keep ? t->base.here : "");
        transit_tidy_there(t, keep);
}

void transit_tidy_there(Transit *t, bool keep) {
        if (t->there)
                tidy_end(t, true, keep ? t->base.there : "");
}

/* --- one pass --------------------------------------------------------------------------------------------- */

static int send_start(const Transit *t, const char *snapshot, int out, pid_t *ret, Error *err) {
        _cleanup_free_ char *base = snapshot_of(t->source, t->base.here);
        char *words[] = { "quarry", "send", (char *) snapshot, "--since", base, NULL };

        if (sd_id128_is_null(t->base.contents))
                words[3] = NULL;
        return child_start("/proc/self/exe", words, -EBADF, out, ret, err);
}

/* *ret_whole: all of it was on its way. */
static int transfer(Transit *t, const char *snapshot, bool *ret_whole, Error *err) {
        char *words[] = { "receive", t->target, NULL };
        RemoteCall call = {};
        Error lost = {};
        int ends[2], r, status;
        pid_t child;

        *ret_whole = false;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        r = remote_start(&t->remote, words, ends[0], &call, err);
        (void) close(ends[0]);
        if (r < 0) {
                (void) close(ends[1]);
                return r;
        }
        r = send_start(t, snapshot, ends[1], &child, err);
        (void) close(ends[1]);
        if (r < 0) {
                (void) remote_finish(&t->remote, &call, NULL, &lost);
                return r;
        }
        r = remote_finish(&t->remote, &call, NULL, err);
        status = child_wait(child);
        *ret_whole = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE;
        bool by_pipe = WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE; /* the other end went first, and says why */
        if (!*ret_whole && !by_pipe && !child_caught()) { /* it has said why, and the other end only noticed */
                error_set(err, ERROR_FAILED, EIO, "snapshot %s could not be sent", snapshot);
                if (WIFSIGNALED(status))
                        error_prefix(err, "quarry send was ended by signal %d", WTERMSIG(status));
                return error_code(err);
        }
        return r;
}

/* Whether it came there nevertheless, when the answer did not: asked, unless somebody ended this. What cannot have come
 * there goes; what may have is for the next run to go on from. Returns 0 if all is as it was to be. */
static int pass_failed(Transit *t, const Meeting *next, const char *snapshot, bool whole, Error *err) {
        Error later = {};
        bool is_known, is_there;
        int r;

        if (whole && child_caught())
                r = error_set(&later, ERROR_FAILED, ECANCELED, "it was ended by a signal");
        else
                r = whole ? transit_look_there(t, &later) : 0;
        is_known = r >= 0 || later.kind == ERROR_VOLUME_EXISTS;
        is_there = whole && r >= 0 && sd_id128_equal(t->base.contents, next->contents);
        if (is_there && t->settled)
                return 0;
        if (is_known && !is_there)
                r = remove_here(snapshot, &later);
        else
                r = error_set(&later, ERROR_FAILED, 0, "the next run may go on from it");
        if (r < 0)
                say_stays(snapshot, "", &later);
        return error_code(err);
}

int transit_pass(Transit *t, Error *err) {
        _cleanup_free_ char *snapshot = NULL;
        bool whole, is_new = !t->there;
        Meeting next;
        int r;

        r = snapshot_make(t, &next, err);
        if (r < 0)
                return r;
        snapshot = snapshot_of(t->source, next.here);
        r = transfer(t, snapshot, &whole, err);
        if (r < 0)
                r = pass_failed(t, &next, snapshot, whole, err);
        if (r < 0)
                return r;
        t->base = next;
        t->settled = true;
        t->passes++;
        if (!is_new)
                transit_tidy(t, true);
        else {
                tidy_end(t, false, next.here); /* there nothing can be from before */
                r = inspect_there(t, err);
        }
        return r;
}
