/* Mounting, unmounting, and closing what nobody uses any more. */

#include "broker/mount-id.h"
#include "broker/space.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <sys/stat.h>

int volume_check_ready(const VolumeEntry *entry, Error *err) {
        int r;

        r = pool_entry_check(entry->pool, err);
        if (r < 0 || entry->volume.state == VOLUME_READY)
                return r;
        r = error_set(err, ERROR_VOLUME_BROKEN, EUCLEAN, "volume %s is %s%s%s", entry->volume.spec.name,
                      volume_state_to_string(entry->volume.state), entry->volume.failure ? ": " : "",
                      entry->volume.failure ?: "");
        if (entry->volume.state != VOLUME_CREATING)
                error_hint(err, "quarry rm %s", VOLUME_REFERENCE(&entry->volume.spec));
        return r;
}

void volume_may_be_open(Manager *m, VolumeEntry *entry) {
        entry->open = true;
        watch_volume_opened(m->watch);
}

/* It can be used in either case. */
static void on_grown(Operation *op, const Error *err) {
        if (err)
                log_failure(op->volume->volume.spec.name, err, "cannot go on with its growth");
        operation_finish(op, NULL);
}

/* What the kernel tells of a moment later. */
static void note_mounted(VolumeEntry *entry, const char *path, bool read_only) {
        Hold *holds;

        for (size_t i = 0; i < entry->n_holds; i++)
                if (streq(entry->holds[i].path, path))
                        return;
        holds = reallocarray(entry->holds, entry->n_holds + 1, sizeof(*holds));
        if (!holds)
                return;
        entry->holds = holds;
        holds[entry->n_holds] = (Hold) { .path = strdup(path), .read_only = read_only };
        entry->n_holds += holds[entry->n_holds].path != NULL;
}

static void note_unmounted(VolumeEntry *entry) {
        char path[MOUNT_PATH_MAX];

        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, path);
        for (size_t i = entry->n_holds; i > 0; i--)
                if (streq(entry->holds[i - 1].path, path)) {
                        free(entry->holds[i - 1].path);
                        entry->holds[i - 1] = entry->holds[--entry->n_holds];
                }
}

static void mounted_at_standard_place(Operation *op) {
        VolumeEntry *entry = op->volume;

        if (entry->volume.spec.kind != KIND_BLOCK || entry->volume.spec.fs != FILESYSTEM_NONE)
                note_mounted(entry, op->path, op->job.mount.options & MOUNT_READ_ONLY);
        if (!op->mount_id)
                mount_ids_keep(entry->volume.uuid);
}

static void on_mounted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err) {
                if (err->kind == ERROR_WORKER_DIED)
                        volume_may_be_open(op->manager, op->volume);
                if (op->mount_id)
                        mount_id_give_up(op);
                operation_finish(op, err);
                return;
        }
        if (op->job.detached ? *mount_fd < 0 : !result->path) {
                error_set(&failure, ERROR_FAILED, EPROTO, "the worker mounted the volume, and did not say where");
                operation_finish(op, &failure);
                return;
        }
        op->volume->open = true;
        op->volume->unlocked = false; /* from here on it closes behind its last user */
        op->path = TAKE_PTR(result->path);
        op->mount_fd = TAKE_FD(*mount_fd);
        op->volume->stopped = op->job.stopped;
        if (op->path)
                mounted_at_standard_place(op);
        watch_volume_opened(op->manager->watch);
        space_apply(op->manager, op->volume);
        if (op->volume->volume.pending_size > 0 && !pool_entry_failure(op->pool))
                volume_grow_go_on(op, on_grown);
        else
                operation_finish(op, NULL);
}

static int mount_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0)
                r = volume_check_unlocked(op->volume, err);
        op->job.stopped = space_stops(op->volume) && op->volume->volume.spec.role == ROLE_VOLUME &&
                          op->volume->volume.spec.kind == KIND_BLOCK;
        if (r >= 0 && op->mount_id)
                r = mount_id_begin(op, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_MOUNT, on_mounted, err);
}

