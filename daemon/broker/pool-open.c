#include "broker/pool-open.h"

#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <sys/epoll.h>

static int on_catalog(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        PoolEntry *pool = userdata;

        catalog_dispatch(pool->catalog);
        return 0;
}

/* --- devices that the kernel has ------------------------------------------------------------------------ */

/* A device of ours whose volume the catalog does not know is reported, and closed if nobody uses it. */
static void on_stray_closed(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        if (err)
                log_warning("reconcile", "cannot close a stray device: %s", err->text);
        else if (result->open)
                log_warning("reconcile", "a stray device is in use and was left alone");
}

static void close_stray(Manager *m, PoolEntry *pool, sd_id128_t uuid) {
        _cleanup_(job_done) Job job = { .verb = JOB_VOLUME_RELEASE, .pool = pool->info.uuid };
        char text[UUID_TEXT_MAX];
        Error err = {};

        log_warning(pool->info.name, "the kernel has a device of volume %s, which the catalog does not know",
                    uuid_format(uuid, text));
        job.volume = (Volume) {
                .uuid = uuid,
                .spec = { .tenant = DEFAULT_TENANT, .size = VOLUME_SIZE_MIN, .fs = FILESYSTEM_NONE, .mode = 0755 }
        };
        buffer_format(job.volume.spec.name, sizeof(job.volume.spec.name), "%s", text);
        if (queue_submit(m->queue, &job, -EBADF, NULL, on_stray_closed, NULL, &err) < 0)
                log_failure(pool->info.name, &err, "cannot close a stray device");
}

static int forget_open(VolumeEntry *entry, void *userdata) {
        if (!entry->lane.running)
                entry->open = false;
        return 0;
}

void pool_take_usage(Manager *m, PoolEntry *pool, JobResult *result, VolumeEntry *entry) {
        if (result->n_pools > 0) {
                const PoolInfo *now = &result->pools[0];

                pool->info.data_size = now->data_size;
                pool->info.data_used = now->data_used;
                pool->info.metadata_size = now->metadata_size;
                pool->info.metadata_used = now->metadata_used;
                pool->info.health = now->health;
        }
        if (entry)
                (void) forget_open(entry, NULL);
        else
                registry_each_volume(pool, forget_open, NULL);
        for (size_t i = 0; i < result->n_devices; i++) {
                VolumeEntry *found = registry_find_uuid(&m->registry, result->devices[i].uuid);

                if (!found)
                        continue;
                found->open = true;
                found->used = result->devices[i].used;
                found->used_is_known = true;
        }
}

/* --- what was cut short --------------------------------------------------------------------------------- */

typedef struct Unfinished {
        VolumeEntry **list;
        size_t n;
} Unfinished;

