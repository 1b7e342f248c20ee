#include "broker/operation.h"

#include "broker/audit.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <string.h>

void operation_free(Operation *op) {
        *op->all_at = op->all_next;
        if (op->all_next)
                op->all_next->all_at = op->all_at;
        while (op->watchers) {
                Watcher *next = op->watchers->next;
                free(op->watchers);
                op->watchers = next;
        }
        job_done(&op->job);
        volume_update_done(&op->update);
        free(op->known);
        free(op->old_name);
        free(op->name);
        if (op->key_fd >= 0)
                close(op->key_fd);
        if (op->mount_fd >= 0)
                close(op->mount_fd);
        closep(&op->second_fd);
        sd_event_source_disable_unref(op->transfer);
        closep(&op->transfer_fd);
        free(op->path);
        free(op->mount_id);
        free(op->users);
        free(op->damage);
        free(op->kept);
        finding_list_done(&op->findings);
        free(op->pools);
        free(op->volumes);
        free(op->origins);
        thin_delta_done(&op->delta);
        free(op->host_keys);
        free(op->rule);
        free(op->schedule);
        tenant_done(&op->tenant);
        tenant_update_done(&op->tenant_update);
        free(op);
}

int operation_add_watcher(Operation *op, const Watcher *watcher, Error *err) {
        Watcher *w = malloc(sizeof(*w));

        if (!w)
                return error_oom(err);
        *w = *watcher;
        w->next = op->watchers;
        op->watchers = w;
        return 0;
}

int operation_new(Manager *m, const char *verb, const Caller *caller, const Watcher *watcher,
                  int (*start)(Operation *op, Error *err), Operation **ret, Error *err) {
        Operation *op = calloc(1, sizeof(*op));
        int r;

        if (!op) {
                (void) error_oom(err);
                return -ENOMEM;
        }
        *op = (Operation) { .manager = m,
                            .verb = verb,
                            .began_usec = clock_usec(CLOCK_MONOTONIC),
                            .caller = *caller,
                            .start = start,
                            .key_fd = -EBADF,
                            .second_fd = -EBADF,
                            .transfer_fd = -EBADF,
                            .mount_fd = -EBADF,
                            .all_next = m->operations,
                            .all_at = &m->operations };
        if (m->operations)
                m->operations->all_at = &op->all_next;
        m->operations = op;
        op->caller.groups = NULL;
        op->caller.n_groups = 0;
        if (watcher) {
                r = operation_add_watcher(op, watcher, err);
                if (r < 0) {
                        operation_free(op);
                        return r;
                }
        }
        *ret = op;
        return 0;
}

static void tell(Operation *op, const Error *err) {
        while (op->watchers) {
                Watcher w = *op->watchers;

                free(op->watchers);
                op->watchers = w.next;
                w.on_done(op, err, w.userdata);
        }
}

static void end(Operation *op, const Error *err) {
        if (err && !op->verb)
                log_debug(NULL, "a look failed: %s", err->text);
        audit_operation(op, err);
        tell(op, err);
}

/* Only now, since a volume that is waited for is not yet worked on. */
static void start(Operation *op) {
        Error err = {};

        if (op->pool && op->pool->operation != op) {
                op->pool->n_operations++;
                op->pool->n_background += op->in_background;
        }
        if (op->start(op, &err) < 0)
                operation_finish(op, &err);
}

void operation_begin(Operation *op, Lane *lane) {
        op->lane = lane;
        if (lane && lane->running) {
                Operation **at = &lane->waiting;

                while (*at && !op->is_next)
                        at = &(*at)->next;
                op->next = *at;
                *at = op;
                return;
        }
        if (lane)
                lane->running = op;
        start(op);
}

int operation_check_not_received(const VolumeEntry *volume, Error *err) {
        const Operation *running = volume->lane.running;

        if (!running || running->transfer_fd < 0)
                return 0;
        error_set(err, ERROR_VOLUME_BUSY, EBUSY, "%s is being %s", volume->volume.spec.name,
                  running->is_filled ? "filled" : "received");
        error_hint(err, "it goes when its quarry %s is ended", running->verb);
        return error_code(err);
}

