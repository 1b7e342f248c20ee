/* quarry send: a snapshot as a stream, or as a raw image. */

#include "must.h"
#include "report.h"
#include "source.h"
#include "stream.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *arg_since, *arg_to, *arg_format = "stream";
static bool arg_resume;

const Option send_options[] = {
        { 0, "since", "NAME@SNAPSHOT", "Only what differs from this one", option_string, &arg_since },
        { 0, "to", "FILE", "Write FILE, which must not be there yet", option_output, &arg_to },
        { 0, "resume", NULL, "Go on with a FILE that was cut short", option_flag, &arg_resume },
        { 0, "format", "stream|rbd|raw", "rbd is for Ceph, raw a sparse image (stream)", option_string, &arg_format },
        {},
};

/* What is sent, and to whom. */
typedef struct Sending {
        StreamHeader header;
        uint64_t size;           /* bytes of the device */
        Source source;
        int out;
        StreamWriter *writer;    /* NULL: a raw image */
        uint64_t from;           /* up to where it was sent before */
        uint64_t done, read;     /* bytes of its ranges */
        Progress progress;
} Sending;

static void sending_done(Sending *s) {
        stream_header_done(&s->header);
        source_done(&s->source);
        closep(&s->out);
        stream_writer_free(s->writer);
}

static bool is_rbd(void) {
        return streq(arg_format, "rbd");
}

static bool is_raw(void) {
        return streq(arg_format, "raw");
}

/* --- what ------------------------------------------------------------------------------------------------- */

static int look_at(const char *name, char snapshot[static SNAPSHOT_NAME_MAX + 1], sd_id128_t *ret_uuid,
                   sd_json_variant **ret, Error *err) {
        const char *full;
        int r;

        r = volume_inspect(name, ret, err);
        if (r < 0)
                return r;
        full = strchr(json_string(*ret, "name"), '@');
        if (!full) {
                error_set(err, ERROR_NOT_SUPPORTED, 0, "%s is a volume, which changes: snapshots are sent", name);
                error_hint(err, "quarry snapshot %s", name);
                return error_code(err);
        }
        buffer_format(snapshot, SNAPSHOT_NAME_MAX + 1, "%s", full + 1);
        return stream_uuid_of(*ret, ret_uuid, err);
}

/* Who receives what is new looks for what it is newer than among the snapshots of one volume. */
static int check_same_volume(const char *name, sd_json_variant *a, sd_json_variant *b, Error *err) {
        const char *one = json_string(a, "name"), *other = json_string(b, "name");
        size_t n = strcspn(one, "@");

        if (strcspn(other, "@") == n && strncmp(one, other, n) == 0 &&
            streq(json_string(a, "tenant"), json_string(b, "tenant")) &&
            streq(json_string(a, "pool"), json_string(b, "pool")))
                return 0;
        return error_field(err, "--since", "--since: %s is no snapshot of %.*s", arg_since, (int) strcspn(name, "@"),
                           name);
}

static int header_make(const char *name, StreamHeader *h, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *since = NULL;
        const char *full;
        int r;

        r = look_at(name, h->snapshot, &h->uuid, &volume, err);
        if (r >= 0 && arg_since)
                r = look_at(arg_since, h->since_snapshot, &h->since, &since, err);
        if (r >= 0 && arg_since)
                r = check_same_volume(name, volume, since, err);
        if (r < 0)
                return r;
        full = json_string(volume, "name");
        buffer_format(h->spec.name, sizeof(h->spec.name), "%.*s", (int) strcspn(full, "@"), full);
        buffer_format(h->spec.tenant, sizeof(h->spec.tenant), DEFAULT_TENANT);
        source_describe(volume, &h->spec);
        return 0;
}

/* --- where to --------------------------------------------------------------------------------------------- */

/* Returns 1 if all of it is there. */
static int find_end(Sending *s, Error *err) {
        _cleanup_(stream_reader_freep) StreamReader *reader = NULL;
        _cleanup_(stream_header_done) StreamHeader there = {};
        StreamRecord record;
        Error cut = {};
        int r;

        r = stream_reader_new(s->out, &reader, &there, err);
        if (r < 0) {
                error_hint(err, "rm %s, and begin anew without --resume", arg_to);
                return r;
        }
        if (!stream_header_equal(&there, &s->header))
                return error_set(err, ERROR_BAD_REQUEST, EINVAL, "%s is a stream of something else", arg_to);
        do
                r = stream_read(reader, &record, &cut);
        while (r > 0);
        return r == 0 ? 1 : stream_writer_resume(reader, s->out, &s->writer, &s->from, err);
}

