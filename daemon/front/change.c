/* The methods of io.quarry.Volume that change a volume which is there. */

#include "broker/view.h"
#include "broker/volume.h"
#include "broker/watch.h"
#include "front/call.h"
#include "front/volume.h"

#include <quarry/api.h>
#include <quarry/text.h>

static int change_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        watch_look(server_manager(call->server)->watch); /* what a rename moved */
        r = view_volume(op->volume, VOLUME_MEMBERS_ALL, &v);
        return r < 0 ? r : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("volume", v));
}

#define VOLUME_FIELD(type) \
        { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(type, volume), SD_JSON_MANDATORY }

#define KEY_FIELD(type)                                                                                 \
        { "keyFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index, offsetof(type, key), \
          SD_JSON_NULLABLE }

/* --- labels and owner ------------------------------------------------------------------------------------- */

typedef struct UpdateParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        VolumeUpdate update;
        const char *schedule;
        int key;
} UpdateParameters;

/* What takes a number says that it came. */
static int dispatch_owner(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        VolumeUpdate *update = userdata;
        bool is_uid = streq(name, "uid"), is_gid = streq(name, "gid");
        uint32_t number;
        int r;

        if (sd_json_variant_is_null(v))
                return 0;
        r = call_dispatch_uint32(name, v, flags, &number);
        if (r < 0)
                return r;
        if (is_uid) {
                update->has_uid = true;
                update->uid = number;
        } else if (is_gid) {
                update->has_gid = true;
                update->gid = number;
        } else {
                update->has_mode = true;
                update->mode = number;
        }
        return 0;
}

static int dispatch_protected(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        VolumeUpdate *update = userdata;

        update->has_protected = !sd_json_variant_is_null(v);
        return call_dispatch_bool(name, v, flags, &update->protected);
}

#define OWNER_FIELD(name) \
        { name, _SD_JSON_VARIANT_TYPE_INVALID, dispatch_owner, offsetof(UpdateParameters, update), SD_JSON_NULLABLE }

static int vl_method_update(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                VOLUME_FIELD(UpdateParameters),
                { "labels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(UpdateParameters, update.labels),
                  SD_JSON_NULLABLE },
                { "removeLabels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv,
                  offsetof(UpdateParameters, update.remove_labels), SD_JSON_NULLABLE },
                OWNER_FIELD("uid"),
                OWNER_FIELD("gid"),
                OWNER_FIELD("mode"),
                { "protected", SD_JSON_VARIANT_BOOLEAN, dispatch_protected, offsetof(UpdateParameters, update),
                  SD_JSON_NULLABLE },
                { "snapshotSchedule", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(UpdateParameters, schedule), SD_JSON_NULLABLE },
                KEY_FIELD(UpdateParameters),
                {},
        };
        UpdateParameters p = { .key = -1 };
        int r, key_fd = -EBADF;
        VolumeEntry *entry;
        Error err = {};
        Call *call;

        if (!call_begin_on_volume(link, parameters, flags, "update", table, &p, change_reply, &call, &entry, &r)) {
                volume_update_done(&p.update);
                return r;
        }
        p.update.schedule = p.schedule ? strdup(p.schedule) : NULL;
        r = p.schedule && !p.update.schedule ? error_oom(&err) : call_take_key(link, p.key, &key_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = volume_update(server_manager(call->server), &call->caller, entry, &p.update, key_fd, &watcher,
                                  &err);
        }
        volume_update_done(&p.update);
        return call_end(call, r, &err);
}

/* --- name and size ---------------------------------------------------------------------------------------- */

typedef struct ChangeParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        const char *name;
        uint64_t size, add, subtract;
        bool dry_run;
        int key;
} ChangeParameters;

static int vl_method_rename(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                VOLUME_FIELD(ChangeParameters),
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(ChangeParameters, name),
                  SD_JSON_MANDATORY },
                {},
        };
        ChangeParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "rename", table, &p, change_reply, &call, &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_rename(server_manager(call->server), &call->caller, entry, p.name, &watcher, &err);
        return call_end(call, r, &err);
}

#define BYTES_FIELD(name, member)                                                                        \
        { name, _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(ChangeParameters, member), \
          SD_JSON_NULLABLE }

static int vl_method_resize(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                VOLUME_FIELD(ChangeParameters),
                BYTES_FIELD("sizeBytes", size),
                BYTES_FIELD("addBytes", add),
                BYTES_FIELD("subtractBytes", subtract),
                KEY_FIELD(ChangeParameters),
                { "dryRun", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(ChangeParameters, dry_run),
                  SD_JSON_NULLABLE },
                {},
        };
        ChangeParameters p = { .key = -1 };
        int r, key_fd = -EBADF;
        VolumeEntry *entry;
        Error err = {};
        Call *call;

        if (!call_begin_on_volume(link, parameters, flags, "resize", table, &p, change_reply, &call, &entry, &r))
                return r;
        r = call_take_key(link, p.key, &key_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = volume_resize(server_manager(call->server), &call->caller, entry, p.size, p.add, p.subtract,
                                  p.dry_run, key_fd, &watcher, &err);
        }
        return call_end(call, r, &err);
}

int front_change_bind(sd_varlink_server *server) {
        return sd_varlink_server_bind_method_many(
                server,
                API_VOLUME ".Update", vl_method_update,
                API_VOLUME ".Rename", vl_method_rename,
                API_VOLUME ".Resize", vl_method_resize);
}
