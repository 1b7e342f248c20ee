#include "front/tenant.h"

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/tenant.h"
#include "broker/usage.h"
#include "broker/view.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

typedef struct Parameters {
        const char *name, *pool;
        TenantUpdate update;
        char **remove_limits;
} Parameters;

static void parameters_done(Parameters *p) {
        tenant_update_done(&p->update);
        strv_free(p->remove_limits);
}

static int dispatch_ids(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        size_t n = sd_json_variant_is_null(v) ? 0 : sd_json_variant_elements(v);
        int r;

        if (n > TENANT_MEMBERS_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *id = sd_json_variant_by_index(v, i);

                if (!sd_json_variant_is_unsigned(id) || sd_json_variant_unsigned(id) > UINT32_MAX)
                        return -EINVAL;
                r = id_set_add(userdata, (uint32_t) sd_json_variant_unsigned(id));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What takes a number says that it came. */
static int dispatch_limit(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        TenantUpdate *update = userdata;
        int limit = tenant_limit_from_string(name), r;
        uint64_t amount;

        if (sd_json_variant_is_null(v))
                return 0;
        r = limit < 0 ? limit : call_dispatch_uint64(name, v, flags, &amount);
        if (r < 0)
                return r;
        if (amount > INT64_MAX)
                return -ERANGE;
        update->has_limit[limit] = true;
        update->limits[limit] = amount;
        return 0;
}

#define NAME_FIELDS                                                                                        \
        { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, name),       \
          SD_JSON_MANDATORY },                                                                             \
        {                                                                                                  \
                "pool", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, pool), \
                        SD_JSON_NULLABLE                                                                   \
        }
#define IDS_FIELD(name, member) \
        { name, SD_JSON_VARIANT_ARRAY, dispatch_ids, offsetof(Parameters, update.member), SD_JSON_NULLABLE }
#define LIMIT_FIELD(limit, member, word, option) \
        { #member, _SD_JSON_VARIANT_TYPE_INVALID, dispatch_limit, offsetof(Parameters, update), SD_JSON_NULLABLE },
#define SCHEDULE_FIELD                                                               \
        { "snapshotSchedule", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, \
          offsetof(Parameters, update.schedule), SD_JSON_NULLABLE }

static int reply_tenant(sd_varlink *link, const TenantEntry *entry) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = view_tenant(entry, &v);
        return r < 0 ? r : sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("tenant", v));
}

static int change_reply(Call *call, Operation *op) {
        const TenantEntry *entry = registry_find_tenant(op->pool, op->name);

        return entry ? reply_tenant(call->link, entry) : -ESRCH;
}

/* What a method about one tenant begins with; as call_begin_on_volume(). */
static int begin_on_tenant(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                           const char *verb, const sd_json_dispatch_field *table, Parameters *p, CallReply reply,
                           Call **ret_call, TenantEntry **ret_entry, int *ret_r) {
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};

        *ret_r = sd_varlink_dispatch(link, parameters, table, p);
        if (*ret_r != 0)
                return 0;
        *ret_r = call_begin(link, flags, API_TENANT, verb, reply, &call);
        if (!call) /* it waits, was answered, or failed */
                return 0;
        *ret_r = 0;
        if (find_tenant(server_manager(call->server), &call->caller, p->name, p->pool ?: "", ret_entry, &err) < 0) {
                *ret_r = call_error(link, API_TENANT, &err);
                return 0;
        }
        *ret_call = TAKE_PTR(call);
        return 1;
}