/* Of a volume without filesystem, what is opened is a device. */
static int mount_judge_raw(const VolumeEntry *entry, const MountSpec *spec, bool detached, Error *err) {
        const char *name = entry->volume.spec.name;
        unsigned said = spec->said & ~(entry->volume.spec.role == ROLE_SNAPSHOT ? (unsigned) MOUNT_READ_ONLY : 0);

        if (detached)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "volume %s has no filesystem to mount elsewhere",
                                 name);
        if (said || !isempty(spec->context))
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s has no filesystem: mount options and contexts do not apply", name);
        return 0;
}

/* The ids of a volume's own filesystem are nobody else's. In a directory of the host they are those of the host: to be
 * shown others for them is to have the rights of others. */
static int mount_judge_other(const Caller *caller, const VolumeSpec *volume, const MountSpec *spec, Error *err) {
        if (volume->kind == KIND_BIND && mount_spec_has_map(spec) && !caller->admin)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "volume %s is a bind volume: showing its files with other ids is for administrators",
                                 volume->name);
        if (!isempty(spec->context))
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "volume %s is %s: a SELinux context is for block volumes", volume->name,
                                 volume_kind_phrase(volume->kind));
        return 0;
}

static int mount_judge(const Caller *caller, const VolumeEntry *entry, const MountSpec *spec, bool detached,
                       Error *err) {
        const char *ref = VOLUME_REFERENCE(&entry->volume.spec);
        int r;

        if ((spec->options & (MOUNT_SUID | MOUNT_DEV)) && !caller->admin)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "mount options suid and dev are for administrators");
        if (!isempty(spec->context) && !caller->admin)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM, "a SELinux context is for administrators");
        r = mount_spec_validate(spec, detached, err);
        if (r >= 0 && entry->volume.spec.kind != KIND_BLOCK)
                return mount_judge_other(caller, &entry->volume.spec, spec, err);
        if (r < 0 || entry->volume.spec.fs == FILESYSTEM_NONE)
                return r < 0 ? r : mount_judge_raw(entry, spec, detached, err);
        if (entry->volume.spec.role == ROLE_SNAPSHOT && !(spec->options & MOUNT_READ_ONLY)) {
                r = error_set(err, ERROR_NOT_SUPPORTED, EROFS, "snapshot %s can only be read", entry->volume.spec.name);
                error_hint(err, "quarry mount -o ro %s; or make a volume of it: quarry clone %s NAME", ref, ref);
        }
        return r;
}

static int mount_new(Manager *m, const Caller *caller, VolumeEntry *entry, const MountSpec *spec, bool detached,
                     const Watcher *watcher, Operation **ret, Error *err) {
        const unsigned attached = MOUNT_SUID | MOUNT_DEV;
        Operation *op;
        int r;

        r = mount_judge(caller, entry, spec, detached, err);
        if (r >= 0)
                r = operation_new(m, "mount", caller, watcher, mount_start, &op, err);
        if (r < 0)
                return r;
        op->job.mount = *spec;
        op->job.mount.options &= ~attached;
        op->job.mount.said &= ~attached;
        op->job.mount.has_giver = !caller->admin;
        op->job.mount.giver_uid = caller->admin ? 0 : caller->uid;
        op->job.mount.giver_gid = caller->admin ? 0 : caller->gid;
        if (entry->volume.spec.read_only) {
                op->job.mount.options |= MOUNT_READ_ONLY;
                op->job.mount.said |= MOUNT_READ_ONLY;
        }
        op->job.detached = detached;
        r = volume_take_members(&op->job, caller, &entry->volume.spec, entry->tenant, err);
        if (r < 0) {
                operation_free(op);
                return r;
        }
        *ret = op;
        return 0;
}

