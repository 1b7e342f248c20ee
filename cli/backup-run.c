/* quarry backup run: an image of each volume, and of that what the repository has not got yet. */

#include "backup-plan.h"
#include "backup.h"
#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "source.h"
#include "stream.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <string.h>

static const char *arg_to, *arg_schedule, *arg_scheduled;
static bool arg_full, arg_prove;

const Option backup_run_options[] = {
        { 0, "to", "TARGET", "Where to; not needed if there is one target only", option_string, &arg_to },
        { 0, "full", NULL, "Read all of it, not only what changed", option_flag, &arg_full },
        { 0, "prove", NULL, "Restore each, check and compare it", option_flag, &arg_prove },
        { 0, "schedule", "RULES", "From now on by themselves: 'daily keep 7', or none", option_string, &arg_schedule },
        { 0, "scheduled", "TIMER", "What is scheduled by this timer; for its service", option_string, &arg_scheduled },
        {},
};

/* One volume on its way. */
typedef struct Run {
        BackupSession *session;
        sd_json_variant *volume;  /* as quarryd describes it */
        const char *name;
        Backup backup, parent;    /* parent.id empty: none */
        char *image;              /* the snapshot; NULL: not made yet */
        char *base;               /* that of parent */
        bool full;                /* all of it is read, and what is there already put again where it is damaged */
        Source source;
        Progress progress;
        size_t range;             /* the first that may reach into what comes */
        Crew *crew;
        ContentId *ids;           /* of the segment that is read: of what was there before, until a chunk is put */
} Run;

static void run_done(Run *run) {
        sd_json_variant_unref(run->volume);
        backup_done(&run->backup);
        backup_done(&run->parent);
        source_done(&run->source);
        free(run->image);
        free(run->base);
        crew_free(run->crew);
}

/* --- images ----------------------------------------------------------------------------------------------- */

/* Somebody may have made another snapshot of that name. */
static bool is_better_parent(const Run *run, const Backup *b, const char *snapshot) {
        sd_id128_t is;

        return sd_id128_from_string(snapshot, &is) >= 0 && sd_id128_equal(is, b->snapshot) &&
               (!*run->parent.id || run->parent.at_usec < b->at_usec);
}

/* What an earlier run left that came to no end goes; the last that did is the parent. Nobody else is at it: see
 * backup_turn_take(). */
static int look_at_image(Run *run, sd_json_variant *snapshot, Error *err) {
        const char *uuid = json_string(snapshot, "uuid");
        _cleanup_(backup_done) Backup b = {};
        char id[BACKUP_ID_MAX];
        int r;

        if (!backup_image_id(snapshot, id) || !backup_image_is_of(snapshot, repository_uuid(run->session->repository)))
                return 0;
        r = backup_get(run->session->repository, id, &b, err);
        if (r == 0)
                return backup_volume_remove(uuid, err);
        if (r < 0 || arg_full || !is_better_parent(run, &b, uuid))
                return r < 0 ? r : 0;
        run->full = backup_image_is_damaged(snapshot);
        backup_done(&run->parent);
        free(run->base);
        run->base = must_have(strdup(uuid));
        run->parent = b;
        b = (Backup) {};
        return 0;
}

static int find_parent(Run *run, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *images = NULL;
        int r;

        r = backup_images_list(run->volume, &images, err);
        for (size_t i = 0; i < sd_json_variant_elements(images) && r >= 0; i++)
                r = look_at_image(run, sd_json_variant_by_index(images, i), err);
        if (r >= 0 && run->full && !arg_full) { /* what builds on that is damaged, too */
                fprintf(stderr, "quarry: the last backup of %s is DAMAGED: all of it is read again, as with --full\n",
                        run->name);
                backup_done(&run->parent);
                run->parent = (Backup) {};
                free(TAKE_PTR(run->base));
        }
        return r;
}

