#include "front/volume.h"

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/usage.h"
#include "broker/view.h"
#include "broker/volume.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

#include <string.h>
#include <unistd.h>

#define OWNER_UNSET UINT64_MAX

#define LIST_BATCH 200u /* volumes in one reply when the caller asked for more */

/* --- create --------------------------------------------------------------------------------------------- */

static int dispatch_filesystem(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        int fs = filesystem_from_string(sd_json_variant_string(v));

        if (sd_json_variant_is_null(v))
                return 0;
        if (fs < 0)
                return -EINVAL;
        *(Filesystem *) userdata = (Filesystem) fs;
        return 0;
}

static int dispatch_key_source(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        int source = key_source_from_string(sd_json_variant_string(v));

        if (sd_json_variant_is_null(v))
                return 0;
        if (source < 0)
                return -EINVAL;
        *(KeySource *) userdata = (KeySource) source;
        return 0;
}

static int dispatch_kind(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        int kind = volume_kind_from_string(sd_json_variant_string(v));

        if (sd_json_variant_is_null(v))
                return 0;
        if (kind < 0)
                return -EINVAL;
        *(VolumeKind *) userdata = (VolumeKind) kind;
        return 0;
}

typedef struct CreateParameters {
        const char *volume, *source;
        VolumeKind kind;
        uint64_t size, inodes;
        Filesystem fs; /* _FILESYSTEM_MAX: not said */
        KeySource key_source;
        int key;
        char **labels, **mkfs_options;
        uint64_t uid, gid, mode; /* OWNER_UNSET, or 32 bits */
        bool if_absent, protected, read_only, noswap, fill;
} CreateParameters;

static int dispatch_owner(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        uint32_t number;
        int r;

        if (sd_json_variant_is_null(v))
                return 0;
        r = call_dispatch_uint32(name, v, flags, &number);
        if (r >= 0)
                *(uint64_t *) userdata = number;
        return r;
}

static void create_parameters_done(CreateParameters *p) {
        strv_free(p->labels);
        strv_free(p->mkfs_options);
}

/* What makes one kind, as it was said: what has no meaning for it is refused with the other rules. */
static int spec_set_kind(const Call *call, const CreateParameters *p, VolumeSpec *spec, Error *err) {
        unsigned said = (p->fs != _FILESYSTEM_MAX ? SAID_FS : 0) | (p->uid != OWNER_UNSET ? SAID_UID : 0) |
                        (p->gid != OWNER_UNSET ? SAID_GID : 0) | (p->mode != OWNER_UNSET ? SAID_MODE : 0);

        spec->kind = p->kind;
        spec->fs = p->fs;
        spec->uid = (uint32_t) p->uid;
        spec->gid = (uint32_t) p->gid;
        spec->mode = (uint32_t) p->mode;
        spec->read_only = p->read_only;
        spec->inodes = p->inodes;
        spec->noswap = p->noswap;
        spec->source = p->source ? strdup(p->source) : NULL;
        if (p->source && !spec->source)
                return error_oom(err);
        return volume_complete_spec(&call->caller, said, spec, err);
}

static int spec_from_parameters(const Call *call, const CreateParameters *p, VolumeSpec *spec, Error *err) {
        Reference ref;
        int r;

        r = reference_parse(p->volume, "volume", &ref, err);
        if (r >= 0)
                r = policy_tenant(server_manager(call->server), &call->caller, ref.tenant, "volume", spec->tenant, err);
        if (r < 0)
                return r;
        if (*ref.snapshot) {
                r = error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "%s is the name of a snapshot, not of a volume",
                              p->volume);
                error_hint(err, "quarry snapshot %s", p->volume);
                return r;
        }
        buffer_format(spec->pool, sizeof(spec->pool), "%s", ref.pool);
        buffer_format(spec->name, sizeof(spec->name), "%s", ref.name);
        spec->size = p->size;
        spec->key_source = p->key_source;
        spec->protected = p->protected;
        r = spec_set_kind(call, p, spec, err);
        if (r < 0)
                return r;
        for (char **l = p->labels; l && *l; l++) {
                r = volume_spec_add_label(spec, *l, err);
                if (r < 0)
                        return r;
        }
        if (p->mkfs_options && strv_copy(p->mkfs_options, &spec->mkfs_options) < 0)
                return error_oom(err);
        return 0;
}

