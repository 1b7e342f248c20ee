#pragma once

/* Pools, tenants and volumes as every front shows them: the objects of the Varlink interfaces. */

#include "broker/manager.h"

#include <systemd/sd-json.h>

/* Members of a volume's object, in the order in which they are shown. */
typedef enum VolumeMember {
        MEMBER_NAME,
        MEMBER_TENANT,
        MEMBER_POOL,
        MEMBER_UUID,
        MEMBER_TYPE,
        MEMBER_KIND,
        MEMBER_SOURCE,
        MEMBER_READ_ONLY,
        MEMBER_INODES,
        MEMBER_NOSWAP,
        MEMBER_HELD,
        MEMBER_PROTECTED,
        MEMBER_SNAPSHOTS,
        MEMBER_STATE,
        MEMBER_FAILURE,
        MEMBER_WAITS,
        MEMBER_SIZE,
        MEMBER_USED,
        MEMBER_EXCLUSIVE,
        MEMBER_EXCLUSIVE_AGE,
        MEMBER_FILESYSTEM,
        MEMBER_ENCRYPTION,
        MEMBER_LABELS,
        MEMBER_UID,
        MEMBER_GID,
        MEMBER_MODE,
        MEMBER_MKFS_OPTIONS,
        MEMBER_CREATED,
        MEMBER_OPEN,
        MEMBER_STOPPED,
        MEMBER_STOPPED_BY,
        MEMBER_MOUNT_POINT,
        MEMBER_HOLDS,
        MEMBER_SCHEDULE,
        MEMBER_RULES,
        MEMBER_LAST_SNAPSHOT,
        MEMBER_NEXT_SNAPSHOT,
        MEMBER_RULE,
        _VOLUME_MEMBER_MAX,
} VolumeMember;

/* A set of them. */
typedef uint64_t VolumeMembers;
#define VOLUME_MEMBERS(member) (UINT64_C(1) << (member))
#define VOLUME_MEMBERS_ALL UINT64_MAX
/* Those that a worker is asked for. */
#define VOLUME_MEMBERS_OF_USAGE                                                                                  \
        (VOLUME_MEMBERS(MEMBER_USED) | VOLUME_MEMBERS(MEMBER_EXCLUSIVE) | VOLUME_MEMBERS(MEMBER_EXCLUSIVE_AGE) | \
         VOLUME_MEMBERS(MEMBER_OPEN) | VOLUME_MEMBERS(MEMBER_STOPPED) | VOLUME_MEMBERS(MEMBER_STOPPED_BY))

/* names: NULL or empty for all. Returns -EINVAL with the field "fields" where one is no member. */
int view_members_parse(char *const *names, VolumeMembers *ret, Error *err);

/* What is not known of the volume, or does not apply to it, is missing in the object. */
int view_volume(const VolumeEntry *entry, VolumeMembers members, sd_json_variant **ret);
int view_pool(const Manager *manager, const PoolEntry *pool, sd_json_variant **ret);
int view_tenant(const TenantEntry *entry, sd_json_variant **ret);

/* usec: CLOCK_MONOTONIC */
uint64_t view_seconds_since(uint64_t usec);
/* RFC 3339, UTC. usec: CLOCK_REALTIME */
void view_format_time(uint64_t usec, char buf[static 32]);
