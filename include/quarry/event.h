#pragma once

/* What happened to volumes, pools and tenants: an entry in the journal, and the same as JSON. What there is of it lies
 * in the two tables here. */

#include <quarry/base.h>
#include <quarry/volume.h>

#include <systemd/sd-json.h>

/* Class, its name in JSON, MESSAGE_ID in the journal; made with systemd-id128(1), and never changed. */
#define EVENT_CLASSES(X)                                                              \
        /* something was changed, by a user or by quarryd */                          \
        X(CHANGED, changed, "f4dd14fbc1e9440fa53f0dc22995d6fa")                       \
        /* it was tried, and failed */                                                \
        X(FAILED, failed, "c6877a7077914a619d116849b65b967a")                         \
        /* it was not tried: a right or a limit is against it */                      \
        X(REFUSED, refused, "362088502e0b484ca7d07a2845133923")                       \
        /* so many of one user that failed or were refused are not told one by one */ \
        X(SUPPRESSED, suppressed, "cd83ab6a6ef04fdfb176c677ad4848c1")                 \
        /* how full a pool is, and what is done about it */                           \
        X(SPACE, space, "0b5e3fa9e0034c16874b5e121723bff5")                           \
        /* a pool came, went, or is not as it should be */                            \
        X(POOL, pool, "072d9a792fcb422cbb32c5702baeb29b")

typedef enum EventClass {
#define EVENT_ENUM(class, name, id) EVENT_##class,
        EVENT_CLASSES(EVENT_ENUM)
#undef EVENT_ENUM
                _EVENT_CLASS_MAX,
} EventClass;

/* Field, its name in the journal behind QUARRY_, its member in JSON, whether it is a number. */
#define EVENT_FIELDS(X)                                                                                  \
        X(VERB, VERB, verb, false)                                                                       \
        X(POOL, POOL, pool, false)                                                                       \
        X(POOL_UUID, POOL_UUID, poolUuid, false)                                                         \
        X(TENANT, TENANT, tenant, false)                                                                 \
        X(VOLUME, VOLUME, volume, false) /* without a snapshot */                                        \
        X(VOLUME_UUID, VOLUME_UUID, volumeUuid, false)                                                   \
        X(SNAPSHOT, SNAPSHOT, snapshot, false)                                                           \
        X(SNAPSHOT_UUID, SNAPSHOT_UUID, snapshotUuid, false)                                             \
        X(NEW_NAME, NEW_NAME, newName, false) /* of a volume that is renamed */                          \
        X(SOURCE, SOURCE, source, false)      /* the snapshot of which a volume was made */                   \
        X(CHANGES, CHANGES, changes, false)   /* by an update: the options of the command */               \
        X(SIZE, SIZE_BYTES, sizeBytes, true)                                                             \
        X(ROLE, CALLER_ROLE, callerRole, false) /* "admin", "member", "other", or "quarryd" by itself */ \
        X(UID, CALLER_UID, callerUid, true)                                                              \
        X(PID, CALLER_PID, callerPid, true)                                                              \
        X(RESULT, RESULT, result, false) /* "ok", or the kind of the error */                            \
        X(ERRNO, ERRNO, errorNumber, true)                                                               \
        X(ERROR, ERROR, error, false)                                                                    \
        X(STEP, STEP, step, false)                                                                       \
        X(DURATION, DURATION_USEC, durationUsec, true)                                                   \
        X(SUPPRESSED, SUPPRESSED, suppressed, true)

typedef enum EventField {
#define EVENT_ENUM(field, journal, member, number) EVENT_FIELD_##field,
        EVENT_FIELDS(EVENT_ENUM)
#undef EVENT_ENUM
                _EVENT_FIELD_MAX,
} EventField;

typedef struct Event {
        EventClass class;
        int priority;     /* of syslog(3) */
        uint64_t at_usec; /* CLOCK_REALTIME */
        char *message;
        char *fields[_EVENT_FIELD_MAX]; /* numbers in decimal; NULL: has none */
        bool cut;                       /* memory ran out over it */
} Event;

void event_done(Event *event);
/* What is no text that JSON and a line can carry is replaced. NULL and "" set nothing. */
void event_set(Event *event, EventField field, const char *text);
void event_set_number(Event *event, EventField field, uint64_t number);

const char *event_class_id(EventClass class);    /* 32 hexadecimal digits */
int event_class_from_id(const char *message_id); /* -EINVAL */
const char *event_field_name(EventField field);  /* in the journal */

/* {"type","timeUsec","message", ...}, and the fields that it has */
int event_to_json(const Event *event, sd_json_variant **ret);

/* Which events are asked for: what is empty is not looked at. */
typedef struct EventFilter {
        char pool[POOL_NAME_MAX + 1], tenant[TENANT_NAME_MAX + 1];
        Reference volume; /* by the names that it had then, */
        char uuid[UUID_TEXT_MAX]; /* or by its UUID */
} EventFilter;

/* [POOL:][TENANT/]NAME[@SNAPSHOT], or the UUID of a volume or snapshot. Whose name space a name without a tenant is in
 * is left to the caller. */
int event_filter_parse(const char *reference, const char *field, EventFilter *ret, Error *err);
bool event_filter_matches(const EventFilter *filter, const Event *event);
