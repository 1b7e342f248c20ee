/* quarry backup prune: old backups go, and then what no other needs. */

#include "backup.h"
#include "must.h"
#include "report.h"
#include "terminal.h"
#include "verbs.h"

#include "repo/retention.h"

#include <quarry/clock.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>

static const char *arg_from, *arg_keep;
static bool arg_dry_run, arg_yes;

const Option backup_prune_options[] = {
        { 0, "from", "TARGET", "Which target; not needed if there is one only", option_string, &arg_from },
        { 0, "keep", "RETENTION", "What stays of each volume: '7 daily, 4 weekly'", option_string, &arg_keep },
        { 0, "dry-run", NULL, "Say what would be removed, and remove nothing", option_flag, &arg_dry_run },
        { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes },
        {},
};

/* --- what no backup needs --------------------------------------------------------------------------------- */

typedef struct Needed {
        ContentId *ids; /* sorted */
        size_t n, room;
} Needed;

static void need(Needed *needed, const ContentId *id) {
        if (content_id_is_zeros(id))
                return;
        if (needed->n == needed->room) {
                needed->room = needed->room ? 2 * needed->room : 4096;
                needed->ids = must_have(reallocarray(needed->ids, needed->room, sizeof(*needed->ids)));
        }
        needed->ids[needed->n++] = *id;
}

static int compare(const void *a, const void *b) {
        return memcmp(a, b, sizeof(ContentId));
}

/* Most backups of a volume share most of their segments. */
static void sort(Needed *needed) {
        size_t n = 0;

        if (needed->n == 0)
                return;
        qsort(needed->ids, needed->n, sizeof(*needed->ids), compare);
        for (size_t i = 1; i < needed->n; i++)
                if (!content_id_equal(&needed->ids[i], &needed->ids[n]))
                        needed->ids[++n] = needed->ids[i];
        needed->n = n + 1;
}

static bool is_needed(const Needed *needed, const ContentId *id) {
        return needed->n > 0 && bsearch(id, needed->ids, needed->n, sizeof(*needed->ids), compare);
}

static int mark(BackupSession *session, Needed *segments, Needed *chunks, Error *err) {
        _cleanup_free_ ContentId *ids = must_have(calloc(SEGMENT_CHUNKS, sizeof(*ids)));
        _cleanup_(backup_list_done) BackupList list = {};
        int r;

        r = backup_list(session->repository, &list, err);
        if (r >= 0 && list.n_damaged > 0) {
                *err = list.damage;
                error_prefix(err, "what it needs is not known, so nothing is removed");
                return error_code(err);
        }
        if (r >= 0)
                r = backup_target_review_host_keys(session, &list, err);
        for (size_t i = 0; i < list.n && r >= 0; i++)
                for (size_t j = 0; j < list.list[i].n_segments; j++)
                        need(segments, &list.list[i].segments[j]);
        sort(segments);
        for (size_t i = 0; i < segments->n && r >= 0; i++) {
                r = repository_get_content(session->repository, &segments->ids[i], ids, SEGMENT_CHUNKS * sizeof(*ids),
                                           err);
                for (size_t j = 0; j < SEGMENT_CHUNKS && r >= 0; j++)
                        need(chunks, &ids[j]);
                if (r >= 0)
                        r = repository_lock_renew(session->lock, err);
        }
        sort(chunks);
        return r;
}

static int remove_unneeded(BackupSession *session, const Needed *segments, const Needed *chunks, size_t *ret_n,
                           Error *err) {
        Store *store = repository_store(session->repository);
        _cleanup_free_ char **unneeded = NULL;
        _cleanup_strv_ char **names = NULL;
        size_t n = 0;
        int r;

        r = store_list(store, "data", &names, err);
        unneeded = must_have(calloc(strv_length(names) + 1, sizeof(*unneeded)));
        for (char **name = names; name && *name; name++) {
                const char *hex = startswith(*name, "data/");
                ContentId id;

                if (hex && content_id_parse(hex, &id) >= 0 && !is_needed(segments, &id) && !is_needed(chunks, &id))
                        unneeded[n++] = *name;
        }
        for (size_t i = 0; i < n && r >= 0; i++) {
                progress_show("removing what no backup needs", "object", i + 1, n);
                r = store->ops->remove(store, unneeded[i], err);
                if (r >= 0)
                        r = repository_lock_renew(session->lock, err);
                *ret_n += r >= 0;
        }
        progress_clear();
        return r;
}

int backup_sweep(BackupSession *session, size_t *ret_n, Error *err) {
        Store *store = repository_store(session->repository);
        Needed segments = {}, chunks = {};
        int r;

        *ret_n = 0;
        r = store->ops->sync(store, err); /* else a power cut brings back a backup, perhaps without what it needs */
        if (r >= 0)
                r = mark(session, &segments, &chunks, err);
        if (r >= 0)
                r = remove_unneeded(session, &segments, &chunks, ret_n, err);
        free(segments.ids);
        free(chunks.ids);
        return r;
}

/* --- which backups go ------------------------------------------------------------------------------------- */

