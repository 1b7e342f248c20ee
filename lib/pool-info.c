#include <quarry/pool.h>

#include <quarry/text.h>

#include <limits.h>

void pool_info_done(PoolInfo *info) {
        free(info->vg);
        info->devices = strv_free(info->devices);
        free(info->file);
        info->vg = info->file = NULL;
}

int pool_info_to_json(const PoolInfo *info, sd_json_variant **ret) {
        const char *origin = pool_origin_to_string(info->origin);

        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRING("name", info->name),
                        SD_JSON_BUILD_PAIR_UUID("uuid", info->uuid),
                        SD_JSON_BUILD_PAIR_STRING("origin", origin),
                        SD_JSON_BUILD_PAIR_CONDITION(!!info->vg, "volumeGroup", SD_JSON_BUILD_STRING(info->vg)),
                        SD_JSON_BUILD_PAIR_STRV("devices", info->devices),
                        SD_JSON_BUILD_PAIR_CONDITION(!!info->file, "file", SD_JSON_BUILD_STRING(info->file)),
                        SD_JSON_BUILD_PAIR_CONDITION(info->unfinished, "unfinished", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("chunkSizeBytes", info->chunk_size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("dataSizeBytes", info->data_size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("dataUsedBytes", info->data_used),
                        SD_JSON_BUILD_PAIR_UNSIGNED("metadataSizeBytes", info->metadata_size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("metadataUsedBytes", info->metadata_used),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        info->health != POOL_HEALTHY, "health",
                                        SD_JSON_BUILD_STRING(pool_health_to_string(info->health))));
}

static bool path_is_acceptable(const char *path) {
        return path_is_plain(path) && strlen(path) < PATH_MAX;
}

/* Sizes may be 0: nobody has looked at the pool yet. */
static bool info_is_valid(const PoolInfo *info) {
        if (sd_id128_is_null(info->uuid) || (info->vg && !vg_name_is_valid(info->vg)))
                return false;
        if (info->file && (info->origin != POOL_FILE || !path_is_acceptable(info->file)))
                return false;
        for (size_t i = 0; info->devices && info->devices[i]; i++)
                if (!path_is_acceptable(info->devices[i]))
                        return false;
        return (info->chunk_size == 0 || pool_chunk_size_is_valid(info->chunk_size)) &&
               info->data_used <= info->data_size && info->metadata_used <= info->metadata_size;
}

typedef struct Parsed {
        PoolInfo info;
        const char *name, *origin, *health;
} Parsed;

static void parsed_done(Parsed *p) {
        pool_info_done(&p->info);
}

int pool_info_from_json(sd_json_variant *v, PoolInfo *ret) {
        static const sd_json_dispatch_field table[] = {
#define STRING SD_JSON_VARIANT_STRING, sd_json_dispatch_string
#define CONST_STRING SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string
#define NUMBER SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64
                { "name", CONST_STRING, offsetof(Parsed, name), SD_JSON_MANDATORY },
                { "uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, info.uuid),
                  SD_JSON_MANDATORY },
                { "origin", CONST_STRING, offsetof(Parsed, origin), SD_JSON_MANDATORY },
                { "volumeGroup", STRING, offsetof(Parsed, info.vg), SD_JSON_STRICT },
                { "devices", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_strv, offsetof(Parsed, info.devices), 0 },
                { "file", STRING, offsetof(Parsed, info.file), 0 },
                { "unfinished", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, info.unfinished),
                  0 },
                { "chunkSizeBytes", NUMBER, offsetof(Parsed, info.chunk_size), 0 },
                { "dataSizeBytes", NUMBER, offsetof(Parsed, info.data_size), 0 },
                { "dataUsedBytes", NUMBER, offsetof(Parsed, info.data_used), 0 },
                { "metadataSizeBytes", NUMBER, offsetof(Parsed, info.metadata_size), 0 },
                { "metadataUsedBytes", NUMBER, offsetof(Parsed, info.metadata_used), 0 },
                { "health", CONST_STRING, offsetof(Parsed, health), 0 },
#undef STRING
#undef CONST_STRING
#undef NUMBER
                {},
        };
        _cleanup_(parsed_done) Parsed p = {};

        int r = sd_json_dispatch(v, table, 0, &p);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;

        int origin = pool_origin_from_string(p.origin),
            health = pool_health_from_string(p.health ?: pool_health_to_string(POOL_HEALTHY));
        if (origin < 0 || health < 0 || !pool_name_is_valid(p.name))
                return -EINVAL;
        p.info.origin = (PoolOrigin) origin;
        p.info.health = (PoolHealth) health;
        (void) buffer_format(p.info.name, sizeof(p.info.name), "%s", p.name);
        if (!info_is_valid(&p.info))
                return -EINVAL;

        *ret = p.info;
        p.info = (PoolInfo) {};
        return 0;
}