void operation_begin_on_volume(Operation *op, VolumeEntry *volume) {
        Error err = {};

        op->volume = volume;
        op->pool = volume->pool;
        if (operation_check_not_received(volume, &err) < 0) {
                end(op, &err);
                operation_free(op);
                return;
        }
        operation_begin(op, &volume->lane);
}

void operation_begin_with_pool(Operation *op, PoolEntry *pool) {
        op->pool = pool;
        operation_begin(op, &pool->lane);
}

int operation_begin_on_pool(Operation *op, PoolEntry *pool, Error *err) {
        if (pool->operation || pool->n_operations > pool->n_background) {
                operation_free(op);
                return error_set(err, ERROR_POOL_BUSY, EBUSY, "jobs are running on pool %s", pool->info.name);
        }
        op->pool = pool;
        pool->operation = op;
        if (pool->n_operations == 0)
                start(op);
        return 0;
}

int operation_set_source(Operation *op, const VolumeEntry *source, Error *err) {
        volume_done(&op->job.source);
        op->job.source = (Volume) { .uuid = source->volume.uuid, .thin_id = source->volume.thin_id };
        volume_set_host_key(&op->job.source, source->volume.host_key);
        return volume_spec_copy(&source->volume.spec, &op->job.source.spec) < 0 ? error_oom(err) : 0;
}

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        Operation *op = userdata;

        for (Watcher *w = op->watchers; w; w = w->next)
                if (w->on_progress)
                        w->on_progress(step, position, total, w->userdata);
}

/* Each step would be a message: nobody pays for those that nobody reads. Who joins later sees those of the next job. */
JobProgress operation_progress(const Operation *op) {
        for (const Watcher *w = op->watchers; w; w = w->next)
                if (w->on_progress)
                        return on_progress;
        return NULL;
}

static QueueOwner owner_of(const Operation *op) {
        const TenantEntry *tenant = op->caller.admin || !op->volume ? NULL : op->volume->tenant;

        return (QueueOwner) { .uid = op->caller.uid, .tenant = tenant ? tenant->tenant.created_usec : 0 };
}

int operation_run_job(Operation *op, JobVerb verb, JobDone on_done, Error *err) {
        QueueOwner owner = owner_of(op);

        op->job.verb = verb;
        if (op->pool)
                op->job.pool = op->pool->info.uuid;
        if (op->volume && sd_id128_is_null(op->job.volume.uuid)) {
                op->job.volume.uuid = op->volume->volume.uuid;
                op->job.volume.thin_id = op->volume->volume.thin_id;
                volume_set_host_key(&op->job.volume, op->volume->volume.host_key);
                if (volume_spec_copy(&op->volume->volume.spec, &op->job.volume.spec) < 0)
                        return error_oom(err);
        }
        if (op->volume) {
                op->job.volume.has_spare = op->volume->volume.has_spare;
                op->job.volume.spare_thin_id = op->volume->volume.spare_thin_id;
                if (op->volume->volume.pending_size > 0)
                        op->job.volume.pending_size = op->volume->volume.pending_size;
        }
        op->job.repeated = op->deaths > 0;
        return queue_submit(op->manager->queue, &owner, &op->job, op->key_fd, op->second_fd, operation_progress(op),
                            on_done, op, err);
}

void operation_forget_job(Operation *op) {
        volume_done(&op->job.volume);
        op->job.volume = (Volume) {};
}

bool operation_thin_id_is_anothers(const Operation *op, const Error *err) {
        return err->kind == ERROR_FAILED && err->number == EEXIST && !err->undo_failed && op->deaths == 0;
}

bool operation_outlives_worker(Operation *op, const Error *err) {
        return err && err->kind == ERROR_WORKER_DIED && ++op->deaths < WORKER_DEATHS_MAX;
}

void operation_let_go(Operation *op, const Error *err) {
        for (; op; op = op->lane ? (op == op->lane->running ? op->lane->waiting : op->next) : NULL) {
                Operation *told = op->leader ?: op;

                if (told->watchers)
                        tell(told, err);
        }
}

