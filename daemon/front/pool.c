#include "front/pool.h"

#include "broker/find.h"
#include "broker/pool.h"
#include "broker/usage.h"
#include "broker/view.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

#include <string.h>

/* --- several -------------------------------------------------------------------------------------------- */

static int reply_pools(sd_varlink *link, sd_json_variant *list) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *empty = NULL;
        int r;

        if (!list) {
                r = sd_json_variant_new_array(&empty, NULL, 0);
                if (r < 0)
                        return r;
                list = empty;
        }
        return sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("pools", list));
}

static int append_pool(sd_json_variant **list, const Manager *m, const PoolEntry *pool) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = view_pool(m, pool, &v);
        return r < 0 ? r : sd_json_variant_append_array(list, v);
}

static int list_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        Manager *m = server_manager(call->server);
        int r = 0;

        for (PoolEntry *pool = m->registry.pools; pool && r >= 0 && call->caller.admin; pool = pool->next)
                r = append_pool(&list, m, pool);
        return r < 0 ? r : reply_pools(call->link, list);
}

static int vl_method_list(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        static const sd_json_dispatch_field table[] = { {} };
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, NULL);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool ls", list_reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = call->caller.admin ? find_check(server_manager(call->server), &err) : 0;
        if (r >= 0)
                r = usage_look_at_pools(server_manager(call->server), &call->caller, NULL, &watcher, &err);
        return call_end(TAKE_PTR(call), r, &err);
}

/* --- create and import ---------------------------------------------------------------------------------- */

static int create_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Manager *m = server_manager(call->server);
        int r;

        r = view_pool(m, registry_find_pool_uuid(&m->registry, op->pools[0]), &v);
        return r < 0 ? r : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("pool", v));
}

typedef struct CreateParameters {
        const char *name, *vg, *file;
        char **devices;
        uint64_t size, metadata_size, chunk_size;
} CreateParameters;

static int spec_from_parameters(const CreateParameters *p, PoolSpec *spec, Error *err) {
        if (!buffer_format(spec->name, sizeof(spec->name), "%s", p->name))
                return error_field(err, "name",
                                   "'%.40s' is no pool name: 1 to 32 of a-z 0-9 -, beginning with a letter", p->name);
        spec->size = p->size;
        spec->metadata_size = p->metadata_size;
        spec->chunk_size = p->chunk_size;
        if (p->devices && *p->devices && strv_copy(p->devices, &spec->devices) < 0)
                return error_oom(err);
        spec->vg = p->vg ? strdup(p->vg) : NULL;
        spec->file = p->file ? strdup(p->file) : NULL;
        return (p->vg && !spec->vg) || (p->file && !spec->file) ? error_oom(err) : 0;
}

static int vl_method_create(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CreateParameters, name),
                  SD_JSON_MANDATORY },
                { "devices", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(CreateParameters, devices),
                  SD_JSON_NULLABLE },
                { "volumeGroup", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CreateParameters, vg),
                  SD_JSON_NULLABLE },
                { "file", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CreateParameters, file),
                  SD_JSON_NULLABLE },
                { "sizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(CreateParameters, size),
                  SD_JSON_NULLABLE },
                { "metadataSizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64,
                  offsetof(CreateParameters, metadata_size), SD_JSON_NULLABLE },
                { "chunkSizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64,
                  offsetof(CreateParameters, chunk_size), SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(pool_spec_done) PoolSpec spec = {};
        CreateParameters p = {};
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        _cleanup_strv_ char **devices = p.devices;
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool create", create_reply, &call);
        if (r <= 0)
                return r;
        r = spec_from_parameters(&p, &spec, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = pool_create(server_manager(call->server), &call->caller, &spec, &watcher, &err);
        }
        return call_end(TAKE_PTR(call), r, &err);
}

static int import_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        Manager *m = server_manager(call->server);
        int r = 0;

        for (size_t i = 0; i < op->n_pools && r >= 0; i++) {
                PoolEntry *pool = registry_find_pool_uuid(&m->registry, op->pools[i]);

                if (pool)
                        r = append_pool(&list, m, pool);
        }
        return r < 0 ? r : reply_pools(call->link, list);
}

static int vl_method_import(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        struct {
                char **devices;
        } p = {};
        static const sd_json_dispatch_field table[] = { { "devices", SD_JSON_VARIANT_ARRAY, call_dispatch_strv,
                                                          offsetof(typeof(p), devices), SD_JSON_NULLABLE },
                                                        {} };
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        _cleanup_strv_ char **devices = p.devices;
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool import", import_reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = pool_import(server_manager(call->server), &call->caller, devices && *devices ? devices : NULL, &watcher,
                        &err);
        return call_end(TAKE_PTR(call), r, &err);
}

/* --- one pool ------------------------------------------------------------------------------------------- */

static int inspect_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        Manager *m = server_manager(call->server);
        PoolEntry *pool = registry_find_pool_uuid(&m->registry, call->object);
        Error err = {};
        int r;

        if (!pool) {
                error_set(&err, ERROR_NO_SUCH_POOL, ENXIO, "the pool went away meanwhile");
                return call_error(call->link, API_POOL, &err);
        }
        r = view_pool(m, pool, &v);
        return r < 0 ? r : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("pool", v));
}

static int empty_reply(Call *call, Operation *op) {
        return sd_varlink_reply(call->link, NULL);
}

typedef int (*PoolRequest)(Manager *manager, const Caller *caller, PoolEntry *pool, const Watcher *watcher, Error *err);

