#include "front/stream.h"

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/volume.h"
#include "front/call.h"

#include <quarry/api.h>
#include <quarry/text.h>

#include <string.h>
#include <sys/socket.h>

/* --- send ------------------------------------------------------------------------------------------------- */

static int send_reply(Call *call, Operation *op) {
        int index = sd_varlink_push_fd(call->link, op->mount_fd);

        if (index < 0)
                return index;
        TAKE_FD(op->mount_fd);
        return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_INTEGER("deviceFileDescriptor", index));
}

static int vl_method_send(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                          void *userdata) {
        typedef struct Parameters {
                const char *volume; /* first: see call_begin_on_volume() */
        } Parameters;
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parameters, volume),
                  SD_JSON_MANDATORY },
                {},
        };
        VolumeEntry *entry;
        Parameters p = {};
        Error err = {};
        Call *call;
        int r;

        if (!call_begin_on_volume_of(link, parameters, flags, API_STREAM, "send", table, &p, send_reply, &call, &entry,
                                     &r))
                return r;
        Watcher watcher = call_watcher(call);
        r = volume_give_stored(server_manager(call->server), &call->caller, entry, &watcher, &err);
        return call_end(call, r, &err);
}

/* --- receive ---------------------------------------------------------------------------------------------- */

typedef struct ReceiveParameters {
        const char *volume, *base, *filesystem, *key_source, *snapshot;
        uint64_t size;
        uint32_t uid, gid, mode;
        char **labels, **snapshot_labels;
        int socket;
        bool foreign;
} ReceiveParameters;

static int receive_reply(Call *call, Operation *op) {
        const VolumeEntry *made = op->volume;

        if (made)
                call->object = made->volume.uuid;
        return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_UUID("uuid", call->object));
}

static int imaged_fail(Call *call, const Error *err) {
        Error failure = *err;

        error_prefix(&failure, "the volume is there, without its snapshot");
        return call_error(call->link, call->interface, &failure);
}

/* Before anybody else gets at it, also when its writer is gone. */
static int make_image(Call *call, Operation *op, Error *err) {
        const SnapshotRequest request = { .volume = op->volume, .name = call->image, .labels = call->labels };
        Watcher watcher = call_watcher(call);

        call->object = op->volume->volume.uuid;
        call->fail = imaged_fail;
        return volume_snapshot(op->manager, &call->caller, &request, 1, NULL, &watcher, err);
}

static int image_from_parameters(Call *call, const ReceiveParameters *p, Error *err) {
        int r;

        if (!p->snapshot)
                return p->snapshot_labels ? error_field(err, "snapshotLabels", "labels of what snapshot?") : 0;
        if (p->base || p->foreign)
                return error_field(err, "snapshot", "of %s no snapshot is made",
                                   p->base ? "a snapshot" : "what is somebody else's");
        r = snapshot_name_check(p->snapshot, "snapshot", err);
        if (r < 0)
                return r;
        call->next = make_image;
        call->image = strdup(p->snapshot);
        if (!call->image || strv_copy(p->snapshot_labels, &call->labels) < 0)
                return error_oom(err);
        return 0;
}

