/* Who opens a volume, and whether anybody may: its keyslots, and its lock. The header is the truth; the row says
 * whether the host's key opens it, and which one that is: before the header can have a token the row says so. */

#include "broker/key.h"

#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/log.h>
#include <quarry/text.h>

int volume_check_unlocked(const VolumeEntry *entry, Error *err) {
        const VolumeEntry *locked = entry->origin ?: entry;
        int r;

        if (!locked->volume.locked && (locked == entry || !locked->key_goes))
                return 0;
        r = error_set(err, ERROR_VOLUME_LOCKED, ENOKEY, "volume %s is locked", locked->volume.spec.name);
        error_hint(err, "quarry key unlock %s", VOLUME_REFERENCE(&locked->volume.spec));
        return r;
}

int volume_check_not_suspended(const VolumeEntry *entry, Error *err) {
        return entry->open || entry->n_holds > 0 ? volume_check_unlocked(entry, err) : 0;
}

static int check_encrypted(const VolumeEntry *entry, Error *err) {
        return entry->volume.spec.key_source != KEY_SOURCE_NONE
                       ? 0
                       : error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "%s is not encrypted: it has no keys",
                                   entry->volume.spec.name);
}

static int begin(Manager *m, const char *verb, const Caller *caller, VolumeEntry *entry, const Watcher *watcher,
                 int (*start)(Operation *op, Error *err), Operation **ret, Error *err) {
        int r;

        r = check_encrypted(entry, err);
        return r < 0 ? r : operation_new(m, verb, caller, watcher, start, ret, err);
}

/* --- looking ---------------------------------------------------------------------------------------------- */

static void on_looked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                op->keys = result->keys;
                op->volume->open = result->open;
        }
        operation_finish(op, err);
}

static int look_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_KEYS, on_looked, err);
}

int key_look(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = begin(m, NULL, caller, entry, watcher, look_start, &op, err);
        if (r >= 0)
                operation_begin_on_volume(op, entry);
        return r;
}

static void on_backed_up(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && *mount_fd < 0) {
                error_set(&failure, ERROR_FAILED, EPROTO, "the worker read the header, and did not hand it over");
                err = &failure;
        }
        if (!err)
                op->mount_fd = TAKE_FD(*mount_fd);
        operation_finish(op, err);
}

static int backup_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_HEADER_BACKUP, on_backed_up, err);
}

int key_backup(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = begin(m, "key backup", caller, entry, watcher, backup_start, &op, err);
        if (r >= 0)
                operation_begin_on_volume(op, entry);
        return r;
}

/* --- changing --------------------------------------------------------------------------------------------- */

static void key_note(Operation *op, KeySource source, const char *host_key) {
        registry_set_key(&op->manager->registry, op->volume, source, host_key);
}

/* What the row has; in memory it is so, too, should the row not come to have anything else. */
static void key_note_back(Operation *op) {
        key_note(op, op->job.volume.spec.key_source, op->job.volume.host_key);
}

static void on_row_settled(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                key_note_back(op);
        operation_finish(op, op->failure.kind != ERROR_NONE ? &op->failure : err);
}

static void row_write(Operation *op) {
        Error failure = {};

        if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_settled, op, &failure) < 0)
                on_row_settled(&failure, op);
}

void key_settle(Operation *op, const VolumeKeys *keys) {
        const Volume *volume = &op->volume->volume;
        KeySource source = *keys->host_key ? KEY_SOURCE_HOST : KEY_SOURCE_PASSPHRASE;

        if (volume->spec.key_source == source && streq(volume->host_key, keys->host_key)) {
                operation_finish(op, NULL);
                return;
        }
        op->job.volume.spec.key_source = volume->spec.key_source;
        volume_set_host_key(&op->job.volume, volume->host_key);
        key_note(op, source, keys->host_key);
        row_write(op);
}

/* Whether the header may have a token afterwards that nobody noted. */
static bool may_bring_token(const Operation *op) {
        return op->job.verb == JOB_VOLUME_HEADER_RESTORE || (op->job.verb == JOB_VOLUME_KEY_ADD && op->job.key.host);
}

