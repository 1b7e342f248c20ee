/* Creating a volume: a durable row, then the worker, then the row again. What fails half way is undone before
 * it is answered. */

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/pool-open.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/template.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <time.h>

#define PAUSES_MAX 15u
#define PAUSE_USEC 500000u

/* --- the end -------------------------------------------------------------------------------------------- */

/* The row may say that it is ready, and then nothing of it may go: the catalog is read anew. */
static void on_row_back(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                volume_clean_up(op);
                return;
        }
        volume_entry_set_broken(op->volume, err->text);
        pool_check_catalog(op->pool);
        operation_finish(op, &op->failure);
}

/* Made, and that could not be noted: it goes again. A commit that is said to have failed may have reached the disk,
 * unless the disk is full: so the row is written as it was before anything is taken away. */
static void take_back(Operation *op, const Error *err) {
        Error failure = {};

        op->failure = *err;
        op->volume->volume.state = VOLUME_CREATING;
        if (err->kind == ERROR_NO_SPACE)
                volume_clean_up(op);
        else if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_back, op, &failure) < 0)
                on_row_back(&failure, op);
}

static void on_row_settled(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err && op->failure.kind == ERROR_NONE)
                take_back(op, err);
        else if (op->failure.kind != ERROR_NONE)
                operation_finish(op, &op->failure);
        else {
                if (op->job.source.spec.role != ROLE_SNAPSHOT && !streq_ptr(op->verb, "receive")) /* like no other */
                        template_note_demand(op->manager, op->pool, &op->volume->volume.spec);
                operation_finish(op, NULL);
        }
}

void volume_create_settle(Operation *op) {
        Error err = {};

        if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_settled, op, &err) < 0)
                on_row_settled(&err, op);
}

/* --- cleaning up ---------------------------------------------------------------------------------------- */

static void on_row_gone(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err) {
                volume_entry_set_broken(op->volume, err->text);
                operation_finish(op, &op->failure);
                return;
        }
        operation_finish_removed(op, &op->failure);
}

void volume_drop_row(Operation *op) {
        Error err = {};

        if (catalog_delete_volume(op->pool->catalog, op->volume->volume.uuid, on_row_gone, op, &err) < 0)
                on_row_gone(&err, op);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Operation *op = userdata;

        op->transfer = sd_event_source_disable_unref(op->transfer);
        volume_clean_up(op);
        return 0;
}

/* Whoever wrote to it may have gone, and what they wrote is on its way to the disk as long as it keeps the device. */
static bool is_waited_for(Operation *op, const Error *err) {
        return err && err->kind == ERROR_VOLUME_BUSY && op->n_pauses++ < PAUSES_MAX &&
               sd_event_add_time_relative(op->manager->event, &op->transfer, CLOCK_MONOTONIC, PAUSE_USEC, 0,
                                          on_pause_over, op) >= 0;
}

static void on_cleaned(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (operation_outlives_worker(op, err)) {
                volume_clean_up(op);
                return;
        }
        if (is_waited_for(op, err))
                return;
        op->failure.undo_failed = err;
        if (!err) {
                volume_drop_row(op);
                return;
        }
        log_error(op->volume->volume.spec.name, "cannot clean up behind a failed create: %s", err->text);
        volume_entry_set_broken(op->volume, err->text);
        error_hint(&op->failure, "what is left of it goes with: quarry rm %s",
                   VOLUME_REFERENCE(&op->volume->volume.spec));
        volume_create_settle(op);
}

void volume_clean_up(Operation *op) {
        Error err = {};

        if (operation_run_job(op, JOB_VOLUME_REMOVE, on_cleaned, &err) < 0)
                on_cleaned(NULL, NULL, &err, op);
}

/* --- the way there -------------------------------------------------------------------------------------- */

static void on_row_written(const Error *err, void *userdata);
static void on_made(JobResult *result, int *mount_fd, const Error *err, void *userdata);

/* The metadata has a thin device that the catalog does not know: whose it is nobody can say here, so it is left alone,
 * and the create takes the next id. */
static bool take_next_thin_id(Operation *op, const Error *err) {
        Volume *volume = &op->volume->volume;
        uint32_t taken = volume->thin_id;
        Error failure = {};

        if (volume->spec.kind != KIND_BLOCK || !operation_thin_id_is_anothers(op, err) ||
            op->thin_ids_taken++ >= THIN_IDS_TAKEN_MAX || volume_entry_renumber(op->volume) < 0)
                return false;
        log_warning(op->pool->info.name,
                    "thin device %u is in the pool, and not in its catalog: left alone; see quarry doctor", taken);
        op->job.volume.thin_id = volume->thin_id;
        return catalog_put_volume(op->pool->catalog, volume, on_row_written, op, &failure) >= 0;
}

