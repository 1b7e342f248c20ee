#include "broker/view.h"

#include "broker/quota.h"
#include "broker/space.h"

#include <quarry/text.h>

#include <stdio.h>
#include <time.h>

/* As the workers make them: kernel/luks.h has the same numbers, and is not the broker's to include. */
#define CIPHER "aes-xts-plain64"
#define KEY_BITS 512
#define SECTOR_SIZE 4096

static int build_labels(const VolumeSpec *spec, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = sd_json_variant_new_object(&v, NULL, 0);
        for (char **l = spec->labels; r >= 0 && l && *l; l++) {
                const char *equals = strchr(*l, '=');
                char key[LABEL_KEY_MAX + 1];

                buffer_format(key, sizeof(key), "%.*s", (int) (equals - *l), *l);
                r = sd_json_variant_set_field_string(&v, key, equals + 1);
        }
        if (r >= 0)
                *ret = TAKE_PTR(v);
        return r;
}

static int build_encryption(KeySource source, sd_json_variant **ret) {
        return sd_json_buildo(ret,
                              SD_JSON_BUILD_PAIR_STRING("cipher", CIPHER),
                              SD_JSON_BUILD_PAIR_UNSIGNED("keyBits", KEY_BITS),
                              SD_JSON_BUILD_PAIR_UNSIGNED("sectorSize", SECTOR_SIZE),
                              SD_JSON_BUILD_PAIR_STRING("keySource", key_source_to_string(source)));
}

static int build_holds(const VolumeEntry *entry, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r;

        r = sd_json_variant_new_array(&list, NULL, 0);
        for (size_t i = 0; r >= 0 && i < entry->n_holds; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *hold = NULL;

                r = sd_json_buildo(&hold, SD_JSON_BUILD_PAIR_STRING("path", entry->holds[i].path),
                                   SD_JSON_BUILD_PAIR_BOOLEAN("readOnly", entry->holds[i].read_only));
                if (r >= 0)
                        r = sd_json_variant_append_array(&list, hold);
        }
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

static void format_time(uint64_t usec, char buf[static 32]) {
        time_t seconds = (time_t) (usec / 1000000);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* usec: CLOCK_MONOTONIC */
static uint64_t seconds_since(uint64_t usec) {
        struct timespec ts = {};

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec - usec / 1000000;
}

static int build_rules(const VolumePlan *plan, sd_json_variant **ret) {
        int r = 0;

        for (size_t i = 0; plan && i < plan->n && r >= 0; i++) {
                const PlanRule *rule = &plan->rules[i];
                bool ran = rule->run.at_usec > 0, will_run = rule->next_usec > 0 && rule->next_usec != PLAN_NEVER;
                char last[32], next[32];

                format_time(rule->run.at_usec, last);
                format_time(will_run ? rule->next_usec : 0, next);
                r = sd_json_variant_append_arraybo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRING("expression", rule->run.rule),
                        SD_JSON_BUILD_PAIR_UNSIGNED("keep", rule->keep),
                        SD_JSON_BUILD_PAIR_CONDITION(ran, "lastRunAt", SD_JSON_BUILD_STRING(last)),
                        SD_JSON_BUILD_PAIR_CONDITION(will_run, "nextRunAt", SD_JSON_BUILD_STRING(next)),
                        SD_JSON_BUILD_PAIR_CONDITION(rule->run.failure != NULL, "failure",
                                                     SD_JSON_BUILD_STRING(rule->run.failure)));
        }
        return r;
}

/* When the first of its rules runs next; 0: none does. */
static uint64_t next_run(const VolumePlan *plan) {
        uint64_t next = PLAN_NEVER;

        for (size_t i = 0; plan && i < plan->n; i++)
                if (plan->rules[i].next_usec > 0 && plan->rules[i].next_usec < next)
                        next = plan->rules[i].next_usec;
        return next == PLAN_NEVER ? 0 : next;
}

static const char *standard_mount(const VolumeEntry *entry, char path[static MOUNT_PATH_MAX]) {
        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, path);
        for (size_t i = 0; i < entry->n_holds; i++)
                if (streq(entry->holds[i].path, path))
                        return path;
        return NULL;
}

#define BUILD_KNOWN(known, name, value) SD_JSON_BUILD_PAIR_CONDITION(known, name, SD_JSON_BUILD_UNSIGNED(value))

