#include <quarry/backup-target.h>

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-json.h>

#define SUFFIX ".json"
#define FILE_MAX (1u << 20)

void backup_plan_done(BackupPlan *plan) {
        free(plan->volume);
        free(plan->failure);
        *plan = (BackupPlan) {};
}

void backup_target_done(BackupTarget *t) {
        for (size_t i = 0; i < t->n_plans; i++)
                backup_plan_done(&t->plans[i]);
        free(t->plans);
        strv_free(t->host_keys);
        free(t->url);
        free(t->credentials);
        free(t->key_file);
        *t = (BackupTarget) {};
}

bool backup_target_name_is_valid(const char *name) {
        return pool_name_is_valid(name);
}

/* --- as text ---------------------------------------------------------------------------------------------- */

static int plan_to_json(const BackupPlan *plan, sd_json_variant **list) {
        _cleanup_free_ char *schedule = schedule_format(&plan->schedule);

        return schedule
                ? sd_json_variant_append_arraybo(
                                  list,
                                  SD_JSON_BUILD_PAIR_STRING("volume", plan->volume),
                                  SD_JSON_BUILD_PAIR_STRING("schedule", schedule),
                                  SD_JSON_BUILD_PAIR_BOOLEAN("prove", plan->prove),
                                  SD_JSON_BUILD_PAIR_CONDITION(!!plan->failure, "failure",
                                                               SD_JSON_BUILD_STRING(plan->failure)),
                                  SD_JSON_BUILD_PAIR_CONDITION(plan->began_usec > 0, "beganUsec",
                                                               SD_JSON_BUILD_UNSIGNED(plan->began_usec)))
                                                               : -ENOMEM;
}

static int target_to_json(const BackupTarget *t, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *plans = NULL;
        int r;

        r = sd_json_variant_new_array(&plans, NULL, 0);
        for (size_t i = 0; i < t->n_plans && r >= 0; i++)
                r = plan_to_json(&t->plans[i], &plans);
        if (r >= 0)
                r = sd_json_buildo(
                                &v,
                                SD_JSON_BUILD_PAIR_STRING("url", t->url),
                                SD_JSON_BUILD_PAIR_CONDITION(!!t->credentials, "credentials",
                                                             SD_JSON_BUILD_STRING(t->credentials)),
                                SD_JSON_BUILD_PAIR_CONDITION(!!t->key_file, "keyFile",
                                                             SD_JSON_BUILD_STRING(t->key_file)),
                                SD_JSON_BUILD_PAIR_UUID("repository", t->repository),
                                SD_JSON_BUILD_PAIR_CONDITION(!!*t->host_key, "hostKey",
                                                             SD_JSON_BUILD_STRING(t->host_key)),
                                SD_JSON_BUILD_PAIR_CONDITION(strv_length(t->host_keys) > 0, "volumesHostKeys",
                                                             SD_JSON_BUILD_STRV(t->host_keys)),
                                SD_JSON_BUILD_PAIR_VARIANT("plans", plans));
        if (r >= 0)
                r = sd_json_variant_format(v, SD_JSON_FORMAT_PRETTY | SD_JSON_FORMAT_NEWLINE, ret);
        return r < 0 ? r : 0;
}

static int plan_parse(sd_json_variant *v, BackupPlan *ret, Error *err) {
        sd_json_variant *volume = sd_json_variant_by_key(v, "volume"),
                        *schedule = sd_json_variant_by_key(v, "schedule"), *prove = sd_json_variant_by_key(v, "prove"),
                        *failure = sd_json_variant_by_key(v, "failure"),
                        *began = sd_json_variant_by_key(v, "beganUsec");
        Reference reference;
        int r;

        if (!sd_json_variant_is_string(volume) || !sd_json_variant_is_string(schedule) ||
            !sd_json_variant_is_boolean(prove))
                return error_field(err, "plans", "a plan has a volume, a schedule, and says whether to prove");
        if ((failure && !sd_json_variant_is_string(failure)) || (began && !sd_json_variant_is_unsigned(began)))
                return error_field(err, "plans", "what became of a plan is a text, and when that began a number");
        r = reference_parse(sd_json_variant_string(volume), "volume", &reference, err);
        if (r >= 0)
                r = schedule_parse(sd_json_variant_string(schedule), "schedule", &ret->schedule, err);
        if (r < 0)
                return r;
        ret->prove = sd_json_variant_boolean(prove);
        ret->began_usec = sd_json_variant_unsigned(began);
        ret->volume = strdup(sd_json_variant_string(volume));
        ret->failure = failure ? strdup(sd_json_variant_string(failure)) : NULL;
        if (ret->volume && (ret->failure || !failure))
                return 0;
        backup_plan_done(ret);
        return error_oom(err);
}