static void on_changed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, op->job.verb, on_changed, &failure) >= 0)
                return;
        if (!err) {
                op->keys = result->keys;
                op->volume->open = result->open;
                key_settle(op, &op->keys);
        } else if (may_bring_token(op) && err->kind != ERROR_WORKER_DIED) {
                op->failure = *err;
                key_note_back(op);
                row_write(op);
        } else
                operation_finish(op, err);
}

static void on_row_ready(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && operation_run_job(op, op->job.verb, on_changed, &failure) >= 0)
                return;
        key_note_back(op);
        operation_finish(op, err ?: &failure);
}

static int change_start(Operation *op, Error *err) {
        JobVerb verb = op->job.verb;
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r >= 0 && verb == JOB_VOLUME_HEADER_RESTORE)
                r = volume_check_not_suspended(op->volume, err);
        if (r >= 0 && verb == JOB_VOLUME_HEADER_RESTORE && op->manager->key_retires)
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                              "an old host key is being destroyed, which that header may need: try again");
        if (r < 0)
                return r;
        if (!may_bring_token(op))
                return operation_run_job(op, verb, on_changed, err);
        op->job.volume.uuid = op->volume->volume.uuid;
        op->job.volume.thin_id = op->volume->volume.thin_id;
        volume_set_host_key(&op->job.volume, op->volume->volume.host_key);
        if (volume_spec_copy(&op->volume->volume.spec, &op->job.volume.spec) < 0)
                return error_oom(err);
        op->job.needs_old_key = registry_needs_host_key(&op->manager->registry);
        key_note(op, KEY_SOURCE_HOST, "");
        r = catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_ready, op, err);
        if (r < 0)
                key_note_back(op);
        return r;
}

static const char *verb_of(const KeyRequest *request) {
        return request->verb == JOB_VOLUME_KEY_ADD      ? "key add"
               : request->verb == JOB_VOLUME_KEY_REMOVE ? "key remove"
               : request->verb == JOB_VOLUME_KEY_CHANGE ? "key change"
                                                        : "key restore";
}

static int change_check(const KeyRequest *request, Error *err) {
        const KeyChoice *choice = &request->choice;
        int r;

        if (request->verb == JOB_VOLUME_HEADER_RESTORE)
                return request->second_fd >= 0 ? 0 : error_field(err, "headerFileDescriptor", "no header was given");
        if (choice->host + choice->has_slot + (request->second_fd >= 0) != 1)
                return request->verb == JOB_VOLUME_KEY_REMOVE
                               ? error_field(err, "slot", "one of slot, host and a passphrase is to be given")
                               : error_field(err, "newKeyFileDescriptor", "either a passphrase is given, or host");
        if (request->verb == JOB_VOLUME_KEY_CHANGE && request->key_fd < 0) {
                r = error_set(err, ERROR_KEY_REQUIRED, ENOKEY, "the passphrase that is to be changed was not given");
                error_hint(err, "give it on the terminal or with --key-file");
                return r;
        }
        return 0;
}

int key_change(Manager *m, const Caller *caller, VolumeEntry *entry, KeyRequest *request, const Watcher *watcher,
               Error *err) {
        Operation *op;
        int r;

        r = change_check(request, err);
        if (r >= 0)
                r = begin(m, verb_of(request), caller, entry, watcher, change_start, &op, err);
        if (r >= 0) {
                op->job.verb = request->verb;
                op->job.key = request->choice;
                op->key_fd = TAKE_FD(request->key_fd);
                op->second_fd = TAKE_FD(request->second_fd);
                operation_begin_on_volume(op, entry);
        }
        closep(&request->key_fd);
        closep(&request->second_fd);
        return r;
}

/* --- locked and unlocked ---------------------------------------------------------------------------------- */

static void on_row_locked(const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;

        if (err && !entry->volume.locked && pool_entry_check_changes(op->pool, NULL) < 0) {
                log_failure(entry->volume.spec.name, err, "it is unlocked until the next start");
                err = NULL;
        }
        if (err)
                entry->volume.locked = !entry->volume.locked;
        operation_finish(op, err);
}

