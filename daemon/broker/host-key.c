/* The host's key, and a new one. The worker puts the new one in the place of the old one, which it keeps; then one
 * volume after the other, in the background, gets its key wrapped anew. What is left to do is in the rows: they say
 * which host key each volume needs. So whatever is cut short goes on, and an old key is destroyed only once every pool
 * of the host is there, and no row needs it or does not say. */

#include "broker/key.h"

#include "broker/volume.h"

#include <quarry/log.h>
#include <quarry/text.h>

#define PAUSE_USEC (5 * UINT64_C(1000)) /* others come between */
#define MAKING_USEC (500 * UINT64_C(1000)) /* a volume that is being made will say by which key its own is wrapped */

static void go_on(Operation *op);
static void retire(Operation *op);

static int take_keys(Operation *op, JobResult *result, Error *err) {
        if (result->n_host_keys == 0)
                return error_set(err, ERROR_FAILED, EPROTO, "the worker did not say which host keys there are");
        free(op->host_keys);
        op->host_keys = TAKE_PTR(result->host_keys);
        op->n_host_keys = result->n_host_keys;
        return 0;
}

/* --- looking ---------------------------------------------------------------------------------------------- */

/* Rows that nobody has read may need any key. */
static bool all_is_known(const Manager *m) {
        if (!m->ready || m->failure.kind != ERROR_NONE || registry_count_key(&m->registry, "") > 0)
                return false;
        for (const PoolEntry *pool = m->registry.pools; pool; pool = pool->next)
                if (pool->state != POOL_ACTIVE)
                        return false;
        return true;
}

/* It is made when the first volume needs it: before, none is missing. */
static bool is_none_yet(const Manager *m, const Error *err) {
        return err->kind == ERROR_WRONG_KEY && err->number == ENOKEY && all_is_known(m) &&
               registry_count_keys(&m->registry) == 0;
}

static void on_looked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err && is_none_yet(op->manager, err)) {
                operation_finish(op, NULL);
                return;
        }
        if (!err && take_keys(op, result, &failure) < 0)
                err = &failure;
        operation_finish(op, err);
}

static int look_start(Operation *op, Error *err) {
        return operation_run_job(op, JOB_HOST_KEY_LOOK, on_looked, err);
}

int host_key_look(Manager *m, const Caller *caller, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = operation_new(m, NULL, caller, watcher, look_start, &op, err);
        if (r >= 0)
                operation_begin(op, NULL);
        return r;
}

/* --- what is derived -------------------------------------------------------------------------------------- */

static void on_derived(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && take_keys(op, result, &failure) < 0)
                err = &failure;
        if (!err)
                op->mount_fd = TAKE_FD(*mount_fd);
        operation_finish(op, err);
}

static int derive_start(Operation *op, Error *err) {
        op->job.needs_old_key = registry_needs_host_key(&op->manager->registry);
        return operation_run_job(op, JOB_HOST_KEY_DERIVE, on_derived, err);
}

int host_key_derive(Manager *m, const Caller *caller, const char *id, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = operation_new(m, NULL, caller, watcher, derive_start, &op, err);
        if (r < 0)
                return r;
        buffer_format(op->job.key.id, sizeof(op->job.key.id), "%s", id ?: "");
        operation_begin(op, &m->key_lane); /* not while a new one takes its place */
        return 0;
}

/* --- the end ---------------------------------------------------------------------------------------------- */

static void finish(Operation *op, const Error *err) {
        Manager *m = op->manager;
        bool again = m->rotation_again;

        m->rotation = NULL;
        m->rotation_again = false;
        m->rotation_pause = sd_event_source_disable_unref(m->rotation_pause);
        if (err && !op->verb)
                log_debug("host key", "%s", err->text);
        operation_finish(op, err);
        if (again)
                host_key_resume(m);
}

static bool is_listed(const Operation *op, const char *id) {
        for (size_t i = 0; i < op->n_host_keys; i++)
                if (streq(op->host_keys[i].id, id))
                        return true;
        return false;
}

static void keep_key(Operation *op, const Error *err) {
        log_info("host key", "the old key %s stays: %s", op->job.key.id, err->text);
        if (op->failure.kind == ERROR_NONE)
                op->failure = *err;
        for (size_t i = 1; i < op->n_host_keys; i++)
                if (streq(op->host_keys[i].id, op->job.key.id))
                        op->host_keys[i].source = HOST_KEY_OLD_CREDENTIAL; /* none that is ours to destroy */
        retire(op);
}

