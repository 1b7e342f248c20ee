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
        Target *target;
} Restore;

/* A new device is nothing but zeros. */
static int fetch_chunk(Piece *p, void *userdata, Error *err) {
        Restore *r = userdata;
        int n;

        if (content_id_is_zeros(&p->id))
                return 0;
        n = repository_fetch_piece(r->session->repository, p, err);
        return n < 0 ? n : 1;
}

static int write_chunk(Piece *p, void *userdata, Error *err) {
        Restore *r = userdata;
        int n = piece_failure(p, err);

        return n < 0 ? n : target_write(r->target, p->number * CHUNK_SIZE, p->data, p->size, err);
}

static int read_chunk(Piece *p, void *userdata, Error *err) {
        Restore *r = userdata;
        int n = target_read(r->target, p->number * CHUNK_SIZE, p->data, p->size, err);

        return n < 0 ? n : 1;
}

static int judge_chunk(Piece *p, void *userdata, Error *err) {
        return p->failure.kind == ERROR_NONE
                       ? 0
                       : error_set(err, ERROR_FAILED, EBADMSG, "what was restored differs at byte %" PRIu64,
                                   p->number * CHUNK_SIZE);
}

static int write_contents(Target *target, void *userdata, Error *err) {
        const ChunkPass restores = { fetch_chunk, piece_open, write_chunk, userdata },
                        compares = { read_chunk, piece_check, judge_chunk, userdata };
        _cleanup_free_ char *comparing = NULL;
        Restore *r = userdata;
        int n;

        r->target = target;
        n = backup_each_chunk(r->session, r->backup, r->what, &restores, err);
        if (n < 0 || !r->check)
                return n;
        n = target_forget(target, err); /* what comes from memory proves nothing */
        if (n < 0)
                return n;
        comparing = must_have(format_new("comparing what was restored of %s", VOLUME_REFERENCE(&r->backup->spec)));
        return backup_each_chunk(r->session, r->backup, comparing, &compares, err);
}

int backup_write_volume(BackupSession *session, const Backup *b, const char *name, char **labels, bool check,
                        sd_json_variant **ret, Error *err) {
        _cleanup_free_ char *what = must_have(check ? format_new("restoring %s for a proof", VOLUME_REFERENCE(&b->spec))
                                                    : format_new("restoring %s", name));
        Restore r = { .session = session, .backup = b, .what = what, .check = check };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        parameters = transfer_parameters(name, &b->spec, labels);
        return transfer_run(parameters, write_contents, &r, ret, err);
}

static int restore(const char *which, const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *made = NULL;
        _cleanup_(backup_session_done) BackupSession session = {};
        _cleanup_(backup_list_done) BackupList list = {};
        Error later = {};
        const Backup *b;
        int r;

        r = backup_session_open(arg_from, REPOSITORY_READ, "quarry backup restore", &session, err);
        if (r >= 0)
                r = backup_list(session.repository, &list, err);
        if (r >= 0)
                r = backup_find(&list, which, &b, err);
        if (r < 0)
                return r;
        r = backup_write_volume(&session, b, name, b->spec.labels, false, &made, err);
        if (r < 0 && err->number == EBADMSG && backup_record_damage(&session, b, err, &later) < 0) {
                *err = later;
                return r;
        }
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
