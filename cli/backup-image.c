/* The snapshots that backups are made of, and how backups are called. */

#include "backup.h"
#include "client.h"
#include "must.h"
#include "volume.h"
#include "when.h"

#include <quarry/clock.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* --- snapshots -------------------------------------------------------------------------------------------- */

int backup_images_list(sd_json_variant *volume, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *list = NULL, *own = NULL;
        const char *name = json_string(volume, "name");
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("type", "snapshot"),
                            SD_JSON_BUILD_PAIR_STRING("tenant", json_string(volume, "tenant"))));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        r = client_call(&call, &list, NULL, err);
        if (r < 0)
                return r;
        must(sd_json_variant_new_array(&own, NULL, 0));
        for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
                sd_json_variant *s = sd_json_variant_by_index(list, i);
                const char *rest = startswith(json_string(s, "name"), name);

                if (rest && *rest == '@' && streq(json_string(s, "pool"), json_string(volume, "pool")))
                        must(sd_json_variant_append_array(&own, s));
        }
        *ret = TAKE_PTR(own);
        return 0;
}

bool backup_image_id(sd_json_variant *snapshot, char ret[static BACKUP_ID_MAX]) {
        const char *at = strchr(json_string(snapshot, "name"), '@');
        const char *id = at ? startswith(at + 1, BACKUP_SNAPSHOT_PREFIX) : NULL;

        return id && backup_id_is_valid(id) && buffer_format(ret, BACKUP_ID_MAX, "%s", id);
}

static const char *label_of(sd_json_variant *snapshot, const char *key) {
        return json_string(sd_json_variant_by_key(snapshot, "labels"), key);
}

bool backup_image_is_of(sd_json_variant *snapshot, sd_id128_t repository) {
        sd_id128_t is;

        return sd_id128_from_string(label_of(snapshot, BACKUP_MADE_LABEL), &is) >= 0 && sd_id128_equal(is, repository);
}

bool backup_image_is_damaged(sd_json_variant *snapshot) {
        return streq(label_of(snapshot, BACKUP_PROVEN_LABEL), BACKUP_DAMAGED);
}

static int label(const char *snapshot, const char *text, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        char *labels[] = { (char *) text, NULL };

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", snapshot),
                            SD_JSON_BUILD_PAIR_STRV("labels", labels)));
        Call call = { .method = API_VOLUME ".Update", .parameters = parameters };
        return client_call(&call, NULL, NULL, err);
}

char *backup_label(const char *key, sd_id128_t repository) {
        char uuid[SD_ID128_UUID_STRING_MAX];

        return must_have(format_new("%s=%s", key, sd_id128_to_uuid_string(repository, uuid)));
}

int backup_image_label(const char *snapshot, const char *key, sd_id128_t repository, Error *err) {
        _cleanup_free_ char *text = backup_label(key, repository);

        return label(snapshot, text, err);
}

int backup_image_label_proven(const char *snapshot, const BackupProof *p, Error *err) {
        _cleanup_free_ char *text = must_have(
                p->sound ? format_new(BACKUP_PROVEN_LABEL "=%" PRIu64, p->at_usec / 1000000)
                         : strdup(BACKUP_PROVEN_LABEL "=" BACKUP_DAMAGED));

        return label(snapshot, text, err);
}

int backup_volume_remove(const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", name)));
        Call call = { .method = API_VOLUME ".Remove", .parameters = parameters };
        return client_call(&call, NULL, NULL, err);
}

/* --- names ------------------------------------------------------------------------------------------------ */

void backup_id_make(char ret[static BACKUP_ID_MAX]) {
        sd_id128_t id;

        must(sd_id128_randomize(&id));
        for (size_t i = 0; i < (BACKUP_ID_MAX - 1) / 2; i++)
                buffer_format(ret + 2 * i, 3, "%02x", id.bytes[i]);
}

char *backup_reference(const Backup *b) {
        char reference[REFERENCE_MAX];

        return must_have(strdup(reference_format(b->spec.tenant, b->spec.name, reference)));
}

static struct tm time_of(uint64_t usec) {
        time_t seconds = (time_t) (usec / 1000000);
        struct tm tm = {};

        (void) gmtime_r(&seconds, &tm);
        return tm;
}

const char *backup_time_format(uint64_t usec, char buf[static BACKUP_TIME_MAX]) {
        struct tm tm = time_of(usec);

        return strftime(buf, BACKUP_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0 ? buf : "";
}

static int fail_none(const char *what, const Backup *first, Error *err) {
        char echo[TEXT_ECHO_MAX], time[BACKUP_TIME_MAX];

        if (first)
                error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "the first backup of it is of %s",
                          backup_time_format(first->at_usec, time));
        else
                error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no backup %s, and none of a volume of that name",
                          text_echo(what, echo));
        error_hint(err, "quarry backup ls");
        return error_code(err);
}

static int fail_hosts(const Backup *a, const Backup *b, Error *err) {
        error_set(err, ERROR_NO_SUCH_VOLUME, ENOTUNIQ, "there are backups of %s on %s and on %s", a->spec.name, a->host,
                  b->host);
        error_hint(err, "quarry backup ls -o +host; and say which by its ID");
        return error_code(err);
}

static bool is_named(const Backup *b, const Reference *ref) {
        return streq(b->spec.name, ref->name) && streq(b->spec.tenant, *ref->tenant ? ref->tenant : DEFAULT_TENANT) &&
               (!*ref->pool || streq(b->spec.pool, ref->pool));
}

bool backup_is_of_one(const Backup *b, char *const *volumes) {
        for (char *const *volume = volumes; *volume; volume++) {
                Reference ref;
                Error none = {};

                if (reference_parse(*volume, FIELD_ARGUMENTS, &ref, &none) >= 0 && is_named(b, &ref))
                        return true;
        }
        return !volumes[0];
}

