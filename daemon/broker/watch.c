#include "broker/watch.h"

#include "broker/volume.h"
#include "broker/watch-source.h"

#include <quarry/fd.h>
#include <quarry/log.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sysmacros.h>

#define MOUNTINFO "/proc/self/mountinfo"
#define SETTLE_USEC (200 * UINT64_C(1000))        /* changes come in bursts */
#define UNATTENDED_USEC (10 * UINT64_C(1000000))  /* open and mounted nowhere: looked at this often */

struct Watch {
        Manager *manager;
        int fd;
        sd_event_source *io, *settle, *unattended;
};

/* --- from mountinfo to the entries ---------------------------------------------------------------------- */

typedef struct Found { /* the holds of one volume, while they are collected */
        VolumeEntry *entry;
        Hold *holds;
        size_t n;
} Found;

typedef struct Lookup {
        Registry *registry;
        Found *list;
        size_t n;
        MountList mounts;
        SourceList sources;
        dev_t last_device; /* mounts of one device often come together */
        VolumeEntry *last_entry;
} Lookup;

/* Kernel names are made of the volume's UUID. NULL: it is none's. */
static VolumeEntry *volume_of_device(Registry *registry, dev_t device) {
        _cleanup_free_ char *name = NULL;
        char path[64];
        sd_id128_t uuid;

        buffer_format(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(device), minor(device));
        if (file_read(AT_FDCWD, path, 4096, &name, NULL) < 0)
                return NULL;
        name[strcspn(name, "\n")] = 0;
        return volume_uuid_from_kernel_name(name, &uuid) >= 0 ? registry_find_uuid(registry, uuid) : NULL;
}

static VolumeEntry *entry_of_device(Lookup *f, dev_t device) {
        if (device == f->last_device)
                return f->last_entry;
        f->last_device = device;
        f->last_entry = volume_of_device(f->registry, device);
        return f->last_entry;
}

static Found *found_for(Lookup *f, VolumeEntry *entry) {
        Found *list;

        for (size_t i = f->n; i > 0; i--)
                if (f->list[i - 1].entry == entry)
                        return &f->list[i - 1];
        list = reallocarray(f->list, f->n + 1, sizeof(*list));
        if (!list)
                return NULL;
        f->list = list;
        list[f->n] = (Found) { .entry = entry };
        return &list[f->n++];
}

static int add_hold(VolumeEntry *entry, const MountEntry *mount, void *userdata) {
        Found *found = found_for(userdata, entry);
        Hold *holds;
        char *path;

        if (!found)
                return -ENOMEM;
        holds = reallocarray(found->holds, found->n + 1, sizeof(*holds));
        if (!holds)
                return -ENOMEM;
        found->holds = holds;
        path = strdup(mount->target);
        if (!path)
                return -ENOMEM;
        text_clean(path); /* anything goes in a path, and not in JSON */
        holds[found->n++] = (Hold) { .path = path, .read_only = mount_options_contain(mount->options, "ro") };
        return 0;
}

/* A filesystem in memory has no device, and is called as the volume would be that has one. */
static VolumeEntry *entry_of_tmpfs(Lookup *f, const MountEntry *mount) {
        VolumeEntry *entry = NULL;
        sd_id128_t uuid;

        if (streq(mount->fstype, "tmpfs") && volume_uuid_from_kernel_name(mount->source, &uuid) >= 0)
                entry = registry_find_uuid(f->registry, uuid);
        return entry && entry->volume.spec.kind == KIND_TMPFS ? entry : NULL;
}

static int note(Lookup *f, const MountEntry *mount) {
        VolumeEntry *entry = major(mount->device) == 0 ? entry_of_tmpfs(f, mount) : entry_of_device(f, mount->device);

        return entry ? add_hold(entry, mount, f)
                     : source_list_find(&f->sources, f->registry, &f->mounts, mount, add_hold, f);
}

static int mounts_read(char *text, MountList *ret) {
        MountEntry mount, *list;
        int r;

        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;) {
                if (r < 0)
                        continue; /* a line that cannot be read hides no other */
                if ((ret->n & (ret->n - 1)) == 0) { /* full: the room is a power of two */
                        list = reallocarray(ret->list, ret->n ? ret->n * 2 : 1, sizeof(*list));
                        if (!list)
                                return -ENOMEM;
                        ret->list = list;
                }
                ret->list[ret->n++] = mount;
        }
        return 0;
}

static int note_source(VolumeEntry *entry, void *userdata) {
        Lookup *f = userdata;

        return entry->volume.spec.kind == KIND_BIND ? source_list_add(&f->sources, entry) : 0;
}

/* What has no device is open as long as it is mounted; a device that somebody was given, as long as they have it. */
static int forget_holds(VolumeEntry *entry, void *userdata) {
        volume_entry_set_holds(entry, NULL, 0);
        entry->open = entry->open && entry->volume.spec.kind == KIND_BLOCK;
        if (entry->lent != 0 && volume_of_device(userdata, entry->lent) != entry) {
                entry->lent = 0;
                entry->open = false;
        }
        return 0;
}