static void forget_source(Operation *op) {
        volume_done(&op->job.source);
        op->job.source = (Volume) {};
}

static int take_template(Operation *op, Error *err) {
        const VolumeEntry *template;
        int r;

        forget_source(op); /* of a thin id that was taken */
        template = template_take(op->pool, &op->volume->volume.spec);
        if (!template)
                return 0;
        r = operation_set_source(op, template, err);
        if (r < 0) {
                template_give_back(op->manager, template->volume.uuid);
                return r;
        }
        op->job.source.created_usec = template->volume.created_usec;
        return 0;
}

static void give_template_back(Operation *op) {
        if (op->job.source.spec.role == ROLE_TEMPLATE)
                template_give_back(op->manager, op->job.source.uuid);
}

/* The template is gone, or older than mkfs: then that runs. */
static bool do_without_template(Operation *op, const Error *err) {
        VolumeEntry *template = registry_find_uuid(&op->manager->registry, op->job.source.uuid);
        Error failure = {};

        if (op->job.source.spec.role != ROLE_TEMPLATE || err->number != ESTALE || err->undo_failed)
                return false;
        if (template)
                template_discard(op->manager, template);
        forget_source(op);
        return operation_run_job(op, JOB_VOLUME_CREATE, on_made, &failure) >= 0;
}

static void on_made(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        give_template_back(op);
        if (!err) {
                op->volume->volume.state = op->is_filled ? VOLUME_CREATING : VOLUME_READY;
                if (*result->keys.host_key)
                        registry_set_key(&op->manager->registry, op->volume, KEY_SOURCE_HOST, result->keys.host_key);
                if (result->source_id)
                        buffer_format(op->volume->volume.spec.source_id, SOURCE_ID_MAX, "%s", result->source_id);
                op->volume->volume.copied = !sd_id128_is_null(op->job.source.uuid);
                op->volume->made_usec = clock_usec(CLOCK_REALTIME);
                op->volume->open = result->open;
                op->volume->used = result->used;
                op->volume->used_is_known = result->used > 0;
                if (result->open)
                        watch_volume_opened(op->manager->watch);
                if (op->is_filled)
                        volume_fill(op);
                else
                        volume_create_settle(op);
                return;
        }
        if (take_next_thin_id(op, err) || do_without_template(op, err))
                return;
        op->failure = *err;
        /* The worker undoes what it did, unless it died or could not. */
        if (err->kind == ERROR_WORKER_DIED || err->undo_failed)
                volume_clean_up(op);
        else
                volume_drop_row(op);
}

static void on_row_written(const Error *err, void *userdata) {
        Operation *op = userdata;
        bool is_clone = op->job.source.spec.role == ROLE_SNAPSHOT;
        Error failure = {};

        op->job.needs_old_key = !is_clone && op->volume->volume.spec.key_source == KEY_SOURCE_HOST &&
                                registry_needs_host_key(&op->manager->registry);
        if (!err && (is_clone || take_template(op, &failure) >= 0) &&
            operation_run_job(op, is_clone ? JOB_VOLUME_CLONE : JOB_VOLUME_CREATE, on_made, &failure) >= 0)
                return;
        if (!err)
                give_template_back(op);
        op->failure = err ? *err : failure;
        /* A commit that is said to have failed may have reached the disk, unless the disk is full. */
        if (err && err->kind == ERROR_NO_SPACE)
                operation_finish_removed(op, &op->failure);
        else
                volume_drop_row(op);
}

int volume_create_run(Operation *op, Error *err) {
        return catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_written, op, err);
}

/* --- made ahead ----------------------------------------------------------------------------------------- */

/* One row makes a template that is there the volume that was asked for. */
static int turn_template(Manager *m, VolumeEntry *entry, VolumeSpec *spec, Error *err) {
        uint64_t made_usec = entry->volume.created_usec;
        int r;

        entry->volume.created_usec = clock_usec(CLOCK_REALTIME); /* a schedule owes it nothing from before */
        r = registry_turn_template(&m->registry, entry, spec, err);
        if (r < 0)
                entry->volume.created_usec = made_usec;
        else
                entry->volume.state = VOLUME_CREATING;
        return r;
}