static void on_retired(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_HOST_KEY_RETIRE, on_retired, &failure) >= 0)
                return;
        op->manager->key_retires = false;
        if (!err && take_keys(op, result, &failure) < 0)
                err = &failure;
        if (!err && is_listed(op, op->job.key.id)) { /* asked again it would be no other */
                error_set(&failure, ERROR_FAILED, EEXIST, "the old host key %s is still there", op->job.key.id);
                err = &failure;
        }
        if (err && err->number == EBUSY) /* what somebody outside needs it for is no failure: the others may go */
                keep_key(op, err);
        else if (err)
                finish(op, err);
        else {
                log_info("host key", "the old key %s is destroyed: no volume needs it any more", op->job.key.id);
                retire(op);
        }
}

static void retire(Operation *op) {
        Error err = {};

        for (size_t i = 1; i < op->n_host_keys && all_is_known(op->manager); i++) {
                const HostKey *key = &op->host_keys[i];

                if (key->source != HOST_KEY_KEPT || registry_count_key(&op->manager->registry, key->id) > 0)
                        continue;
                op->job.key = (KeyChoice) {};
                buffer_format(op->job.key.id, sizeof(op->job.key.id), "%s", key->id);
                if (operation_run_job(op, JOB_HOST_KEY_RETIRE, on_retired, &err) < 0)
                        finish(op, &err);
                else
                        op->manager->key_retires = true;
                return;
        }
        finish(op, NULL);
}

/* --- one volume after the other ----------------------------------------------------------------------------- */

typedef struct Search {
        const Operation *op;
        VolumeEntry *next;
        bool making; /* some are being made */
} Search;

static bool needs_other(const Operation *op, const VolumeEntry *entry) {
        return entry->volume.spec.key_source == KEY_SOURCE_HOST && !streq(entry->volume.host_key, op->host_keys[0].id);
}

static int on_entry(VolumeEntry *entry, void *userdata) {
        Search *search = userdata;

        if (!needs_other(search->op, entry))
                return 0;
        search->making = search->making || entry->volume.state == VOLUME_CREATING;
        if (entry->volume.state != VOLUME_READY || entry->wrap_failed == search->op->manager->rotations)
                return 0;
        search->next = entry;
        return 1;
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        go_on(userdata);
        return 0;
}

static void pause_then_go_on(Operation *op, uint64_t usec) {
        Manager *m = op->manager;
        Error err = {};
        int r;

        m->rotation_pause = sd_event_source_disable_unref(m->rotation_pause);
        r = sd_event_add_time_relative(m->event, &m->rotation_pause, CLOCK_MONOTONIC, usec, 0, on_pause_over, op);
        if (r < 0) {
                error_errno(&err, r, "cannot set a timer");
                finish(op, &err);
        }
}

static void wrap_failed(Operation *op, VolumeEntry *entry, const Error *err) {
        entry->wrap_failed = op->manager->rotations;
        log_failure(entry->volume.spec.name, err, "its key cannot be wrapped by the new host key");
        if (op->failure.kind == ERROR_NONE) {
                op->failure = *err;
                error_prefix(&op->failure, "%s", VOLUME_REFERENCE(&entry->volume.spec));
        }
}

/* It may be gone; what failed is said, and the others come to it. */
static void on_wrapped(Operation *wrap, const Error *err, void *userdata) {
        Operation *op = userdata;
        JobProgress progress = operation_progress(op);
        size_t current = registry_count_key(&op->manager->registry, op->host_keys[0].id);
        Error failure = {};

        if (!err && wrap->volume && needs_other(op, wrap->volume)) {
                error_set(&failure, ERROR_WRONG_KEY, EKEYREJECTED, "the worker wrapped it by another host key than %s",
                          op->host_keys[0].id);
                err = &failure;
        }
        if (!err)
                op->n_wrapped++;
        else if (wrap->volume)
                wrap_failed(op, wrap->volume, err);
        if (progress)
                progress("wrapping the keys of volumes", (unsigned) current,
                         (unsigned) registry_count_keys(&op->manager->registry), op);
        pause_then_go_on(op, PAUSE_USEC);
}

