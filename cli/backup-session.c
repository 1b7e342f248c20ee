/* The repository of a target, opened with the keys that this host has. */

#include "backup.h"
#include "client.h"
#include "must.h"
#include "secret.h"

#include <quarry/clock.h>
#include <quarry/config.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define TURNS "/run/quarry/backup"
/* What libsodium calls moderate; used where quarry.conf says that LUKS is to find out by itself. */
#define ARGON2_ITERATIONS 3u

static int derive_from_host_key(sd_id128_t repository, const char *id, uint8_t *ret, char *ret_id, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_close_ int fd = -EBADF;
        sd_json_variant *is;
        int r;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_CONDITION(!!id, "id", SD_JSON_BUILD_STRING(id))));
        Call call = { .method = API_KEY ".Derive", .parameters = parameters };
        r = client_call(&call, &reply, &fd, err);
        if (r < 0)
                return r;
        is = sd_json_variant_by_key(reply, "id");
        r = fd >= 0 && sd_json_variant_is_string(is) ? sealed_read(fd, ret, REPOSITORY_KEY_SIZE) : -EPROTO;
        if (r < 0)
                return error_errno(err, r, "cannot take what quarryd derived from the host key");
        buffer_format(ret_id, HOST_KEY_ID_MAX, "%s", sd_json_variant_string(is));
        return 0;
}

typedef struct Keys {
        RepositoryKeySource source;
        char *passphrase;
        size_t size;
} Keys;

static void keys_done(Keys *k) {
        secret_free(k->passphrase, k->size);
}

/* NULL: from the terminal. */
static int take_passphrase(Keys *k, const char *key_file, bool confirm, Error *err) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        Config config = {};
        int r;

        r = key_file ? backup_secret_path(key_file, &path, err) : 0;
        if (r >= 0)
                fd = r = path ? secret_from_file(path, err)
                              : secret_from_terminal("Passphrase of the repository: ", confirm, err);
        if (r < 0)
                return r;
        r = secret_read(fd, &k->passphrase, &k->size);
        if (r < 0)
                return error_errno(err, r, "cannot read the passphrase of the repository");
        k->source.passphrase = k->passphrase;
        k->source.passphrase_size = k->size;
        r = config_load(CONFIG_FILE, &config, err);
        if (r < 0)
                return r;
        k->source.argon2_memory = config.argon2_memory;
        k->source.argon2_iterations = config.argon2_iterations ?: ARGON2_ITERATIONS;
        config_done(&config);
        return 0;
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static int note_host_key(BackupSession *s, const char *id, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_close_ int turn = -EBADF;
        int r;

        buffer_format(s->target.host_key, sizeof(s->target.host_key), "%s", id);
        r = backup_target_begin(s->target.name, &turn, &t, err);
        if (r < 0)
                return r;
        buffer_format(t.host_key, sizeof(t.host_key), "%s", id);
        return backup_target_save(&t, err);
}

/* The host key may have got a successor since. */
static int follow_host_key(BackupSession *s, const RepositoryKeySource *keys, Error *err) {
        uint8_t derived[REPOSITORY_KEY_SIZE];
        char present[HOST_KEY_ID_MAX];
        Error failure = {};
        int r;

        if (!*s->target.host_key)
                return 0;
        r = derive_from_host_key(s->target.repository, NULL, derived, present, err);
        explicit_bzero(derived, sizeof(derived));
        if (r < 0 || streq(present, s->target.host_key))
                return r;
        r = repository_add_key(s->repository, keys, true, &failure);
        if (r >= 0)
                return note_host_key(s, present, err);
        if (store_takes_nothing(&failure)) /* the key that opened it still does, and the next one gives it the other */
                return 0;
        *err = failure;
        return r;
}

static int open_store(const BackupTarget *t, bool make, Store **ret, Error *err) {
        _cleanup_free_ char *credentials = NULL;
        int r = 0;

        if (t->credentials)
                r = backup_secret_path(t->credentials, &credentials, err);
        return r < 0 ? r : store_open(t->url, credentials, make, ret, err);
}

/* Nobody gave that option now, and none of these verbs has it. */
static int key_file_fail(const BackupTarget *t, Error *err) {
        Error was = *err;

        error_set(err, ERROR_PERMISSION_DENIED, was.number, "%s", startswith(was.text, "--key-file: ") ?: was.text);
        if (t->key_file)
                error_hint(err,
                           "its passphrase is to be there; or: quarry backup target rm %s, and add it again, "
                           "--existing",
                           t->name);
        else
                error_hint(err,
                           "on a terminal; or: quarry backup target rm %s, and add it again, --existing --key-file "
                           "FILE",
                           t->name);
        return error_code(err);
}

static int open_repository(BackupSession *s, Error *err) {
        _cleanup_(keys_done) Keys keys = {};
        Store *store;
        int r = 0;

        if (*s->target.host_key)
                keys.source.host = derive_from_host_key;
        else
                r = take_passphrase(&keys, s->target.key_file, false, err);
        if (r < 0 && (streq(err->field, "--key-file") || streq(err->field, "passphrase")))
                r = key_file_fail(&s->target, err);
        if (r >= 0)
                r = open_store(&s->target, false, &store, err);
        if (r >= 0)
                r = repository_open(store, &keys.source, &s->repository, err);
        if (r >= 0 && !sd_id128_equal(repository_uuid(s->repository), s->target.repository)) {
                r = error_set(err, ERROR_FAILED, EBADMSG, "another repository lies there than when it was added");
                error_hint(err, "if that is right: quarry backup target rm %s, and add it again", s->target.name);
        }
        return r < 0 ? r : follow_host_key(s, &keys.source, err);
}

