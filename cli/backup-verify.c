/* quarry backup verify: whether all of a backup is there, and with --deep whether it becomes what it was made of. */

#include "backup.h"
#include "client.h"
#include "must.h"
#include "report.h"
#include "source.h"
#include "stream.h"
#include "terminal.h"
#include "unlock.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>

static const char *arg_from, *arg_key_file;
static bool arg_deep;

const Option backup_verify_options[] = {
        { 0, "from", "TARGET", "Which target; not needed if there is one only", option_string, &arg_from },
        { 0, "deep", NULL, "Restore, check and compare each: the proof is kept", option_flag, &arg_deep },
        { 0, "key-file", "FILE", "With --deep: the passphrase that opens them; - is stdin", option_string,
          &arg_key_file },
        {},
};

/* The temporary volumes have this label, and are called so. */
#define VERIFY_LABEL "quarry.backup.verify"
#define VERIFY_PREFIX "verify-"

/* --- whether all of it is there --------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int check_there(char *const *names, size_t n, const ContentId *id, Error *err) {
        char name[STORE_NAME_MAX];
        const char *key = name;

        if (content_id_is_zeros(id))
                return 0;
        content_object_name(id, name);
        return names && bsearch(&key, names, n, sizeof(*names), by_name)
                       ? 0
                       : error_set(err, ERROR_FAILED, EBADMSG, "object %s is not there", name);
}

/* names: all contents of the repository, sorted. */
static int verify(BackupSession *session, const Backup *b, char *const *names, size_t n, Error *err) {
        _cleanup_free_ ContentId *ids = must_have(calloc(SEGMENT_CHUNKS, sizeof(*ids)));
        int r = 0;

        for (size_t i = 0; i < b->n_segments && r >= 0; i++) {
                r = check_there(names, n, &b->segments[i], err);
                if (r >= 0)
                        r = backup_get_segment(session->repository, b, i, ids, err);
                for (size_t j = 0; j < SEGMENT_CHUNKS && r >= 0; j++)
                        r = check_there(names, n, &ids[j], err);
                if (r >= 0)
                        r = repository_lock_renew(session->lock, err);
        }
        return r;
}

/* --- proofs ----------------------------------------------------------------------------------------------- */

/* What a proof that was killed left. One that is under way keeps its turn. */
static void remove_leftovers(void) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        Call call = { .method = API_VOLUME ".List", .collect = "volumes" };
        Error ignored = {};

        if (client_call(&call, &list, NULL, &ignored) < 0)
                return;
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *v = sd_json_variant_by_index(list, i);
                _cleanup_close_ int turn = -EBADF;
                const char *name = json_string(v, "name");

                if (!startswith(name, VERIFY_PREFIX) ||
                    !*json_string(sd_json_variant_by_key(v, "labels"), VERIFY_LABEL))
                        continue;
                turn = backup_turn_take(name, false, &ignored);
                if (turn >= 0 && backup_volume_remove(json_string(v, "uuid"), &ignored) >= 0)
                        backup_turn_forget(name);
        }
}

typedef struct Comparison {
        const Backup *backup;
        Source source;
        size_t range; /* of the source, see source_touches() */
} Comparison;

static int read_chunk(Piece *p, void *userdata, Error *err) {
        uint64_t offset = p->number * CHUNK_SIZE;
        Comparison *c = userdata;
        int r;

        if (offset < backup_header_size(c->backup))
                return 0;
        if (!source_touches(&c->source, offset, offset + CHUNK_SIZE, &c->range) && content_id_is_zeros(&p->id))
                return 0; /* nothing was ever written there, and so it is in the backup */
        r = source_read(&c->source, offset, p->data, p->size, err);
        return r < 0 ? r : 1;
}

static int judge_chunk(Piece *p, void *userdata, Error *err) {
        return p->failure.kind == ERROR_NONE
                       ? 0
                       : error_set(err, ERROR_FAILED, EBADMSG, "it differs from its snapshot at byte %" PRIu64,
                                   p->number * CHUNK_SIZE);
}

/* The snapshot that it was made of may still be there: then what that holds now is what the backup has to be, but for
 * keys that changed since. */
static int compare_snapshot(BackupSession *session, const Backup *b, bool *ret_compared, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("comparing %s with its snapshot", VOLUME_REFERENCE(&b->spec)));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *image = NULL;
        Comparison c = { .backup = b, .source = { .device = -EBADF } };
        const ChunkPass pass = { read_chunk, piece_check, judge_chunk, &c };
        char uuid[SD_ID128_UUID_STRING_MAX];
        Error ignored = {};
        int r;

        sd_id128_to_uuid_string(b->snapshot, uuid);
        if (volume_inspect(uuid, &image, &ignored) < 0 || source_open(uuid, NULL, what, &c.source, &ignored) < 0)
                return 0;
        r = backup_each_chunk(session, b, what, &pass, err);
        source_done(&c.source);
        *ret_compared = r >= 0;
        return r;
}

