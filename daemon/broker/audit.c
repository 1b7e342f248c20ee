#include "broker/audit.h"

#include "broker/audit-changes.h"
#include "broker/policy.h"

#include <quarry/clock.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* What fails costs a client nothing: of each user so many a minute are told, and then how many more there were. What is
 * done is told always. */
#define MINUTE_USEC (60 * UINT64_C(1000000))
#define FAILURES_MAX 20u
#define USERS_MAX 64u /* more than these share one count */
#define USER_OTHERS ((uid_t) - 1)

typedef struct User {
        uid_t uid;
        uint64_t began; /* its minute: CLOCK_MONOTONIC, microseconds; 0: this place is free */
        unsigned n; /* told, */
        uint64_t suppressed; /* and not told */
        bool admin;
} User;

struct Audit {
        const Registry *registry;
        Events *events;
        sd_event_source *timer;
        User users[USERS_MAX + 1]; /* the last is that of the others */
};

Events *audit_events(Audit *audit) {
        return audit->events;
}

/* --- one event ------------------------------------------------------------------------------------------- */

static void set_uuid(Event *event, EventField field, sd_id128_t uuid) {
        char text[UUID_TEXT_MAX];

        event_set(event, field, uuid_format(uuid, text));
}

static void set_pool(Event *event, const PoolEntry *pool) {
        event_set(event, EVENT_FIELD_POOL, pool->info.name);
        set_uuid(event, EVENT_FIELD_POOL_UUID, pool->info.uuid);
}

/* A snapshot is told with the volume that it is of: who asks for that finds both. */
static void set_volume(Event *event, const VolumeEntry *entry) {
        const VolumeSpec *spec = &entry->volume.spec;
        const char *snapshot = snapshot_name_of(spec->name);
        char name[VOLUME_NAME_MAX + 1];

        buffer_format(name, sizeof(name), "%.*s", (int) strcspn(spec->name, "@"), spec->name);
        event_set(event, EVENT_FIELD_VOLUME, name);
        event_set(event, EVENT_FIELD_SNAPSHOT, snapshot);
        if (entry->origin)
                set_uuid(event, EVENT_FIELD_VOLUME_UUID, entry->origin->volume.uuid);
        set_uuid(event, snapshot ? EVENT_FIELD_SNAPSHOT_UUID : EVENT_FIELD_VOLUME_UUID, entry->volume.uuid);
        event_set(event, EVENT_FIELD_TENANT, spec->tenant);
        set_pool(event, entry->pool);
}

static void set_caller(Event *event, const Caller *caller, const char *role) {
        event_set(event, EVENT_FIELD_ROLE, role);
        if (caller->pid == 0)
                return;
        event_set_number(event, EVENT_FIELD_UID, caller->uid);
        event_set_number(event, EVENT_FIELD_PID, (uint64_t) caller->pid);
}

static void set_result(Event *event, const Error *err) {
        event_set(event, EVENT_FIELD_RESULT, err ? error_kind_name(err->kind) : "ok");
        if (!err)
                return;
        if (err->number > 0)
                event_set_number(event, EVENT_FIELD_ERRNO, (uint64_t) err->number);
        event_set(event, EVENT_FIELD_ERROR, err->text);
        event_set(event, EVENT_FIELD_STEP, err->step);
}

/* Into the journal, and to who follows the events. */
_printf_(5, 6) static void tell(Audit *audit, const TenantEntry *tenant, const char *object, Event *event,
                                const char *format, ...) {
        char *lines[_EVENT_FIELD_MAX + 1] = {};
        char text[1024];
        size_t n = 0;
        va_list ap;

        va_start(ap, format);
        if (vsnprintf(text, sizeof(text), format, ap) < 0)
                *text = 0;
        va_end(ap);
        text_clean(text);
        event->at_usec = clock_usec(CLOCK_REALTIME);
        event->message = strdup(text);
        lines[n] = format_new("MESSAGE_ID=%s", event_class_id(event->class));
        n += lines[n] != NULL;
        for (int i = 0; i < _EVENT_FIELD_MAX; i++)
                if (event->fields[i]) {
                        lines[n] = format_new("%s=%s", event_field_name((EventField) i), event->fields[i]);
                        n += lines[n] != NULL;
                }
        log_write_fields(event->priority, object, text, lines, n);
        for (size_t i = 0; i < n; i++)
                free(lines[i]);
        events_add(audit->events, tenant, event);
}

