#include "front/key.h"

#include "broker/find.h"
#include "broker/key.h"
#include "broker/policy.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

typedef struct Parameters {
        const char *volume; /* first: see call_begin_on_volume() */
        int key, second;
        uint32_t slot; /* UINT32_MAX: none */
        bool host, suspend;
} Parameters;

#define PARAMETERS_NONE { .key = -1, .second = -1, .slot = UINT32_MAX }

#define VOLUME_FIELD                                                                                     \
        { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, volume), \
          SD_JSON_MANDATORY }
#define DESCRIPTOR_FIELD(name, member) \
        { name, _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index, offsetof(Parameters, member), SD_JSON_NULLABLE }
#define HOST_FIELD { "host", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(Parameters, host), SD_JSON_NULLABLE }

/* --- of a volume ------------------------------------------------------------------------------------------ */

static int keys_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *keys = NULL;
        int r;

        r = volume_keys_to_json(&op->keys, &keys);
        if (r >= 0)
                r = sd_json_variant_set_field_boolean(&keys, "locked", op->volume->volume.locked);
        return r < 0 ? r : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("keys", keys));
}

static int empty_reply(Call *call, Operation *op) {
        return sd_varlink_reply(call->link, NULL);
}

static int backup_reply(Call *call, Operation *op) {
        int index = sd_varlink_push_fd(call->link, op->mount_fd);

        if (index < 0)
                return index;
        TAKE_FD(op->mount_fd);
        return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_INTEGER("headerFileDescriptor", index));
}

/* What has no parameter but the volume. */
static int look(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, const char *name,
                int (*reply)(Call *call, Operation *op),
                int (*begin)(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher,
                             Error *err)) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, {} };
        Parameters p = PARAMETERS_NONE;
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume_of(link, parameters, flags, API_KEY, name, table, &p, reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = begin(server_manager(call->server), &call->caller, entry, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_inspect(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        return look(link, parameters, flags, "key inspect", keys_reply, key_look);
}

static int vl_method_backup(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        return look(link, parameters, flags, "key backup", backup_reply, key_backup);
}

static int vl_method_lock(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        { "suspend", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool,
                                                          offsetof(Parameters, suspend), SD_JSON_NULLABLE },
                                                        {} };
        Parameters p = PARAMETERS_NONE;
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume_of(link, parameters, flags, API_KEY, "key lock", table, &p, empty_reply, &call,
                                     &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = key_lock(server_manager(call->server), &call->caller, entry, p.suspend, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_unlock(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD, DESCRIPTOR_FIELD("keyFileDescriptor", key), {} };
        Parameters p = PARAMETERS_NONE;
        int r, key_fd = -EBADF;
        VolumeEntry *entry;
        Error err = {};
        Call *call;

        if (!call_begin_on_volume_of(link, parameters, flags, API_KEY, "key unlock", table, &p, keys_reply, &call,
                                     &entry, &r))
                return r;
        r = call_take_fd(link, p.key, "keyFileDescriptor", &key_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = key_unlock(server_manager(call->server), &call->caller, entry, key_fd, &watcher, &err);
        }
        return call_end(call, r, &err);
}

/* second: the field of the second descriptor. */
static int change(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, const char *name,
                  const sd_json_dispatch_field *table, JobVerb verb, const char *second) {
        KeyRequest request = { .verb = verb, .key_fd = -EBADF, .second_fd = -EBADF };
        Parameters p = PARAMETERS_NONE;
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume_of(link, parameters, flags, API_KEY, name, table, &p, keys_reply, &call, &entry, &r))
                return r;
        request.choice = (KeyChoice) { .host = p.host, .has_slot = p.slot != UINT32_MAX };
        request.choice.slot = request.choice.has_slot ? p.slot : 0;
        r = request.choice.has_slot && p.slot >= KEYSLOTS_MAX
                    ? error_field(&err, "slot", "keyslots are counted from 0 to %u", KEYSLOTS_MAX - 1)
                    : 0;
        if (r >= 0)
                r = call_take_fd(link, p.key, "keyFileDescriptor", &request.key_fd, &err);
        if (r >= 0)
                r = call_take_fd(link, p.second, second, &request.second_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = key_change(server_manager(call->server), &call->caller, entry, &request, &watcher, &err);
        }
        closep(&request.key_fd);
        closep(&request.second_fd);
        return call_end(call, r, &err);
}

static int vl_method_add(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                         void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        HOST_FIELD,
                                                        DESCRIPTOR_FIELD("keyFileDescriptor", key),
                                                        DESCRIPTOR_FIELD("newKeyFileDescriptor", second),
                                                        {} };

        return change(link, parameters, flags, "key add", table, JOB_VOLUME_KEY_ADD, "newKeyFileDescriptor");
}

static int vl_method_remove(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        HOST_FIELD,
                                                        { "slot", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint32,
                                                          offsetof(Parameters, slot), SD_JSON_NULLABLE },
                                                        DESCRIPTOR_FIELD("keyFileDescriptor", key),
                                                        DESCRIPTOR_FIELD("removedKeyFileDescriptor", second),
                                                        {} };

        return change(link, parameters, flags, "key remove", table, JOB_VOLUME_KEY_REMOVE, "removedKeyFileDescriptor");
}