static int reply_volume(sd_varlink *link, const VolumeEntry *entry, int existed) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = view_volume(entry, VOLUME_MEMBERS_ALL, &v);
        if (r < 0)
                return r;
        return sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("volume", v),
                                  SD_JSON_BUILD_PAIR_CONDITION(
                                          existed >= 0, "existed", SD_JSON_BUILD_BOOLEAN(existed > 0)));
}

static int create_reply(Call *call, Operation *op) {
        return reply_volume(call->link, op->volume, 0);
}

/* Whoever is not there any more closes both: then what was made goes. */
static void on_fill(int mount_fd, int done_fd, void *userdata) {
        Call *call = userdata;
        int mount = sd_varlink_push_fd(call->link, mount_fd), done = sd_varlink_push_fd(call->link, done_fd);

        if (mount < 0)
                close(mount_fd);
        if (done < 0)
                close(done_fd);
        if (mount >= 0 && done >= 0)
                (void) sd_varlink_notifybo(call->link, SD_JSON_BUILD_PAIR_INTEGER("mountFileDescriptor", mount),
                                           SD_JSON_BUILD_PAIR_INTEGER("doneFileDescriptor", done));
}

static int vl_method_create(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CreateParameters, volume),
                  SD_JSON_MANDATORY },
                { "sizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(CreateParameters, size),
                  SD_JSON_NULLABLE },
                { "kind", SD_JSON_VARIANT_STRING, dispatch_kind, offsetof(CreateParameters, kind), SD_JSON_NULLABLE },
                { "source", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CreateParameters, source),
                  SD_JSON_NULLABLE },
                { "readOnly", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(CreateParameters, read_only),
                  SD_JSON_NULLABLE },
                { "inodes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(CreateParameters, inodes),
                  SD_JSON_NULLABLE },
                { "noswap", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(CreateParameters, noswap),
                  SD_JSON_NULLABLE },
                { "filesystem", SD_JSON_VARIANT_STRING, dispatch_filesystem, offsetof(CreateParameters, fs),
                  SD_JSON_NULLABLE },
                { "keySource", SD_JSON_VARIANT_STRING, dispatch_key_source, offsetof(CreateParameters, key_source),
                  SD_JSON_NULLABLE },
                { "keyFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index,
                  offsetof(CreateParameters, key), SD_JSON_NULLABLE },
                { "labels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(CreateParameters, labels),
                  SD_JSON_NULLABLE },
                { "uid", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_owner, offsetof(CreateParameters, uid),
                  SD_JSON_NULLABLE },
                { "gid", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_owner, offsetof(CreateParameters, gid),
                  SD_JSON_NULLABLE },
                { "mode", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_owner, offsetof(CreateParameters, mode),
                  SD_JSON_NULLABLE },
                { "mkfsOptions", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(CreateParameters, mkfs_options),
                  SD_JSON_NULLABLE },
                { "protected", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(CreateParameters, protected),
                  SD_JSON_NULLABLE },
                { "ifAbsent", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(CreateParameters, if_absent),
                  SD_JSON_NULLABLE },
                { "fill", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(CreateParameters, fill),
                  SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(create_parameters_done) CreateParameters p = {
                .key = -1, .fs = _FILESYSTEM_MAX, .uid = OWNER_UNSET, .gid = OWNER_UNSET, .mode = OWNER_UNSET
        };
        _cleanup_(call_freep) Call *call = NULL;
        _cleanup_(volume_spec_done) VolumeSpec spec = VOLUME_SPEC_DEFAULT;
        VolumeEntry *existing = NULL;
        int r, key_fd = -EBADF;
        Error err = {};

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_VOLUME, "create", create_reply, &call);
        if (r <= 0)
                return r;
        r = spec_from_parameters(call, &p, &spec, &err);
        if (r >= 0 && p.fill && (!call->more || p.if_absent))
                r = error_field(&err, "fill", "a call that fills a volume is made with \"more\", and without ifAbsent");
        if (r >= 0)
                r = call_take_key(link, p.key, &key_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                watcher.on_fill = p.fill ? on_fill : NULL;
                r = volume_create(server_manager(call->server), &call->caller, &spec, key_fd, p.if_absent, &watcher,
                                  &existing, &err);
        }
        if (existing)
                return reply_volume(link, existing, 1);
        return call_end(TAKE_PTR(call), r, &err);
}

/* --- list ----------------------------------------------------------------------------------------------- */

typedef struct List {
        Call *call;
        sd_json_variant *batch;
        size_t n;
} List;