/* Returns 1 if nothing is left to do. */
static int target_open(Sending *s, Error *err) {
        if (arg_to && !arg_resume) {
                s->out = output_make(arg_to, err);
                if (s->out == -EEXIST)
                        error_hint(err,
                                   "if it is the same stream, cut short, --resume goes on with it; else another name, "
                                   "or remove that file");
        } else {
                s->out = arg_to ? open(arg_to, O_RDWR | O_CLOEXEC | O_NOCTTY)
                                : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
                if (s->out < 0)
                        error_errno(err, errno, "cannot open %s", arg_to ?: "standard output");
        }
        if (s->out < 0)
                return error_code(err);
        if (arg_resume)
                return find_end(s, err);
        if (!is_raw())
                return stream_writer_new(s->out, &s->header, is_rbd(), &s->writer, err);
        return ftruncate(s->out, (off_t) s->size) < 0 ? error_errno(err, errno, "cannot write %s", arg_to) : 0;
}

/* --- and there -------------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *data, size_t size) {
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* What is not said is zero, but where there was something before. */
static int piece_send(Sending *s, uint64_t offset, size_t size, const uint8_t *data, Error *err) {
        bool zero = is_zero(data, size);

        if (zero && (!s->writer || !arg_since))
                return 0;
        if (s->writer)
                return stream_write(s->writer, offset, size, zero ? NULL : data, err);
        while (size > 0) {
                ssize_t n = pwrite(s->out, data, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, errno, "cannot write %s", arg_to);
                data += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

static int range_send(Sending *s, uint64_t offset, uint64_t end, uint8_t *buf, Error *err) {
        int r = 0;

        while (offset < end && r >= 0) {
                size_t size = end - offset < STREAM_DATA_MAX ? (size_t) (end - offset) : STREAM_DATA_MAX;

                if (offset + size > s->from) {
                        r = source_read(&s->source, offset, buf, size, err);
                        if (r >= 0)
                                r = piece_send(s, offset, size, buf, err);
                        s->read += size;
                }
                s->done += size;
                offset += size;
                stream_progress(&s->progress, s->done);
        }
        return r;
}

static int contents_send(Sending *s, Error *err) {
        _cleanup_free_ uint8_t *buf = must_have(calloc(STREAM_DATA_MAX, 1));
        uint64_t offset, end;
        int r = 0;

        for (size_t i = 0; source_range(&s->source, i, &offset, &end) && r >= 0; i++)
                r = range_send(s, offset, end < s->size ? end : s->size, buf, err);
        if (r >= 0 && s->writer)
                r = stream_write_end(s->writer, err);
        if (r >= 0 && arg_to && fsync(s->out) < 0)
                r = error_errno(err, errno, "cannot write %s", arg_to);
        return r;
}

static int send_all(Sending *s, const char *name, Error *err) {
        int r;

        r = header_make(name, &s->header, err);
        if (r >= 0)
                r = source_open(name, arg_since, s->progress.what, &s->source, err);
        if (r < 0)
                return r;
        s->progress.total = s->source.total;
        s->size = volume_spec_device_size(&s->header.spec);
        r = target_open(s, err);
        if (r == 0)
                r = contents_send(s, err);
        progress_clear();
        if (r >= 0 || s->out < 0 || !arg_to)
                return r;
        if (is_raw())
                (void) unlink(arg_to);
        else if (s->writer && !is_rbd())
                error_hint(err, "go on with what is there: the same, and --resume");
        return r;
}

/* --- the verb --------------------------------------------------------------------------------------------- */

static int options_check(Error *err) {
        if (!streq(arg_format, "stream") && !is_rbd() && !is_raw())
                return error_field(err, "--format", "--format is stream, rbd or raw");
        if (is_raw() && (!arg_to || arg_since || arg_resume))
                return error_field(err, "--format",
                                   "--format raw is a whole image, in a file: it goes with --to, and "
                                   "without --since and --resume");
        if (is_rbd() && arg_resume)
                return error_field(err, "--resume",
                                   "--resume goes on with a stream: Ceph's has nothing to prove what "
                                   "is there");
        if (arg_resume && !arg_to)
                return error_field(err, "--resume", "--resume needs the file: --to FILE");
        if (!arg_to && (arg_json || isatty(STDOUT_FILENO)))
                return error_field(err, "--to", "--to: a stream is no text: name a file for it, or a pipe");
        return 0;
}

int verb_send(char **arguments) {
        _cleanup_free_ char *what = must_have(format_new("sending %s", arguments[0]));
        _cleanup_(sending_done) Sending s = { .source = { .device = -EBADF },
                                              .out = -EBADF,
                                              .progress = { .what = what } };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        Error err = {};

        if (options_check(&err) < 0 || send_all(&s, arguments[0], &err) < 0)
                return report_error("cannot send", arguments[0], &err);
        if (!arg_json)
                return EXIT_DONE;
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_STRING("file", arg_to),
                            SD_JSON_BUILD_PAIR_UNSIGNED("readBytes", s.read),
                            SD_JSON_BUILD_PAIR_CONDITION(!!s.writer, "streamBytes",
                                                         SD_JSON_BUILD_UNSIGNED(stream_written(s.writer)))));
        return report_document(document);
}
