#include "broker/mount-id.h"

#include "broker/policy.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/clock.h>
#include <quarry/docker.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A folder for each volume, by its UUID, with a file for each ID, and one more if it was mounted for these. */
#define FOLDER "/run/quarry/mount-ids"
#define OURS ".mounted"

/* Podman gives this one for all of its containers together, and counts by itself, until the host is booted anew: it
 * forgets none. */
#define PODMAN_ID "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2"

#define START_USEC (10 * UINT64_C(1000000))
#define RENEW_USEC (20 * UINT64_C(1000000)) /* so long an engine may take to use what it mounted, or mount it again */
#define PAUSE_MAX_USEC (3600 * UINT64_C(1000000))
#define LONG_USEC (2 * UINT64_C(1000000)) /* to wait for a mount */
#define WAIT_MAX_USEC (600 * UINT64_C(1000000)) /* of engines that ask all the time, so much is one wait */

/* Each is a file in /run, which has room for so many. */
#define IDS_OF_OTHERS_MAX 128u

struct MountIds {
        Manager *manager;
        sd_event_source *timer;
        uint64_t pause;     /* until the look after the next one, microseconds */
        uint64_t activated; /* when quarryd began, or an engine: CLOCK_BOOTTIME, microseconds */
        unsigned n_waits;   /* Mounts that engines wait for, */
        uint64_t since, until; /* and from when to when they did: CLOCK_BOOTTIME */
};

/* --- files ----------------------------------------------------------------------------------------------- */

static void folder_path(sd_id128_t volume, char *buf, size_t size) {
        char uuid[UUID_TEXT_MAX];

        buffer_format(buf, size, FOLDER "/%s", uuid_format(volume, uuid));
}

/* -ENOENT if it has none. */
static int folder_open(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX + 1];

        folder_path(volume, path, sizeof(path));
        return RET_NERRNO(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

static int folder_make(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX + 1];

        folder_path(volume, path, sizeof(path));
        if (mkdir(path, 0700) < 0 && errno == ENOENT && mkdir(FOLDER, 0700) >= 0)
                (void) mkdir(path, 0700);
        return folder_open(volume);
}