/* The kernel first: a row that says so comes behind it. */
static void lock_note(Operation *op, bool locked) {
        Volume *volume = &op->volume->volume;
        Error failure = {};

        if (volume->locked == locked) {
                operation_finish(op, NULL);
                return;
        }
        volume->locked = locked;
        if (catalog_put_volume(op->pool->catalog, volume, on_row_locked, op, &failure) < 0)
                on_row_locked(&failure, op);
}

static void on_key_dropped(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, op->job.verb, on_key_dropped, &failure) >= 0)
                return;
        op->volume->key_goes = false;
        if (err) {
                failure = *err;
                if (err->kind == ERROR_VOLUME_BUSY)
                        error_hint(&failure, "quarry umount %s; or quarry key lock --suspend %s",
                                   VOLUME_REFERENCE(&op->volume->volume.spec),
                                   VOLUME_REFERENCE(&op->volume->volume.spec));
                operation_finish(op, &failure);
                return;
        }
        op->volume->open = result->open;
        op->volume->unlocked = false;
        lock_note(op, true);
}

/* They have the same volume key. */
static int check_snapshots(const VolumeEntry *entry, Error *err) {
        int r;

        for (const VolumeEntry *s = entry->snapshots; s; s = s->next_snapshot) {
                const Operation *running = s->lane.running;

                if (s->n_holds == 0 && !s->open &&
                    !(running && (running->job.verb == JOB_VOLUME_MOUNT || running->job.verb == JOB_VOLUME_DEVICE)))
                        continue;
                r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "snapshot %s is open, with the same key",
                              s->volume.spec.name);
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(&s->volume.spec));
                return r;
        }
        return 0;
}

static int lock_start(Operation *op, Error *err) {
        int r;

        watch_look(op->manager->watch);
        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(op->pool, err);
        if (r >= 0)
                r = check_snapshots(op->volume, err);
        if (r < 0)
                return r;
        if (op->volume->volume.locked && !op->volume->open && op->volume->n_holds == 0) {
                operation_finish(op, NULL);
                return 0;
        }
        if (!op->volume->open && op->volume->n_holds == 0) /* nobody is to wait for it */
                op->job.verb = JOB_VOLUME_CLAIM;
        r = operation_run_job(op, op->job.verb, on_key_dropped, err);
        op->volume->key_goes = r >= 0;
        return r;
}

static int check_volume(const VolumeEntry *entry, Error *err) {
        return entry->volume.spec.role == ROLE_VOLUME
                       ? 0
                       : error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                   "%s is a snapshot, with the key of its volume: that is locked and unlocked",
                                   entry->volume.spec.name);
}

int key_lock(Manager *m, const Caller *caller, VolumeEntry *entry, bool suspend, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = check_volume(entry, err);
        if (r >= 0)
                r = begin(m, "key lock", caller, entry, watcher, lock_start, &op, err);
        if (r < 0)
                return r;
        op->job.verb = suspend ? JOB_VOLUME_SUSPEND : JOB_VOLUME_CLAIM;
        op->job.if_unused = true; /* what is only unlocked has its link, too */
        operation_begin_on_volume(op, entry);
        return 0;
}

static void on_unlocked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_UNLOCK, on_unlocked, &failure) >= 0)
                return;
        if (err) {
                if (err->kind == ERROR_WORKER_DIED)
                        volume_may_be_open(op->manager, op->volume);
                operation_finish(op, err);
                return;
        }
        op->keys = result->keys;
        op->volume->open = true;
        op->volume->unlocked = op->key_fd >= 0 && op->volume->n_holds == 0;
        watch_volume_opened(op->manager->watch);
        lock_note(op, false);
}

static int unlock_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0 && !op->volume->open && op->volume->n_holds == 0) /* else somebody waits for its key */
                r = pool_entry_check_changes(op->pool, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_UNLOCK, on_unlocked, err);
}

int key_unlock(Manager *m, const Caller *caller, VolumeEntry *entry, int key_fd, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = check_volume(entry, err);
        if (r >= 0)
                r = begin(m, "key unlock", caller, entry, watcher, unlock_start, &op, err);
        if (r < 0) {
                if (key_fd >= 0)
                        close(key_fd);
                return r;
        }
        op->key_fd = key_fd;
        operation_begin_on_volume(op, entry);
        return 0;
}