/* The methods about one pool differ in what they ask of the broker and how they answer. */
static int on_pool_named(sd_varlink *link, const char *name, sd_varlink_method_flags_t flags, const char *verb,
                         PoolRequest request, CallReply reply) {
        _cleanup_(call_freep) Call *call = NULL;
        PoolEntry *pool;
        Error err = {};
        Manager *m;
        int r;

        r = call_begin(link, flags, API_POOL, verb, reply, &call);
        if (r <= 0)
                return r;
        m = server_manager(call->server);
        r = find_pool(m, &call->caller, name, &pool, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                call->object = pool->info.uuid;
                r = request(m, &call->caller, pool, &watcher, &err);
        }
        return call_end(TAKE_PTR(call), r, &err);
}

static int on_pool(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, const char *verb,
                   PoolRequest request, CallReply reply) {
        struct {
                const char *name;
        } p = {};
        static const sd_json_dispatch_field table[] = { { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                                                          offsetof(typeof(p), name), SD_JSON_MANDATORY },
                                                        {} };
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        return r != 0 ? r : on_pool_named(link, p.name, flags, verb, request, reply);
}

static int vl_method_inspect(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        return on_pool(link, parameters, flags, "pool inspect", usage_look_at_pools, inspect_reply);
}

static int vl_method_extend(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        typedef struct Parameters {
                const char *name;
                PoolGrowth growth;
        } Parameters;
        static const sd_json_dispatch_field table[] = {
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, name),
                  SD_JSON_MANDATORY },
                { "devices", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(Parameters, growth.devices),
                  SD_JSON_NULLABLE },
                { "sizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(Parameters, growth.total),
                  SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(call_freep) Call *call = NULL;
        Parameters p = {};
        PoolEntry *pool;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        _cleanup_(pool_growth_done) PoolGrowth growth = p.growth;
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool extend", inspect_reply, &call);
        if (r <= 0)
                return r;
        Manager *m = server_manager(call->server);
        r = find_pool(m, &call->caller, p.name, &pool, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                call->object = pool->info.uuid;
                r = pool_extend(m, &call->caller, pool, &growth, &watcher, &err);
        }
        return call_end(TAKE_PTR(call), r, &err);
}

static int vl_method_update(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        struct {
                const char *name, *schedule;
        } p = {};
        static const sd_json_dispatch_field table[] = {
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(typeof(p), name),
                  SD_JSON_MANDATORY },
                { "snapshotSchedule", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(typeof(p), schedule), SD_JSON_MANDATORY },
                {},
        };
        _cleanup_(call_freep) Call *call = NULL;
        PoolEntry *pool;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool update", inspect_reply, &call);
        if (r <= 0)
                return r;
        Manager *m = server_manager(call->server);
        Watcher watcher = call_watcher(call);
        r = find_pool(m, &call->caller, p.name, &pool, &err);
        if (r >= 0) {
                call->object = pool->info.uuid;
                r = pool_update(m, &call->caller, pool, p.schedule, &watcher, &err);
        }
        return call_end(TAKE_PTR(call), r, &err);
}

static int check_reply(Call *call, Operation *op) {
        return sd_varlink_replybo(
                        call->link,
                        SD_JSON_BUILD_PAIR_BOOLEAN("sound", !op->damage || op->kept),
                        SD_JSON_BUILD_PAIR_CONDITION(!!op->damage, "damage", SD_JSON_BUILD_STRING(op->damage)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!op->kept, "keptMetadata", SD_JSON_BUILD_STRING(op->kept)));
}

static int vl_method_check(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                           void *userdata) {
        struct {
                const char *name;
                bool repair;
        } p = {};
        static const sd_json_dispatch_field table[] = {
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(typeof(p), name),
                  SD_JSON_MANDATORY },
                { "repair", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(typeof(p), repair),
                  SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(call_freep) Call *call = NULL;
        PoolEntry *pool;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_POOL, "pool check", check_reply, &call);
        if (r <= 0)
                return r;
        Manager *m = server_manager(call->server);
        Watcher watcher = call_watcher(call);
        r = find_pool(m, &call->caller, p.name, &pool, &err);
        if (r >= 0)
                r = pool_check(m, &call->caller, pool, p.repair, &watcher, &err);
        return call_end(TAKE_PTR(call), r, &err);
}

static int vl_method_remove(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        struct {
                const char *name;
                bool forget;
        } p = {};
        static const sd_json_dispatch_field table[] = { { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                                                          offsetof(typeof(p), name), SD_JSON_MANDATORY },
                                                        { "forget", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool,
                                                          offsetof(typeof(p), forget), SD_JSON_NULLABLE },
                                                        {} };
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        return r != 0 ? r
                      : on_pool_named(link, p.name, flags, "pool rm", p.forget ? pool_forget : pool_remove,
                                      empty_reply);
}

static int vl_method_export(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        return on_pool(link, parameters, flags, "pool export", pool_export, empty_reply);
}

int front_pool_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Pool);
        if (r < 0)
                return r;
        return sd_varlink_server_bind_method_many(
                server,
                API_POOL ".Create", vl_method_create,
                API_POOL ".List", vl_method_list,
                API_POOL ".Inspect", vl_method_inspect,
                API_POOL ".Extend", vl_method_extend,
                API_POOL ".Check", vl_method_check,
                API_POOL ".Remove", vl_method_remove,
                API_POOL ".Import", vl_method_import,
                API_POOL ".Update", vl_method_update,
                API_POOL ".Export", vl_method_export);
}