int volume_mount(Manager *m, const Caller *caller, VolumeEntry *entry, const MountSpec *spec, bool detached, int key_fd,
                 int userns_fd, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = mount_new(m, caller, entry, spec, detached, watcher, &op, err);
        if (r < 0) {
                closep(&key_fd);
                closep(&userns_fd);
                return r;
        }
        op->key_fd = key_fd;
        op->second_fd = userns_fd;
        operation_begin_on_volume(op, entry);
        return 0;
}

static int check_directory(const VolumeEntry *entry, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;

        if (spec->kind != KIND_BLOCK || spec->fs != FILESYSTEM_NONE)
                return 0;
        return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                         "volume %s has no filesystem: there is no directory that a container could be given",
                         spec->name);
}

int volume_mount_for(Manager *m, const Caller *caller, VolumeEntry *entry, const char *id, int process_fd,
                     const Watcher *watcher, Error *err) {
        MountSpec spec = { .peer = process_fd >= 0 };
        Operation *op;
        int r;

        r = check_directory(entry, err);
        if (r >= 0)
                r = mount_new(m, caller, entry, &spec, false, watcher, &op, err);
        if (r < 0) {
                closep(&process_fd);
                return r;
        }
        op->second_fd = process_fd;
        op->mount_id = strdup(id);
        if (!op->mount_id) {
                operation_free(op);
                return error_oom(err);
        }
        operation_begin_on_volume(op, entry);
        return 0;
}

/* --- its device ------------------------------------------------------------------------------------------- */

/* Without filesystem nobody looks after it: what the worker may have opened is closed behind this. */
static void may_be_given(Operation *op) {
        if (op->volume->volume.spec.fs != FILESYSTEM_NONE)
                volume_may_be_open(op->manager, op->volume);
        else if (!op->volume->open)
                volume_release(op->manager, op->volume);
}

static void on_given(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};
        struct stat status;

        if (!err && (*mount_fd < 0 || fstat(*mount_fd, &status) < 0)) {
                error_set(&failure, ERROR_FAILED, EPROTO, "the worker opened the volume, and did not hand it over");
                err = &failure;
        }
        if (err) {
                if (err->kind == ERROR_WORKER_DIED)
                        may_be_given(op);
                operation_finish(op, err);
                return;
        }
        op->volume->open = true;
        op->volume->unlocked = false;
        op->volume->lent = status.st_rdev;
        op->mount_fd = TAKE_FD(*mount_fd);
        watch_volume_opened(op->manager->watch);
        if (op->volume->volume.pending_size > 0 && !pool_entry_failure(op->pool))
                volume_grow_go_on(op, on_grown);
        else
                operation_finish(op, NULL);
}

static int give_start(Operation *op, Error *err) {
        int r;

        r = volume_check_ready(op->volume, err);
        if (r >= 0 && !op->job.as_stored)
                r = volume_check_unlocked(op->volume, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_DEVICE, on_given, err);
}

/* What users write there is mounted by nobody but themselves: a filesystem of ours, whose bytes are read with every
 * right, is for those who have these rights. */
int volume_check_device_of(const Caller *caller, Filesystem fs, const char *name, Error *err) {
        if (fs == FILESYSTEM_NONE || caller->admin)
                return 0;
        return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                         "volume %s has a filesystem: its device is for administrators", name);
}

int volume_give_device(Manager *m, const Caller *caller, VolumeEntry *entry, bool read_only, const Watcher *watcher,
                       Error *err) {
        Operation *op;
        int r;

        r = volume_check_block(entry, "its device", err);
        if (r >= 0)
                r = volume_check_device_of(caller, entry->volume.spec.fs, entry->volume.spec.name, err);
        if (r >= 0)
                r = operation_new(m, "acquire", caller, watcher, give_start, &op, err);
        if (r < 0)
                return r;
        op->job.read_only = read_only;
        operation_begin_on_volume(op, entry);
        return 0;
}

