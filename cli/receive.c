/* quarry receive: a volume, or what is new in it, from a stream. */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "stream.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes that may be on their way to the disk: who is ended keeps the device until they are there. */
#define SYNC_SIZE (UINT64_C(16) << 20)

static const char *arg_from;

const Option receive_options[] = {
        { 0, "from", "FILE", "Read FILE in the place of standard input", option_string, &arg_from },
        {},
};

/* --- the writer, a process of its own: quarryd is asked meanwhile ----------------------------------------- */

/* -EPIPE if quarryd gives none, which tells why by itself. */
static int device_take(int socket) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        char byte;
        struct iovec part = { &byte, 1 };
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        ssize_t n;
        int fd;

        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n <= 0 || message.msg_controllen < sizeof(control.header) || control.header.cmsg_type != SCM_RIGHTS)
                return -EPIPE;
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        return fd;
}

static int write_at(int device, uint64_t offset, const uint8_t *data, uint64_t size, Error *err) {
        while (size > 0) {
                ssize_t n = pwrite(device, data, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, errno, "cannot write the volume at byte %" PRIu64, offset);
                data += n;
                offset += (uint64_t) n;
                size -= (uint64_t) n;
        }
        return 0;
}

/* Written, so that it is so whatever the chunks of the pool; then given back to that, as far as these are whole. */
static int zero_at(int device, uint64_t offset, uint64_t size, Error *err) {
        static const uint8_t zeros[STREAM_DATA_MAX];
        uint64_t range[2] = { offset, size };
        int r = 0;

        while (size > 0 && r >= 0) {
                uint64_t n = size < sizeof(zeros) ? size : sizeof(zeros);

                r = write_at(device, offset, zeros, n, err);
                offset += n;
                size -= n;
        }
        if (r >= 0)
                (void) ioctl(device, BLKDISCARD, range);
        return r;
}

/* quarryd tells why itself. */
static bool is_given_up(int socket) {
        char byte;

        return recv(socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static int contents_write(StreamReader *reader, int device, int socket, Progress *progress, Error *err) {
        StreamRecord record;
        uint64_t done = 0, unsynced = 0;
        int r;

        while ((r = stream_read(reader, &record, err)) > 0) {
                if (is_given_up(socket))
                        _exit(EXIT_FAILURE);
                r = record.data ? write_at(device, record.offset, record.data, record.length, err)
                                : zero_at(device, record.offset, record.length, err);
                if (r < 0)
                        return r;
                done += record.length;
                unsynced += record.length;
                if (unsynced >= SYNC_SIZE) {
                        if (fdatasync(device) < 0)
                                return error_errno(err, errno, "cannot write the volume");
                        unsynced = 0;
                }
                stream_progress(progress, done);
        }
        progress_clear();
        if (r >= 0 && fsync(device) < 0)
                r = error_errno(err, errno, "cannot write the volume");
        return r;
}

/* Ends the process. Its failure goes through report; the byte behind the closed device says that there was none. */
__attribute__((noreturn)) static void writer_run(StreamReader *reader, int socket, int report, Progress *progress) {
        Error err = {};
        int device, r;

        device = device_take(socket);
        if (device < 0)
                _exit(EXIT_FAILURE);
        r = contents_write(reader, device, socket, progress, &err);
        (void) close(device);
        if (r >= 0)
                r = write_all(socket, "", 1) < 0 ? error_set(&err, ERROR_FAILED, EPIPE, "quarryd went away") : 0;
        if (r < 0)
                (void) write_all(report, &err, sizeof(err));
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* --- asking for it ---------------------------------------------------------------------------------------- */

/* What the writer could not do is why quarryd was not told that all is there. */
static int outcome(pid_t child, int report, int r, Error *err) {
        Error failure = {};

        if (r < 0)
                (void) kill(child, SIGTERM);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                ;
        if (r < 0 && read(report, &failure, sizeof(failure)) == sizeof(failure)) {
                failure.undo_failed = err->undo_failed;
                *err = failure;
        }
        return r < 0 ? error_code(err) : 0;
}

/* The reply says what there is now. */
static int transfer(StreamReader *reader, sd_json_variant *parameters, Progress *progress, sd_json_variant **ret,
                    Error *err) {
        int ends[2], report[2], r;
        pid_t child;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) < 0)
                return error_errno(err, errno, "cannot make a socket");
        child = fork();
        if (child == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) close(ends[1]);
                (void) close(report[0]);
                writer_run(reader, ends[0], report[1], progress);
        }
        (void) close(ends[0]);
        (void) close(report[1]);
        if (child < 0) {
                (void) close(ends[1]);
                (void) close(report[0]);
                return error_errno(err, EAGAIN, "cannot start another process");
        }
        Call call = { .method = API_STREAM ".Receive", .parameters = parameters, .key_fd = &ends[1] };
        r = client_call(&call, ret, NULL, err);
        (void) close(ends[1]);
        r = outcome(child, report[0], r, err);
        (void) close(report[0]);
        return r;
}

static char *label_of(sd_id128_t uuid) {
        char text[UUID_TEXT_MAX];

        return must_have(format_new(RECEIVED_LABEL "=%s", uuid_format(uuid, text)));
}

