/* quarry receive: a volume, or what is new in it, from a stream. */

#include "client.h"
#include "must.h"
#include "report.h"
#include "stream.h"
#include "terminal.h"
#include "transfer.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *arg_from;

const Option receive_options[] = {
        { 0, "from", "FILE", "Read FILE in the place of standard input", option_string, &arg_from },
        {},
};

/* --- the writer ------------------------------------------------------------------------------------------- */

typedef struct Contents {
        StreamReader *reader;
        Progress progress;
} Contents;

static int contents_write(Target *target, void *userdata, Error *err) {
        Contents *c = userdata;
        StreamRecord record;
        uint64_t done = 0;
        int r;

        while ((r = stream_read(c->reader, &record, err)) > 0) {
                r = record.data ? target_write(target, record.offset, record.data, record.length, err)
                                : target_zero(target, record.offset, record.length, err);
                if (r < 0)
                        return r;
                done += record.length;
                stream_progress(&c->progress, done);
        }
        progress_clear();
        return r;
}

static char *label_of(sd_id128_t uuid) {
        char text[UUID_TEXT_MAX];

        return must_have(format_new(RECEIVED_LABEL "=%s", uuid_format(uuid, text)));
}

/* --- all of a volume -------------------------------------------------------------------------------------- */

static int receive_whole(Contents *contents, const StreamHeader *h, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *made = NULL;
        _cleanup_free_ char *label = label_of(h->uuid);
        char *labels[] = { label, NULL };

        parameters = transfer_parameters(name, &h->spec, NULL);
        must(sd_json_variant_merge_objectbo(&parameters, SD_JSON_BUILD_PAIR_STRING("snapshot", h->snapshot),
                                            SD_JSON_BUILD_PAIR_STRV("snapshotLabels", labels)));
        return transfer_run(parameters, contents_write, contents, &made, err);
}

/* --- what is new ------------------------------------------------------------------------------------------ */

/* By their UUIDs, since a volume may get another name meanwhile. */
typedef struct Base {
        sd_json_variant *volume, *snapshot;
        sd_json_variant *received; /* the volume's snapshots that were received, this one among them */
} Base;

static void base_done(Base *base) {
        sd_json_variant_unref(base->volume);
        sd_json_variant_unref(base->snapshot);
        sd_json_variant_unref(base->received);
}

static int base_find(const StreamHeader *h, const char *name, Base *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *list = NULL;
        const char *own;
        int r;

        r = volume_inspect(name, &ret->volume, err);
        if (r < 0) {
                if (err->kind == ERROR_NO_SUCH_VOLUME)
                        error_hint(err, "the stream has what differs from %s@%s: receive that first", h->spec.name,
                                   h->since_snapshot);
                return r;
        }
        own = json_string(ret->volume, "name");
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("type", "snapshot"),
                            SD_JSON_BUILD_PAIR_STRING("tenant", json_string(ret->volume, "tenant"))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        r = client_call(&call, &list, NULL, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                const char *full = json_string(s, "name"), *at = strchr(full, '@');
                sd_id128_t uuid;
                Error ignored = {};

                if (!at || strlen(own) != (size_t) (at - full) || strncmp(own, full, strlen(own)) != 0 ||
                    stream_uuid_of(s, &uuid, &ignored) < 0)
                        continue;
                if (sd_id128_equal(uuid, h->uuid))
                        return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "%s has that already: %s", name, full);
                if (sd_json_variant_by_key(sd_json_variant_by_key(s, "labels"), RECEIVED_LABEL))
                        must(sd_json_variant_append_array(&ret->received, s));
                if (sd_id128_equal(uuid, h->since) && !ret->snapshot)
                        ret->snapshot = sd_json_variant_ref(s);
        }
        if (ret->snapshot)
                return 0;
        error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT,
                  "%s has no snapshot with what %s@%s had, from which the stream goes on", name, h->spec.name,
                  h->since_snapshot);
        error_hint(err, "receive that first, or send since a snapshot that %s has: quarry ls --type snapshot", name);
        return error_code(err);
}

static int differ(const Base *base, sd_json_variant *snapshot, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("from", json_string(snapshot, "uuid")),
                            SD_JSON_BUILD_PAIR_STRING("to", json_string(base->volume, "uuid")),
                            SD_JSON_BUILD_PAIR_BOOLEAN("totalOnly", true)));
        Call call = { .method = API_VOLUME ".Diff", .parameters = parameters };
        r = client_call(&call, &reply, NULL, err);
        return r < 0 ? r : json_unsigned(reply, "totalBytes") > 0;
}

