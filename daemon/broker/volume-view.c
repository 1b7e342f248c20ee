#include "broker/view.h"

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

static int build_encryption(const Volume *volume, sd_json_variant **ret) {
        return sd_json_buildo(ret,
                              SD_JSON_BUILD_PAIR_STRING("cipher", CIPHER),
                              SD_JSON_BUILD_PAIR_UNSIGNED("keyBits", KEY_BITS),
                              SD_JSON_BUILD_PAIR_UNSIGNED("sectorSize", SECTOR_SIZE),
                              SD_JSON_BUILD_PAIR_STRING("keySource", key_source_to_string(volume->spec.key_source)),
                              SD_JSON_BUILD_PAIR_BOOLEAN("locked", volume->locked));
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

void view_format_time(uint64_t usec, char buf[static 32]) {
        time_t seconds = (time_t) (usec / 1000000);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* usec: CLOCK_MONOTONIC */
uint64_t view_seconds_since(uint64_t usec) {
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

                view_format_time(rule->run.at_usec, last);
                view_format_time(will_run ? rule->next_usec : 0, next);
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

/* Each is NULL if the volume has no such member. */
static int build_text(const char *text, sd_json_variant **ret) {
        return text ? sd_json_variant_new_string(ret, text) : 0;
}

static int build_true(bool is, sd_json_variant **ret) {
        return is ? sd_json_variant_new_boolean(ret, true) : 0;
}

static int build_number(bool known, uint64_t number, sd_json_variant **ret) {
        return known ? sd_json_variant_new_unsigned(ret, number) : 0;
}

/* 0: it was or will be at no time */
static int build_time(uint64_t usec, sd_json_variant **ret) {
        char text[32];

        view_format_time(usec, text);
        return usec > 0 ? sd_json_variant_new_string(ret, text) : 0;
}

static int build_uuid(sd_id128_t uuid, sd_json_variant **ret) {
        char text[UUID_TEXT_MAX];

        return sd_json_variant_new_string(ret, uuid_format(uuid, text));
}

static int build_list(char *const *list, sd_json_variant **ret) {
        return sd_json_variant_new_array_strv(ret, (char **) list);
}

static int build_mount_point(const VolumeEntry *entry, sd_json_variant **ret) {
        char path[MOUNT_PATH_MAX];

        return build_text(standard_mount(entry, path), ret);
}

static const char *stopped_by(const VolumeEntry *entry) {
        return entry->tenant && entry->tenant->use.stopped && !entry->pool->space.stopped_all ? "tenant" : "pool";
}

static int build_member(const VolumeEntry *entry, VolumeMember member, sd_json_variant **ret) {
        const Volume *v = &entry->volume;
        const VolumeSpec *spec = &v->spec;
        bool is_block = spec->kind == KIND_BLOCK, has_owner = spec->kind != KIND_BIND;
        bool is_snapshot = spec->role == ROLE_SNAPSHOT, maps_seen = entry->exclusive_at > 0;

        switch (member) {
        case MEMBER_NAME:
                return build_text(spec->name, ret);
        case MEMBER_TENANT:
                return build_text(spec->tenant, ret);
        case MEMBER_POOL:
                return build_text(entry->pool->info.name, ret);
        case MEMBER_UUID:
                return build_uuid(v->uuid, ret);
        case MEMBER_TYPE:
                return build_text(is_snapshot ? "snapshot" : "volume", ret);
        case MEMBER_KIND:
                return build_text(volume_kind_to_string(spec->kind), ret);
        case MEMBER_SOURCE:
                return build_text(spec->source, ret);
        case MEMBER_READ_ONLY:
                return spec->kind == KIND_BIND ? sd_json_variant_new_boolean(ret, spec->read_only) : 0;
        case MEMBER_INODES:
                return build_number(spec->inodes > 0, spec->inodes, ret);
        case MEMBER_NOSWAP:
                return spec->kind == KIND_TMPFS ? sd_json_variant_new_boolean(ret, spec->noswap) : 0;
        case MEMBER_HELD:
                return is_snapshot ? sd_json_variant_new_boolean(ret, v->held) : 0;
        case MEMBER_PROTECTED:
                return is_snapshot ? 0 : sd_json_variant_new_boolean(ret, spec->protected);
        case MEMBER_SNAPSHOTS:
                return build_number(!is_snapshot && is_block, entry->n_snapshots, ret);
        case MEMBER_STATE:
                return build_text(volume_state_to_string(v->state), ret);
        case MEMBER_FAILURE:
                return build_text(v->failure, ret);
        case MEMBER_WAITS:
                return build_true(entry->removal_waits, ret);
        case MEMBER_SIZE:
                return build_number(spec->size > 0, spec->size, ret);
        case MEMBER_USED:
                return build_number(entry->used_is_known, entry->used, ret);
        case MEMBER_EXCLUSIVE:
                return build_number(maps_seen, entry->exclusive, ret);
        case MEMBER_EXCLUSIVE_AGE:
                return build_number(maps_seen, view_seconds_since(entry->exclusive_at), ret);
        case MEMBER_FILESYSTEM:
                return is_block ? build_text(filesystem_to_string(spec->fs), ret) : 0;
        case MEMBER_ENCRYPTION:
                return spec->key_source == KEY_SOURCE_NONE ? 0 : build_encryption(&entry->volume, ret);
        case MEMBER_LABELS:
                return build_labels(spec, ret);
        case MEMBER_UID:
                return build_number(has_owner, spec->uid, ret);
        case MEMBER_GID:
                return build_number(has_owner, spec->gid, ret);
        case MEMBER_MODE:
                return build_number(has_owner, spec->mode, ret);
        case MEMBER_MKFS_OPTIONS:
                return is_block ? build_list(spec->mkfs_options, ret) : 0;
        case MEMBER_CREATED:
                return build_time(v->created_usec, ret);
        case MEMBER_OPEN:
                return sd_json_variant_new_boolean(ret, entry->open);
        case MEMBER_STOPPED:
                return sd_json_variant_new_boolean(ret, entry->stopped && entry->open);
        case MEMBER_STOPPED_BY:
                return entry->stopped && entry->open ? build_text(stopped_by(entry), ret) : 0;
        case MEMBER_MOUNT_POINT:
                return build_mount_point(entry, ret);
        case MEMBER_HOLDS:
                return build_holds(entry, ret);
        case MEMBER_SCHEDULE:
                return build_text(v->schedule, ret);
        case MEMBER_RULES:
                return build_rules(entry->plan, ret);
        case MEMBER_LAST_SNAPSHOT:
                return build_time(entry->snapshots ? entry->snapshots->volume.created_usec : 0, ret);
        case MEMBER_NEXT_SNAPSHOT:
                return build_time(next_run(entry->plan), ret);
        case MEMBER_RULE:
                return build_text(v->rule, ret);
        default:
                return -EINVAL;
        }
}

static const char *const member_names[_VOLUME_MEMBER_MAX] = {
        [MEMBER_NAME] = "name",
        [MEMBER_TENANT] = "tenant",
        [MEMBER_POOL] = "pool",
        [MEMBER_UUID] = "uuid",
        [MEMBER_TYPE] = "type",
        [MEMBER_KIND] = "kind",
        [MEMBER_SOURCE] = "source",
        [MEMBER_READ_ONLY] = "readOnly",
        [MEMBER_INODES] = "inodes",
        [MEMBER_NOSWAP] = "noswap",
        [MEMBER_HELD] = "held",
        [MEMBER_PROTECTED] = "protected",
        [MEMBER_SNAPSHOTS] = "snapshots",
        [MEMBER_STATE] = "state",
        [MEMBER_FAILURE] = "failure",
        [MEMBER_WAITS] = "waitsForUsers",
        [MEMBER_SIZE] = "sizeBytes",
        [MEMBER_USED] = "usedBytes",
        [MEMBER_EXCLUSIVE] = "exclusiveBytes",
        [MEMBER_EXCLUSIVE_AGE] = "exclusiveAgeSeconds",
        [MEMBER_FILESYSTEM] = "filesystem",
        [MEMBER_ENCRYPTION] = "encryption",
        [MEMBER_LABELS] = "labels",
        [MEMBER_UID] = "uid",
        [MEMBER_GID] = "gid",
        [MEMBER_MODE] = "mode",
        [MEMBER_MKFS_OPTIONS] = "mkfsOptions",
        [MEMBER_CREATED] = "createdAt",
        [MEMBER_OPEN] = "open",
        [MEMBER_STOPPED] = "stopped",
        [MEMBER_STOPPED_BY] = "stoppedBy",
        [MEMBER_MOUNT_POINT] = "mountPoint",
        [MEMBER_HOLDS] = "holds",
        [MEMBER_SCHEDULE] = "snapshotSchedule",
        [MEMBER_RULES] = "scheduleRules",
        [MEMBER_LAST_SNAPSHOT] = "lastSnapshotAt",
        [MEMBER_NEXT_SNAPSHOT] = "nextSnapshotAt",
        [MEMBER_RULE] = "rule",
};

static int member_find(const char *name) {
        for (int i = 0; i < _VOLUME_MEMBER_MAX; i++)
                if (streq(member_names[i], name))
                        return i;
        return -EINVAL;
}

int view_members_parse(char *const *names, VolumeMembers *ret, Error *err) {
        VolumeMembers members = strv_length(names) > 0 ? 0 : VOLUME_MEMBERS_ALL;
        char echo[TEXT_ECHO_MAX];

        for (; names && *names; names++) {
                int member = member_find(*names);

                if (member < 0) {
                        error_field(err, "fields", "\"%s\" is no member of a volume", text_echo(*names, echo));
                        error_hint(err, "varlinkctl introspect /run/quarry/io.quarry io.quarry.Volume");
                        return error_code(err);
                }
                members |= VOLUME_MEMBERS(member);
        }
        *ret = members;
        return 0;
}

int view_volume(const VolumeEntry *entry, VolumeMembers members, sd_json_variant **ret) {
        sd_json_variant *pairs[2 * _VOLUME_MEMBER_MAX];
        size_t n = 0;
        int r = 0;

        for (int i = 0; i < _VOLUME_MEMBER_MAX && r >= 0; i++) {
                sd_json_variant *value = NULL;

                if (members & VOLUME_MEMBERS(i))
                        r = build_member(entry, (VolumeMember) i, &value);
                if (r < 0 || !value)
                        continue;
                pairs[n + 1] = value;
                r = sd_json_variant_new_string(&pairs[n], member_names[i]);
                if (r < 0)
                        sd_json_variant_unref(value);
                else
                        n += 2;
        }
        if (r >= 0)
                r = sd_json_variant_new_object(ret, pairs, n);
        while (n > 0)
                sd_json_variant_unref(pairs[--n]);
        return r;
}