static void take(Operation *op) {
        op->volume->volume.state = VOLUME_READY;
        op->volume->made_usec = clock_usec(CLOCK_REALTIME);
        volume_create_settle(op);
}

/* Nobody gets a volume that could not be opened: the key may be gone since it was made. Its row is still that of one
 * made ahead, and must not be when its device is gone. */
static void on_key_looked(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        const char *id = op->volume->volume.host_key;
        Error failure = {};

        for (size_t i = 0; result && i < result->n_host_keys; i++)
                if (streq(result->host_keys[i].id, id)) {
                        take(op);
                        return;
                }
        if (!err)
                error_set(&failure, ERROR_KEY_REQUIRED, ENOKEY, "host key %s, which it needs, is not there", id);
        take_back(op, err ?: &failure);
}

static int take_run(Operation *op, Error *err) {
        Error failure = {};

        if (op->volume->volume.spec.key_source != KEY_SOURCE_HOST)
                take(op);
        else if (operation_run_job(op, JOB_HOST_KEY_LOOK, on_key_looked, &failure) < 0)
                on_key_looked(NULL, NULL, &failure, op);
        return 0;
}

/* --- judging the request -------------------------------------------------------------------------------- */

int volume_create_check_key(const VolumeSpec *spec, int key_fd, Error *err) {
        int r;

        if (spec->key_source == KEY_SOURCE_PASSPHRASE && key_fd < 0) {
                r = error_set(err, ERROR_KEY_REQUIRED, ENOKEY, "a volume with key source passphrase needs one");
                error_hint(err, "give it on the terminal or with --key-file");
                return r;
        }
        if (spec->key_source != KEY_SOURCE_PASSPHRASE && key_fd >= 0)
                return error_field(err, "keyFileDescriptor", "a passphrase was given, but the key source is %s",
                                   key_source_to_string(spec->key_source));
        return 0;
}

/* Returns 1: it is there as asked for; 0: joined the create that runs. */
static int judge_existing(VolumeEntry *have, const VolumeSpec *want, bool if_absent, const Watcher *watcher,
                          Error *err) {
        const char *name = have->volume.spec.name, *field;
        char difference[128];
        int r;

        if (have->volume.state == VOLUME_BROKEN || have->volume.state == VOLUME_REMOVING) {
                r = error_set(err, ERROR_VOLUME_BROKEN, EUCLEAN, "volume %s exists and is %s%s%s", name,
                              volume_state_to_string(have->volume.state), have->volume.failure ? ": " : "",
                              have->volume.failure ?: "");
                error_hint(err, "quarry rm %s", VOLUME_REFERENCE(&have->volume.spec));
                return r;
        }
        if (have->lane.running && have->lane.running->again)
                return operation_add_watcher(have->lane.running, watcher, err);
        if (watcher->on_fill || (have->lane.running && have->lane.running->is_filled)) /* nobody knows with what */
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", name);
        if (*want->pool && !streq(want->pool, have->pool->info.name))
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists in pool %s, asked for in pool %s",
                                 name, have->pool->info.name, want->pool);
        field = volume_spec_difference(&have->volume.spec, want, difference, sizeof(difference));
        if (field)
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists with a different %s: %s", name,
                                 field, difference);
        if (have->volume.state == VOLUME_CREATING && have->lane.running) {
                if (streq_ptr(have->lane.running->verb, "create"))
                        return operation_add_watcher(have->lane.running, watcher, err);
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s is being made by a %s", name,
                                 have->lane.running->verb ?: "restart");
        }
        if (if_absent)
                return 1;
        r = error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already, with these options", name);
        error_hint(err, "--if-absent makes that a success");
        return r;
}

int volume_create_entry(Manager *m, PoolEntry *pool, VolumeSpec *spec, VolumeEntry **ret, Error *err) {
        Volume volume = { .state = VOLUME_CREATING };
        VolumeEntry *entry;
        int r;

        r = sd_id128_randomize(&volume.uuid);
        if (r < 0)
                return error_errno(err, r, "cannot make a UUID");
        r = spec->kind == KIND_BLOCK ? pool_entry_new_thin_id(pool, &volume.thin_id) : 0;
        if (r < 0)
                return error_set(err, ERROR_NO_SPACE, r, "pool %s has no thin id left", pool->info.name);
        volume.created_usec = clock_usec(CLOCK_REALTIME);
        volume.spec = *spec;
        *spec = (VolumeSpec) {};

        entry = registry_add_volume(&m->registry, pool, &volume, err);
        if (!entry) {
                volume_done(&volume);
                return error_code(err);
        }
        *ret = entry;
        return 0;
}