static int make_image(Run *run, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("making a snapshot of %s", run->name)), *name = NULL;
        _cleanup_free_ char *reference = volume_reference(run->volume);
        _cleanup_free_ char *label = backup_label(BACKUP_MADE_LABEL, repository_uuid(run->session->repository));
        sd_json_variant *made;
        int r;

        name = must_have(format_new("%s@" BACKUP_SNAPSHOT_PREFIX "%s", reference, run->backup.id));
        char *images[] = { name, NULL }, *labels[] = { label, NULL }; /* at once: a snapshot without it stays */
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRV("volumes", images),
                            SD_JSON_BUILD_PAIR_STRV("labels", labels)));
        Call call = { .method = API_VOLUME ".Snapshot", .parameters = parameters, .what = what };
        r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        made = sd_json_variant_by_index(sd_json_variant_by_key(reply, "snapshots"), 0);
        run->image = must_have(strdup(json_string(made, "uuid")));
        must(sd_id128_from_string(run->image, &run->backup.snapshot));
        run->backup.at_usec = clock_usec(CLOCK_REALTIME);
        return 0;
}

/* --- contents --------------------------------------------------------------------------------------------- */

/* Whether anything of these bytes is in a range, or may differ nevertheless; they are asked for in their order. */
static bool is_touched(Run *run, uint64_t offset, uint64_t end) {
        return source_touches(&run->source, offset, end, &run->range) ||
               (run->base && offset < backup_header_size(&run->backup));
}

static int put_piece(Piece *p, void *userdata, Error *err) {
        Run *run = userdata;
        uint64_t stored;
        int r;

        r = repository_put_piece(run->session->repository, p, run->full, &stored, err);
        if (r < 0)
                return r;
        run->ids[p->number % SEGMENT_CHUNKS] = p->id;
        run->backup.read += p->size;
        run->backup.stored += stored;
        stream_progress(&run->progress, run->backup.read);
        return 0;
}

static int read_chunk(Run *run, uint64_t n, Error *err) {
        Piece *p;
        int r;

        r = repository_lock_renew(run->session->lock, err);
        if (r >= 0)
                r = crew_next(run->crew, &p, err);
        if (r < 0)
                return r;
        p->number = n;
        p->id = run->ids[n % SEGMENT_CHUNKS];
        p->size = backup_chunk_size(&run->backup, n);
        r = source_read(&run->source, n * CHUNK_SIZE, p->data, p->size, err);
        if (r >= 0)
                crew_give(run->crew);
        return r;
}

/* Of a device that was smaller before, the last chunk may have been shorter. */
static bool has_same_size(const Run *run, uint64_t n) {
        return n * CHUNK_SIZE < run->parent.device_size &&
               backup_chunk_size(&run->parent, n) == backup_chunk_size(&run->backup, n);
}

static int put_segment(Run *run, size_t n, ContentId *ret, Error *err) {
        _cleanup_free_ ContentId *ids = must_have(calloc(SEGMENT_CHUNKS, sizeof(*ids)));
        uint64_t first = (uint64_t) n * SEGMENT_CHUNKS, stored;
        bool changed = false;
        int r = 0;

        run->ids = ids;
        if (*run->parent.id)
                r = backup_get_segment(run->session->repository, &run->parent, n, ids, err);
        for (uint64_t i = 0; i < SEGMENT_CHUNKS && r >= 0; i++) {
                uint64_t chunk = first + i, offset = chunk * CHUNK_SIZE;

                if (offset >= run->backup.device_size) {
                        changed = changed || !content_id_is_zeros(&ids[i]);
                        ids[i] = (ContentId) {};
                } else if (is_touched(run, offset, offset + CHUNK_SIZE) ||
                           (!content_id_is_zeros(&ids[i]) && !has_same_size(run, chunk))) {
                        r = read_chunk(run, chunk, err);
                        changed = true;
                }
        }
        if (r >= 0)
                r = crew_finish(run->crew, err);
        if (r < 0)
                return r;
        if (!changed) {
                *ret = n < run->parent.n_segments ? run->parent.segments[n] : (ContentId) {};
                return 0;
        }
        r = repository_put_content(run->session->repository, ids, SEGMENT_CHUNKS * sizeof(*ids), run->full, ret,
                                   &stored, err);
        run->backup.stored += stored;
        return r;
}