static int check_filesystem(const Backup *b, const char *name, const char **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *reference = backup_reference(b);
        _cleanup_free_ char *what = must_have(format_new("checking what was restored of %s", reference));
        bool lacks_key = b->spec.key_source == KEY_SOURCE_PASSPHRASE && !arg_key_file;
        int r;

        *ret = b->spec.fs == FILESYSTEM_NONE ? "it has no filesystem"
               : lacks_key                   ? "its filesystem was not checked: that takes --key-file"
                                             : "its filesystem is sound";
        if (b->spec.fs == FILESYSTEM_NONE || lacks_key)
                return 0;
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", name)));
        Call unlock = { .method = API_KEY ".Unlock", .parameters = parameters };
        Call call = { .method = API_VOLUME ".Check", .parameters = parameters, .what = what };
        r = client_call(&call, NULL, NULL, err);
        if (r >= 0 || err->kind != ERROR_KEY_REQUIRED || !arg_key_file)
                return r;
        *err = (Error) {};
        r = unlock_call(&unlock, name, arg_key_file, NULL, NULL, err);
        return r < 0 ? r : client_call(&call, NULL, NULL, err);
}

/* What is wrong with the backup, and not with this host, which may be full, or lack the key. */
static bool is_verdict(const Error *err) {
        return err->number == EBADMSG || err->kind == ERROR_VOLUME_BROKEN;
}

static int restore_and_check(BackupSession *session, const Backup *b, const char *name, char **ret_text, Error *err) {
        _cleanup_free_ char *label = must_have(format_new(VERIFY_LABEL "=%s", b->id));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *made = NULL;
        char *labels[] = { label, NULL };
        const char *filesystem = "";
        bool compared = false;
        Error later = {};
        int r;

        r = backup_write_volume(session, b, name, labels, true, &made, err);
        if (r < 0)
                return r;
        r = check_filesystem(b, name, &filesystem, err);
        if (r >= 0)
                r = compare_snapshot(session, b, &compared, err);
        if (backup_volume_remove(name, &later) < 0 && r >= 0) {
                *err = later;
                error_prefix(err, "temporary volume %s stays", name);
                return error_code(err);
        }
        if (r >= 0)
                *ret_text = must_have(format_new("restored, every block compared with %s; %s",
                                                 compared ? "its checksum and the snapshot" : "its checksum",
                                                 filesystem));
        return r;
}

/* What builds on it has what is damaged, too, unless that was proven. */
static int doubt_others(BackupSession *session, const BackupProof *proof, Error *err) {
        _cleanup_(backup_list_done) BackupList list = {};
        char uuid[SD_ID128_UUID_STRING_MAX];
        int r;

        r = backup_list(session->repository, &list, err);
        for (size_t i = 0; i < list.n && r >= 0; i++) {
                const Backup *b = &list.list[i];
                Error ignored = {};

                if (list.doubted[i] && backup_is_of_here(b) && !backup_list_proof(&list, b->id))
                        (void) backup_image_label_proven(sd_id128_to_uuid_string(b->snapshot, uuid), proof, &ignored);
        }
        return r;
}

/* In the repository, and at the snapshot, if that is still there, for who looks at the volume. */
static int record(BackupSession *session, const Backup *b, const BackupProof *proof, Error *err) {
        char uuid[SD_ID128_UUID_STRING_MAX];
        Error failure = {}, ignored = {};
        int r;

        r = backup_has(session->repository, b->id, err);
        if (r == 0) /* it was not seen here: see REPOSITORY_READ */
                r = error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "the backup was removed meanwhile");
        if (r < 0)
                return r;
        r = backup_put_proof(session->repository, proof, &failure);
        if (r < 0 && !store_takes_nothing(&failure)) {
                *err = failure;
                return r;
        }
        if (r < 0) {
                progress_clear();
                fprintf(stderr, "quarry: what was seen of %s is not recorded: %s\n", b->id, failure.text);
        }
        (void) backup_image_label_proven(sd_id128_to_uuid_string(b->snapshot, uuid), proof, &ignored);
        return proof->sound ? 0 : doubt_others(session, proof, err);
}

int backup_record_damage(BackupSession *session, const Backup *b, const Error *failure, Error *err) {
        _cleanup_(backup_proof_done) BackupProof proof = { .at_usec = clock_usec(CLOCK_REALTIME) };

        buffer_format(proof.backup, sizeof(proof.backup), "%s", b->id);
        proof.text = must_have(strdup(failure->text));
        text_clean(proof.text);
        return record(session, b, &proof, err);
}