static int vl_method_change(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        DESCRIPTOR_FIELD("keyFileDescriptor", key),
                                                        DESCRIPTOR_FIELD("newKeyFileDescriptor", second),
                                                        {} };

        return change(link, parameters, flags, "key change", table, JOB_VOLUME_KEY_CHANGE, "newKeyFileDescriptor");
}

static int vl_method_restore(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = { VOLUME_FIELD,
                                                        DESCRIPTOR_FIELD("headerFileDescriptor", second),
                                                        {} };

        return change(link, parameters, flags, "key restore", table, JOB_VOLUME_HEADER_RESTORE, "headerFileDescriptor");
}

/* --- of the host ------------------------------------------------------------------------------------------ */

static int missing_pools(const Manager *m, sd_json_variant **ret) {
        int r = sd_json_variant_new_array(ret, NULL, 0);

        for (const PoolEntry *pool = m->registry.pools; pool && r >= 0; pool = pool->next)
                if (pool->state != POOL_ACTIVE)
                        r = sd_json_variant_append_arrayb(ret, SD_JSON_BUILD_STRING(pool->info.name));
        return r;
}

static bool is_listed(const Operation *op, const char *id) {
        for (size_t i = 0; i < op->n_host_keys; i++)
                if (streq(op->host_keys[i].id, id))
                        return true;
        return false;
}

static int key_append(sd_json_variant **list, const char *id, const char *source, bool current, size_t volumes) {
        return sd_json_variant_append_arraybo(
                        list,
                        SD_JSON_BUILD_PAIR_STRING("id", id),
                        SD_JSON_BUILD_PAIR_CONDITION(!!source, "source", SD_JSON_BUILD_STRING(source)),
                        SD_JSON_BUILD_PAIR_BOOLEAN("current", current),
                        SD_JSON_BUILD_PAIR_UNSIGNED("volumes", volumes));
}

static int status_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *keys = NULL, *missing = NULL;
        const Manager *m = op->manager;
        const Registry *registry = &m->registry;
        int r = missing_pools(m, &missing);

        if (r >= 0)
                r = sd_json_variant_new_array(&keys, NULL, 0);
        for (size_t i = 0; i < op->n_host_keys && r >= 0; i++)
                r = key_append(&keys, op->host_keys[i].id, host_key_source_to_string(op->host_keys[i].source), i == 0,
                               registry_count_key(registry, op->host_keys[i].id));
        for (size_t i = 0; i < registry->n_key_counts && r >= 0; i++) {
                const KeyCount *count = &registry->key_counts[i];

                if (*count->id && count->n > 0 && !is_listed(op, count->id))
                        r = key_append(&keys, count->id, NULL, false, count->n);
        }
        return r < 0 ? r
                     : sd_varlink_replybo(
                                       call->link,
                                       SD_JSON_BUILD_PAIR_VARIANT("keys", keys),
                                       SD_JSON_BUILD_PAIR_UNSIGNED("unknown", registry_count_key(registry, "")),
                                       SD_JSON_BUILD_PAIR_BOOLEAN("rotating", m->rotation != NULL),
                                       SD_JSON_BUILD_PAIR_VARIANT("missingPools", missing));
}