static int put_contents(Run *run, Error *err) {
        Backup *b = &run->backup;
        int r;

        b->n_segments = backup_count_segments(b->device_size);
        b->segments = must_have(calloc(b->n_segments + 1, sizeof(*b->segments)));
        run->progress.total = run->source.total;
        r = crew_new(run->session->repository, piece_seal, put_piece, run, &run->crew, err);
        for (size_t i = 0; i < b->n_segments && r >= 0; i++)
                r = put_segment(run, i, &b->segments[i], err);
        crew_free(TAKE_PTR(run->crew)); /* others are forked behind this */
        progress_clear();
        return r;
}

/* Whoever removes what no backup needs sees it from now on; and whoever did so before took our lock away. */
static int put_description(Run *run, Error *err) {
        Repository *repository = run->session->repository;
        Error ignored = {};
        int r;

        r = backup_put(repository, &run->backup, err);
        if (r < 0)
                return r;
        r = repository_lock_check(run->session->lock, err);
        if (r < 0)
                (void) backup_remove(repository, &run->backup, &ignored);
        return r;
}

/* --- a volume --------------------------------------------------------------------------------------------- */

static void take_labels(sd_json_variant *volume, VolumeSpec *spec) {
        sd_json_variant *labels = sd_json_variant_by_key(volume, "labels");
        Error ignored = {};

        for (size_t i = 0; i + 1 < sd_json_variant_elements(labels); i += 2) {
                _cleanup_free_ char *label = must_have(
                        format_new("%s=%s", sd_json_variant_string(sd_json_variant_by_index(labels, i)),
                                   sd_json_variant_string(sd_json_variant_by_index(labels, i + 1))));
                (void) volume_spec_add_label(spec, label, &ignored);
        }
}

static int describe(Run *run, Error *err) {
        VolumeSpec *spec = &run->backup.spec;
        int r;

        r = volume_inspect(run->name, &run->volume, err);
        if (r < 0)
                return r;
        if (!streq(json_string(run->volume, "kind"), "block"))
                return error_set(err, ERROR_NOT_SUPPORTED, 0, "only volumes in a pool have backups: %s is a %s volume",
                                 run->name, json_string(run->volume, "kind"));
        buffer_format(spec->pool, sizeof(spec->pool), "%s", json_string(run->volume, "pool"));
        buffer_format(spec->tenant, sizeof(spec->tenant), "%s", json_string(run->volume, "tenant"));
        buffer_format(spec->name, sizeof(spec->name), "%s", json_string(run->volume, "name"));
        take_labels(run->volume, spec);
        must(sd_id128_from_string(json_string(run->volume, "uuid"), &run->backup.volume));
        backup_host(run->backup.host);
        backup_id_make(run->backup.id);
        return 0;
}

/* By which host key the image is opened. That is not destroyed as long as there are backups that need it. */
static int look_at_key(Run *run, char ret[static HOST_KEY_ID_MAX], Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        int r;

        *ret = 0;
        if (run->backup.spec.key_source == KEY_SOURCE_NONE)
                return 0;
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", run->image)));
        Call call = { .method = API_KEY ".Inspect", .parameters = parameters };
        r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        buffer_format(ret, HOST_KEY_ID_MAX, "%s", json_string(sd_json_variant_by_key(reply, "keys"), "hostKey"));
        return *ret ? backup_target_note_host_key(run->session, ret, err) : 0;
}

static int check_key(Run *run, Error *err) {
        char now[HOST_KEY_ID_MAX];
        int r;

        r = look_at_key(run, now, err);
        if (r < 0 || streq(now, run->backup.host_key))
                return r;
        error_set(err, ERROR_FAILED, ESTALE, "the host key got a successor meanwhile");
        error_hint(err, "quarry backup run %s, once more", run->name);
        return error_code(err);
}