static bool is_of_type(const VolumeEntry *entry, ListType type) {
        return (entry->volume.spec.role == ROLE_VOLUME && type != LIST_SNAPSHOTS) ||
               (entry->volume.spec.role == ROLE_SNAPSHOT && type != LIST_VOLUMES);
}

static int list_add(VolumeEntry *entry, void *userdata) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        List *list = userdata;
        const char *only = list->call->filter.tenant;
        int r;

        if ((*only && !streq(only, entry->volume.spec.tenant)) || !is_of_type(entry, list->call->type) ||
            !policy_may_see_volume(&list->call->caller, entry))
                return 0;
        /* Only a batch that another volume follows goes out before the end. */
        if (list->call->more && list->n == LIST_BATCH) {
                r = sd_varlink_notifybo(list->call->link, SD_JSON_BUILD_PAIR_VARIANT("volumes", list->batch));
                if (r < 0)
                        return r;
                list->batch = sd_json_variant_unref(list->batch);
                list->n = 0;
        }
        r = view_volume(entry, list->call->members, &v);
        if (r >= 0)
                r = sd_json_variant_append_array(&list->batch, v);
        list->n++;
        return r < 0 ? r : 0;
}

static int list_missing(const Call *call, sd_json_variant **ret) {
        int r = 0;

        for (PoolEntry *p = server_manager(call->server)->registry.pools; p && r >= 0; p = p->next) {
                const char *failure = pool_entry_failure(p);

                if (p->state == POOL_ACTIVE || !call->caller.admin ||
                    (*call->filter.pool && !streq(call->filter.pool, p->info.name)))
                        continue;
                r = sd_json_variant_append_arraybo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRING("name", p->info.name),
                        SD_JSON_BUILD_PAIR_STRING("state", pool_state_to_string(p->state)),
                        SD_JSON_BUILD_PAIR_CONDITION(failure != NULL, "failure", SD_JSON_BUILD_STRING(failure)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("volumes", p->n_volumes));
        }
        return r;
}

static int list_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *missing = NULL;
        Manager *m = server_manager(call->server);
        List list = { .call = call };
        int r = 0;

        for (PoolEntry *pool = m->registry.pools; pool && r >= 0; pool = pool->next)
                if (!*call->filter.pool || streq(call->filter.pool, pool->info.name))
                        r = registry_each_volume(pool, list_add, &list);
        if (r >= 0 && !list.batch)
                r = sd_json_variant_new_array(&list.batch, NULL, 0);
        if (r >= 0)
                r = list_missing(call, &missing);
        if (r >= 0)
                r = sd_varlink_replybo(
                        call->link,
                        SD_JSON_BUILD_PAIR_VARIANT("volumes", list.batch),
                        SD_JSON_BUILD_PAIR_CONDITION(!!missing, "missingPools", SD_JSON_BUILD_VARIANT(missing)));
        sd_json_variant_unref(list.batch);
        return r;
}

static int dispatch_list_type(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        static const char *const words[_LIST_TYPE_MAX] = { "volume", "snapshot", "all" };

        for (int i = 0; i < _LIST_TYPE_MAX; i++)
                if (streq_ptr(words[i], sd_json_variant_string(v))) {
                        *(ListType *) userdata = (ListType) i;
                        return 0;
                }
        return sd_json_variant_is_null(v) ? 0 : -EINVAL;
}

static int list_judge(const Caller *caller, Manager *m, const char *pool, const char *tenant, Reference *ret,
                      Error *err) {
        if (tenant && !tenant_name_is_valid(tenant))
                return error_field(err, "tenant",
                                   "'%.40s' is no tenant name: 1 to 32 of a-z 0-9 -, beginning with a letter", tenant);
        if (pool && caller->admin && !registry_find_pool(&m->registry, pool))
                return error_set(err, ERROR_NO_SUCH_POOL, ENXIO, "there is no pool %.40s", pool);
        buffer_format(ret->tenant, sizeof(ret->tenant), "%s", tenant ?: "");
        buffer_format(ret->pool, sizeof(ret->pool), "%s", pool ?: "");
        if (caller->admin && find_check(m, err) < 0)
                return error_code(err);
        return tenant ? find_tenant_anywhere(m, caller, tenant, err) : 0;
}