/* Those of the volume that the i-th is of. The last that was proven stays, whatever the rules. So do those of a time
 * that is not yet, of a host whose clock was wrong. They count for none of the others, which would go instead; nor do
 * those known to be damaged. */
static void judge(const BackupList *list, size_t i, const Retention *retention, bool *keep) {
        _cleanup_free_ uint64_t *times = must_have(calloc(list->n, sizeof(*times)));
        _cleanup_free_ size_t *which = must_have(calloc(list->n, sizeof(*which)));
        _cleanup_free_ bool *kept = must_have(calloc(list->n, sizeof(*kept)));
        uint64_t now = clock_usec(CLOCK_REALTIME);
        size_t n = 0;

        if (backup_all_doubted(list, &list->list[i])) {
                _cleanup_free_ char *reference = backup_reference(&list->list[i]);

                fprintf(stderr,
                        "quarry: all backups of %s stay: the last is DAMAGED, or what it builds on; make another "
                        "one: quarry backup run %s\n",
                        reference, reference);
                return;
        }
        for (size_t j = 0; j < list->n; j++) {
                const Backup *b = &list->list[j];

                if (!backup_is_same_volume(&list->list[i], b) || b->at_usec > now)
                        continue;
                if (list->doubted[j]) {
                        keep[j] = false;
                        continue;
                }
                times[n] = list->list[j].at_usec;
                which[n++] = j;
        }
        retention_apply(retention, times, n, kept);
        for (size_t j = 0; j < n; j++)
                keep[which[j]] = kept[j] || &list->list[which[j]] == backup_last_proven(list, &list->list[i]);
}

static bool is_first(const BackupList *list, size_t i) {
        for (size_t j = 0; j < i; j++)
                if (backup_is_same_volume(&list->list[i], &list->list[j]))
                        return false;
        return true;
}

static void choose(const BackupList *list, char *const *volumes, const Retention *retention, bool *keep) {
        for (size_t i = 0; i < list->n; i++)
                keep[i] = true;
        for (size_t i = 0; arg_keep && i < list->n; i++)
                if (is_first(list, i) && backup_is_of_one(&list->list[i], volumes))
                        judge(list, i, retention, keep);
}

static void tell(Report *report, const Backup *b) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *row = backup_describe(b, NULL);
        _cleanup_free_ char *reference = backup_reference(b);
        char at[BACKUP_TIME_MAX];

        report_add(report, row);
        if (!arg_json)
                printf("%s %s %s\n", b->id, reference, backup_time_format(b->at_usec, at));
}

static bool is_agreed(size_t n) {
        _cleanup_free_ char *question = must_have(format_new("Remove %zu backup%s?", n, n == 1 ? "" : "s"));

        return arg_yes || arg_dry_run || n == 0 || !terminal_can_ask() || terminal_confirm(question);
}

static int prune(BackupSession *session, char **volumes, const Retention *retention, Report *report, Error *err) {
        _cleanup_(backup_list_done) BackupList list = {};
        _cleanup_free_ bool *keep = NULL;
        size_t n = 0, swept = 0;
        int r;

        r = backup_list(session->repository, &list, err);
        for (char **volume = volumes; *volume && r >= 0; volume++)
                r = backup_check_named(&list, *volume, err);
        if (r < 0)
                return r;
        keep = must_have(calloc(list.n + 1, sizeof(*keep)));
        choose(&list, volumes, retention, keep);
        for (size_t i = 0; i < list.n; i++)
                if (!keep[i]) {
                        tell(report, &list.list[i]);
                        n++;
                }
        if (arg_dry_run)
                return 0;
        if (!is_agreed(n))
                return error_set(err, ERROR_FAILED, ECANCELED, "nothing was removed");
        for (size_t i = 0; i < list.n && r >= 0; i++)
                if (!keep[i])
                        r = backup_remove(session->repository, &list.list[i], err);
        if (r >= 0)
                r = backup_sweep(session, &swept, err);
        if (r >= 0 && !arg_json)
                fprintf(stderr, "%zu backup%s removed, and %zu object%s that no other needs\n", n, n == 1 ? "" : "s",
                        swept, swept == 1 ? "" : "s");
        return r;
}

int verb_backup_prune(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot remove" };
        _cleanup_(backup_session_done) BackupSession session = {};
        Retention retention = {};
        Error err = {};
        int r = 0;

        if (arg_keep)
                r = retention_parse(arg_keep, "--keep", &retention, &err);
        else if (arguments[0])
                r = error_field(&err, "--keep", "--keep says what stays of a volume's backups");
        if (r >= 0)
                r = arg_dry_run
                            ? backup_session_look(arg_from, &session, &err)
                            : backup_session_open(arg_from, REPOSITORY_ALONE, "quarry backup prune", &session, &err);
        if (r >= 0)
                r = prune(&session, arguments, &retention, &report, &err);
        if (r < 0)
                return report_error("cannot prune backups", NULL, &err);
        return report_finish(&report, arg_dry_run ? "wouldRemove" : "removed");
}