int backup_prove(BackupSession *session, const Backup *b, BackupProof *ret, Error *err) {
        _cleanup_free_ char *name = NULL, *there = NULL;
        char own[BACKUP_ID_MAX];
        _cleanup_close_ int turn = -EBADF;
        Error failure = {};
        int r;

        remove_leftovers();
        backup_id_make(own); /* what one that was killed left may be there for a while */
        name = must_have(format_new(VERIFY_PREFIX "%s", own));
        there = must_have(format_new("%s:%s", b->spec.pool, name));
        turn = backup_turn_take(name, true, err);
        if (turn < 0)
                return turn;
        *ret = (BackupProof) {};
        buffer_format(ret->backup, sizeof(ret->backup), "%s", b->id);
        r = restore_and_check(session, b, there, &ret->text, &failure);
        if (r < 0 && failure.kind == ERROR_NO_SUCH_POOL) { /* it is of another host */
                failure = (Error) {};
                r = restore_and_check(session, b, name, &ret->text, &failure);
        }
        backup_turn_forget(name);
        if (r < 0 && !is_verdict(&failure)) {
                *err = failure;
                error_prefix(err, "nothing is proven");
                return r;
        }
        ret->sound = r >= 0;
        if (r < 0) {
                ret->text = must_have(strdup(failure.text));
                text_clean(ret->text);
        }
        ret->at_usec = clock_usec(CLOCK_REALTIME);
        r = record(session, b, ret, err);
        if (r >= 0 && !ret->sound) {
                *err = failure;
                error_prefix(err, "the backup is DAMAGED");
                error_hint(err, "quarry backup run --full %s, which puts again what the volume still has of it",
                           VOLUME_REFERENCE(&b->spec));
                return error_code(err);
        }
        return r;
}

/* --- the verb --------------------------------------------------------------------------------------------- */

static void verify_one(BackupSession *session, const Backup *b, char *const *names, size_t n, Report *report) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = NULL;
        _cleanup_free_ char *reference = backup_reference(b), *object = NULL;
        _cleanup_(backup_proof_done) BackupProof proof = {};
        char at[BACKUP_TIME_MAX];
        Error err = {}, later = {};
        int r;

        object = must_have(format_new("%s of %s", b->id, reference));
        r = arg_deep ? backup_prove(session, b, &proof, &err) : verify(session, b, names, n, &err);
        if (r < 0 && !arg_deep && is_verdict(&err) && backup_record_damage(session, b, &err, &later) < 0)
                err = later;
        progress_clear();
        row = backup_describe(b, proof.text ? &proof : NULL);
        report_add(report, row);
        if (r < 0)
                report_failure(report, object, &err);
        else if (!arg_json)
                printf("%s %s %s: %s\n", b->id, reference, backup_time_format(b->at_usec, at),
                       arg_deep ? proof.text : "all of it is there");
}

/* What is named, or the last backup of each volume with --deep, or all. */
static int verify_all(BackupSession *session, char **arguments, Report *report, Error *err) {
        _cleanup_(backup_list_done) BackupList list = {};
        _cleanup_strv_ char **names = NULL;
        int r;

        r = backup_list(session->repository, &list, err);
        if (r >= 0 && !arg_deep)
                r = store_list(repository_store(session->repository), "data", &names, err);
        if (r < 0)
                return r;
        if (list.n_damaged > 0)
                report_failure(report, session->target.name, &list.damage);
        size_t n = strv_length(names);
        if (names)
                qsort(names, n, sizeof(*names), by_name);
        for (char **what = arguments; *what; what++) {
                Error failure = {};
                const Backup *b;

                if (backup_find(&list, *what, &b, &failure) < 0)
                        report_failure(report, *what, &failure);
                else
                        verify_one(session, b, names, n, report);
        }
        for (size_t i = 0; !arguments[0] && i < list.n; i++) {
                bool is_last = true;

                for (size_t j = i + 1; j < list.n; j++)
                        is_last = is_last && !sd_id128_equal(list.list[i].volume, list.list[j].volume);
                if (is_last || !arg_deep)
                        verify_one(session, &list.list[i], names, n, report);
        }
        return 0;
}

int verb_backup_verify(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot vouch for" };
        _cleanup_(backup_session_done) BackupSession session = {};
        Error err = {};
        int r = 0;

        if (arg_key_file && !arg_deep)
                r = error_field(&err, "--key-file", "--key-file: only --deep opens volumes");
        if (r >= 0)
                r = backup_session_open(arg_from, REPOSITORY_READ, "quarry backup verify", &session, &err);
        if (r >= 0)
                r = verify_all(&session, arguments, &report, &err);
        if (r < 0)
                return report_error("cannot verify", NULL, &err);
        return report_finish(&report, "backups");
}