static int vl_method_create(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                NAME_FIELDS,
                IDS_FIELD("users", add_users),
                IDS_FIELD("groups", add_groups),
                TENANT_LIMITS(LIMIT_FIELD) SCHEDULE_FIELD,
                { "ifAbsent", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(Parameters, update.if_absent),
                  SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(parameters_done) Parameters p = {};
        Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_TENANT, "tenant create", change_reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = tenant_create(server_manager(call->server), &call->caller, p.name, p.pool ?: "", &p.update, &watcher, &err);
        return call_end(call, r, &err);
}

static int remove_limits(const Parameters *p, TenantUpdate *update, Error *err) {
        for (char **name = p->remove_limits; name && *name; name++) {
                int limit = tenant_limit_from_string(*name);

                if (limit < 0)
                        return error_field(err, "removeLimits", "'%.40s' is no limit", *name);
                update->has_limit[limit] = true;
                update->limits[limit] = TENANT_UNLIMITED;
        }
        return 0;
}

static int vl_method_update(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                NAME_FIELDS,
                IDS_FIELD("addUsers", add_users),
                IDS_FIELD("removeUsers", remove_users),
                IDS_FIELD("addGroups", add_groups),
                IDS_FIELD("removeGroups", remove_groups),
                TENANT_LIMITS(LIMIT_FIELD){ "removeLimits", SD_JSON_VARIANT_ARRAY, call_dispatch_strv,
                                            offsetof(Parameters, remove_limits), SD_JSON_NULLABLE },
                SCHEDULE_FIELD,
                {},
        };
        _cleanup_(parameters_done) Parameters p = {};
        TenantEntry *tenant;
        Error err = {};
        Call *call;
        int r;

        if (!begin_on_tenant(link, parameters, flags, "tenant update", table, &p, change_reply, &call, &tenant, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = remove_limits(&p, &p.update, &err);
        if (r >= 0)
                r = tenant_update(server_manager(call->server), &call->caller, tenant, &p.update, &watcher, &err);
        return call_end(call, r, &err);
}

static int remove_reply(Call *call, Operation *op) {
        return sd_varlink_reply(call->link, NULL);
}

static int vl_method_remove(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = { NAME_FIELDS, {} };
        Parameters p = {};
        TenantEntry *tenant;
        Error err = {};
        Call *call;
        int r;

        if (!begin_on_tenant(link, parameters, flags, "tenant rm", table, &p, remove_reply, &call, &tenant, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = tenant_remove(server_manager(call->server), &call->caller, tenant, &watcher, &err);
        return call_end(call, r, &err);
}

/* --- looking ---------------------------------------------------------------------------------------------- */

typedef struct List {
        const Caller *caller;
        sd_json_variant *tenants;
} List;

static int list_add(TenantEntry *entry, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        List *list = userdata;
        int r;

        if (!policy_may_see_tenant(list->caller, entry))
                return 0;
        r = view_tenant(entry, &v);
        if (r >= 0)
                r = sd_json_variant_append_array(&list->tenants, v);
        return r < 0 ? r : 0;
}

static int vl_method_list(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        static const sd_json_dispatch_field table[] = { {} };
        _cleanup_(call_freep) Call *call = NULL;
        List list = {};
        Error err = {};
        Manager *m;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, NULL);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_TENANT, "tenant ls", NULL, &call);
        if (r <= 0)
                return r;
        m = server_manager(call->server);
        r = call->caller.admin ? find_check(m, &err) : 0;
        if (r < 0)
                return call_error(link, API_TENANT, &err);
        list.caller = &call->caller;
        r = sd_json_variant_new_array(&list.tenants, NULL, 0);
        for (PoolEntry *pool = m->registry.pools; pool && r >= 0; pool = pool->next)
                r = registry_each_tenant(pool, list_add, &list);
        if (r >= 0)
                r = sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("tenants", list.tenants));
        sd_json_variant_unref(list.tenants);
        return r;
}

static int vl_method_inspect(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = { NAME_FIELDS, {} };
        _cleanup_(call_freep) Call *call = NULL;
        Parameters p = {};
        TenantEntry *tenant;
        int r;

        return begin_on_tenant(link, parameters, flags, "tenant inspect", table, &p, NULL, &call, &tenant, &r)
                       ? reply_tenant(link, tenant)
                       : r;
}

int front_tenant_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Tenant);
        if (r < 0)
                return r;
        return sd_varlink_server_bind_method_many(
                server,
                API_TENANT ".Create", vl_method_create,
                API_TENANT ".List", vl_method_list,
                API_TENANT ".Inspect", vl_method_inspect,
                API_TENANT ".Update", vl_method_update,
                API_TENANT ".Remove", vl_method_remove);
}
