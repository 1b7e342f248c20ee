#include "broker/manager.h"

#include "broker/audit.h"
#include "broker/mount-id.h"
#include "broker/policy.h"
#include "broker/reconcile.h"
#include "broker/schedule.h"
#include "broker/usage.h"
#include "broker/watch.h"

int manager_new(sd_event *event, Manager **ret, Error *err) {
        _cleanup_(manager_freep) Manager *m = calloc(1, sizeof(*m));
        int r;

        if (!m)
                return error_oom(err);
        m->event = sd_event_ref(event);
        m->admin_group = policy_admin_group();
        r = config_load(getenv("QUARRY_CONFIG") ?: CONFIG_FILE, &m->config, err);
        if (r >= 0)
                r = queue_new(event, &m->config, &m->queue, err);
        if (r >= 0)
                r = audit_new(event, &m->registry, &m->audit, err);
        m->registry.audit = m->audit;
        if (r >= 0)
                r = watch_new(m, &m->watch, err);
        if (r >= 0)
                r = mount_ids_new(m, &m->mount_ids, err);
        if (r >= 0)
                r = scheduler_new(m, &m->scheduler, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int manager_start(Manager *m, Error *err) {
        return reconcile_start(m, err);
}

void manager_try_again(Manager *m) {
        Error err = {};

        if (m->failure.kind == ERROR_NONE || m->registry.pools)
                return;
        m->failure = (Error) {};
        m->ready = false;
        if (reconcile_start(m, &err) < 0) {
                m->failure = err;
                m->ready = true;
        }
}

void manager_free(Manager *m) {
        if (!m)
                return;
        sd_event_source_disable_unref(m->missing_source);
        sd_event_source_disable_unref(m->rotation_pause);
        watch_free(m->watch);
        mount_ids_free(m->mount_ids);
        queue_free(m->queue);
        usage_end(m);
        m->registry.audit = NULL;
        audit_free(m->audit);
        registry_done(&m->registry);
        while (m->operations)
                operation_free(m->operations);
        scheduler_free(m->scheduler);
        config_done(&m->config);
        sd_event_unref(m->event);
        free(m);
}