static void on_wrap_done(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *wrap = userdata;
        Error failure = {};

        if (operation_outlives_worker(wrap, err) &&
            operation_run_job(wrap, JOB_VOLUME_KEY_WRAP, on_wrap_done, &failure) >= 0)
                return;
        if (err) {
                if (err->kind == ERROR_WORKER_DIED)
                        volume_may_be_open(wrap->manager, wrap->volume);
                operation_finish(wrap, err);
                return;
        }
        wrap->volume->open = result->open;
        key_settle(wrap, &result->keys);
}

static int wrap_start(Operation *wrap, Error *err) {
        int r;

        r = volume_check_ready(wrap->volume, err);
        if (r >= 0)
                r = pool_entry_check_changes(wrap->pool, err);
        return r < 0 ? r : operation_run_job(wrap, JOB_VOLUME_KEY_WRAP, on_wrap_done, err);
}

static void wrap_begin(Operation *op, VolumeEntry *entry) {
        Watcher watcher = { .on_done = on_wrapped, .userdata = op };
        Caller self = { .admin = true };
        Operation *wrap;
        Error err = {};

        if (operation_new(op->manager, NULL, &self, &watcher, wrap_start, &wrap, &err) < 0) {
                finish(op, &err);
                return;
        }
        buffer_format(wrap->job.key.id, sizeof(wrap->job.key.id), "%s", op->host_keys[0].id);
        wrap->in_background = true;
        operation_begin_on_volume(wrap, entry);
}

static void go_on(Operation *op) {
        Search search = { .op = op };

        for (PoolEntry *pool = op->manager->registry.pools; pool && !search.next; pool = pool->next)
                if (!pool->operation && pool_entry_check_changes(pool, NULL) >= 0)
                        (void) registry_each_volume(pool, on_entry, &search);
        if (search.next)
                wrap_begin(op, search.next);
        else if (search.making)
                pause_then_go_on(op, MAKING_USEC);
        else
                retire(op);
}

/* --- the beginning ------------------------------------------------------------------------------------------ */

/* Whether some need an older key that is there; or may. */
static bool is_under_way(const Operation *op) {
        const Registry *registry = &op->manager->registry;

        for (size_t i = 1; i < op->n_host_keys; i++)
                if (registry_count_key(registry, op->host_keys[i].id) > 0)
                        return true;
        return op->n_host_keys > 1 && registry_count_key(registry, "") > 0;
}

static void on_rotated(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_HOST_KEY_ROTATE, on_rotated, &failure) >= 0)
                return;
        if (!err && take_keys(op, result, &failure) < 0)
                err = &failure;
        if (err)
                finish(op, err);
        else
                go_on(op);
}

static void on_found(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && take_keys(op, result, &failure) < 0)
                err = &failure;
        if (err)
                finish(op, err);
        else if (!op->verb || is_under_way(op)) {
                if (is_under_way(op))
                        log_info("host key", "volumes get their keys wrapped by the present one");
                go_on(op);
        } else {
                buffer_format(op->job.key.id, sizeof(op->job.key.id), "%s", op->host_keys[0].id);
                if (operation_run_job(op, JOB_HOST_KEY_ROTATE, on_rotated, &failure) < 0)
                        finish(op, &failure);
        }
}

static int rotate_start(Operation *op, Error *err) {
        Manager *m = op->manager;
        int r;

        m->rotation = op;
        m->rotations++;
        r = operation_run_job(op, JOB_HOST_KEY_LOOK, on_found, err);
        if (r < 0)
                m->rotation = NULL;
        return r;
}

/* Who asks while it goes on is told of its end. */
static int rotate(Manager *m, const char *verb, const Caller *caller, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        if (m->rotation && m->rotation->verb && watcher)
                return operation_add_watcher(m->rotation, watcher, err);
        r = operation_new(m, verb, caller, watcher, rotate_start, &op, err);
        if (r >= 0)
                operation_begin(op, &m->key_lane);
        return r;
}

int host_key_rotate(Manager *m, const Caller *caller, const Watcher *watcher, Error *err) {
        return rotate(m, "key rotate", caller, watcher, err);
}

void host_key_resume(Manager *m) {
        Caller self = { .admin = true };
        Error err = {};

        if (registry_count_keys(&m->registry) == 0)
                return;
        if (m->rotation)
                m->rotation_again = true;
        else if (rotate(m, NULL, &self, NULL, &err) < 0)
                log_failure("host key", &err, "cannot look whether volumes are to have their keys wrapped anew");
}