static void fail_several(char *const *names, Error *err) {
        char all[128] = "";
        size_t n = 0;

        for (; *names && n + strlen(*names) + 3 < sizeof(all); names++)
                n += (size_t) snprintf(all + n, sizeof(all) - n, "%s%s", n > 0 ? ", " : "", *names);
        error_field(err, "--to", "there are several backup targets, %s%s: say which, with --to, or --from", all,
                    *names ? ", ..." : "");
}

int backup_target_choose(const char *name, BackupTarget *ret, Error *err) {
        _cleanup_strv_ char **names = NULL;
        int r;

        if (name)
                return backup_target_load(name, ret, err);
        r = backup_target_list(&names, err);
        if (r < 0)
                return r;
        if (strv_length(names) == 1)
                return backup_target_load(names[0], ret, err);
        if (!names) {
                error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no backup target yet");
                error_hint(err, "quarry backup target add NAME file:///DIRECTORY");
        } else
                fail_several(names, err);
        return error_code(err);
}

int backup_target_begin(const char *name, int *ret_turn, BackupTarget *ret, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        char turn[64];
        int fd, r;

        r = backup_target_choose(name, &t, err); /* which it is, */
        if (r < 0)
                return r;
        buffer_format(turn, sizeof(turn), "target-%s", t.name);
        fd = backup_turn_take(turn, true, err);
        if (fd < 0)
                return fd;
        r = backup_target_load(t.name, ret, err); /* and what it says now */
        if (r < 0)
                close(fd);
        else
                *ret_turn = fd;
        return r;
}

int backup_target_note_host_key(BackupSession *s, const char *id, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_close_ int turn = -EBADF;
        int r;

        r = backup_target_begin(s->target.name, &turn, &t, err);
        if (r < 0 || strv_contains(t.host_keys, id))
                return r;
        must(strv_append(&t.host_keys, id));
        return backup_target_save(&t, err);
}

int backup_target_review_host_keys(BackupSession *s, const BackupList *left, Error *err) {
        _cleanup_(backup_target_done) BackupTarget t = {};
        _cleanup_strv_ char **needed = NULL;
        _cleanup_close_ int turn = -EBADF;
        int r;

        for (size_t i = 0; i < left->n; i++)
                if (*left->list[i].host_key && !strv_contains(needed, left->list[i].host_key))
                        must(strv_append(&needed, left->list[i].host_key));
        r = backup_target_begin(s->target.name, &turn, &t, err);
        if (r < 0 || strv_equal(t.host_keys, needed))
                return r;
        strv_free(t.host_keys);
        t.host_keys = TAKE_PTR(needed);
        return backup_target_save(&t, err);
}

int backup_session_look(const char *name, BackupSession *ret, Error *err) {
        _cleanup_(backup_session_done) BackupSession s = {};
        int r;

        r = backup_target_choose(name, &s.target, err);
        if (r < 0)
                return r;
        r = open_repository(&s, err);
        if (r < 0) {
                error_prefix(err, "backup target %s", s.target.name);
                return r;
        }
        *ret = s;
        s = (BackupSession) {};
        return 0;
}

int backup_session_open(const char *name, RepositoryUse use, const char *what, BackupSession *ret, Error *err) {
        int r = backup_session_look(name, ret, err);

        if (r < 0)
                return r;
        r = repository_lock(ret->repository, use, what, &ret->lock, err);
        if (r < 0) {
                error_prefix(err, "backup target %s", ret->target.name);
                backup_session_done(ret);
        }
        return r;
}

void backup_session_done(BackupSession *s) {
        repository_unlock(s->lock);
        repository_free(s->repository);
        backup_target_done(&s->target);
        *s = (BackupSession) {};
}

int backup_session_add(BackupTarget *t, bool make, bool by_host, bool by_passphrase, const char *key_file, Error *err) {
        _cleanup_(repository_freep) Repository *repository = NULL;
        _cleanup_(keys_done) Keys keys = {};
        Store *store;
        int r = 0;

        if (by_host)
                keys.source.host = derive_from_host_key;
        if (by_passphrase)
                r = take_passphrase(&keys, key_file, make, err);
        if (r >= 0)
                r = open_store(t, make, &store, err);
        if (r >= 0)
                r = make ? repository_make(store, &keys.source, &repository, err)
                         : repository_open(store, &keys.source, &repository, err);
        if (r == -EEXIST)
                error_hint(err, "to go on with that: the same, and --existing");
        /* One that was opened by its passphrase can be opened by this host's key from now on. */
        if (r >= 0 && by_host && !make && !*repository_host_key(repository))
                r = repository_add_key(repository, &keys.source, true, err);
        if (r < 0)
                return r;
        t->repository = repository_uuid(repository);
        buffer_format(t->host_key, sizeof(t->host_key), "%s", repository_host_key(repository));
        return backup_target_save(t, err);
}

/* --- turns ------------------------------------------------------------------------------------------------ */

int backup_turn_take(const char *what, bool wait, Error *err) {
        char path[128];
        int fd;

        buffer_format(path, sizeof(path), TURNS "/%s", what);
        if (mkdir(TURNS, 0700) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot make " TURNS);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
                int number = errno;

                if (fd >= 0)
                        close(fd);
                return error_set(err, ERROR_VOLUME_BUSY, number == EWOULDBLOCK ? EAGAIN : number, "cannot lock %s",
                                 path);
        }
        return fd;
}

void backup_turn_forget(const char *what) {
        char path[128];

        buffer_format(path, sizeof(path), TURNS "/%s", what);
        (void) unlink(path);
}
