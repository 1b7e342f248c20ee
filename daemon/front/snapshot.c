/* The methods of io.quarry.Volume about snapshots. */

#include "broker/find.h"
#include "broker/view.h"
#include "broker/volume.h"
#include "front/call.h"
#include "front/volume.h"

#include <quarry/api.h>
#include <quarry/text.h>

/* --- making them ---------------------------------------------------------------------------------------- */

static int snapshot_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r = 0;

        for (size_t i = 0; i < op->n_volumes && r >= 0; i++) {
                const VolumeEntry *entry = registry_find_uuid(&op->manager->registry, op->volumes[i]);
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

                if (!entry) /* removed by now */
                        continue;
                r = view_volume(entry, VOLUME_MEMBERS_ALL, &v);
                if (r >= 0)
                        r = sd_json_variant_append_array(&list, v);
        }
        return r < 0 ? r : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("snapshots", list));
}

typedef struct Named { /* what the names of requests point into */
        Reference ref;
} Named;

/* One reference, [POOL:][TENANT/]NAME[@SNAPSHOT], of a volume that is there and a snapshot that is not. */
static int request_parse(Manager *m, const Caller *caller, const char *text, const char *name, Named *named,
                         SnapshotRequest *ret, Error *err) {
        char volume[POOL_NAME_MAX + TENANT_NAME_MAX + VOLUME_NAME_MAX + 3];
        int r;

        r = reference_parse(text, "volumes", &named->ref, err);
        if (r >= 0 && name && *named->ref.snapshot)
                r = error_field(err, "name", "%s names its snapshot already", text);
        if (r < 0)
                return r;
        buffer_format(volume, sizeof(volume), "%.*s", (int) strcspn(text, "@"), text);
        *ret = (SnapshotRequest) { .name = name ?: named->ref.snapshot };
        return find_volume(m, caller, volume, &ret->volume, err);
}

static int snapshot_begin(Call *call, char **volumes, const char *name, char **labels, Error *err) {
        _cleanup_free_ SnapshotRequest *requests = NULL;
        size_t n = strv_length(volumes);
        _cleanup_free_ Named *named = NULL;
        Watcher watcher = call_watcher(call);
        int r = 0;

        requests = calloc(n + 1, sizeof(*requests));
        named = calloc(n + 1, sizeof(*named));
        if (!requests || !named)
                return error_oom(err);
        if (name)
                r = snapshot_name_check(name, "name", err);
        for (size_t i = 0; i < n && r >= 0; i++) {
                r = request_parse(server_manager(call->server), &call->caller, volumes[i], name, &named[i],
                                  &requests[i], err);
                requests[i].labels = labels;
        }
        return r < 0 ? r
                     : volume_snapshot(server_manager(call->server), &call->caller, requests, n, NULL, &watcher, err);
}

static int vl_method_snapshot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                              void *userdata) {
        typedef struct Parameters {
                char **volumes, **labels;
                const char *name;
        } Parameters;
        static const sd_json_dispatch_field table[] = {
                { "volumes", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(Parameters, volumes),
                  SD_JSON_MANDATORY },
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, name),
                  SD_JSON_NULLABLE },
                { "labels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(Parameters, labels), SD_JSON_NULLABLE },
                {},
        };
        Parameters p = {};
        Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r == 0)
                r = call_begin(link, flags, API_VOLUME, "snapshot", snapshot_reply, &call);
        if (call)
                r = call_end(call, snapshot_begin(call, p.volumes, p.name, p.labels, &err), &err);
        strv_free(p.volumes);
        strv_free(p.labels);
        return r;
}

/* --- keeping them --------------------------------------------------------------------------------------- */

typedef struct SnapshotParameters {
        const char *volume; /* first: see call_begin_on_volume() */
} SnapshotParameters;

static int hold_reply(Call *call, Operation *op) {
        return sd_varlink_reply(call->link, NULL);
}