/* As it is in the image: a volume may have grown since. */
static int describe_image(Run *run, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *image = NULL;
        int r;

        r = volume_inspect(run->image, &image, err);
        if (r < 0)
                return r;
        source_describe(image, &run->backup.spec);
        run->backup.device_size = volume_spec_device_size(&run->backup.spec);
        if (run->backup.device_size > BACKUP_DEVICE_MAX)
                return error_set(err, ERROR_NOT_SUPPORTED, EFBIG, "it is too large: backups are of at most 64T");
        buffer_format(run->backup.parent, sizeof(run->backup.parent), "%s", run->parent.id);
        return 0;
}

/* The image is what the next one builds on, in the place of all before it. */
static int settle(Run *run, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *images = NULL;
        sd_id128_t repository = repository_uuid(run->session->repository);
        int r;

        source_done(&run->source);
        r = backup_image_label(run->image, BACKUP_LABEL, repository, err);
        if (r >= 0)
                r = backup_images_list(run->volume, &images, err);
        for (size_t i = 0; i < sd_json_variant_elements(images) && r >= 0; i++) {
                sd_json_variant *image = sd_json_variant_by_index(images, i);

                if (backup_image_is_of(image, repository) && !streq(json_string(image, "uuid"), run->image))
                        r = backup_volume_remove(json_string(image, "uuid"), err);
        }
        if (r < 0)
                error_prefix(err, "backup %s is whole, but what is kept for the next one is not", run->backup.id);
        return r;
}

static int back_up(Run *run, Error *err) {
        int r;

        r = find_parent(run, err);
        if (r >= 0)
                r = make_image(run, err);
        if (r >= 0)
                r = describe_image(run, err);
        if (r >= 0)
                r = look_at_key(run, run->backup.host_key, err);
        if (r >= 0)
                r = source_open(run->image, run->base, run->progress.what, &run->source, err);
        if (r >= 0)
                r = put_contents(run, err);
        if (r >= 0)
                r = check_key(run, err);
        if (r >= 0)
                r = put_description(run, err);
        if (r >= 0)
                return settle(run, err);
        source_done(&run->source);
        if (run->image) {
                Error later = {};

                if (backup_volume_remove(run->image, &later) < 0)
                        fprintf(stderr, "quarry: the snapshot made for it stays until the next backup: %s\n",
                                later.text);
        }
        return r;
}

static int prove(Run *run, sd_json_variant **ret, Error *err) {
        _cleanup_(backup_proof_done) BackupProof proof = {};
        int r = 0;

        if (arg_prove)
                r = backup_prove(run->session, &run->backup, &proof, err);
        if (r < 0)
                error_prefix(err, "backup %s was made, and is not proven", run->backup.id);
        *ret = backup_describe(&run->backup, proof.text ? &proof : NULL);
        return r;
}

/* A schedule's backup that was not made is not missed any more, unless it is being made. */
static int forget_failure(const Run *run, Error *err) {
        const BackupTarget *t = &run->session->target;
        _cleanup_free_ char *reference = volume_reference(run->volume);
        _cleanup_close_ int turn = -EBADF;
        Error ignored = {};
        bool failed = false;

        for (size_t i = 0; i < t->n_plans; i++)
                failed = failed ||
                         ((t->plans[i].failure || t->plans[i].began_usec > 0) && streq(t->plans[i].volume, reference));
        if (failed)
                turn = backup_plan_turn(t->name, false, &ignored);
        return turn < 0 ? 0 : backup_plan_note(t->name, reference, NULL, err);
}