int backup_check_named(const BackupList *list, const char *volume, Error *err) {
        char *volumes[] = { (char *) volume, NULL };

        for (size_t i = 0; i < list->n; i++)
                if (backup_is_of_one(&list->list[i], volumes))
                        return 0;
        return error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no backup of a volume of that name");
}

bool backup_is_of_here(const Backup *b) {
        char host[BACKUP_HOST_MAX];

        backup_host(host);
        return streq(b->host, host);
}

void backup_host(char buf[static BACKUP_HOST_MAX]) {
        memset(buf, 0, BACKUP_HOST_MAX);
        (void) gethostname(buf, BACKUP_HOST_MAX - 1);
        text_clean(buf);
}

bool backup_is_same_volume(const Backup *a, const Backup *b) {
        return streq(a->spec.name, b->spec.name) && streq(a->spec.tenant, b->spec.tenant) && streq(a->host, b->host);
}

const Backup *backup_last_proven(const BackupList *list, const Backup *of) {
        for (size_t i = list->n; i > 0; i--) {
                const Backup *b = &list->list[i - 1];
                const BackupProof *proof = backup_is_same_volume(of, b) ? backup_list_proof(list, b->id) : NULL;

                if (proof && proof->sound)
                        return b;
        }
        return NULL;
}

bool backup_all_doubted(const BackupList *list, const Backup *of) {
        size_t last = list->n;

        for (size_t i = 0; i < list->n; i++)
                if (backup_is_same_volume(of, &list->list[i]))
                        last = i;
        return last < list->n && list->doubted[last];
}

/* The first and the last up to then, of this host or of the only one that has any. */
static int find_named(const BackupList *list, const Reference *ref, bool of_here, uint64_t until,
                      const Backup **ret_first, const Backup **ret_last, Error *err) {
        for (size_t i = 0; i < list->n; i++) {
                const Backup *b = &list->list[i];

                if (!is_named(b, ref) || (of_here && !backup_is_of_here(b)))
                        continue;
                if (*ret_first && !streq((*ret_first)->host, b->host))
                        return fail_hosts(*ret_first, b, err);
                *ret_first = *ret_first ?: b;
                if (b->at_usec <= until)
                        *ret_last = b;
        }
        return 0;
}

int backup_find(const BackupList *list, const char *what, const Backup **ret, Error *err) {
        const char *at = strchr(what, '@');
        const Backup *first = NULL, *last = NULL;
        uint64_t until = UINT64_MAX;
        Reference ref;
        int r;

        for (size_t i = 0; i < list->n; i++)
                if (streq(list->list[i].id, what)) {
                        *ret = &list->list[i];
                        return 0;
                }
        _cleanup_free_ char *name = must_have(strndup(what, at ? (size_t) (at - what) : strlen(what)));
        r = reference_parse(name, FIELD_ARGUMENTS, &ref, err);
        if (r < 0)
                return r;
        if (at && when_parse(at + 1, clock_usec(CLOCK_REALTIME), &until) < 0)
                return error_field(
                        err, FIELD_ARGUMENTS,
                        "behind @ stands a time, 2026-11-28 or 2026-11-28T06:00 in UTC, or how long ago: 7d");
        if (at && strlen(at + 1) == strlen("2026-11-28") && strchr(at, '-')) /* a day is all of it */
                until += UINT64_C(24) * 3600 * 1000000 - 1;
        else if (at && strchr(at, '-')) /* and a second, as times are printed, too */
                until += UINT64_C(1000000) - 1;
        r = find_named(list, &ref, true, until, &first, &last, err);
        if (r >= 0 && !first)
                r = find_named(list, &ref, false, until, &first, &last, err);
        if (r < 0)
                return r;
        if (!last)
                return fail_none(what, first, err);
        *ret = last;
        return 0;
}

sd_json_variant *backup_describe(const Backup *b, const BackupProof *p) {
        _cleanup_free_ char *reference = backup_reference(b);
        uint64_t at_proof = p ? p->at_usec : 0;
        char at[BACKUP_TIME_MAX], proven[BACKUP_TIME_MAX];
        sd_json_variant *v = NULL;

        must(sd_json_buildo(
                        &v,
                        SD_JSON_BUILD_PAIR_STRING("id", b->id),
                        SD_JSON_BUILD_PAIR_STRING("volume", reference),
                        SD_JSON_BUILD_PAIR_STRING("pool", b->spec.pool),
                        SD_JSON_BUILD_PAIR_STRING("host", b->host),
                        SD_JSON_BUILD_PAIR_STRING("createdAt", backup_time_format(b->at_usec, at)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", b->spec.size),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(b->spec.fs)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        b->spec.key_source != KEY_SOURCE_NONE, "keySource",
                                        SD_JSON_BUILD_STRING(key_source_to_string(b->spec.key_source))),
                        SD_JSON_BUILD_PAIR_UNSIGNED("readBytes", b->read),
                        SD_JSON_BUILD_PAIR_UNSIGNED("storedBytes", b->stored),
                        SD_JSON_BUILD_PAIR_CONDITION(!!*b->parent, "parent", SD_JSON_BUILD_STRING(b->parent)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!b->rule, "rule", SD_JSON_BUILD_STRING(b->rule)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!p, "provenAt",
                                                     SD_JSON_BUILD_STRING(backup_time_format(at_proof, proven))),
                        SD_JSON_BUILD_PAIR_CONDITION(!!p, "sound", SD_JSON_BUILD_BOOLEAN(p && p->sound)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!p, "proof", SD_JSON_BUILD_STRING(p ? p->text : ""))));
        return v;
}