/* Returns 1 if it is new, 0 if it was there, and is as of now then: by the clock that nobody sets. */
static int file_make(int folder, const char *name) {
        _cleanup_close_ int fd = RET_NERRNO(
                openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        struct timespec times[2] = {};

        if (fd < 0 && fd != -EEXIST)
                return fd;
        if (clock_gettime(CLOCK_BOOTTIME, &times[0]) < 0)
                return -errno;
        times[1] = times[0];
        return utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : fd >= 0;
}

typedef struct Found {
        unsigned n;            /* IDs, */
        unsigned n_old, n_due; /* those of them that an engine may have forgotten, and that soon may be such */
        bool ours;
} Found;

/* A container with several volumes uses none of them before the last is mounted: what was given just before an engine
 * had to wait for long is as if it were given when that ended. */
static uint64_t time_of_use(const MountIds *ids, uint64_t made, uint64_t now) {
        uint64_t until = ids->n_waits > 0 ? now : ids->until;

        return until >= ids->since + LONG_USEC && made + RENEW_USEC >= ids->since && made < until ? until : made;
}

static void count_id(int folder, const char *id, const MountIds *ids, Found *found) {
        uint64_t now = clock_usec(CLOCK_BOOTTIME), made;
        struct stat status;

        found->n++;
        if (!ids || streq(id, PODMAN_ID) || fstatat(folder, id, &status, AT_SYMLINK_NOFOLLOW) < 0)
                return;
        made = (uint64_t) status.st_mtim.tv_sec * 1000000 + (uint64_t) status.st_mtim.tv_nsec / 1000;
        if (time_of_use(ids, made, now) + RENEW_USEC <= now ? made < ids->activated : made > now) /* of another clock */
                found->n_old++;
        else if (made < ids->activated)
                found->n_due++;
}

static void dir_closep(DIR **dir) {
        if (*dir)
                closedir(*dir);
}

/* ids: NULL if it does not matter how old they are; remove: all of it. */
static int each_file(sd_id128_t volume, const MountIds *ids, bool remove, Found *ret) {
        _cleanup_(dir_closep) DIR *dir = NULL;
        Found found = {};
        int fd;

        fd = folder_open(volume);
        dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
                closep(&fd);
                *ret = found;
                return fd == -ENOENT ? 0 : fd < 0 ? fd : -ENOMEM;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
                found.ours = found.ours || streq(entry->d_name, OURS);
                if (mount_id_is_valid(entry->d_name))
                        count_id(fd, entry->d_name, ids, &found);
                if (remove && !streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        (void) unlinkat(fd, entry->d_name, 0);
        }
        *ret = found;
        return 0;
}

bool mount_ids_exist(sd_id128_t volume) {
        Found found;

        return each_file(volume, NULL, false, &found) >= 0 && found.n > 0;
}

void mount_ids_clear(sd_id128_t volume) {
        char path[sizeof(FOLDER) + UUID_TEXT_MAX + 1];
        Found found;

        folder_path(volume, path, sizeof(path));
        (void) each_file(volume, NULL, true, &found);
        (void) rmdir(path);
}

void mount_ids_keep(sd_id128_t volume) {
        _cleanup_close_ int folder = folder_open(volume);

        if (folder >= 0)
                (void) unlinkat(folder, OURS, 0);
}

/* --- mounting -------------------------------------------------------------------------------------------- */

static bool is_at_standard_place(const VolumeEntry *entry) {
        char path[MOUNT_PATH_MAX];

        volume_mount_path(entry->volume.spec.tenant, entry->volume.spec.name, path);
        for (size_t i = 0; i < entry->n_holds; i++)
                if (streq(entry->holds[i].path, path))
                        return true;
        return false;
}

/* Who is no administrator could give any number of them. */
static int check_number(const Operation *op, int folder, Error *err) {
        const VolumeSpec *spec = &op->volume->volume.spec;
        Found found;
        int r;

        if (op->caller.admin || faccessat(folder, op->mount_id, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                return 0;
        r = each_file(op->volume->volume.uuid, NULL, false, &found);
        if (r < 0 || found.n < IDS_OF_OTHERS_MAX)
                return r < 0 ? error_errno(err, r, "cannot see for whom volume %s is mounted", spec->name) : 0;
        r = error_set(err, ERROR_OVERLOADED, EBUSY,
                      "volume %s is mounted for %u containers: for more only administrators mount it", spec->name,
                      found.n);
        error_hint(err, "end some; or, if nobody uses it: quarry umount %s", VOLUME_REFERENCE(spec));
        return r;
}

int mount_id_begin(Operation *op, Error *err) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        watch_look(op->manager->watch);
        folder = folder_make(op->volume->volume.uuid);
        r = folder < 0 ? 0 : check_number(op, folder, err);
        if (r < 0)
                return r;
        r = folder;
        if (r >= 0 && !is_at_standard_place(op->volume))
                r = file_make(folder, OURS);
        if (r >= 0)
                r = file_make(folder, op->mount_id);
        if (r < 0)
                return error_errno(err, r, "cannot note in " FOLDER " for whom volume %s is mounted",
                                   op->volume->volume.spec.name);
        op->mount_id_is_new = r > 0;
        return 0;
}

/* It may have been mounted all the same: the next look sees to it. */
void mount_id_give_up(Operation *op) {
        _cleanup_close_ int folder = op->mount_id_is_new ? folder_open(op->volume->volume.uuid) : -EBADF;

        if (folder < 0)
                return;
        (void) unlinkat(folder, op->mount_id, 0);
        mount_ids_look_soon(op->manager->mount_ids);
}

/* --- unmounting ------------------------------------------------------------------------------------------ */

static void on_unmounted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                volume_take_closed(op, result);
                mount_ids_clear(op->volume->volume.uuid);
        } else
                mount_ids_look_soon(op->manager->mount_ids);
        operation_finish(op, err && err->kind != ERROR_VOLUME_BUSY ? err : NULL);
}

static int unmount_for_start(Operation *op, Error *err) {
        sd_id128_t uuid = op->volume->volume.uuid;
        _cleanup_close_ int folder = folder_open(uuid);
        Found found;
        int r = 0;

        if (folder >= 0 && unlinkat(folder, op->mount_id, 0) < 0 && errno != ENOENT)
                r = -errno;
        if (r >= 0)
                r = each_file(uuid, op->manager->mount_ids, false, &found);
        if (r < 0)
                return error_errno(err, r, "cannot note in " FOLDER " for whom volume %s is mounted",
                                   op->volume->volume.spec.name);
        if (found.n == 0 && found.ours)
                return operation_run_job(op, JOB_VOLUME_UMOUNT, on_unmounted, err);
        if (found.n == 0)
                mount_ids_clear(uuid);
        else if (found.n == found.n_old) /* whoever gave the others may be waited for in vain */
                mount_ids_look_soon(op->manager->mount_ids);
        operation_finish(op, NULL);
        return 0;
}