static int hold(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags, bool held) {
        static const sd_json_dispatch_field table[] = { { "volume", SD_JSON_VARIANT_STRING,
                                                          sd_json_dispatch_const_string,
                                                          offsetof(SnapshotParameters, volume), SD_JSON_MANDATORY },
                                                        {} };
        SnapshotParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, held ? "hold" : "release", table, &p, hold_reply, &call,
                                  &entry, &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_hold(server_manager(call->server), &call->caller, entry, held, &watcher, &err);
        return call_end(call, r, &err);
}

static int vl_method_hold(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        return hold(link, parameters, flags, true);
}

static int vl_method_release(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        return hold(link, parameters, flags, false);
}

/* --- comparing them ------------------------------------------------------------------------------------- */

static int ranges_build(const ThinDelta *delta, sd_json_variant **ret) {
        int r = sd_json_variant_new_array(ret, NULL, 0);

        for (size_t i = 0; i < delta->n_ranges && r >= 0; i++)
                r = sd_json_variant_append_arraybo(
                        ret,
                        SD_JSON_BUILD_PAIR_UNSIGNED("offsetBytes", delta->ranges[i].offset),
                        SD_JSON_BUILD_PAIR_UNSIGNED("lengthBytes", delta->ranges[i].length));
        return r;
}

static int diff_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *ranges = NULL;
        const VolumeSpec *from = &op->job.source.spec, *to = &op->job.volume.spec;
        bool encrypted = to->key_source != KEY_SOURCE_NONE;
        bool live = from->role != ROLE_SNAPSHOT || to->role != ROLE_SNAPSHOT;
        int r = 0;

        if (!op->job.total_only)
                r = ranges_build(&op->delta, &ranges);
        if (r < 0)
                return r;
        return sd_varlink_replybo(
                call->link,
                SD_JSON_BUILD_PAIR_CONDITION(!!ranges, "ranges", SD_JSON_BUILD_VARIANT(ranges)),
                SD_JSON_BUILD_PAIR_UNSIGNED("totalBytes", op->delta.total),
                SD_JSON_BUILD_PAIR_UNSIGNED("rangeCount", op->delta.count),
                SD_JSON_BUILD_PAIR_UNSIGNED("chunkSizeBytes", op->delta.chunk_size),
                SD_JSON_BUILD_PAIR_UNSIGNED("dataOffsetBytes", encrypted ? LUKS_HEADER_SIZE : 0),
                SD_JSON_BUILD_PAIR_UNSIGNED("fromSizeBytes", volume_spec_device_size(from)),
                SD_JSON_BUILD_PAIR_UNSIGNED("toSizeBytes", volume_spec_device_size(to)),
                SD_JSON_BUILD_PAIR_BOOLEAN("live", live));
}

static int vl_method_diff(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        typedef struct Parameters {
                const char *to; /* first: see call_begin_on_volume() */
                const char *from;
                bool total_only, join;
        } Parameters;
        static const sd_json_dispatch_field table[] = {
                { "from", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, from),
                  SD_JSON_NULLABLE },
                { "to", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, to),
                  SD_JSON_MANDATORY },
                { "totalOnly", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(Parameters, total_only),
                  SD_JSON_NULLABLE },
                { "join", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(Parameters, join), SD_JSON_NULLABLE },
                {},
        };
        DiffRequest request = {};
        Parameters p = {};
        Error err = {};
        Manager *m;
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "diff", table, &p, diff_reply, &call, &request.to, &r))
                return r;
        Watcher watcher = call_watcher(call);
        m = server_manager(call->server);
        request.total_only = p.total_only;
        request.join = p.join;
        if (p.from)
                r = find_volume(m, &call->caller, p.from, &request.from, &err);
        if (r >= 0)
                r = volume_diff(m, &call->caller, &request, &watcher, &err);
        return call_end(call, r, &err);
}

/* --- volumes made of them, and gone back to --------------------------------------------------------------- */