static int plans_parse(sd_json_variant *list, BackupTarget *ret, Error *err) {
        size_t n = sd_json_variant_elements(list);
        int r = 0;

        ret->plans = calloc(n + 1, sizeof(*ret->plans));
        if (!ret->plans)
                return error_oom(err);
        for (size_t i = 0; i < n && r >= 0; i++) {
                r = plan_parse(sd_json_variant_by_index(list, i), &ret->plans[i], err);
                ret->n_plans += r >= 0;
        }
        return r;
}

typedef struct Parsed {
        const char *host_key;
        sd_json_variant *plans;
        BackupTarget target;
} Parsed;

/* --- secrets ---------------------------------------------------------------------------------------------- */

static bool secret_is_valid(const char *secret) {
        const char *name = startswith(secret, BACKUP_CREDENTIAL);

        return name ? *name && *name != '.' && !strchr(name, '/') && text_is_printable(name) : path_is_plain(secret);
}

int backup_secret_path(const char *secret, char **ret, Error *err) {
        const char *name = startswith(secret, BACKUP_CREDENTIAL);
        const char *const folders[] = { getenv("CREDENTIALS_DIRECTORY"), "/run/credstore", "/etc/credstore" };

        if (!name) {
                *ret = strdup(secret);
                return *ret ? 0 : error_oom(err);
        }
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = folders[i] ? format_new("%s/%s", folders[i], name) : NULL;

                if (path && access(path, R_OK) >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
        }
        error_set(err, ERROR_FAILED, ENOENT, "there is no systemd credential %s", name);
        error_hint(err,
                   "systemctl edit quarry-backup@.service, with LoadCredential=%s:FILE; or a file /etc/credstore/%s",
                   name, name);
        return error_code(err);
}

static int take(const char *name, Parsed *p, Error *err) {
        BackupTarget *t = &p->target;

        buffer_format(t->name, sizeof(t->name), "%s", name);
        if (p->host_key && !host_key_id_is_valid(p->host_key))
                return error_field(err, "hostKey", "the id of a host key is made of hex digits");
        buffer_format(t->host_key, sizeof(t->host_key), "%s", p->host_key ?: "");
        for (char **id = t->host_keys; id && *id; id++)
                if (!host_key_id_is_valid(*id))
                        return error_field(err, "volumesHostKeys", "the id of a host key is made of hex digits");
        if ((t->credentials && !secret_is_valid(t->credentials)) || (t->key_file && !secret_is_valid(t->key_file)))
                return error_field(err, "keyFile", "files are named by absolute paths");
        return plans_parse(p->plans, t, err);
}

int backup_target_parse(const char *name, const char *text, BackupTarget *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "url", SD_JSON_VARIANT_STRING, sd_json_dispatch_string, offsetof(Parsed, target.url),
                  SD_JSON_MANDATORY },
                { "credentials", SD_JSON_VARIANT_STRING, sd_json_dispatch_string, offsetof(Parsed, target.credentials),
                  0 },
                { "keyFile", SD_JSON_VARIANT_STRING, sd_json_dispatch_string, offsetof(Parsed, target.key_file), 0 },
                { "repository", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, target.repository),
                  SD_JSON_MANDATORY },
                { "hostKey", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, host_key), 0 },
                { "volumesHostKeys", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_strv, offsetof(Parsed, target.host_keys),
                  0 },
                { "plans", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, plans),
                  SD_JSON_MANDATORY },
                {},
        };
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Parsed p = {};
        unsigned line = 0;
        int r;

        r = sd_json_parse(text, 0, &v, &line, NULL);
        if (r < 0)
                r = error_set(err, ERROR_FAILED, EBADMSG, "line %u is no JSON", line);
        else if (sd_json_dispatch(v, table, 0, &p) < 0)
                r = error_set(err, ERROR_FAILED, EBADMSG, "a member is missing, unknown, or of another type");
        else
                r = take(name, &p, err);
        if (r < 0)
                backup_target_done(&p.target);
        else
                *ret = p.target;
        return r;
}

