/* A volume, or a snapshot of one, whose contents its caller writes: a row, a device through the caller's socket, and a
 * byte back that says that all is there. Whoever goes before that leaves nothing behind. */

#include "broker/find.h"
#include "broker/policy.h"
#include "broker/quota.h"
#include "broker/space.h"
#include "broker/transfer.h"
#include "broker/volume.h"

#include <quarry/clock.h>
#include <quarry/text.h>

#include <sys/socket.h>
#include <unistd.h>

/* --- the end ---------------------------------------------------------------------------------------------- */

static void on_accepted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        VolumeEntry *entry = op->volume;
        Error failure = {};

        /* What was adopted in part cannot be told from what there was. */
        if (!op->job.foreign && operation_outlives_worker(op, err) &&
            operation_run_job(op, JOB_VOLUME_ACCEPT, on_accepted, &failure) >= 0)
                return;
        if (err) {
                transfer_give_up(op, err);
                return;
        }
        if (entry->volume.spec.key_source != KEY_SOURCE_NONE) /* as its header has it, whatever was said */
                registry_set_key(&op->manager->registry, entry,
                                 *result->keys.host_key ? KEY_SOURCE_HOST : KEY_SOURCE_PASSPHRASE,
                                 result->keys.host_key);
        if (op->job.foreign) {
                entry->volume.spec.uid = result->uid;
                entry->volume.spec.gid = result->gid;
                entry->volume.spec.mode = result->mode;
        }
        entry->volume.state = VOLUME_READY;
        entry->made_usec = clock_usec(CLOCK_REALTIME);
        entry->open = result->open;
        entry->used = result->used;
        entry->used_is_known = result->used > 0;
        volume_create_settle(op);
}

static void on_written(Operation *op, const Error *err) {
        Error failure = {};

        if (operation_run_job(op, JOB_VOLUME_ACCEPT, on_accepted, &failure) < 0)
                transfer_give_up(op, &failure);
}

/* --- the way there ---------------------------------------------------------------------------------------- */

static int hand_over(const Operation *op, int device) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        char byte = 0;
        struct iovec part = { &byte, 1 };
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        control.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS,
                                            .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &device, sizeof(device));
        return sendmsg(op->transfer_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static void on_made(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};
        int r;

        if (err) {
                op->failure = *err;
                /* The worker undoes what it did, unless it died or could not. */
                if (err->kind == ERROR_WORKER_DIED || err->undo_failed)
                        volume_clean_up(op);
                else
                        volume_drop_row(op);
                return;
        }
        operation_unguard(op); /* what it begins as, it is */
        r = *mount_fd < 0 ? -EPROTO : hand_over(op, *mount_fd);
        if (*mount_fd >= 0)
                close(TAKE_FD(*mount_fd)); /* it is closed behind the caller */
        if (r >= 0)
                r = transfer_begin(op, on_written);
        if (r >= 0)
                return;
        error_errno(&failure, r, "cannot hand over the device");
        transfer_give_up(op, &failure);
}

static void on_row_written(const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (!err && operation_run_job(op, JOB_VOLUME_RECEIVE, on_made, &failure) >= 0)
                return;
        op->failure = err ? *err : failure;
        /* A commit that is said to have failed may have reached the disk, unless the disk is full. */
        if (err && err->kind == ERROR_NO_SPACE)
                operation_finish_removed(op, &op->failure);
        else
                volume_drop_row(op);
}

static int receive_run(Operation *op, Error *err) {
        return catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_written, op, err);
}

/* --- a copy of another ------------------------------------------------------------------------------------ */

static void on_guarded(Operation *op, const Error *err) {
        const VolumeEntry *base = registry_find_uuid(&op->manager->registry, op->job.source.uuid);
        Error failure = {};
        int r;

        if (err) {
                operation_finish_removed(op, err);
                return;
        }
        r = volume_check_ready(base, &failure);
        if (r >= 0)
                r = operation_set_source(op, base, &failure);
        if (r >= 0)
                r = receive_run(op, &failure);
        if (r < 0)
                operation_finish_removed(op, &failure);
}

static int copy_start(Operation *op, Error *err) {
        operation_guard(op, registry_find_uuid(&op->manager->registry, op->job.source.uuid), on_guarded);
        return 0;
}

/* --- judging the request ---------------------------------------------------------------------------------- */

