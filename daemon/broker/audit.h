#pragma once

/* Says what happened: one entry in the journal, and one event for who follows them. Whatever a client sent is in it as
 * text only. Secrets are not: an operation has no passphrase, only a descriptor. */

#include "broker/events.h"
#include "broker/operation.h"

typedef struct Audit Audit;

int audit_new(sd_event *event, const Registry *registry, Audit **ret, Error *err);
void audit_free(Audit *audit);

Events *audit_events(Audit *audit);

/* An operation came to its end. One that only looked is not told, and of those of one user that fail only so many a
 * minute. */
void audit_operation(const Operation *operation, const Error *err);

/* What a user asked for was not begun. Told if a right or a limit is against it, with the same bound. entry: what it
 * was about, or NULL. */
void audit_refusal(Audit *audit, const Caller *caller, const char *verb, const VolumeEntry *entry, const Error *err);

/* The same of a snapshot that is due. */
void audit_refused_schedule(Audit *audit, const VolumeEntry *entry, const char *rule, const Error *err);

/* What quarryd sees of a pool. audit may be NULL: nobody is told. */
void audit_pool(Audit *audit, const PoolEntry *pool, EventClass class, int priority, const char *format, ...)
        _printf_(5, 6);
/* What quarryd sees of a tenant, for its members, too. */
void audit_tenant(Audit *audit, const TenantEntry *tenant, EventClass class, int priority, const char *format, ...)
        _printf_(5, 6);
