#include "front/doctor.h"

#include "broker/doctor.h"
#include "front/call.h"

#include <quarry/api.h>

static int examine_reply(Call *call, Operation *op) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        const Registry *registry = &server_manager(call->server)->registry;
        uint64_t pools = 0, volumes = 0;
        int r;

        for (const PoolEntry *p = registry->pools; p; p = p->next) {
                pools++;
                volumes += p->n_volumes;
        }
        r = sd_json_variant_new_array(&list, NULL, 0);
        if (r >= 0)
                r = finding_list_to_json(&op->findings, &list);
        return r < 0 ? r
                     : sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("findings", list),
                                          SD_JSON_BUILD_PAIR_UNSIGNED("pools", pools),
                                          SD_JSON_BUILD_PAIR_UNSIGNED("volumes", volumes));
}

static int vl_method_examine(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                             void *userdata) {
        struct {
                bool fix;
        } p = {};
        static const sd_json_dispatch_field table[] = {
                { "fix", SD_JSON_VARIANT_BOOLEAN, call_dispatch_bool, offsetof(typeof(p), fix), SD_JSON_NULLABLE }, {}
        };
        _cleanup_(call_freep) Call *call = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = call_begin(link, flags, API_DOCTOR, "doctor", examine_reply, &call);
        if (r <= 0)
                return r;
        Watcher watcher = call_watcher(call);
        r = doctor_examine(server_manager(call->server), &call->caller, p.fix, &watcher, &err);
        return call_end(TAKE_PTR(call), r, &err);
}

int front_doctor_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Doctor);
        return r < 0 ? r : sd_varlink_server_bind_method(server, API_DOCTOR ".Examine", vl_method_examine);
}