/* --- all of a volume -------------------------------------------------------------------------------------- */

static int snapshot_make(const char *name, const StreamHeader *h, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *labels = NULL;
        _cleanup_free_ char *image = must_have(format_new("%s@%s", name, h->snapshot)), *label = label_of(h->uuid);
        char *images[] = { image, NULL }, *list[] = { label, NULL };
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRV("volumes", images)));
        must(sd_json_buildo(&labels, SD_JSON_BUILD_PAIR_STRING("volume", image),
                            SD_JSON_BUILD_PAIR_STRV("labels", list)));
        Call snapshot = { .method = API_VOLUME ".Snapshot", .parameters = parameters };
        r = client_call(&snapshot, NULL, NULL, err);
        if (r < 0)
                return r;
        Call update = { .method = API_VOLUME ".Update", .parameters = labels };
        return client_call(&update, NULL, NULL, err);
}

static int receive_whole(StreamReader *reader, const StreamHeader *h, const char *name, Progress *progress,
                         Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *made = NULL;
        const VolumeSpec *spec = &h->spec;
        int r;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(spec->fs)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->key_source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(spec->key_source))),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", spec->mode),
                        SD_JSON_BUILD_PAIR_UNSIGNED("socketFileDescriptor", 0)));
        r = transfer(reader, parameters, progress, &made, err);
        if (r < 0)
                return r;
        r = snapshot_make(name, h, err);
        if (r < 0)
                error_prefix(err, "the volume is there, without its snapshot");
        return r;
}

/* --- what is new ------------------------------------------------------------------------------------------ */

/* By their UUIDs, since a volume may get another name meanwhile. */
typedef struct Base {
        sd_json_variant *volume, *snapshot;
} Base;

static void base_done(Base *base) {
        sd_json_variant_unref(base->volume);
        sd_json_variant_unref(base->snapshot);
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
        own = describe_string(ret->volume, "name");
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("type", "snapshot"),
                            SD_JSON_BUILD_PAIR_STRING("tenant", describe_string(ret->volume, "tenant"))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        r = client_call(&call, &list, NULL, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                const char *full = describe_string(s, "name"), *at = strchr(full, '@');
                sd_id128_t uuid;
                Error ignored = {};

                if (!at || strlen(own) != (size_t) (at - full) || strncmp(own, full, strlen(own)) != 0 ||
                    stream_uuid_of(s, &uuid, &ignored) < 0)
                        continue;
                if (sd_id128_equal(uuid, h->uuid))
                        return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "%s has that already: %s", name, full);
                if (sd_id128_equal(uuid, h->since) && !ret->snapshot)
                        ret->snapshot = sd_json_variant_ref(s);
        }
        if (ret->snapshot)
                return 0;
        error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT,
                  "%s has no snapshot with what %s@%s had, from which the stream goes on", name, h->spec.name,
                  h->since_snapshot);
        return error_code(err);
}

/* Somebody wrote to one of the two since the base was received: what comes would not fit onto it. */
static int unchanged_check(const Base *base, Error *err) {
        const char *name = describe_string(base->snapshot, "name");
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("from", describe_string(base->snapshot, "uuid")),
                            SD_JSON_BUILD_PAIR_STRING("to", describe_string(base->volume, "uuid")),
                            SD_JSON_BUILD_PAIR_BOOLEAN("totalOnly", true)));
        Call call = { .method = API_VOLUME ".Diff", .parameters = parameters };
        r = client_call(&call, &reply, NULL, err);
        if (r < 0 || sd_json_variant_unsigned(sd_json_variant_by_key(reply, "totalBytes")) == 0)
                return r;
        error_set(err, ERROR_NOT_SUPPORTED, ESTALE, "%s is not as it was received any more: %s and it differ",
                  describe_string(base->volume, "name"), name);
        error_hint(err, "quarry rollback %s, which keeps what there is now as another snapshot", name);
        return error_code(err);
}

static int roll_to(const char *snapshot, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot),
                            SD_JSON_BUILD_PAIR_BOOLEAN("discardCurrent", true)));
        Call call = { .method = API_VOLUME ".Rollback", .parameters = parameters };
        return client_call(&call, NULL, NULL, err);
}

static int receive_new(StreamReader *reader, const StreamHeader *h, const char *name, Progress *progress, Error *err) {
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
                            SD_JSON_BUILD_PAIR_STRING("base", describe_string(base.snapshot, "uuid")),
                            SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", h->spec.size),
                            SD_JSON_BUILD_PAIR_STRV("labels", labels),
                            SD_JSON_BUILD_PAIR_UNSIGNED("socketFileDescriptor", 0)));
        r = transfer(reader, parameters, progress, &made, err);
        if (r < 0)
                return r;
        /* It took its time, in which the volume was anybody's: what they wrote is not thrown away. */
        r = unchanged_check(&base, err);
        if (r >= 0)
                r = roll_to(describe_string(made, "uuid"), err);
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
        Progress progress = { .what = what };
        int r;

        r = stream_reader_new(in, &reader, &header, err);
        if (r < 0)
                return r;
        return sd_id128_is_null(header.since) ? receive_whole(reader, &header, name, &progress, err)
                                              : receive_new(reader, &header, name, &progress, err);
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