static int check_room(Manager *m, PoolEntry *pool, const TenantEntry *tenant, const VolumeSpec *spec, Error *err) {
        int r;

        r = spec->role == ROLE_SNAPSHOT ? quota_check_snapshots(tenant, 1, err) : quota_check_volumes(tenant, 1, err);
        if (r >= 0 && spec->role != ROLE_SNAPSHOT)
                r = quota_check_size(m, pool, tenant, spec->size, err);
        return r < 0 ? r : space_check_create(pool, err);
}

static int new_volume(Manager *m, const Caller *caller, ReceiveRequest *request, VolumeEntry **ret, Error *err) {
        VolumeSpec *spec = &request->spec;
        TenantEntry *tenant;
        PoolEntry *pool;
        int r;

        r = volume_spec_normalize(spec, err);
        if (r >= 0)
                r = find_place(m, caller, spec->tenant, spec->pool, &pool, &tenant, err);
        if (r >= 0 && registry_find_anywhere(&m->registry, spec->tenant, spec->name))
                r = error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "volume %s exists already", spec->name);
        if (r >= 0)
                r = registry_check_old_names(&m->registry, spec->tenant, spec->name, NULL, err);
        if (r >= 0)
                r = check_room(m, pool, tenant, spec, err);
        if (r >= 0 && request->image)
                r = quota_check_snapshots(tenant, 1, err);
        return r < 0 ? r : volume_create_entry(m, pool, spec, ret, err);
}

static int check_base(const VolumeEntry *base, const VolumeEntry *origin, const char *name, Error *err) {
        if (base->volume.spec.role != ROLE_SNAPSHOT || base->origin != origin)
                return error_field(err, "base", "%s is no snapshot of %s", base->volume.spec.name,
                                   origin->volume.spec.name);
        if (volume_entry_find_snapshot(origin, name))
                return error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "snapshot %s@%s exists already",
                                 origin->volume.spec.name, name);
        return pool_entry_check_changes(origin->pool, err);
}

static int new_snapshot(Manager *m, const ReceiveRequest *request, VolumeEntry **ret, Error *err) {
        const VolumeEntry *origin = request->origin;
        VolumeSpec spec = {};
        int r;

        r = check_base(request->base, origin, request->snapshot, err);
        if (r >= 0 && request->spec.size > 0 && request->spec.size < request->base->volume.spec.size)
                r = error_field(err, "sizeBytes", "%s is larger than that, and no volume shrinks",
                                request->base->volume.spec.name);
        if (r < 0)
                return r;
        if (volume_spec_copy(&origin->volume.spec, &spec) < 0)
                return error_oom(err);
        spec.role = ROLE_SNAPSHOT;
        spec.protected = false;
        spec.origin = origin->volume.uuid;
        spec.size = request->spec.size > 0 ? request->spec.size : request->base->volume.spec.size;
        full_name_format(origin->volume.spec.name, request->snapshot, spec.name);
        spec.labels = strv_free(spec.labels);
        for (char *const *l = request->spec.labels; l && *l && r >= 0; l++)
                r = volume_spec_add_label(&spec, *l, err);
        if (r >= 0)
                r = volume_spec_normalize(&spec, err);
        if (r >= 0)
                r = check_room(m, origin->pool, origin->tenant, &spec, err);
        if (r >= 0)
                r = volume_create_entry(m, origin->pool, &spec, ret, err);
        volume_spec_done(&spec);
        return r;
}

static int receive(Manager *m, const Caller *caller, ReceiveRequest *request, int *transfer_fd, const Watcher *watcher,
                   Error *err) {
        VolumeEntry *entry = NULL;
        Operation *op;
        int r;

        r = operation_new(m, "receive", caller, watcher, request->base ? copy_start : receive_run, &op, err);
        if (r < 0)
                return r;
        r = request->base ? new_snapshot(m, request, &entry, err) : new_volume(m, caller, request, &entry, err);
        if (r < 0) {
                operation_free(op);
                return r;
        }
        if (request->base) {
                op->job.source.uuid = request->base->volume.uuid;
                volume_set_host_key(&entry->volume, request->origin->volume.host_key);
        }
        op->job.foreign = request->foreign;
        op->transfer_fd = TAKE_FD(*transfer_fd);
        operation_begin_on_volume(op, entry);
        return 0;
}

int volume_receive(Manager *m, const Caller *caller, ReceiveRequest *request, int transfer_fd, const Watcher *watcher,
                   Error *err) {
        int r;

        r = receive(m, caller, request, &transfer_fd, watcher, err);
        volume_spec_done(&request->spec);
        closep(&transfer_fd);
        return r;
}