static int guard_start(Operation *guard, Error *err) {
        Operation *op = guard->leader;

        guard->next_guard = op->guards;
        op->guards = guard;
        op->then(op, NULL);
        return 0;
}

/* A guard ends before its turn when the volume goes. */
static void on_guard_done(Operation *guard, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                op->then(op, err);
}

void operation_guard(Operation *op, VolumeEntry *volume, void (*then)(Operation *op, const Error *err)) {
        Watcher watcher = { .on_done = on_guard_done, .userdata = op };
        Operation *guard;
        Error err = {};

        op->then = then;
        if (operation_new(op->manager, NULL, &op->caller, &watcher, guard_start, &guard, &err) < 0) {
                then(op, &err);
                return;
        }
        guard->leader = op;
        operation_begin_on_volume(guard, volume);
}

void operation_unguard(Operation *op) {
        while (op->guards) {
                Operation *guard = op->guards;

                op->guards = guard->next_guard;
                operation_finish(guard, NULL);
        }
}

void operation_remove_guarded(Operation *op, VolumeEntry *volume) {
        for (Operation **at = &op->guards; *at; at = &(*at)->next_guard) {
                Operation *guard = *at;

                if (guard->volume != volume)
                        continue;
                *at = guard->next_guard;
                operation_finish_removed(guard, NULL);
                return;
        }
        registry_remove_volume(&op->manager->registry, volume);
}

static void release(Operation *op) {
        if (op->lane)
                op->lane->running = NULL;
        if (op->pool && op->pool->operation == op)
                op->pool->operation = NULL;
        else if (op->pool) {
                op->pool->n_operations--;
                op->pool->n_background -= op->in_background;
        }
}

/* What waits for the pool to be left to it begins with the end of the last in the background. */
static void pool_next(PoolEntry *pool, const Operation *ended) {
        if (pool && ended->in_background && pool->operation && pool->n_operations == 0)
                start(pool->operation);
}

/* The one that waited longest is next. */
static void lane_next(Lane *lane) {
        Operation *op = lane->waiting;

        if (!op || lane->running)
                return;
        lane->waiting = op->next;
        op->next = NULL;
        lane->running = op;
        start(op);
}

void operation_cancel(Operation *op) {
        Operation **at = &op->lane->waiting;

        while (*at && *at != op)
                at = &(*at)->next;
        if (*at)
                *at = op->next;
        operation_free(op);
}

void operation_finish(Operation *op, const Error *err) {
        Lane *lane = op->lane;

        operation_unguard(op);
        release(op);
        end(op, err);
        if (lane)
                lane_next(lane);
        pool_next(op->pool, op);
        operation_free(op);
}

/* Who is told may begin something on the volume, which is still known: that waits here as well. */
static void finish_gone(Operation *op, const Error *err, bool leaves_registry) {
        VolumeEntry *volume = op->volume;
        Operation *waiting;

        operation_unguard(op);
        end(op, err);
        while ((waiting = volume->lane.waiting)) {
                Error gone = {};

                volume->lane.waiting = waiting->next;
                error_set(&gone, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no volume %s any more",
                          volume->volume.spec.name);
                waiting->volume = NULL;
                waiting->pool = NULL;
                end(waiting, &gone);
                operation_free(waiting);
        }
        release(op);
        if (leaves_registry)
                registry_remove_volume(&op->manager->registry, volume);
        pool_next(op->pool, op);
        operation_free(op);
}

void operation_finish_gone(Operation *op, const Error *err) {
        finish_gone(op, err, false);
}

void operation_finish_removed(Operation *op, const Error *err) {
        finish_gone(op, err, true);
}

void operation_finish_pool_removed(Operation *op, const Error *err) {
        Lane *lane = op->lane;

        end(op, err);
        release(op);
        registry_remove_pool(&op->manager->registry, op->pool);
        if (lane)
                lane_next(lane);
        operation_free(op);
}
