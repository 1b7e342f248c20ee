#include "broker/quota.h"
#include "broker/space.h"
#include "broker/view.h"

#include <quarry/text.h>

#define BUILD_KNOWN(known, name, value) SD_JSON_BUILD_PAIR_CONDITION(known, name, SD_JSON_BUILD_UNSIGNED(value))

static uint64_t freeing_bytes(const PoolEntry *pool) {
        uint64_t sum = 0;

        for (const VolumeEntry *entry = pool->freeing; entry; entry = entry->next_freeing)
                sum += entry->used_is_known ? entry->used : entry->volume.spec.size;
        return sum < pool->info.data_used ? sum : pool->info.data_used;
}

int view_pool(const Manager *m, const PoolEntry *pool, sd_json_variant **ret) {
        const PoolInfo *i = &pool->info;
        const char *failure = pool_entry_failure(pool), *state = pool_state_to_string(pool_entry_shown_state(pool));
        bool sizes = i->data_size > 0, rows = pool->state == POOL_ACTIVE || pool->n_volumes > 0;
        uint64_t lasts = space_forecast(pool);
        char uuid[UUID_TEXT_MAX];

        return sd_json_buildo(
                ret,
                SD_JSON_BUILD_PAIR_STRING("name", i->name),
                SD_JSON_BUILD_PAIR_STRING("uuid", uuid_format(i->uuid, uuid)),
                SD_JSON_BUILD_PAIR_STRING("state", state),
                SD_JSON_BUILD_PAIR_CONDITION(failure != NULL, "failure", SD_JSON_BUILD_STRING(failure)),
                SD_JSON_BUILD_PAIR_CONDITION(pool->advice != NULL, "advice", SD_JSON_BUILD_STRING(pool->advice)),
                SD_JSON_BUILD_PAIR_STRING("origin", pool_origin_to_string(i->origin)),
                SD_JSON_BUILD_PAIR_STRV("devices", i->devices),
                SD_JSON_BUILD_PAIR_CONDITION(i->vg != NULL, "volumeGroup", SD_JSON_BUILD_STRING(i->vg)),
                SD_JSON_BUILD_PAIR_CONDITION(i->file != NULL, "file", SD_JSON_BUILD_STRING(i->file)),
                BUILD_KNOWN(i->chunk_size > 0, "chunkSizeBytes", i->chunk_size),
                BUILD_KNOWN(sizes, "dataSizeBytes", i->data_size),
                BUILD_KNOWN(sizes, "dataUsedBytes", i->data_used),
                SD_JSON_BUILD_PAIR_CONDITION(sizes, "space", SD_JSON_BUILD_STRING(space_state(pool))),
                BUILD_KNOWN(lasts <= INT64_MAX, "fullInSeconds", lasts),
                BUILD_KNOWN(i->room != POOL_ROOM_UNKNOWN, "roomBytes", i->room),
                BUILD_KNOWN(sizes, "metadataSizeBytes", i->metadata_size),
                BUILD_KNOWN(sizes, "metadataUsedBytes", i->metadata_used),
                BUILD_KNOWN(pool->freeing != NULL, "freeingBytes", freeing_bytes(pool)),
                BUILD_KNOWN(rows, "provisionedBytes", pool->provisioned),
                BUILD_KNOWN(sizes, "provisionedMaxBytes", quota_provisioned_max(m, pool)),
                BUILD_KNOWN(rows, "volumes", pool->n_volumes),
                SD_JSON_BUILD_PAIR_CONDITION(pool->schedule != NULL, "snapshotSchedule",
                                             SD_JSON_BUILD_STRING(pool->schedule)));
}