int view_volume(const VolumeEntry *entry, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *labels = NULL, *holds = NULL, *encryption = NULL,
                                                          *rules = NULL;
        const Volume *v = &entry->volume;
        char uuid[UUID_TEXT_MAX], created[32], last[32], next[32], mount[MOUNT_PATH_MAX];
        uint64_t next_usec = next_run(entry->plan);
        const char *mount_point = standard_mount(entry, mount);
        bool is_snapshot = v->spec.role == ROLE_SNAPSHOT;
        int r;

        format_time(v->created_usec, created);
        format_time(entry->snapshots ? entry->snapshots->volume.created_usec : 0, last);
        format_time(next_usec, next);
        r = build_rules(entry->plan, &rules);
        if (r >= 0)
                r = build_labels(&v->spec, &labels);
        if (r >= 0)
                r = build_holds(entry, &holds);
        if (r >= 0 && v->spec.key_source != KEY_SOURCE_NONE)
                r = build_encryption(v->spec.key_source, &encryption);
        if (r < 0)
                return r;
        return sd_json_buildo(
                ret,
                SD_JSON_BUILD_PAIR_STRING("name", v->spec.name),
                SD_JSON_BUILD_PAIR_STRING("tenant", v->spec.tenant),
                SD_JSON_BUILD_PAIR_STRING("pool", entry->pool->info.name),
                SD_JSON_BUILD_PAIR_STRING("uuid", uuid_format(v->uuid, uuid)),
                SD_JSON_BUILD_PAIR_STRING("type", is_snapshot ? "snapshot" : "volume"),
                SD_JSON_BUILD_PAIR_CONDITION(is_snapshot, "held", SD_JSON_BUILD_BOOLEAN(v->held)),
                SD_JSON_BUILD_PAIR_CONDITION(!is_snapshot, "snapshots", SD_JSON_BUILD_UNSIGNED(entry->n_snapshots)),
                SD_JSON_BUILD_PAIR_STRING("state", volume_state_to_string(v->state)),
                SD_JSON_BUILD_PAIR_CONDITION(v->failure != NULL, "failure", SD_JSON_BUILD_STRING(v->failure)),
                SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", v->spec.size),
                SD_JSON_BUILD_PAIR_CONDITION(entry->used_is_known, "usedBytes", SD_JSON_BUILD_UNSIGNED(entry->used)),
                BUILD_KNOWN(entry->exclusive_at > 0, "exclusiveBytes", entry->exclusive),
                BUILD_KNOWN(entry->exclusive_at > 0, "exclusiveAgeSeconds", seconds_since(entry->exclusive_at)),
                SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(v->spec.fs)),
                SD_JSON_BUILD_PAIR_CONDITION(encryption != NULL, "encryption", SD_JSON_BUILD_VARIANT(encryption)),
                SD_JSON_BUILD_PAIR_VARIANT("labels", labels),
                SD_JSON_BUILD_PAIR_UNSIGNED("uid", v->spec.uid),
                SD_JSON_BUILD_PAIR_UNSIGNED("gid", v->spec.gid),
                SD_JSON_BUILD_PAIR_UNSIGNED("mode", v->spec.mode),
                SD_JSON_BUILD_PAIR_STRV("mkfsOptions", v->spec.mkfs_options),
                SD_JSON_BUILD_PAIR_STRING("createdAt", created),
                SD_JSON_BUILD_PAIR_BOOLEAN("open", entry->open),
                SD_JSON_BUILD_PAIR_BOOLEAN("stopped", entry->stopped && entry->open),
                SD_JSON_BUILD_PAIR_CONDITION(mount_point != NULL, "mountPoint", SD_JSON_BUILD_STRING(mount_point)),
                SD_JSON_BUILD_PAIR_VARIANT("holds", holds),
                SD_JSON_BUILD_PAIR_CONDITION(v->schedule != NULL, "snapshotSchedule",
                                             SD_JSON_BUILD_STRING(v->schedule)),
                SD_JSON_BUILD_PAIR_CONDITION(rules != NULL, "scheduleRules", SD_JSON_BUILD_VARIANT(rules)),
                SD_JSON_BUILD_PAIR_CONDITION(entry->snapshots != NULL, "lastSnapshotAt", SD_JSON_BUILD_STRING(last)),
                SD_JSON_BUILD_PAIR_CONDITION(next_usec > 0, "nextSnapshotAt", SD_JSON_BUILD_STRING(next)),
                SD_JSON_BUILD_PAIR_CONDITION(v->rule != NULL, "rule", SD_JSON_BUILD_STRING(v->rule)));
}

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