static int rotate_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *missing = NULL;
        const Registry *registry = &op->manager->registry;
        const char *id = op->host_keys[0].id;
        int r = missing_pools(op->manager, &missing);

        return r < 0 ? r
                     : sd_varlink_replybo(
                                       call->link,
                                       SD_JSON_BUILD_PAIR_STRING("id", id),
                                       SD_JSON_BUILD_PAIR_UNSIGNED("wrapped", op->n_wrapped),
                                       SD_JSON_BUILD_PAIR_UNSIGNED("left", registry_count_keys(registry) -
                                                                                   registry_count_key(registry, id)),
                                       SD_JSON_BUILD_PAIR_CONDITION(op->failure.kind != ERROR_NONE, "failure",
                                                                    SD_JSON_BUILD_STRING(op->failure.text)),
                                       SD_JSON_BUILD_PAIR_VARIANT("missingPools", missing));
}

static int of_host(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, const char *name,
                   CallReply reply,
                   int (*begin)(Manager *m, const Caller *caller, const Watcher *watcher, Error *err)) {
        static const sd_json_dispatch_field table[] = { {} };
        Error err = {};
        Call *call;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, NULL);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_KEY, name, reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = policy_may_administer_keys(&call->caller, &err);
        if (r >= 0)
                r = find_check(server_manager(call->server), &err);
        if (r >= 0)
                r = begin(server_manager(call->server), &call->caller, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_status(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        return of_host(link, parameters, flags, "key status", status_reply, host_key_look);
}

static int vl_method_rotate(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        return of_host(link, parameters, flags, "key rotate", rotate_reply, host_key_rotate);
}

static int derive_reply(Call *call, Operation *op) {
        int index = sd_varlink_push_fd(call->link, op->mount_fd);

        if (index < 0)
                return index;
        TAKE_FD(op->mount_fd);
        return sd_varlink_replybo(call->link,
                                  SD_JSON_BUILD_PAIR_STRING("id", op->host_keys[0].id),
                                  SD_JSON_BUILD_PAIR_INTEGER("keyFileDescriptor", index));
}

static int vl_method_derive(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "id", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, 0, SD_JSON_NULLABLE },
                {},
        };
        const char *id = NULL;
        Error err = {};
        Call *call;
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &id);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_KEY, "key derive", derive_reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = policy_may_administer_keys(&call->caller, &err);
        if (r >= 0 && id && !host_key_id_is_valid(id))
                r = error_field(&err, "id", "the id of a host key is made of hex digits");
        if (r >= 0)
                r = find_check(server_manager(call->server), &err);
        if (r >= 0)
                r = host_key_derive(server_manager(call->server), &call->caller, id, &watcher, &err);
        return call_end(call, r, &err);
}

int front_key_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Key);
        if (r < 0)
                return r;
        return sd_varlink_server_bind_method_many(
                server,
                API_KEY ".Status", vl_method_status,
                API_KEY ".Rotate", vl_method_rotate,
                API_KEY ".Derive", vl_method_derive,
                API_KEY ".Inspect", vl_method_inspect,
                API_KEY ".Lock", vl_method_lock,
                API_KEY ".Unlock", vl_method_unlock,
                API_KEY ".Add", vl_method_add,
                API_KEY ".Remove", vl_method_remove,
                API_KEY ".Change", vl_method_change,
                API_KEY ".Backup", vl_method_backup,
                API_KEY ".Restore", vl_method_restore);
}
