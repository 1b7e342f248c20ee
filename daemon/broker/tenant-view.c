#include "broker/quota.h"
#include "broker/view.h"

#include <quarry/text.h>

static int build_ids(const IdSet *set, sd_json_variant **ret) {
        int r;

        r = sd_json_variant_new_array(ret, NULL, 0);
        for (size_t i = 0; i < set->n && r >= 0; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *id = NULL;

                r = sd_json_variant_new_unsigned(&id, set->list[i]);
                if (r >= 0)
                        r = sd_json_variant_append_array(ret, id);
        }
        return r;
}

static int add_limits(const Tenant *tenant, sd_json_variant **object) {
        int r = 0;

        for (int i = 0; i < _TENANT_LIMIT_MAX && r >= 0; i++)
                if (tenant->limits[i] != TENANT_UNLIMITED)
                        r = sd_json_variant_set_field_unsigned(object, tenant_limit_to_string((TenantLimit) i),
                                                               tenant->limits[i]);
        return r;
}

int view_tenant(const TenantEntry *entry, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *users = NULL, *groups = NULL, *object = NULL;
        const Tenant *t = &entry->tenant;
        char created[32];
        int r;

        r = build_ids(&t->users, &users);
        if (r >= 0)
                r = build_ids(&t->groups, &groups);
        if (r < 0)
                return r;
        view_format_time(t->created_usec, created);
        r = sd_json_buildo(&object,
                           SD_JSON_BUILD_PAIR_STRING("name", t->name),
                           SD_JSON_BUILD_PAIR_STRING("pool", entry->pool->info.name),
                           SD_JSON_BUILD_PAIR_VARIANT("users", users),
                           SD_JSON_BUILD_PAIR_VARIANT("groups", groups),
                           SD_JSON_BUILD_PAIR_UNSIGNED("volumes", quota_use(entry, TENANT_LIMIT_VOLUMES)),
                           SD_JSON_BUILD_PAIR_UNSIGNED("snapshots", quota_use(entry, TENANT_LIMIT_SNAPSHOTS)),
                           SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", quota_use(entry, TENANT_LIMIT_SIZE)),
                           SD_JSON_BUILD_PAIR_CONDITION(entry->use.at > 0, "usedBytes",
                                                        SD_JSON_BUILD_UNSIGNED(quota_use(entry, TENANT_LIMIT_USED))),
                           SD_JSON_BUILD_PAIR_CONDITION(entry->use.at > 0, "usedAgeSeconds",
                                                        SD_JSON_BUILD_UNSIGNED(view_seconds_since(entry->use.at))),
                           SD_JSON_BUILD_PAIR_CONDITION(entry->use.stopped, "stopped", SD_JSON_BUILD_BOOLEAN(true)),
                           SD_JSON_BUILD_PAIR_UNSIGNED("tmpfsBytes", quota_use(entry, TENANT_LIMIT_TMPFS)),
                           SD_JSON_BUILD_PAIR_CONDITION(t->schedule != NULL, "snapshotSchedule",
                                                        SD_JSON_BUILD_STRING(t->schedule)),
                           SD_JSON_BUILD_PAIR_CONDITION(t->created_usec > 0, "createdAt",
                                                        SD_JSON_BUILD_STRING(created)));
        if (r >= 0)
                r = add_limits(t, &object);
        if (r >= 0)
                *ret = TAKE_PTR(object);
        return r;
}
