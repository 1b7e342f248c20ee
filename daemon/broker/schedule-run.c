#include "broker/schedule-run.h"

#include "broker/audit.h"
#include "broker/volume.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <time.h>

/* By identity, since volumes and rules come and go meanwhile. */
struct ScheduleTask {
        ScheduleTask *next;
        ScheduleQueue *queue;
        Manager *manager;
        sd_id128_t pool, volume;
        char *rule;
        sd_id128_t *expired; /* snapshots that go, from the end */
        size_t n_expired;
};

static void task_free(ScheduleTask *task) {
        free(task->rule);
        free(task->expired);
        free(task);
}

static VolumeEntry *task_volume(const ScheduleTask *task, PlanRule **ret_rule) {
        VolumeEntry *entry = registry_find_uuid(&task->manager->registry, task->volume);
        PlanRule *rule = entry ? volume_plan_find(entry->plan, task->rule) : NULL;

        *ret_rule = rule;
        return rule ? entry : NULL;
}

static void task_end(ScheduleTask *task) {
        PoolEntry *pool = registry_find_pool_uuid(&task->manager->registry, task->pool);
        ScheduleQueue *queue = task->queue;

        if (pool)
                pool->schedule_runs = false;
        task_free(task);
        queue->on_end(queue->userdata);
}

/* --- what a rule does not keep --------------------------------------------------------------------------- */

static bool is_kept(const VolumeEntry *snapshot) {
        return snapshot->volume.held || snapshot->n_holds > 0 || snapshot->lane.running;
}

VolumeEntry *schedule_run_expired(const VolumeEntry *volume, const PlanRule *rule, const VolumeEntry *after) {
        unsigned n = 0;

        for (VolumeEntry *s = volume->snapshots; s; s = s->next_snapshot) {
                if (s->volume.state != VOLUME_READY || !streq_ptr(s->volume.rule, rule->run.rule))
                        continue;
                if (after && s == after)
                        after = NULL;
                else if (n >= rule->keep && !after && !is_kept(s))
                        return s;
                n++;
        }
        return NULL;
}

static void expire_next(ScheduleTask *task);

/* One that is in use is left for the next time. */
static void on_expired(Operation *op, const Error *err, void *userdata) {
        if (err && err->kind != ERROR_VOLUME_BUSY && err->kind != ERROR_NO_SUCH_VOLUME)
                log_failure("schedule", err, "cannot remove a snapshot that is no longer kept");
        expire_next(userdata);
}

static void expire_next(ScheduleTask *task) {
        Watcher watcher = { .on_done = on_expired, .userdata = task };
        Caller self = { .admin = true };
        Error err = {};

        while (task->expired && task->n_expired > 0) {
                VolumeEntry *snapshot = registry_find_uuid(&task->manager->registry, task->expired[--task->n_expired]);

                if (!snapshot)
                        continue;
                if (volume_remove(task->manager, &self, snapshot, false, false, &watcher, &err) >= 0)
                        return;
                log_failure(snapshot->volume.spec.name, &err, "cannot remove a snapshot that is no longer kept");
        }
        task_end(task);
}

static void expire(ScheduleTask *task, const VolumeEntry *entry, const PlanRule *rule) {
        task->expired = calloc(entry->n_snapshots + 1, sizeof(*task->expired));
        if (!task->expired)
                log_error(entry->volume.spec.name, "out of memory: no snapshots are removed");
        else
                for (VolumeEntry *s = NULL; (s = schedule_run_expired(entry, rule, s));)
                        task->expired[task->n_expired++] = s->volume.uuid;
        expire_next(task);
}

/* --- the snapshot ------------------------------------------------------------------------------------------ */

static void note_failure(PlanRule *rule, const Error *err) {
        free(rule->run.failure);
        rule->run.failure = err ? strdup(err->text) : NULL;
}

static void settle(ScheduleTask *task, VolumeEntry *entry, PlanRule *rule, const Error *err) {
        note_failure(rule, err);
        rule->run.at_usec = clock_usec(CLOCK_REALTIME);
        plan_ran(task->manager->registry.plan, rule, rule->run.at_usec);
        schedule_run_keep(entry->pool, &rule->run, false);
        expire(task, entry, rule);
}

static void on_made(Operation *op, const Error *err, void *userdata) {
        ScheduleTask *task = userdata;
        PlanRule *rule;
        VolumeEntry *entry = task_volume(task, &rule);

        if (!entry) {
                task_end(task);
                return;
        }
        if (!err)
                rule->run.content = op->content;
        if (!err && op->n_volumes > 0)
                rule->run.snapshot = op->volumes[0];
        settle(task, entry, rule, err);
}

/* A volume that is being made or removed has no snapshots, and that is no failure. */
static bool is_passing(const VolumeEntry *entry) {
        return entry->volume.state == VOLUME_CREATING || entry->volume.state == VOLUME_REMOVING;
}

static void task_begin(ScheduleTask *task) {
        Watcher watcher = { .on_done = on_made, .userdata = task };
        Caller self = { .admin = true };
        PlanRule *rule;
        VolumeEntry *entry = task_volume(task, &rule);
        Error err = {};

        if (!entry || !rule->is_due || is_passing(entry)) { /* it may have been dropped and made anew meanwhile */
                if (entry && rule->is_due)
                        plan_ran(task->manager->registry.plan, rule, clock_usec(CLOCK_REALTIME));
                task_free(task);
                return;
        }
        SnapshotRequest request = { .volume = entry };
        if (registry_find_uuid(&task->manager->registry, rule->run.snapshot)) /* the last one is still there */
                request.unless = rule->run.content;
        entry->pool->schedule_runs = true;
        if (volume_snapshot(task->manager, &self, &request, 1, task->rule, &watcher, &err) < 0) {
                audit_refused_schedule(task->manager->audit, entry, rule->run.rule, &err);
                settle(task, entry, rule, &err);
        }
}

/* One at a time in each pool, so that many that are due at once keep no user waiting for long. */
void schedule_run_pump(ScheduleQueue *queue) {
        for (ScheduleTask **at = &queue->first; *at;) {
                ScheduleTask *task = *at;
                const PoolEntry *pool = registry_find_pool_uuid(&queue->manager->registry, task->pool);

                if (pool && pool->schedule_runs) {
                        at = &task->next;
                        continue;
                }
                *at = task->next;
                if (!*at)
                        queue->last = at;
                task_begin(task);
        }
}

void schedule_run_queue(ScheduleQueue *queue, const PlanRule *rule) {
        const VolumeEntry *entry = registry_find_uuid(&queue->manager->registry, rule->run.volume);
        ScheduleTask *task = calloc(1, sizeof(*task));

        if (task)
                task->rule = strdup(rule->run.rule);
        if (!entry || !task || !task->rule) {
                log_error("schedule", "out of memory: the rule \"%s\" is not followed any more", rule->run.rule);
                free(task);
                return;
        }
        task->queue = queue;
        task->manager = queue->manager;
        task->pool = entry->pool->info.uuid;
        task->volume = rule->run.volume;
        *queue->last = task;
        queue->last = &task->next;
}

void schedule_run_drop(ScheduleQueue *queue) {
        while (queue->first) {
                ScheduleTask *next = queue->first->next;

                task_free(queue->first);
                queue->first = next;
        }
}