/* --- as files --------------------------------------------------------------------------------------------- */

static int fail_name(const char *name, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, "NAME", "\"%s\" is no name of a target: a letter a-z, then at most 31 of a-z 0-9 -",
                           text_echo(name, echo));
}

int backup_target_load(const char *name, BackupTarget *ret, Error *err) {
        _cleanup_free_ char *text = NULL;
        char path[128];
        int r;

        if (!backup_target_name_is_valid(name))
                return fail_name(name, err);
        buffer_format(path, sizeof(path), "%s/%s" SUFFIX, BACKUP_FOLDER, name);
        r = file_read(AT_FDCWD, path, FILE_MAX, &text, NULL);
        if (r == -ENOENT) {
                error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no backup target %s", name);
                error_hint(err, "quarry backup target ls");
                return error_code(err);
        }
        if (r == -EACCES)
                return error_set(err, ERROR_PERMISSION_DENIED, EACCES, "backups are root's: cannot read %s", path);
        if (r < 0)
                return error_errno(err, r, "cannot read %s", path);
        r = backup_target_parse(name, text, ret, err);
        if (r < 0)
                error_prefix(err, "%s", path);
        return r;
}

int backup_target_save(const BackupTarget *t, Error *err) {
        _cleanup_free_ char *text = NULL;
        char path[128];
        int r;

        r = target_to_json(t, &text);
        if (r < 0 || !text)
                return error_oom(err);
        buffer_format(path, sizeof(path), "%s/%s" SUFFIX, BACKUP_FOLDER, t->name);
        if (mkdir(BACKUP_FOLDER, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make " BACKUP_FOLDER);
        r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
        return r < 0 ? error_errno(err, r, "cannot write %s", path) : 0;
}

int backup_target_remove(const char *name, Error *err) {
        char path[128];

        buffer_format(path, sizeof(path), "%s/%s" SUFFIX, BACKUP_FOLDER, name);
        return unlink(path) < 0 ? error_errno(err, errno, "cannot remove %s", path) : 0;
}

static int by_name(const void *a, const void *b) {
        return natural_compare(*(char *const *) a, *(char *const *) b);
}

int backup_target_list(char ***ret, Error *err) {
        _cleanup_strv_ char **names = NULL;
        DIR *folder = opendir(BACKUP_FOLDER);
        struct dirent *entry;
        int r = 0;

        if (!folder && errno == EACCES)
                return error_set(err, ERROR_PERMISSION_DENIED, EACCES,
                                 "backups are root's: cannot open " BACKUP_FOLDER);
        if (!folder && errno != ENOENT)
                return error_errno(err, errno, "cannot open " BACKUP_FOLDER);
        while (folder && r >= 0 && (entry = readdir(folder))) {
                char name[BACKUP_TARGET_NAME_MAX + 1];
                size_t n = strlen(entry->d_name);

                if (n <= strlen(SUFFIX) || !streq(entry->d_name + n - strlen(SUFFIX), SUFFIX))
                        continue;
                if (buffer_format(name, sizeof(name), "%.*s", (int) (n - strlen(SUFFIX)), entry->d_name) &&
                    backup_target_name_is_valid(name))
                        r = strv_append(&names, name);
        }
        if (folder)
                closedir(folder);
        if (r < 0)
                return error_oom(err);
        if (names)
                qsort(names, strv_length(names), sizeof(*names), by_name);
        *ret = TAKE_PTR(names);
        return 0;
}

int backup_target_check_host_key(const char *id, Error *err) {
        _cleanup_strv_ char **names = NULL;
        int r;

        r = backup_target_list(&names, err);
        for (char **name = names; name && *name && r >= 0; name++) {
                _cleanup_(backup_target_done) BackupTarget t = {};

                r = backup_target_load(*name, &t, err);
                if (r < 0)
                        break;
                if (streq(t.host_key, id)) {
                        r = error_set(err, ERROR_FAILED, EBUSY, "backup target %s is opened by the old host key",
                                      *name);
                        error_hint(err, "quarry backup ls --from %s, which gives it the new one", *name);
                } else if (strv_contains(t.host_keys, id)) {
                        r = error_set(err, ERROR_FAILED, EBUSY,
                                      "backups in target %s are of volumes that the old host key opens", *name);
                        error_hint(err, "it goes when quarry backup prune has removed the last of them");
                }
        }
        return r;
}