static int volume_reply(Call *call, Operation *op) {
        const VolumeEntry *kept = op->n_volumes > 0 ? registry_find_uuid(&op->manager->registry, op->volumes[0]) : NULL;
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *volume = NULL, *snapshot = NULL;
        int r;

        r = view_volume(op->volume, VOLUME_MEMBERS_ALL, &volume);
        if (r >= 0 && kept)
                r = view_volume(kept, VOLUME_MEMBERS_ALL, &snapshot);
        return r < 0 ? r
                     : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("volume", volume),
                                          SD_JSON_BUILD_PAIR_CONDITION(
                                                  !!snapshot, "snapshot", SD_JSON_BUILD_VARIANT(snapshot)));
}

typedef struct CloneParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        const char *name;
        char **labels;
        int key;
} CloneParameters;

static int clone_begin(Call *call, VolumeEntry *entry, const CloneParameters *p, Error *err) {
        Watcher watcher = call_watcher(call);
        int r, key_fd = -EBADF;
        Reference name;

        r = reference_parse(p->name, "name", &name, err);
        if (r >= 0)
                r = call_take_key(call->link, p->key, &key_fd, err);
        return r < 0 ? r
                     : volume_clone(server_manager(call->server), &call->caller, entry, &name, p->labels, key_fd,
                                    &watcher, err);
}

static int vl_method_clone(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                           void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CloneParameters, volume),
                  SD_JSON_MANDATORY },
                { "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(CloneParameters, name),
                  SD_JSON_MANDATORY },
                { "labels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(CloneParameters, labels),
                  SD_JSON_NULLABLE },
                { "keyFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index,
                  offsetof(CloneParameters, key), SD_JSON_NULLABLE },
                {},
        };
        CloneParameters p = { .key = -1 };
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (call_begin_on_volume(link, parameters, flags, "clone", table, &p, volume_reply, &call, &entry, &r))
                r = call_end(call, clone_begin(call, entry, &p, &err), &err);
        strv_free(p.labels);
        return r;
}

typedef struct RollbackParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        char **known;
        bool discard, dry_run;
} RollbackParameters;

static int rollback_begin(Call *call, VolumeEntry *snapshot, const RollbackParameters *p, Error *err) {
        size_t n = strv_length(p->known);
        _cleanup_free_ VolumeEntry **known = calloc(n + 1, sizeof(*known));
        Manager *m = server_manager(call->server);
        const RollbackRequest request = {
                .snapshot = snapshot, .discard = p->discard, .known = known, .n_known = n, .dry_run = p->dry_run
        };
        Watcher watcher = call_watcher(call);
        int r = 0;

        if (!known)
                return error_oom(err);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = find_volume(m, &call->caller, p->known[i], &known[i], err);
        return r < 0 ? r : volume_rollback(m, &call->caller, &request, &watcher, err);
}

static int vl_method_rollback(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                              void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(RollbackParameters, volume),
                  SD_JSON_MANDATORY },
                { "discardCurrent", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(RollbackParameters, discard),
                  SD_JSON_NULLABLE },
                { "known", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(RollbackParameters, known),
                  SD_JSON_NULLABLE },
                { "dryRun", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(RollbackParameters, dry_run),
                  SD_JSON_NULLABLE },
                {},
        };
        RollbackParameters p = {};
        VolumeEntry *entry;
        Error err = {};
        Call *call;
        int r;

        if (call_begin_on_volume(link, parameters, flags, "rollback", table, &p, volume_reply, &call, &entry, &r))
                r = call_end(call, rollback_begin(call, entry, &p, &err), &err);
        strv_free(p.known);
        return r;
}

int front_snapshot_bind(sd_varlink_server *server) {
        return sd_varlink_server_bind_method_many(
                server,
                API_VOLUME ".Snapshot", vl_method_snapshot,
                API_VOLUME ".Hold", vl_method_hold,
                API_VOLUME ".Release", vl_method_release,
                API_VOLUME ".Diff", vl_method_diff,
                API_VOLUME ".Clone", vl_method_clone,
                API_VOLUME ".Rollback", vl_method_rollback);
}