/* --- what is bounded ------------------------------------------------------------------------------------- */

static void minute_end(Audit *audit, User *user) {
        Event event = { .class = EVENT_SUPPRESSED, .priority = LOG_WARNING };
        uint64_t n = user->suppressed;
        uid_t uid = user->uid;

        *user = (User) {};
        if (n == 0)
                return;
        event_set_number(&event, EVENT_FIELD_SUPPRESSED, n);
        if (uid != USER_OTHERS)
                event_set_number(&event, EVENT_FIELD_UID, uid);
        if (uid == USER_OTHERS)
                tell(audit, NULL, "audit", &event, "%" PRIu64 " more requests of other users failed or were refused",
                     n);
        else
                tell(audit, NULL, "audit", &event, "%" PRIu64 " more requests of uid %u failed or were refused", n,
                     uid);
}

static void timer_set(Audit *audit) {
        (void) sd_event_source_set_time_relative(audit->timer, MINUTE_USEC / 4);
        (void) sd_event_source_set_enabled(audit->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Audit *audit = userdata;
        bool more = false;

        for (User *user = audit->users; user <= &audit->users[USERS_MAX]; user++) {
                if (user->began > 0 && user->began + MINUTE_USEC <= usec)
                        minute_end(audit, user);
                more = more || user->began > 0;
        }
        if (more)
                timer_set(audit);
        return 0;
}

static User *user_get(Audit *audit, uid_t uid) {
        User *free_place = &audit->users[USERS_MAX];

        for (User *user = audit->users; user < &audit->users[USERS_MAX]; user++)
                if (user->began > 0 && user->uid == uid)
                        return user;
                else if (user->began == 0 && free_place == &audit->users[USERS_MAX])
                        free_place = user;
        if (free_place->began == 0) {
                *free_place = (User) { .uid = free_place == &audit->users[USERS_MAX] ? USER_OTHERS : uid,
                                       .began = clock_usec(CLOCK_MONOTONIC) };
                timer_set(audit);
        }
        return free_place;
}

/* Whether this failure is told. */
static bool count_failure(Audit *audit, uid_t uid) {
        User *user = user_get(audit, uid);

        if (user->n < FAILURES_MAX) {
                user->n++;
                return true;
        }
        user->suppressed++;
        return false;
}

/* --- operations ------------------------------------------------------------------------------------------ */

static void set_details(Event *event, const Operation *op) {
        const Volume *source = &op->job.source;
        char changes[AUDIT_CHANGES_MAX];

        event_set(event, EVENT_FIELD_CHANGES, audit_changes(op, changes));
        event_set_number(event, EVENT_FIELD_DURATION, clock_usec(CLOCK_MONOTONIC) - op->began_usec);
        if (!op->volume)
                return;
        if (op->old_name) { /* before it was renamed */
                event_set(event, EVENT_FIELD_VOLUME, op->old_name);
                event_set(event, EVENT_FIELD_NEW_NAME, op->name);
        }
        if (source->spec.role == ROLE_SNAPSHOT && !sd_id128_is_null(source->uuid))
                event_set(event, EVENT_FIELD_SOURCE, VOLUME_REFERENCE(&source->spec));
        event_set_number(event, EVENT_FIELD_SIZE, op->volume->volume.spec.size);
}

static void tell_operation(const Operation *op, const char *object, Event *event, const Error *err) {
        Audit *audit = op->manager->audit;
        const char *owner = event->fields[EVENT_FIELD_TENANT];
        const TenantEntry *tenant = op->pool && owner ? registry_find_tenant(op->pool, owner) : NULL;
        char who[32] = "by quarryd";

        if (op->caller.pid != 0)
                buffer_format(who, sizeof(who), "for uid %u", op->caller.uid);
        event->class = err ? EVENT_FAILED : EVENT_CHANGED;
        event->priority = err ? LOG_NOTICE : LOG_INFO;
        event_set(event, EVENT_FIELD_VERB, op->verb);
        set_caller(event, &op->caller, op->caller.pid == 0 ? "quarryd" : op->caller.admin ? "admin" : "member");
        set_result(event, err);
        set_details(event, op);
        if (err && op->rule)
                tell(audit, tenant, object, event, "no snapshot by the rule \"%s\": %s", op->rule, err->text);
        else if (err)
                tell(audit, tenant, object, event, "%s %s failed: %s%s%s", op->verb, who, err->text,
                     isempty(err->step) ? "" : " while ", err->step);
        else
                tell(audit, tenant, object, event, "%s %s done", op->verb, who);
}

static void tell_of_volume(const Operation *op, const VolumeEntry *volume, const Error *err) {
        Event event = {};

        set_volume(&event, volume);
        tell_operation(op, VOLUME_REFERENCE(&volume->volume.spec), &event, err);
}

/* Of several volumes: an event for each snapshot that was made, or for each volume of which none could be. */
static void tell_of_several(const Operation *op, const Error *err) {
        const sd_id128_t *list = err ? op->origins : op->volumes;
        size_t n = err ? op->n_origins : op->n_volumes;

        for (size_t i = 0; i < n; i++) {
                const VolumeEntry *volume = registry_find_uuid(&op->manager->registry, list[i]);

                if (volume)
                        tell_of_volume(op, volume, err);
        }
}

void audit_operation(const Operation *op, const Error *err) {
        Audit *audit = op->manager->audit;
        const char *pool = op->pool ? op->pool->info.name : op->job.pool_spec.name;
        Event event = {};

        if (!op->verb || (err && !count_failure(audit, op->caller.pid == 0 ? USER_OTHERS - 1 : op->caller.uid)))
                return;
        if (op->volume)
                tell_of_volume(op, op->volume, err);
        else if (op->n_origins > 0)
                tell_of_several(op, err);
        else {
                if (op->pool)
                        set_pool(&event, op->pool);
                else
                        event_set(&event, EVENT_FIELD_POOL, pool);
                event_set(&event, EVENT_FIELD_TENANT, op->name);
                tell_operation(op, op->name ?: isempty(pool) ? "quarryd" : pool, &event, err);
        }
}

/* --- refusals -------------------------------------------------------------------------------------------- */

static bool is_refusal(ErrorKind kind) {
        return kind == ERROR_PERMISSION_DENIED || kind == ERROR_QUOTA_EXCEEDED || kind == ERROR_NO_SPACE ||
               kind == ERROR_OVERLOADED;
}

typedef struct Membership {
        const Caller *caller;
        const TenantEntry *tenant;
        unsigned n;
} Membership;

static int on_tenant(TenantEntry *entry, void *userdata) {
        Membership *membership = userdata;

        if (policy_is_member(membership->caller, entry)) {
                membership->tenant = entry;
                membership->n++;
        }
        return membership->n > 1;
}

/* Whose members see it: nothing is told to a tenant by somebody else's attempt. */
static const TenantEntry *tenant_of(const Audit *audit, const Caller *caller, const VolumeEntry *entry) {
        Membership membership = { .caller = caller };

        if (entry)
                return entry->tenant;
        for (PoolEntry *pool = audit->registry->pools; pool && !caller->admin; pool = pool->next)
                (void) registry_each_tenant(pool, on_tenant, &membership);
        return membership.n == 1 ? membership.tenant : NULL;
}

void audit_refusal(Audit *audit, const Caller *caller, const char *verb, const VolumeEntry *entry, const Error *err) {
        Event event = { .class = EVENT_REFUSED, .priority = LOG_NOTICE };

        const TenantEntry *tenant;

        if (!is_refusal(err->kind) || !count_failure(audit, caller->uid))
                return;
        tenant = tenant_of(audit, caller, entry);
        event_set(&event, EVENT_FIELD_VERB, verb);
        if (entry)
                set_volume(&event, entry);
        else if (tenant)
                event_set(&event, EVENT_FIELD_TENANT, tenant->tenant.name);
        set_caller(&event, caller, caller->admin ? "admin" : tenant ? "member" : "other");
        set_result(&event, err);
        tell(audit, tenant, entry ? VOLUME_REFERENCE(&entry->volume.spec) : "quarryd", &event,
             "%s for uid %u refused: %s", verb, caller->uid, err->text);
}

void audit_refused_schedule(Audit *audit, const VolumeEntry *entry, const char *rule, const Error *err) {
        Event event = { .class = EVENT_FAILED, .priority = LOG_NOTICE };

        event_set(&event, EVENT_FIELD_VERB, "snapshot by schedule");
        set_volume(&event, entry);
        event_set(&event, EVENT_FIELD_ROLE, "quarryd");
        set_result(&event, err);
        tell(audit, entry->tenant, VOLUME_REFERENCE(&entry->volume.spec), &event, "no snapshot by the rule \"%s\": %s",
             rule, err->text);
}

/* --- pools and tenants ----------------------------------------------------------------------------------- */

_printf_(6, 0) static void tell_own(Audit *audit, const PoolEntry *pool, const TenantEntry *tenant, EventClass class,
                                    int priority, const char *format, va_list ap) {
        Event event = { .class = class, .priority = priority };
        char text[1024];

        if (vsnprintf(text, sizeof(text), format, ap) < 0)
                *text = 0;
        event_set(&event, EVENT_FIELD_ROLE, "quarryd");
        set_pool(&event, pool);
        if (tenant)
                event_set(&event, EVENT_FIELD_TENANT, tenant->tenant.name);
        tell(audit, tenant, tenant ? tenant->tenant.name : pool->info.name, &event, "%s", text);
}

void audit_pool(Audit *audit, const PoolEntry *pool, EventClass class, int priority, const char *format, ...) {
        va_list ap;

        if (!audit)
                return;
        va_start(ap, format);
        tell_own(audit, pool, NULL, class, priority, format, ap);
        va_end(ap);
}

void audit_tenant(Audit *audit, const TenantEntry *tenant, EventClass class, int priority, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        tell_own(audit, tenant->pool, tenant, class, priority, format, ap);
        va_end(ap);
}

/* --- set-up ---------------------------------------------------------------------------------------------- */

int audit_new(sd_event *event, const Registry *registry, Audit **ret, Error *err) {
        Audit *audit = calloc(1, sizeof(*audit));
        int r;

        if (!audit)
                return error_oom(err);
        audit->registry = registry;
        r = events_new(registry, &audit->events, err);
        if (r >= 0) {
                r = sd_event_add_time(event, &audit->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer, audit);
                if (r >= 0)
                        r = sd_event_source_set_enabled(audit->timer, SD_EVENT_OFF);
                if (r < 0)
                        (void) error_errno(err, r, "cannot set a timer");
        }
        if (r < 0) {
                audit_free(audit);
                return r;
        }
        *ret = audit;
        return 0;
}

void audit_free(Audit *audit) {
        if (!audit)
                return;
        for (User *user = audit->users; user <= &audit->users[USERS_MAX]; user++)
                minute_end(audit, user);
        sd_event_source_disable_unref(audit->timer);
        events_free(audit->events);
        free(audit);
}