static int vl_method_list(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        struct {
                const char *pool, *tenant;
                ListType type;
                char **fields;
        } p = {};
        _cleanup_strv_ char **fields = NULL;
        static const sd_json_dispatch_field table[] = {
                { "pool", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(typeof(p), pool),
                  SD_JSON_NULLABLE },
                { "tenant", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(typeof(p), tenant),
                  SD_JSON_NULLABLE },
                { "type", SD_JSON_VARIANT_STRING, dispatch_list_type, offsetof(typeof(p), type), SD_JSON_NULLABLE },
                { "fields", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(typeof(p), fields), SD_JSON_NULLABLE },
                {}
        };
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        Manager *m;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        fields = p.fields;
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_VOLUME, "ls", list_reply, &call);
        if (r <= 0)
                return r;
        m = server_manager(call->server);
        call->type = p.type;
        r = list_judge(&call->caller, m, p.pool, p.tenant, &call->filter, &err);
        if (r >= 0)
                r = view_members_parse(fields, &call->members, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = (call->members & VOLUME_MEMBERS_OF_USAGE) != 0
                            ? usage_look_at_pools(m, &call->caller, NULL, &watcher, &err)
                            : usage_take_as_known(m, &call->caller, &watcher, &err);
        }
        return call_end(TAKE_PTR(call), r, &err);
}

/* --- one volume ----------------------------------------------------------------------------------------- */

typedef struct VolumeParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        bool lazy, snapshots;
} VolumeParameters;

#define VOLUME_FIELD                                                                                           \
        { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(VolumeParameters, volume), \
          SD_JSON_MANDATORY }

#define LAZY_FIELD \
        { "lazy", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(VolumeParameters, lazy), SD_JSON_NULLABLE }

static int inspect_reply(Call *call, Operation *op) {
        VolumeEntry *entry = registry_find_uuid(&server_manager(call->server)->registry, call->object);
        Error err = {};

        if (!entry) {
                error_set(&err, ERROR_NO_SUCH_VOLUME, ENOENT, "the volume was removed meanwhile");
                return call_error(call->link, API_VOLUME, &err);
        }
        return reply_volume(call->link, entry, -1);
}

static int vl_method_inspect(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, {} };
        VolumeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "inspect", table, &p, inspect_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = usage_look_at_volume(server_manager(call->server), &call->caller, entry, &watcher, &err);
        return call_end(call, r, &err);
}

static int users_reply(Call *call, Operation *op) {
        return sd_varlink_replybo(call->link,
                                  SD_JSON_BUILD_PAIR_CONDITION(!!op->users, "users", SD_JSON_BUILD_STRING(op->users)));
}

static int vl_method_remove(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        LAZY_FIELD,
                                                        { "snapshots", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool,
                                                          offsetof(VolumeParameters, snapshots), SD_JSON_NULLABLE },
                                                        {} };
        VolumeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "rm", table, &p, users_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_remove(server_manager(call->server), &call->caller, entry, p.lazy, p.snapshots, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_unmount(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, LAZY_FIELD, {} };
        VolumeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "umount", table, &p, users_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_unmount(server_manager(call->server), &call->caller, entry, p.lazy, &watcher, &err);
        return call_end(call, r, &err);
}

static int trim_reply(Call *call, Operation *op) {
        return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_UNSIGNED("freedBytes", op->freed));
}

static int vl_method_trim(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, {} };
        VolumeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "trim", table, &p, trim_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_trim(server_manager(call->server), &call->caller, entry, &watcher, &err);
        return call_end(call, r, &err);
}

static int check_reply(Call *call, Operation *op) {
        return sd_varlink_reply(call->link, NULL);
}

static int vl_method_check(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                           void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, {} };
        VolumeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "check", table, &p, check_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_check_filesystem(server_manager(call->server), &call->caller, entry, &watcher, &err);
        return call_end(call, r, &err);
}

int front_volume_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Volume);
        if (r >= 0)
                r = front_snapshot_bind(server);
        if (r >= 0)
                r = front_change_bind(server);
        if (r >= 0)
                r = front_mount_bind(server);
        if (r < 0)
                return r;
        return sd_varlink_server_bind_method_many(
                server,
                API_VOLUME ".Create", vl_method_create,
                API_VOLUME ".List", vl_method_list,
                API_VOLUME ".Inspect", vl_method_inspect,
                API_VOLUME ".Remove", vl_method_remove,
                API_VOLUME ".Unmount", vl_method_unmount,
                API_VOLUME ".Trim", vl_method_trim,
                API_VOLUME ".Check", vl_method_check);
}