static int spec_from_parameters(Call *call, const ReceiveParameters *p, const Reference *ref, VolumeSpec *ret,
                                Error *err) {
        int source = p->key_source ? key_source_from_string(p->key_source) : KEY_SOURCE_NONE;
        int fs = filesystem_from_string(p->filesystem ?: "");
        int r;

        if (fs < 0)
                return error_field(err, "filesystem", "the filesystem must be ext4, xfs or none");
        if (source < 0)
                return error_field(err, "keySource", "the key source must be host or passphrase, if there is one");
        r = policy_tenant(server_manager(call->server), &call->caller, ref->tenant, "volume", ret->tenant, err);
        if (r < 0)
                return r;
        buffer_format(ret->pool, sizeof(ret->pool), "%s", ref->pool);
        buffer_format(ret->name, sizeof(ret->name), "%s", ref->name);
        ret->size = p->size;
        ret->fs = (Filesystem) fs;
        ret->key_source = (KeySource) source;
        ret->uid = p->uid;
        ret->gid = p->gid;
        ret->mode = p->mode;
        if (p->foreign && (fs == FILESYSTEM_NONE || source != KEY_SOURCE_NONE))
                r = error_field(err, "foreign", "only a filesystem that is not encrypted can be somebody else's");
        for (char **l = p->labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(ret, *l, err);
        return r;
}

static int snapshot_from_parameters(Call *call, const ReceiveParameters *p, const Reference *ref, ReceiveRequest *ret,
                                    Error *err) {
        char volume[POOL_NAME_MAX + TENANT_NAME_MAX + VOLUME_NAME_MAX + 3];
        Manager *m = server_manager(call->server);
        int r;

        if (!*ref->snapshot)
                return error_field(err, "volume", "%s is the name of a volume: what begins as a copy is a snapshot",
                                   p->volume);
        buffer_format(volume, sizeof(volume), "%.*s", (int) strcspn(p->volume, "@"), p->volume);
        r = find_volume(m, &call->caller, volume, &ret->origin, err);
        if (r >= 0)
                r = find_volume(m, &call->caller, p->base, &ret->base, err);
        ret->snapshot = ref->snapshot;
        ret->spec.size = p->size;
        for (char **l = p->labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(&ret->spec, *l, err);
        return r;
}

static int socket_take(sd_varlink *link, int index, int *ret, Error *err) {
        int type = 0, domain = 0, listens = 0;
        socklen_t size = sizeof(int);
        int r;

        r = call_take_fd(link, index, "socketFileDescriptor", ret, err);
        if (r < 0)
                return r;
        if (*ret >= 0 && getsockopt(*ret, SOL_SOCKET, SO_DOMAIN, &domain, &size) >= 0 && domain == AF_UNIX &&
            getsockopt(*ret, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_STREAM &&
            getsockopt(*ret, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) >= 0 && !listens)
                return 0;
        closep(ret);
        return error_field(err, "socketFileDescriptor", "a connected Unix stream socket must come along");
}

static int receive_begin(Call *call, const ReceiveParameters *p, Error *err) {
        ReceiveRequest request = { .spec = VOLUME_SPEC_DEFAULT, .foreign = p->foreign, .image = !!p->snapshot };
        Watcher watcher = call_watcher(call);
        int r, fd = -EBADF;
        Reference ref;

        if (!call->caller.admin)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "what somebody wrote is mounted with every right: volumes are received by "
                                 "administrators");
        r = reference_parse(p->volume, "volume", &ref, err);
        if (r >= 0 && !p->base && *ref.snapshot)
                r = error_field(err, "volume", "%s is the name of a snapshot, and has no base", p->volume);
        if (r >= 0 && p->base && p->foreign)
                r = error_field(err, "foreign", "what begins as a copy of a snapshot is nobody else's");
        if (r >= 0)
                r = p->base ? snapshot_from_parameters(call, p, &ref, &request, err)
                            : spec_from_parameters(call, p, &ref, &request.spec, err);
        if (r >= 0)
                r = image_from_parameters(call, p, err);
        if (r >= 0)
                r = socket_take(call->link, p->socket, &fd, err);
        if (r < 0) {
                volume_spec_done(&request.spec);
                return r;
        }
        return volume_receive(server_manager(call->server), &call->caller, &request, fd, &watcher, err);
}

static int vl_method_receive(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(ReceiveParameters, volume),
                  SD_JSON_MANDATORY },
                { "base", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(ReceiveParameters, base),
                  SD_JSON_NULLABLE },
                { "sizeBytes", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint64, offsetof(ReceiveParameters, size),
                  SD_JSON_NULLABLE },
                { "filesystem", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(ReceiveParameters, filesystem), SD_JSON_NULLABLE },
                { "keySource", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(ReceiveParameters, key_source), SD_JSON_NULLABLE },
                { "uid", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint32, offsetof(ReceiveParameters, uid),
                  SD_JSON_NULLABLE },
                { "gid", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint32, offsetof(ReceiveParameters, gid),
                  SD_JSON_NULLABLE },
                { "mode", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_uint32, offsetof(ReceiveParameters, mode),
                  SD_JSON_NULLABLE },
                { "labels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(ReceiveParameters, labels),
                  SD_JSON_NULLABLE },
                { "foreign", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(ReceiveParameters, foreign),
                  SD_JSON_NULLABLE },
                { "snapshot", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
                  offsetof(ReceiveParameters, snapshot), SD_JSON_NULLABLE },
                { "snapshotLabels", SD_JSON_VARIANT_ARRAY, call_dispatch_strv,
                  offsetof(ReceiveParameters, snapshot_labels), SD_JSON_NULLABLE },
                { "socketFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index,
                  offsetof(ReceiveParameters, socket), SD_JSON_MANDATORY },
                {},
        };
        ReceiveParameters p = { .mode = 0755, .socket = -1 };
        Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r == 0)
                r = call_begin(link, flags, API_STREAM, "receive", receive_reply, &call);
        if (call)
                r = call_end(call, receive_begin(call, &p, &err), &err);
        strv_free(p.labels);
        strv_free(p.snapshot_labels);
        return r;
}

int front_stream_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Stream);
        return r < 0 ? r
                     : sd_varlink_server_bind_method_many(
                               server,
                               API_STREAM ".Send", vl_method_send,
                               API_STREAM ".Receive", vl_method_receive);
}
