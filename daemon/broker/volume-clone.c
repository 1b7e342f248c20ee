/* A clone: made as any volume, from a snapshot that nobody takes away meanwhile. */

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/volume.h"

#include <quarry/text.h>

#include <string.h>

static void on_guarded(Operation *op, const Error *err) {
        const VolumeEntry *snapshot = registry_find_uuid(&op->manager->registry, op->job.source.uuid);
        Error failure = {};
        int r;

        if (err) {
                operation_finish_removed(op, err);
                return;
        }
        r = volume_check_ready(snapshot, &failure);
        if (r >= 0)
                r = volume_check_unlocked(snapshot, &failure);
        if (r >= 0)
                r = operation_set_source(op, snapshot, &failure);
        if (r >= 0)
                r = volume_create_run(op, &failure);
        if (r < 0)
                operation_finish_removed(op, &failure);
}

static int clone_start(Operation *op, Error *err) {
        operation_guard(op, registry_find_uuid(&op->manager->registry, op->job.source.uuid), on_guarded);
        return 0;
}

static int spec_make(const VolumeEntry *snapshot, const Reference *name, const char *tenant, char *const *labels,
                     VolumeSpec *ret, Error *err) {
        int r = 0;

        if (volume_spec_copy(&snapshot->volume.spec, ret) < 0)
                return error_oom(err);
        ret->role = ROLE_VOLUME;
        ret->origin = SD_ID128_NULL;
        buffer_format(ret->name, sizeof(ret->name), "%s", name->name);
        buffer_format(ret->tenant, sizeof(ret->tenant), "%s", tenant);
        ret->labels = strv_free(ret->labels);
        for (char *const *l = labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(ret, *l, err);
        return r < 0 ? r : volume_spec_normalize(ret, err);
}

static int check_name(Manager *m, const VolumeEntry *snapshot, const Reference *name, const VolumeSpec *spec,
                      Error *err) {
        const char *pool = snapshot->pool->info.name;

        if (*name->snapshot)
                return error_field(err, "name", "%s@%s is the name of a snapshot, not of a volume", name->name,
                                   name->snapshot);
        if (*name->pool && !streq(name->pool, pool))
                return error_set(err, ERROR_NOT_SUPPORTED, EXDEV,
                                 "snapshot %s is in pool %s: a clone of it cannot be in pool %s",
                                 snapshot->volume.spec.name, pool, name->pool);
        if (registry_find_anywhere(&m->registry, spec->tenant, spec->name))
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", spec->name);
        return registry_check_old_names(&m->registry, spec->tenant, spec->name, NULL, err);
}

static int check_source(const VolumeEntry *snapshot, Error *err) {
        int r;

        if (volume_check_block(snapshot, "clone", err) < 0)
                return error_code(err);
        if (snapshot->volume.spec.role != ROLE_SNAPSHOT) {
                r = error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "%s is a volume: clones are made of snapshots",
                              snapshot->volume.spec.name);
                error_hint(err, "quarry snapshot %s; quarry clone %s@SNAPSHOT NAME",
                           VOLUME_REFERENCE(&snapshot->volume.spec), VOLUME_REFERENCE(&snapshot->volume.spec));
                return r;
        }
        return pool_entry_check_changes(snapshot->pool,
                                        err); /* its own state is looked at when it is this one's turn */
}

static int clone(Manager *m, const Caller *caller, VolumeEntry *snapshot, const Reference *name, char *const *labels,
                 int *key_fd, const Watcher *watcher, Error *err) {
        _cleanup_(volume_spec_done) VolumeSpec spec = {};
        char name_space[TENANT_NAME_MAX + 1];
        TenantEntry *tenant;
        VolumeEntry *entry;
        PoolEntry *pool;
        Operation *op;
        int r;

        r = check_source(snapshot, err);
        if (r >= 0)
                r = policy_tenant(m, caller, name->tenant, "name", name_space, err);
        if (r >= 0)
                r = spec_make(snapshot, name, name_space, labels, &spec, err);
        if (r >= 0)
                r = find_place(m, caller, spec.tenant, snapshot->pool->info.name, &pool, &tenant, err);
        if (r >= 0)
                r = check_name(m, snapshot, name, &spec, err);
        if (r >= 0)
                r = volume_create_check_key(&spec, *key_fd, err);
        if (r >= 0)
                r = quota_check_volumes(tenant, 1, err);
        if (r >= 0)
                r = quota_check_size(m, pool, tenant, spec.size, err);
        if (r >= 0)
                r = space_check_create(snapshot->pool, err);
        if (r >= 0)
                r = operation_new(m, "clone", caller, watcher, clone_start, &op, err);
        if (r < 0)
                return r;
        r = volume_create_entry(m, pool, &spec, &entry, err);
        if (r < 0) {
                operation_free(op);
                return r;
        }
        op->job.source.uuid = snapshot->volume.uuid;
        op->key_fd = TAKE_FD(*key_fd);
        operation_begin_on_volume(op, entry);
        return 0;
}

int volume_clone(Manager *m, const Caller *caller, VolumeEntry *snapshot, const Reference *name, char *const *labels,
                 int key_fd, const Watcher *watcher, Error *err) {
        int r;

        r = clone(m, caller, snapshot, name, labels, &key_fd, watcher, err);
        if (key_fd >= 0)
                close(key_fd);
        return r;
}
