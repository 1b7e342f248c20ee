/* Mounting, a method of io.quarry.Volume. */

#include "broker/volume.h"
#include "front/call.h"
#include "front/volume.h"

#include <quarry/api.h>
#include <quarry/text.h>

typedef struct MountParameters {
        const char *volume; /* first: see call_begin_on_volume() */
        bool read_only, detached;
        char **options;
        sd_json_variant *idmap;
        const char *context;
        int userns, key;
} MountParameters;

static void mount_parameters_done(MountParameters *p) {
        strv_free(p->options);
}

static int mount_reply(Call *call, Operation *op) {
        int index;

        if (op->mount_fd < 0)
                return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_STRING("path", op->path));
        index = sd_varlink_push_fd(call->link, op->mount_fd);
        if (index < 0)
                return index;
        TAKE_FD(op->mount_fd);
        return sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_INTEGER("mountFileDescriptor", index));
}

/* What is asked for in several ways must agree. */
static int spec_from_parameters(const MountParameters *p, MountSpec *ret, Error *err) {
        int r;

        *ret = (MountSpec) { .userns = p->userns >= 0 };
        r = p->read_only ? mount_spec_add_option(ret, "ro", err) : 0;
        for (char **o = p->options; o && *o && r >= 0; o++)
                r = mount_spec_add_option(ret, *o, err);
        if (r >= 0)
                r = mount_spec_ranges_from_json(p->idmap, ret, err);
        if (r >= 0 && p->context)
                r = mount_spec_set_context(ret, p->context, err);
        return r;
}

static int vl_method_mount(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                           void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "volume", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(MountParameters, volume),
                  SD_JSON_MANDATORY },
                { "readOnly", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(MountParameters, read_only),
                  SD_JSON_NULLABLE },
                { "options", SD_JSON_VARIANT_ARRAY, call_dispatch_strv, offsetof(MountParameters, options),
                  SD_JSON_NULLABLE },
                { "idmap", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(MountParameters, idmap),
                  SD_JSON_NULLABLE },
                { "userNamespaceFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index,
                  offsetof(MountParameters, userns), SD_JSON_NULLABLE },
                { "context", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(MountParameters, context),
                  SD_JSON_NULLABLE },
                { "detached", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(MountParameters, detached),
                  SD_JSON_NULLABLE },
                { "keyFileDescriptor", _SD_JSON_VARIANT_TYPE_INVALID, call_dispatch_index,
                  offsetof(MountParameters, key), SD_JSON_NULLABLE },
                {},
        };
        _cleanup_(mount_parameters_done) MountParameters p = { .userns = -1, .key = -1 };
        _cleanup_close_ int key_fd = -EBADF, userns_fd = -EBADF;
        VolumeEntry *entry;
        Error err = {};
        MountSpec spec;
        Call *call;
        int r;

        if (!call_begin_on_volume(link, parameters, flags, "mount", table, &p, mount_reply, &call, &entry, &r))
                return r;
        r = spec_from_parameters(&p, &spec, &err);
        if (r >= 0)
                r = call_take_key(link, p.key, &key_fd, &err);
        if (r >= 0)
                r = call_take_fd(link, p.userns, "userNamespaceFileDescriptor", &userns_fd, &err);
        if (r >= 0) {
                Watcher watcher = call_watcher(call);

                r = volume_mount(server_manager(call->server), &call->caller, entry, &spec, p.detached, TAKE_FD(key_fd),
                                 TAKE_FD(userns_fd), &watcher, &err);
        }
        return call_end(call, r, &err);
}

int front_mount_bind(sd_varlink_server *server) {
        return sd_varlink_server_bind_method(server, API_VOLUME ".Mount", vl_method_mount);
}
