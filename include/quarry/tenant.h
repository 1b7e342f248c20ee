#pragma once

/* A tenant: who owns a name space of volumes in a pool, and how much of it there may be. Tenant "default" is root's,
 * has no row and no limits. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/volume.h>

/* THE table of limits: enum, member of the JSON object, what is said behind an amount, option of the command line. */
#define TENANT_LIMITS(X)                                             \
        X(VOLUMES, maxVolumes, "volumes", "--max-volumes N")         \
        X(SNAPSHOTS, maxSnapshots, "snapshots", "--max-snapshots N") \
        X(SIZE, maxSizeBytes, "in volumes", "--max-size SIZE")       \
        X(USED, maxUsedBytes, "in use", "--max-used SIZE")           \
        X(TMPFS, maxTmpfsBytes, "in tmpfs volumes", "--max-tmpfs SIZE")

typedef enum TenantLimit {
#define TENANT_LIMIT_ENUM(limit, member, word, option) TENANT_LIMIT_##limit,
        TENANT_LIMITS(TENANT_LIMIT_ENUM)
#undef TENANT_LIMIT_ENUM
                _TENANT_LIMIT_MAX,
} TenantLimit;

#define TENANT_UNLIMITED UINT64_MAX
#define TENANT_MEMBERS_MAX 256u /* users, and as many groups */

typedef struct IdSet {
        uint32_t *list; /* ascending, each once */
        size_t n;
} IdSet;

typedef struct Tenant {
        char name[TENANT_NAME_MAX + 1]; /* first: trees compare by it */
        uint64_t created_usec;
        IdSet users, groups; /* uids and gids whose processes may act in it */
        uint64_t limits[_TENANT_LIMIT_MAX]; /* number or bytes; TENANT_UNLIMITED */
        char *schedule;          /* of its volumes that have none of their own; NULL: as the pool has it */
        uint64_t schedule_since; /* when that was set: CLOCK_REALTIME, microseconds */
} Tenant;

void tenant_done(Tenant *tenant);

/* Without members and limits. */
void tenant_init(const char *name, Tenant *ret);
int tenant_copy(const Tenant *from, Tenant *ret); /* -ENOMEM */

/* "maxVolumes" and back; -EINVAL. */
const char *tenant_limit_to_string(TenantLimit limit);
int tenant_limit_from_string(const char *s);

bool id_set_has(const IdSet *set, uint32_t id);
/* -ENOMEM; -E2BIG: it has TENANT_MEMBERS_MAX already. */
int id_set_add(IdSet *set, uint32_t id);
void id_set_remove(IdSet *set, uint32_t id);

/* Who asks to change a tenant, and how. */
typedef struct TenantUpdate {
        IdSet add_users, remove_users, add_groups, remove_groups;
        bool has_limit[_TENANT_LIMIT_MAX];
        uint64_t limits[_TENANT_LIMIT_MAX];
        const char *schedule; /* borrowed; NULL: as it is; SCHEDULE_DEFAULT; SCHEDULE_NONE */
        bool if_absent;       /* of a new one: that it is there already, just so, is a success */
} TenantUpdate;

void tenant_update_done(TenantUpdate *update);

/* The first member, as in JSON, in which they differ beside name and age; NULL: none. */
const char *tenant_difference(const Tenant *a, const Tenant *b);

/* All of the update but the schedule. ERROR_BAD_REQUEST for too many members, or for an id that can be nobody's. */
int tenant_apply(Tenant *tenant, const TenantUpdate *update, Error *err);