static int note_unfinished(VolumeEntry *entry, void *userdata) {
        Unfinished *u = userdata;
        VolumeEntry **list;

        if (entry->volume.state != VOLUME_CREATING && entry->volume.state != VOLUME_REMOVING)
                return 0;
        list = reallocarray(u->list, u->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        u->list = list;
        list[u->n++] = entry;
        return 0;
}

static void finish_unfinished(Manager *m, PoolEntry *pool) {
        Unfinished u = {};

        registry_each_volume(pool, note_unfinished, &u);
        for (size_t i = 0; i < u.n; i++) {
                log_info(u.list[i]->volume.spec.name, "was being %s when quarryd ended: cleaning up",
                         u.list[i]->volume.state == VOLUME_CREATING ? "created" : "removed");
                if (u.list[i]->volume.state == VOLUME_CREATING)
                        volume_undo_create(m, u.list[i]);
                else
                        volume_resume_remove(m, u.list[i]);
        }
        free(u.list);
}

/* --- the catalog ---------------------------------------------------------------------------------------- */

static bool rows_contain(const CatalogVolumes *rows, sd_id128_t uuid) {
        for (size_t i = 0; i < rows->n; i++)
                if (sd_id128_equal(rows->list[i].uuid, uuid))
                        return true;
        return false;
}

typedef struct Gone {
        const CatalogVolumes *rows;
        VolumeEntry **list;
        size_t n;
} Gone;

static int note_gone(VolumeEntry *entry, void *userdata) {
        Gone *gone = userdata;
        VolumeEntry **list;

        if (entry->lane.running || rows_contain(gone->rows, entry->volume.uuid))
                return 0;
        list = reallocarray(gone->list, gone->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        gone->list = list;
        list[gone->n++] = entry;
        return 0;
}

/* What the disk has is the truth, but for volumes that are being worked on: those may be there already, when a
 * catalog is opened again. */
static int take_rows(Manager *m, PoolEntry *pool, CatalogVolumes *rows, Error *err) {
        Gone gone = { .rows = rows };

        if (pool->n_volumes > 0)
                (void) registry_each_volume(pool, note_gone, &gone);
        for (size_t i = 0; i < gone.n; i++)
                registry_remove_volume(&m->registry, gone.list[i]);
        free(gone.list);
        for (size_t i = 0; i < rows->n; i++) {
                VolumeEntry *have = registry_find_uuid(&m->registry, rows->list[i].uuid);

                if (have && have->pool == pool) {
                        if (have->lane.running)
                                continue;
                        have->volume.state = rows->list[i].state;
                        free(have->volume.failure);
                        have->volume.failure = TAKE_PTR(rows->list[i].failure);
                } else if (!registry_add_volume(&m->registry, pool, &rows->list[i], err))
                        return error_code(err);
        }
        return 0;
}

static void opened_end(PoolEntry *pool, const Error *err) {
        PoolOpened on_opened = pool->on_opened;

        free(TAKE_PTR(pool->devices));
        pool->n_devices = 0;
        pool->on_opened = NULL;
        on_opened(pool, err, pool->on_opened_userdata);
}

static void begin_work(Manager *m, PoolEntry *pool) {
        JobResult result = { .devices = pool->devices, .n_devices = pool->n_devices };
        bool again = pool->state == POOL_ACTIVE;

        pool_entry_set_state(pool, POOL_ACTIVE, NULL);
        pool_entry_set_trouble(pool, NULL);
        pool->is_reopening = false;
        pool_take_usage(m, pool, &result, NULL);
        for (size_t i = 0; i < result.n_devices; i++)
                if (!registry_find_uuid(&m->registry, result.devices[i].uuid))
                        close_stray(m, pool, result.devices[i].uuid);
        watch_look(m->watch);
        watch_volume_opened(m->watch);
        finish_unfinished(m, pool);
        log_info(pool->info.name, "%s with %zu volumes", again ? "takes changes again" : "active", pool->n_volumes);
}

/* Closed again because of its contents. */
static void on_refused_closed(void *userdata) {
        PoolEntry *pool = userdata;
        Error err = {};

        error_set(&err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "%s", pool->failure ?: "the catalog cannot be used");
        opened_end(pool, &err);
}

static void on_catalog_opened(CatalogVolumes *rows, const Error *err, void *userdata) {
        PoolEntry *pool = userdata;
        Error failure = {};

        if (err) {
                pool->catalog_source = sd_event_source_disable_unref(pool->catalog_source);
                catalog_free(TAKE_PTR(pool->catalog));
                if (!pool->is_reopening)
                        pool_entry_set_failed(pool, err);
                opened_end(pool, err);
                return;
        }
        if (take_rows(pool->manager, pool, rows, &failure) < 0) {
                if (!pool->is_reopening)
                        while (pool->by_name)
                                registry_remove_volume(&pool->manager->registry, *(VolumeEntry **) pool->by_name);
                pool_entry_set_state(pool, POOL_UNAVAILABLE, failure.text);
                pool_close_catalog(pool, on_refused_closed, pool);
                return;
        }
        begin_work(pool->manager, pool);
        opened_end(pool, NULL);
}

static void take_info(PoolEntry *pool, JobResult *result) {
        if (result->n_pools > 0) {
                pool_info_done(&pool->info);
                pool->info = result->pools[0];
                result->pools[0] = (PoolInfo) {};
        }
        free(pool->devices);
        pool->devices = TAKE_PTR(result->devices);
        pool->n_devices = result->n_devices;
        result->n_devices = 0;
}

void pool_open_catalog(Manager *m, PoolEntry *pool, JobResult *result, PoolOpened on_opened, void *userdata) {
        char folder[CATALOG_PATH_MAX];
        Error err = {};
        int r;

        take_info(pool, result);
        pool->manager = m;
        pool->on_opened = on_opened;
        pool->on_opened_userdata = userdata;
        pool_catalog_path(pool->info.uuid, folder);
        r = catalog_open(folder, on_catalog_opened, pool, &pool->catalog, &err);
        if (r >= 0) {
                r = sd_event_add_io(m->event, &pool->catalog_source, catalog_fd(pool->catalog), EPOLLIN, on_catalog,
                                    pool);
                if (r < 0) {
                        error_errno(&err, r, "cannot follow the catalog");
                        catalog_free(TAKE_PTR(pool->catalog));
                }
        }
        if (r < 0) {
                if (!pool->is_reopening)
                        pool_entry_set_state(pool, POOL_UNAVAILABLE, err.text);
                opened_end(pool, &err);
        }
}

static void on_closed(const Error *err, void *userdata) {
        PoolEntry *pool = userdata;

        pool->catalog_source = sd_event_source_disable_unref(pool->catalog_source);
        catalog_free(TAKE_PTR(pool->catalog));
        pool->on_closed(pool->on_closed_userdata);
}

void pool_close_catalog(PoolEntry *pool, void (*on_pool_closed)(void *userdata), void *userdata) {
        if (!pool->catalog) {
                on_pool_closed(userdata);
                return;
        }
        pool->on_closed = on_pool_closed;
        pool->on_closed_userdata = userdata;
        catalog_close(pool->catalog, on_closed, pool);
}