int volume_unmount_for(Manager *m, const Caller *caller, VolumeEntry *entry, const char *id, const Watcher *watcher,
                       Error *err) {
        Operation *op;
        int r;

        r = operation_new(m, "umount", caller, watcher, unmount_for_start, &op, err);
        if (r < 0)
                return r;
        op->mount_id = strdup(id);
        if (!op->mount_id) {
                operation_free(op);
                return error_oom(err);
        }
        operation_begin_on_volume(op, entry);
        return 0;
}

VolumeEntry *mount_id_find(Manager *m, const Caller *caller, const char *tenant, const char *id) {
        _cleanup_(dir_closep) DIR *dir = streq(id, PODMAN_ID) ? NULL : opendir(FOLDER);
        sd_id128_t uuid;

        for (struct dirent *folder; dir && (folder = readdir(dir));) {
                char path[UUID_TEXT_MAX + MOUNT_ID_MAX + 2];
                VolumeEntry *entry;

                if (sd_id128_from_string(folder->d_name, &uuid) < 0)
                        continue;
                entry = registry_find_uuid(&m->registry, uuid);
                buffer_format(path, sizeof(path), "%s/%s", folder->d_name, id);
                if (entry && entry->volume.state == VOLUME_READY && streq(entry->volume.spec.tenant, tenant) &&
                    policy_may_see_volume(caller, entry) && faccessat(dirfd(dir), path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                        return entry;
        }
        return NULL;
}

/* --- removing -------------------------------------------------------------------------------------------- */

static void on_idle(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (err) {
                operation_finish(op, err);
                return;
        }
        volume_take_closed(op, result);
        mount_ids_clear(op->volume->volume.uuid);
        op->job.if_unused = false;
        if (volume_remove_start(op, &failure) < 0)
                operation_finish(op, &failure);
}

static int remove_idle_start(Operation *op, Error *err) {
        Found found;
        int r;

        r = each_file(op->volume->volume.uuid, NULL, false, &found);
        if (r < 0)
                return error_errno(err, r, "cannot see for whom volume %s is mounted", op->volume->volume.spec.name);
        r = volume_check_removal(op->volume, err);
        if (r < 0)
                return r;
        if (!found.ours)
                return volume_remove_start(op, err);
        op->job.if_unused = op->volume->volume.spec.kind != KIND_BIND;
        return operation_run_job(op, JOB_VOLUME_UMOUNT, on_idle, err);
}

int volume_remove_idle(Manager *m, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err) {
        Operation *op;
        int r;

        r = operation_new(m, "rm", caller, watcher, remove_idle_start, &op, err);
        if (r >= 0)
                operation_begin_on_volume(op, entry);
        return r;
}

/* --- what an engine has forgotten ------------------------------------------------------------------------ */

static void on_forgotten(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;

        if (!err) {
                op->verb = "umount"; /* for the log: only that it was done */
                volume_take_closed(op, result);
                mount_ids_clear(op->volume->volume.uuid);
        }
        operation_finish(op, err);
}

/* Whoever is at it now may have mounted it again meanwhile. */
static int forget_start(Operation *op, Error *err) {
        const Volume *volume = &op->volume->volume;
        Found found;

        if (each_file(volume->uuid, op->manager->mount_ids, false, &found) < 0 || !found.ours ||
            found.n > found.n_old || pool_entry_check(op->pool, NULL) < 0) {
                operation_finish(op, NULL);
                return 0;
        }
        op->job.if_unused = found.n > 0;
        return operation_run_job(op, JOB_VOLUME_UMOUNT, on_forgotten, err);
}

static void forget(Manager *m, VolumeEntry *entry) {
        Caller self = { .admin = true };
        Operation *op;
        Error err = {};

        if (operation_new(m, NULL, &self, NULL, forget_start, &op, &err) < 0)
                log_failure(entry->volume.spec.name, &err, "cannot unmount it");
        else
                operation_begin_on_volume(op, entry);
}

static bool every_pool_is_there(const Manager *m) {
        for (const PoolEntry *p = m->registry.pools; p; p = p->next)
                if (p->state != POOL_ACTIVE)
                        return false;
        return m->ready;
}

/* Returns whether it is to be looked at again. What is in a directory of the host nobody but engines can tell: what
 * these have forgotten of it stays until it is removed. */
static bool look_at(MountIds *ids, sd_id128_t uuid) {
        VolumeEntry *entry = registry_find_uuid(&ids->manager->registry, uuid);
        Found found;

        if (!entry || entry->volume.state == VOLUME_FREEING) {
                bool gone = every_pool_is_there(ids->manager);

                if (gone)
                        mount_ids_clear(uuid);
                return !gone;
        }
        if (each_file(uuid, ids, false, &found) < 0)
                return false;
        if (found.n > found.n_old)
                return found.n_old + found.n_due > 0;
        if (found.ours && (found.n == 0 || entry->volume.spec.kind != KIND_BIND)) {
                forget(ids->manager, entry);
                return true;
        }
        if (!found.ours)
                mount_ids_clear(uuid);
        return false;
}

/* Never later than it would be without: who has a look made again and again does not put it off by that. */
static void look_in(MountIds *ids, uint64_t usec) {
        uint64_t due = 0, now = clock_usec(CLOCK_MONOTONIC);
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(ids->timer, &enabled);
        (void) sd_event_source_get_time(ids->timer, &due);
        if (enabled != SD_EVENT_OFF && due <= now + usec)
                return;
        (void) sd_event_source_set_time(ids->timer, now + usec);
        (void) sd_event_source_set_enabled(ids->timer, SD_EVENT_ONESHOT);
}

/* When those are due that were mounted just before an engine began, if that is not long ago; else ever more seldom. */
static void look_again(MountIds *ids) {
        uint64_t due = ids->activated + RENEW_USEC, now = clock_usec(CLOCK_BOOTTIME);

        look_in(ids, ids->pause == RENEW_USEC && due > now ? due - now : ids->pause);
        ids->pause = ids->pause * 2 < PAUSE_MAX_USEC ? ids->pause * 2 : PAUSE_MAX_USEC;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(dir_closep) DIR *dir = opendir(FOLDER);
        MountIds *ids = userdata;
        bool again = false;
        sd_id128_t uuid;

        if (!ids->manager->ready)
                again = true;
        else
                for (struct dirent *entry; dir && (entry = readdir(dir));)
                        if (sd_id128_from_string(entry->d_name, &uuid) >= 0)
                                again = look_at(ids, uuid) || again;
        if (again)
                look_again(ids);
        else
                ids->pause = RENEW_USEC;
        return 0;
}

void mount_ids_look_soon(MountIds *ids) {
        ids->pause = RENEW_USEC;
        look_in(ids, START_USEC);
}

/* Podman begins anew with each of its commands: that is no reason to look ever more often at what is in use. */
void mount_ids_activate(MountIds *ids) {
        uint64_t now = clock_usec(CLOCK_BOOTTIME);

        if (now > ids->activated + ids->pause)
                ids->pause = RENEW_USEC;
        ids->activated = now;
        look_in(ids, ids->pause);
}

void mount_ids_wait(MountIds *ids) {
        uint64_t now = clock_usec(CLOCK_BOOTTIME);

        if (ids->n_waits++ == 0 && (now > ids->until + RENEW_USEC || now > ids->since + WAIT_MAX_USEC))
                ids->since = now;
}

void mount_ids_waited(MountIds *ids) {
        if (--ids->n_waits == 0)
                ids->until = clock_usec(CLOCK_BOOTTIME);
}

int mount_ids_new(Manager *m, MountIds **ret, Error *err) {
        MountIds *ids = calloc(1, sizeof(*ids));
        int r;

        if (!ids)
                return error_oom(err);
        /* Whose mount the last quarryd was at may not have heard of it. */
        *ids = (MountIds) { .manager = m, .pause = RENEW_USEC, .activated = clock_usec(CLOCK_BOOTTIME) };
        r = sd_event_add_time_relative(m->event, &ids->timer, CLOCK_MONOTONIC, START_USEC, 0, on_look, ids);
        if (r < 0) {
                free(ids);
                return error_errno(err, r, "cannot set a timer");
        }
        *ret = ids;
        return 0;
}

void mount_ids_free(MountIds *ids) {
        if (!ids)
                return;
        sd_event_source_disable_unref(ids->timer);
        free(ids);
}
