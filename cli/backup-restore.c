/* quarry backup restore: a new volume, as a backup has it. */

#include "backup.h"
#include "client.h"
#include "must.h"
#include "report.h"
#include "stream.h"
#include "terminal.h"
#include "transfer.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

static const char *arg_from;

const Option backup_restore_options[] = {
        { 0, "from", "TARGET", "Where from; not needed if there is one target only", option_string, &arg_from },
        {},
};

typedef struct Restore {
        BackupSession *session;
        const Backup *backup;
        const char *what;
        bool check;
        ContentId *ids; /* of a segment */
        uint8_t *buf;
} Restore;

static int each_chunk(Restore *r, const char *what,
                      int (*chunk)(Restore *r, Target *target, uint64_t n, const ContentId *id, Error *err),
                      Target *target, Error *err) {
        const Backup *b = r->backup;
        Progress progress = { .what = what, .total = b->device_size };
        int n = 0;

        for (size_t i = 0; i < b->n_segments && n >= 0; i++) {
                uint64_t first = (uint64_t) i * SEGMENT_CHUNKS;

                n = backup_get_segment(r->session->repository, b, i, r->ids, err);
                for (uint64_t j = 0; j < SEGMENT_CHUNKS && n >= 0 && (first + j) * CHUNK_SIZE < b->device_size; j++) {
                        n = repository_lock_renew(r->session->lock, err);
                        if (n >= 0)
                                n = chunk(r, target, first + j, &r->ids[j], err);
                        stream_progress(&progress, (first + j + 1) * CHUNK_SIZE);
                }
        }
        progress_clear();
        return n;
}

/* A new device is nothing but zeros. */
static int write_chunk(Restore *r, Target *target, uint64_t n, const ContentId *id, Error *err) {
        size_t size = backup_chunk_size(r->backup, n);
        int k;

        if (content_id_is_zeros(id))
                return 0;
        k = repository_get_content(r->session->repository, id, r->buf, size, err);
        return k < 0 ? k : target_write(target, n * CHUNK_SIZE, r->buf, size, err);
}

static int compare_chunk(Restore *r, Target *target, uint64_t n, const ContentId *id, Error *err) {
        size_t size = backup_chunk_size(r->backup, n);
        ContentId is;
        int k;

        k = target_read(target, n * CHUNK_SIZE, r->buf, size, err);
        if (k < 0)
                return k;
        repository_name_content(r->session->repository, r->buf, size, &is);
        return content_id_equal(&is, id) ? 0
                                         : error_set(err, ERROR_FAILED, EBADMSG,
                                                     "what was restored differs at byte %" PRIu64, n * CHUNK_SIZE);
}

static int write_contents(Target *target, void *userdata, Error *err) {
        _cleanup_free_ char *comparing = NULL;
        Restore *r = userdata;
        int n;

        n = each_chunk(r, r->what, write_chunk, target, err);
        if (n < 0 || !r->check)
                return n;
        n = target_forget(target, err); /* what comes from memory proves nothing */
        if (n < 0)
                return n;
        comparing = must_have(format_new("comparing what was restored of %s", VOLUME_REFERENCE(&r->backup->spec)));
        return each_chunk(r, comparing, compare_chunk, target, err);
}

int backup_write_volume(BackupSession *session, const Backup *b, const char *name, char **labels, bool check,
                        sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *what = must_have(check ? format_new("restoring %s for a proof", VOLUME_REFERENCE(&b->spec))
                                                    : format_new("restoring %s", name));
        _cleanup_free_ ContentId *ids = must_have(calloc(SEGMENT_CHUNKS, sizeof(*ids)));
        _cleanup_free_ uint8_t *buf = must_have(malloc(CHUNK_SIZE));
        Restore r = { .session = session, .backup = b, .what = what, .check = check, .ids = ids, .buf = buf };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        parameters = transfer_parameters(name, &b->spec, labels);
        return transfer_run(parameters, write_contents, &r, ret, err);
}

static int restore(const char *which, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *made = NULL;
        _cleanup_(backup_session_done) BackupSession session = {};
        _cleanup_(backup_list_done) BackupList list = {};
        const Backup *b;
        int r;

        r = backup_session_open(arg_from, false, "quarry backup restore", &session, err);
        if (r >= 0)
                r = backup_list(session.repository, &list, err);
        if (r >= 0)
                r = backup_find(&list, which, &b, err);
        if (r < 0)
                return r;
        r = backup_write_volume(&session, b, name, b->spec.labels, false, &made, err);
        if (r < 0 && err->number == EBADMSG && !*err->hint)
                error_hint(err, "an older backup may not need that: quarry backup ls %s", VOLUME_REFERENCE(&b->spec));
        return r;
}

int verb_backup_restore(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        Error err = {};

        if (strchr(arguments[1], '@'))
                error_field(&err, "NEW", "that is the name of a snapshot: a backup becomes a volume");
        if (err.kind != ERROR_NONE || restore(arguments[0], arguments[1], &err) < 0)
                return report_error("cannot restore", arguments[0], &err);
        if (!arg_json) {
                puts(arguments[1]);
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", arguments[1])));
        return report_document(document);
}