static int look(Lookup *f, char *text) {
        int r = 0;

        for (PoolEntry *p = f->registry->pools; r >= 0 && p; p = p->next)
                r = registry_each_volume(p, note_source, f);
        source_list_sort(&f->sources);
        if (r >= 0)
                r = mounts_read(text, &f->mounts);
        for (size_t i = 0; i < f->mounts.n && r >= 0; i++)
                r = note(f, &f->mounts.list[i]);
        return r;
}

void watch_look(Watch *w) {
        Registry *registry = &w->manager->registry;
        Lookup f = { .registry = registry };
        _cleanup_free_ char *text = NULL;
        int r;

        r = mountinfo_read(&text);
        if (r >= 0)
                r = look(&f, text);
        if (r < 0)
                log_error("watch", "cannot follow " MOUNTINFO ": %s", strerror(-r));

        for (PoolEntry *p = registry->pools; r >= 0 && p; p = p->next)
                registry_each_volume(p, forget_holds, registry);
        for (size_t i = 0; i < f.n; i++)
                if (r >= 0) {
                        volume_entry_set_holds(f.list[i].entry, f.list[i].holds, f.list[i].n);
                        f.list[i].entry->open = true;
                }
        free(f.list);
        free(f.mounts.list);
        source_list_done(&f.sources);
}

/* --- closing what nobody uses --------------------------------------------------------------------------- */

typedef struct Unattended {
        VolumeEntry **list;
        size_t n;
} Unattended;

/* A volume without filesystem is never mounted: it is open until somebody says otherwise. */
static int note_unattended(VolumeEntry *entry, void *userdata) {
        Unattended *u = userdata;
        VolumeEntry **list;

        if (!entry->removal_waits && (!entry->open || entry->n_holds > 0 || entry->unlocked || entry->volume.locked ||
                                      entry->volume.spec.fs == FILESYSTEM_NONE || entry->volume.state != VOLUME_READY))
                return 0;
        if (entry->lane.running || pool_entry_check(entry->pool, NULL) < 0)
                return 0;
        list = reallocarray(u->list, u->n + 1, sizeof(*list));
        if (!list)
                return 0; /* the next look finds it again */
        u->list = list;
        list[u->n++] = entry;
        return 0;
}

static void release_unattended(Watch *w) {
        Unattended u = {};

        for (PoolEntry *p = w->manager->registry.pools; p; p = p->next)
                registry_each_volume(p, note_unattended, &u);
        for (size_t i = 0; i < u.n; i++)
                (u.list[i]->removal_waits ? volume_resume_remove : volume_release)(w->manager, u.list[i]);
        free(u.list);
        /* Some may be in use where we cannot see it, in another mount namespace: look again later. */
        if (u.n > 0)
                watch_volume_opened(w);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata) {
        Watch *w = userdata;

        watch_look(w);
        release_unattended(w);
        return 0;
}

static int on_mountinfo(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Watch *w = userdata;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(w->settle, &enabled);
        if (enabled != SD_EVENT_OFF)
                return 0;
        (void) sd_event_source_set_time_relative(w->settle, SETTLE_USEC);
        return sd_event_source_set_enabled(w->settle, SD_EVENT_ONESHOT);
}

void watch_volume_opened(Watch *w) {
        (void) sd_event_source_set_time_relative(w->unattended, UNATTENDED_USEC);
        (void) sd_event_source_set_enabled(w->unattended, SD_EVENT_ONESHOT);
}

int watch_new(Manager *m, Watch **ret, Error *err) {
        Watch *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return error_oom(err);
        w->manager = m;
        w->fd = open(MOUNTINFO, O_RDONLY | O_CLOEXEC);
        r = w->fd < 0 ? -errno : 0;
        if (r >= 0) /* EPOLLPRI: the list changed */
                r = sd_event_add_io(m->event, &w->io, w->fd, EPOLLPRI | EPOLLET, on_mountinfo, w);
        if (r >= 0)
                r = sd_event_add_time(m->event, &w->settle, CLOCK_MONOTONIC, 0, 0, on_settled, w);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->settle, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(m->event, &w->unattended, CLOCK_MONOTONIC, 0, 0, on_settled, w);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->unattended, SD_EVENT_OFF);
        if (r < 0) {
                watch_free(w);
                return error_errno(err, r, "cannot follow " MOUNTINFO);
        }
        *ret = w;
        return 0;
}

void watch_free(Watch *w) {
        if (!w)
                return;
        sd_event_source_disable_unref(w->io);
        sd_event_source_disable_unref(w->settle);
        sd_event_source_disable_unref(w->unattended);
        if (w->fd >= 0)
                close(w->fd);
        free(w);
}
