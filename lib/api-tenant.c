/* io.quarry.Tenant: who owns volumes, and how many. */

#include <quarry/api.h>

#include "api-errors.h"

#define LIMITS(define)                                                                                               \
        SD_VARLINK_FIELD_COMMENT("Most volumes that it may own"),                                                    \
                define(maxVolumes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),                                             \
                SD_VARLINK_FIELD_COMMENT("Most snapshots of them"),                                                  \
                define(maxSnapshots, SD_VARLINK_INT, SD_VARLINK_NULLABLE),                                           \
                SD_VARLINK_FIELD_COMMENT("Most bytes in the sizes of its volumes, written to or not"),               \
                define(maxSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),                                           \
                SD_VARLINK_FIELD_COMMENT("Most bytes of the pool that its volumes and snapshots may take together, " \
                                         "what these share once. It is counted in the background: above it nothing " \
                                         "is made for the tenant, and its filesystems get no new space unless "      \
                                         "UsedLimitAction= of quarry.conf(5) says otherwise."),                      \
                define(maxUsedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),                                           \
                SD_VARLINK_FIELD_COMMENT("Most bytes in the sizes of its tmpfs volumes, which are in memory"),       \
                define(maxTmpfsBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE)

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Tenant,
        SD_VARLINK_DEFINE_FIELD(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Where its volumes lie. One that has volumes in several pools is there for each, with "
                                 "members and limits of its own."),
        SD_VARLINK_DEFINE_FIELD(pool, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("uids and gids whose processes may work with its volumes"),
        SD_VARLINK_DEFINE_FIELD(users, SD_VARLINK_INT, SD_VARLINK_ARRAY),
        SD_VARLINK_DEFINE_FIELD(groups, SD_VARLINK_INT, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("What it has of what can be limited"),
        SD_VARLINK_DEFINE_FIELD(volumes, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(snapshots, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(sizeBytes, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("As it was so long ago; of a tenant that has such a limit, once it was counted"),
        SD_VARLINK_DEFINE_FIELD(usedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(usedAgeSeconds, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("True while its filesystems get no new space because it uses more than it may"),
        SD_VARLINK_DEFINE_FIELD(stopped, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of its tmpfs volumes, which do not count above"),
        SD_VARLINK_DEFINE_FIELD(tmpfsBytes, SD_VARLINK_INT, 0),
        LIMITS(SD_VARLINK_DEFINE_FIELD),
        SD_VARLINK_FIELD_COMMENT("When snapshots are made of its volumes that have no schedule of their own; missing: "
                                 "as the pool has it"),
        SD_VARLINK_DEFINE_FIELD(snapshotSchedule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("RFC 3339, UTC"),
        SD_VARLINK_DEFINE_FIELD(createdAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

#define NAME_INPUT                                                                                                 \
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0),                                                       \
                SD_VARLINK_FIELD_COMMENT("Missing: the only pool that it is in; one that is in several needs it"), \
                SD_VARLINK_DEFINE_INPUT(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE)
#define SCHEDULE_INPUT                                                                                   \
        SD_VARLINK_FIELD_COMMENT(                                                                        \
                "Such as \"hourly keep 24, daily keep 7\"; \"none\": no snapshots; \"default\": as the " \
                "pool has it. See Update of io.quarry.Volume."),                                         \
                SD_VARLINK_DEFINE_INPUT(snapshotSchedule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE)
#define TENANT_OUTPUT SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(tenant, Tenant, 0)

static SD_VARLINK_DEFINE_METHOD(
        Create,
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Missing: the default one"),
        SD_VARLINK_DEFINE_INPUT(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(users, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(groups, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        LIMITS(SD_VARLINK_DEFINE_INPUT),
        SCHEDULE_INPUT,
        SD_VARLINK_FIELD_COMMENT("Success if a tenant of this name with the same members, limits and schedule exists"),
        SD_VARLINK_DEFINE_INPUT(ifAbsent, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        TENANT_OUTPUT);

static SD_VARLINK_DEFINE_METHOD(List, SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(tenants, Tenant, SD_VARLINK_ARRAY));

static SD_VARLINK_DEFINE_METHOD(Inspect, NAME_INPUT, TENANT_OUTPUT);

static SD_VARLINK_DEFINE_METHOD(
        Update,
        NAME_INPUT,
        SD_VARLINK_DEFINE_INPUT(addUsers, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(removeUsers, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(addGroups, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(removeGroups, SD_VARLINK_INT, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        LIMITS(SD_VARLINK_DEFINE_INPUT),
        SD_VARLINK_FIELD_COMMENT("Names of limits that it is to have no longer"),
        SD_VARLINK_DEFINE_INPUT(removeLimits, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SCHEDULE_INPUT,
        TENANT_OUTPUT);

static SD_VARLINK_DEFINE_METHOD(Remove, NAME_INPUT);

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Tenant,
        API_TENANT,
        SD_VARLINK_INTERFACE_COMMENT("Tenants: who owns a name space of volumes in a pool, and how much may be in it. "
                                     "Changing them takes an administrator: root or a member of the group "
                                     "quarry-admin. A tenant's members see it, and work with its volumes; to others "
                                     "neither exists."),
        SD_VARLINK_SYMBOL_COMMENT("Makes a tenant."),
        &vl_method_Create,
        SD_VARLINK_SYMBOL_COMMENT("Lists the tenants that the caller may see."),
        &vl_method_List,
        SD_VARLINK_SYMBOL_COMMENT("Shows one tenant."),
        &vl_method_Inspect,
        SD_VARLINK_SYMBOL_COMMENT("Changes members, limits and schedule. A limit below what there is already is "
                                  "refused."),
        &vl_method_Update,
        SD_VARLINK_SYMBOL_COMMENT("Removes a tenant; refused while it owns a volume or a snapshot."),
        &vl_method_Remove,
        &vl_type_Tenant,
        ERROR_KINDS(API_LIST_ERROR) NULL);