static int run_one(BackupSession *session, const char *name, const char *rule, Report *report, Error *err) {
        _cleanup_free_ char *what = must_have(format_new("backing up %s", name)), *turn = NULL;
        _cleanup_(run_done) Run run = {
                .session = session,
                .name = name,
                .full = arg_full,
                .source = { .device = -EBADF },
                .progress = { .what = what },
        };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *done = NULL;
        char read[SIZE_TEXT_MAX], stored[SIZE_TEXT_MAX];
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = describe(&run, err);
        if (r >= 0) {
                run.backup.rule = rule ? must_have(strdup(rule)) : NULL;
                turn = must_have(format_new("volume-%s-" SD_ID128_FORMAT_STR, json_string(run.volume, "uuid"),
                                            SD_ID128_FORMAT_VAL(repository_uuid(session->repository))));
                lock = r = backup_turn_take(turn, false, err);
        }
        if (r == -EAGAIN) {
                fprintf(stderr, "quarry: another backup of %s is under way, and this one comes behind it\n", name);
                *err = (Error) {};
                lock = r = backup_turn_take(turn, true, err);
        }
        if (r >= 0)
                r = back_up(&run, err);
        if (r >= 0)
                r = prove(&run, &done, err);
        if (r >= 0 && !rule)
                r = forget_failure(&run, err);
        progress_clear();
        if (done)
                report_add(report, done);
        if (r >= 0 && !arg_json)
                printf("%s %s: read %s, stored %s\n", run.backup.id, name, size_format(run.backup.read, read),
                       size_format(run.backup.stored, stored));
        return r;
}

/* --- the verb --------------------------------------------------------------------------------------------- */

static int run_all(char **volumes) {
        _cleanup_(backup_session_done) BackupSession session = {};
        _cleanup_(report_done) Report report = { .action = "cannot back up" };
        Error err = {};

        if (backup_session_open(arg_to, REPOSITORY_WRITE, "quarry backup run", &session, &err) < 0)
                return report_error("cannot back up", volumes[1] ? NULL : volumes[0], &err);
        for (char **name = volumes; *name; name++) {
                Error failure = {};

                if (strchr(*name, '@'))
                        error_field(&failure, FIELD_ARGUMENTS, "%s is a snapshot: volumes are backed up", *name);
                if (failure.kind != ERROR_NONE || run_one(&session, *name, NULL, &report, &failure) < 0)
                        report_failure(&report, *name, &failure);
        }
        return report_finish(&report, "backups");
}

/* What became of it stands in the target's file, for quarry status. */
static void run_planned(const BackupRule *rule, size_t i, Report *report) {
        _cleanup_(backup_session_done) BackupSession session = {};
        Error err = {}, later = {};
        int r;

        arg_prove = rule->prove[i];
        if (backup_plan_begin(rule->target, rule->volumes[i], &later) < 0)
                report_failure(report, rule->target, &later);
        r = backup_session_open(rule->target, REPOSITORY_WRITE, "quarry backup run --scheduled", &session, &err);
        if (r >= 0)
                r = run_one(&session, rule->volumes[i], rule->expression, report, &err);
        if (r < 0)
                report_failure(report, rule->volumes[i], &err);
        later = (Error) {};
        if (backup_plan_note(rule->target, rule->volumes[i], r < 0 ? err.text : NULL, &later) < 0)
                report_failure(report, rule->target, &later);
}

static int run_scheduled(void) {
        _cleanup_(report_done) Report report = { .action = "cannot back up" };
        _cleanup_(backup_rule_done) BackupRule rule = {};
        _cleanup_close_ int turn = -EBADF;
        Error err = {};

        if (backup_plan_find(arg_scheduled, &rule, &err) < 0 || (turn = backup_plan_turn(rule.target, true, &err)) < 0)
                return report_error("cannot back up", NULL, &err);
        for (size_t i = 0; i < rule.n; i++)
                run_planned(&rule, i, &report);
        if (backup_plan_expire(&rule, &err) < 0) {
                error_prefix(&err, "old backups stay");
                report_failure(&report, rule.target, &err);
        }
        return report_finish(&report, "backups");
}

int verb_backup_run(char **arguments) {
        Error err = {};

        if (arg_scheduled && (arguments[0] || arg_schedule))
                error_field(&err, "--scheduled", "--scheduled says by itself which volumes");
        else if (!arg_scheduled && !arguments[0])
                error_field(&err, FIELD_ARGUMENTS, "a volume is missing");
        else if (arg_schedule && arg_full)
                error_field(&err, "--full", "--full is for a backup that is made now");
        if (err.kind != ERROR_NONE)
                return report_error("cannot back up", NULL, &err);
        if (arg_scheduled)
                return run_scheduled();
        return arg_schedule ? backup_plan_set(arg_to, arguments, arg_schedule, arg_prove) : run_all(arguments);
}