int volume_give_stored(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;
        Operation *op;
        int r;

        r = volume_check_block(entry, "a stream", err);
        if (r >= 0 && spec->role != ROLE_SNAPSHOT) {
                r = error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "%s is a volume, which changes: snapshots are sent",
                              spec->name);
                error_hint(err, "quarry snapshot %s", VOLUME_REFERENCE(spec));
        }
        if (r >= 0)
                r = volume_check_device_of(caller, spec->fs, spec->name, err);
        if (r >= 0)
                r = operation_new(m, "send", caller, watcher, give_start, &op, err);
        if (r < 0)
                return r;
        op->job.read_only = op->job.as_stored = true;
        operation_begin_on_volume(op, entry);
        return 0;
}

/* --- closing ---------------------------------------------------------------------------------------------- */

static void take_released(Operation *op, JobResult *result) {
        op->volume->open = result->open;
        op->users = TAKE_PTR(result->users);
        op->volume->stopped = op->volume->stopped && result->open;
        if (result->used > 0) {
                op->volume->used = result->used;
                op->volume->used_is_known = true;
        }
}

void volume_take_closed(Operation *op, JobResult *result) {
        note_unmounted(op->volume);
        take_released(op, result);
}

static void on_unmounted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                volume_take_closed(op, result);
                mount_ids_clear(op->volume->volume.uuid);
        }
        operation_finish(op, err);
}

static void on_released(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err)
                take_released(op, result);
        operation_finish(op, err);
}

/* Mounted elsewhere only: the caller's own mount is not ours to take away. */
static int check_standard_place(VolumeEntry *entry, Error *err) {
        char standard[MOUNT_PATH_MAX];
        int r;

        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, standard);
        for (size_t i = 0; i < entry->n_holds; i++)
                if (streq(entry->holds[i].path, standard))
                        return 0;
        if (entry->n_holds == 0)
                return 0;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is mounted at %s, not at its standard place",
                      entry->volume.spec.name, entry->holds[0].path);
        error_hint(err, "quarry umount %s", entry->holds[0].path);
        return r;
}

/* A container has a mount of its own, and Podman's next one would get what is below this one: an engine that has it
 * mounted keeps it, as long as somebody uses it. */
static int check_engines(Operation *op, Error *err) {
        const Volume *volume = &op->volume->volume;
        int r;

        if (op->job.lazy || !mount_ids_exist(volume->uuid))
                return 0;
        op->job.if_unused = volume->spec.kind != KIND_BIND;
        if (op->job.if_unused)
                return 0;
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is mounted for a container engine", volume->spec.name);
        error_hint(err, "end the containers that use it; or leave it to them: quarry umount --lazy %s",
                   VOLUME_REFERENCE(&volume->spec));
        return r;
}

static int unmount_start(Operation *op, Error *err) {
        int r;

        watch_look(op->manager->watch);
        /* From a pool that failed, what is mounted must go before it can come back. */
        r = op->pool->state == POOL_UNAVAILABLE && !op->pool->operation ? 0 : pool_entry_check(op->pool, err);
        if (r >= 0)
                r = check_standard_place(op->volume, err);
        if (r >= 0)
                r = volume_check_not_suspended(op->volume, err);
        if (r >= 0)
                r = check_engines(op, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_UMOUNT, on_unmounted, err);
}

int volume_unmount(Manager *m, const Caller *caller, VolumeEntry *entry, bool lazy, const Watcher *watcher,
                   Error *err) {
        Operation *op;
        int r;

        r = operation_new(m, "umount", caller, watcher, unmount_start, &op, err);
        if (r < 0)
                return r;
        op->job.lazy = lazy;
        operation_begin_on_volume(op, entry);
        return 0;
}

static int release_start(Operation *op, Error *err) {
        int r;

        r = pool_entry_check(op->pool, err);
        return r < 0 ? r : operation_run_job(op, JOB_VOLUME_RELEASE, on_released, err);
}

void volume_release(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (operation_new(m, NULL, &self, NULL, release_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot close its devices");
        else
                operation_begin_on_volume(op, entry);
}