/* What is not in the pool takes nothing of it. */
static int check_space(const Manager *m, PoolEntry *pool, const TenantEntry *tenant, const VolumeSpec *spec,
                       Error *err) {
        int r;

        if (spec->kind != KIND_BLOCK)
                return spec->kind == KIND_TMPFS ? quota_check_tmpfs(tenant, spec->size, err) : 0;
        r = quota_check_size(m, pool, tenant, spec->size, err);
        return r < 0 ? r : space_check_create(pool, err);
}

static int create(Manager *m, const Caller *caller, VolumeSpec *spec, int *key_fd, bool if_absent,
                  const Watcher *watcher, VolumeEntry **ret_existing, Error *err) {
        VolumeEntry *entry, *ahead = NULL;
        TenantEntry *tenant;
        PoolEntry *pool;
        Operation *op;
        int r;

        r = volume_spec_normalize(spec, err);
        if (r >= 0)
                r = find_place(m, caller, spec->tenant, spec->pool, &pool, &tenant, err);
        if (r >= 0)
                r = volume_create_check_key(spec, *key_fd, err);
        if (r >= 0 && watcher->on_fill && (spec->kind != KIND_BLOCK || spec->fs == FILESYSTEM_NONE))
                r = error_field(err, "fill", "what has no filesystem of its own cannot be filled as it is made");
        if (r < 0)
                return r;

        /* A tenant's names are one name space over all pools: the mount points are. */
        entry = registry_find_anywhere(&m->registry, spec->tenant, spec->name);
        if (entry && !policy_may_see_volume(caller, entry)) /* it is in a pool where the tenant has other members */
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", spec->name);
        if (entry) {
                r = judge_existing(entry, spec, if_absent, watcher, err);
                if (r > 0)
                        *ret_existing = entry;
                return r;
        }
        r = registry_check_old_names(&m->registry, spec->tenant, spec->name, NULL, err);
        if (r >= 0)
                r = quota_check_volumes(tenant, 1, err);
        if (r >= 0)
                r = check_space(m, pool, tenant, spec, err);
        if (r >= 0) {
                ahead = watcher->on_fill ? NULL : template_find_ahead(m, pool, spec); /* its row must not be true yet */
                r = operation_new(m, "create", caller, watcher, ahead ? take_run : volume_create_run, &op, err);
        }
        if (r < 0)
                return r;
        r = volume_take_members(&op->job, caller, spec, tenant, err);
        if (r >= 0 && ahead) {
                entry = ahead;
                r = turn_template(m, entry, spec, err);
        } else if (r >= 0)
                r = volume_create_entry(m, pool, spec, &entry, err);
        if (r < 0) {
                operation_free(op);
                return r;
        }
        op->key_fd = TAKE_FD(*key_fd);
        op->is_filled = watcher->on_fill;
        operation_begin_on_volume(op, entry);
        return 0;
}

int volume_create(Manager *m, const Caller *caller, VolumeSpec *spec, int key_fd, bool if_absent,
                  const Watcher *watcher, VolumeEntry **ret_existing, Error *err) {
        int r;

        r = create(m, caller, spec, &key_fd, if_absent, watcher, ret_existing, err);
        volume_spec_done(spec);
        if (key_fd >= 0)
                close(key_fd);
        return r;
}

int volume_create_template(Manager *m, PoolEntry *pool, VolumeSpec *spec, const Watcher *watcher, Error *err) {
        Caller self = { .admin = true };
        VolumeEntry *entry = NULL;
        Operation *op;
        int r;

        r = operation_new(m, NULL, &self, watcher, volume_create_run, &op, err);
        if (r >= 0) {
                r = volume_create_entry(m, pool, spec, &entry, err);
                if (r < 0)
                        operation_free(op);
        }
        volume_spec_done(spec);
        if (r < 0)
                return r;
        op->in_background = true;
        operation_begin_on_volume(op, entry);
        return 0;
}

/* --- after a start -------------------------------------------------------------------------------------- */

static int undo_start(Operation *op, Error *err) {
        error_set(&op->failure, ERROR_FAILED, ECANCELED, "the create was cut short by a restart and has been undone");
        volume_clean_up(op);
        return 0;
}

void volume_undo_create(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (operation_new(m, "undo of a create", &self, NULL, undo_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot undo the create that was cut short");
        else {
                op->again = true;
                operation_begin_on_volume(op, entry);
        }
}