/* Somebody wrote to one of the two since the base was received: what comes would be the end of that. */
static int changed_fail(const Base *base, Error *err) {
        const char *name = json_string(base->snapshot, "name");

        *err = (Error) {};
        error_set(err, ERROR_NOT_SUPPORTED, ESTALE, "%s is not as it was received any more: %s and it differ",
                  json_string(base->volume, "name"), name);
        error_hint(err, "quarry rollback %s, which keeps what there is now as another snapshot", name);
        return error_code(err);
}

/* Before all of it comes. A volume that is as another one that was received was written to by nobody: who received that
 * did not come to its end. */
static int unchanged_check(const Base *base, Error *err) {
        int r;

        r = differ(base, base->snapshot, err);
        for (size_t i = 0; i < sd_json_variant_elements(base->received) && r > 0; i++)
                r = differ(base, sd_json_variant_by_index(base->received, i), err);
        return r > 0 ? changed_fail(base, err) : r;
}

/* It took its time, in which the volume was anybody's: what they wrote is not thrown away. */
static int roll_to(const Base *base, const char *snapshot, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_strv_ char **known = NULL;
        int r;

        must(strv_append(&known, json_string(base->snapshot, "uuid")));
        for (size_t i = 0; i < sd_json_variant_elements(base->received); i++)
                must(strv_append(&known, json_string(sd_json_variant_by_index(base->received, i), "uuid")));
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot),
                            SD_JSON_BUILD_PAIR_BOOLEAN("discardCurrent", true),
                            SD_JSON_BUILD_PAIR_STRV("known", known)));
        Call call = { .method = API_VOLUME ".Rollback", .parameters = parameters };
        r = client_call(&call, NULL, NULL, err);
        return r < 0 && err->number == ESTALE ? changed_fail(base, err) : r;
}

static int receive_new(Contents *contents, const StreamHeader *h, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *made = NULL;
        _cleanup_free_ char *image = must_have(format_new("%s@%s", name, h->snapshot)), *label = label_of(h->uuid);
        _cleanup_(base_done) Base base = {};
        char *labels[] = { label, NULL };
        int r;

        r = base_find(h, name, &base, err);
        if (r >= 0)
                r = unchanged_check(&base, err);
        if (r < 0)
                return r;
        must(sd_json_buildo(&parameters,
                            SD_JSON_BUILD_PAIR_STRING("volume", image),
                            SD_JSON_BUILD_PAIR_STRING("base", json_string(base.snapshot, "uuid")),
                            SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", h->spec.size),
                            SD_JSON_BUILD_PAIR_STRV("labels", labels),
                            SD_JSON_BUILD_PAIR_UNSIGNED("socketFileDescriptor", 0)));
        r = transfer_run(parameters, contents_write, contents, &made, err);
        if (r < 0)
                return r;
        r = roll_to(&base, json_string(made, "uuid"), err);
        if (r < 0) {
                error_prefix(err, "snapshot %s is there, and the volume is not yet as it is", image);
                error_hint(err, "quarry rollback %s, which keeps what there is now as another snapshot", image);
        }
        return r;
}

/* --- the verb --------------------------------------------------------------------------------------------- */

static int receive(const char *name, int in, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("receiving %s", name));
        _cleanup_(stream_reader_freep) StreamReader *reader = NULL;
        _cleanup_(stream_header_done) StreamHeader header = {};
        int r;

        r = stream_reader_new(in, &reader, &header, err);
        if (r < 0)
                return r;
        Contents contents = { .reader = reader, .progress = { .what = what } };
        r = sd_id128_is_null(header.since) ? receive_whole(&contents, &header, name, err)
                                           : receive_new(&contents, &header, name, err);
        if (r < 0 && err->number == EBADMSG && arg_from && !*err->hint)
                error_hint(err, "where it was sent, the same quarry send %s@%s with --to FILE --resume makes it whole",
                           header.spec.name, header.snapshot);
        return r;
}

int verb_receive(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        _cleanup_close_ int in = -EBADF;
        Error err = {};

        if (strchr(arguments[0], '@'))
                error_field(&err, "NAME", "that is the name of a snapshot: a stream becomes a volume");
        else if (!arg_from && isatty(STDIN_FILENO))
                error_field(&err, "--from", "--from: a stream is no text: name a file that has it, or a pipe");
        else {
                in = arg_from ? open(arg_from, O_RDONLY | O_CLOEXEC | O_NOCTTY)
                              : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
                if (in < 0)
                        error_errno(&err, errno, "cannot open %s", arg_from ?: "standard input");
        }
        if (err.kind != ERROR_NONE || receive(arguments[0], in, &err) < 0)
                return report_error("cannot receive", arguments[0], &err);
        if (!arg_json) {
                puts(arguments[0]);
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0])));
        return report_document(document);
}
