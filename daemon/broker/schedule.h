#pragma once

/* Snapshots by schedule: looks when rules are due, makes the snapshots, one at a time in each pool, and lets the oldest
 * of a rule go. */

#include "broker/operation.h"

int scheduler_new(Manager *manager, Scheduler **ret, Error *err);
/* When the registry has no volumes any more. */
void scheduler_free(Scheduler *scheduler);

/* While a pool's catalog is opened: the schedule of its volumes, and behind them what is kept of their rules. */
void schedule_read_pool(PoolEntry *pool);
void schedule_read_runs(Manager *manager, PoolEntry *pool);

/* Whether systemd understands a schedule: err is NULL if so. Calls back at once if that is known already. */
typedef void (*ScheduleChecked)(const Error *err, void *userdata);
int schedule_check(Manager *manager, const Schedule *schedule, ScheduleChecked on_checked, void *userdata, Error *err);

/* A volume was given another schedule: plans it anew, and keeps that. */
void schedule_volume_changed(Manager *manager, VolumeEntry *entry);
/* The same of all volumes of a pool that have none of their own. */
void schedule_pool_changed(Manager *manager, PoolEntry *pool);
/* And of a tenant's. */
void schedule_tenant_changed(Manager *manager, TenantEntry *tenant);

#define SETTING_SCHEDULE "snapshot-schedule"
#define SETTING_SCHEDULE_SINCE "snapshot-schedule-since"
