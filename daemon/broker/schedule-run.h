#pragma once

/* A rule that is due: makes its snapshot, and lets the oldest go. */

#include "broker/operation.h"
#include "broker/schedule-plan.h"

typedef struct ScheduleTask ScheduleTask;

typedef struct ScheduleQueue {
        Manager *manager;
        ScheduleTask *first, **last;
        void (*on_end)(void *userdata); /* of a task: schedule_run_pump() may have the next begin */
        void *userdata;
} ScheduleQueue;

/* Behind those that are due already; a rule that is gone at its turn is left out. */
void schedule_run_queue(ScheduleQueue *queue, const PlanRule *rule);
void schedule_run_pump(ScheduleQueue *queue);
void schedule_run_drop(ScheduleQueue *queue); /* what waits goes */

/* Writes what is kept of a rule, if its pool can be written to. */
void schedule_run_keep(PoolEntry *pool, const ScheduleRun *run, bool goes);

/* The first, from newest to oldest, that a rule does not keep, behind "after" (NULL: from the start): one that is held
 * or in use, or with which something is being done, is left out. */
VolumeEntry *schedule_run_expired(const VolumeEntry *volume, const PlanRule *rule, const VolumeEntry *after);
