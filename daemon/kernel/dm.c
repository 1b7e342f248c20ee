#include "kernel/dm.h"

#include "kernel/sysfs.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <time.h>

#define SECTOR 512u
#define METADATA_BLOCK 4096u

/* How long dm_remove() tries: whoever looks at a device because of an event is gone soon. */
#define REMOVE_TRIES 65u
#define REMOVE_PAUSE_MS_MAX 50u

static void on_log(int level, const char *file, int line, int dm_errno, const char *format, ...) _printf_(5, 6);

static void on_log(int level, const char *file, int line, int dm_errno, const char *format, ...) {
        char text[512];
        va_list args;

        if (!log_debug_enabled() || (level & 7) > LOG_NOTICE)
                return;
        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        log_debug(NULL, "libdevmapper: %s", text);
}

void dm_init(void) {
        dm_log_with_errno_init(on_log);
        dm_udev_set_sync_support(0);
        dm_udev_set_checking(0);
}

static void task_freep(struct dm_task **task) {
        if (*task)
                dm_task_destroy(*task);
}

#define _cleanup_task_ _cleanup_(task_freep)

static int task_new(int type, const char *name, struct dm_task **ret) {
        _cleanup_task_ struct dm_task *task = NULL;

        dm_init(); /* libcryptsetup sets a log function of its own, and takes it away again */
        task = dm_task_create(type);
        if (!task)
                return -ENOMEM;
        if (!dm_task_set_name(task, name))
                return -EINVAL;
        *ret = TAKE_PTR(task);
        return 0;
}

/* The event that this task makes carries the word that nobody else is to look at the device; udev makes the
 * link in /dev/mapper, and we do not wait for it: the kernel has made /dev/dm-N. 54-quarry.rules knows the number that
 * these flags make. */
static int task_keep_private(struct dm_task *task) {
        uint32_t cookie = 0;

        return dm_task_set_cookie(task, &cookie,
                                  DM_UDEV_DISABLE_LIBRARY_FALLBACK | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                                          DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG)
                       ? 0
                       : -EINVAL;
}

static int task_run(struct dm_task *task) {
        int number;

        if (dm_task_run(task))
                return 0;
        number = dm_task_get_errno(task);
        return number > 0 ? -number : -EIO;
}

void dm_device_path(dev_t device, char buf[static DEVICE_PATH_MAX]) {
        buffer_format(buf, DEVICE_PATH_MAX, "/dev/dm-%u", minor(device));
}

static int info_from_task(struct dm_task *task, DmInfo *ret) {
        struct dm_info info;

        if (!dm_task_get_info(task, &info))
                return -EIO;
        if (!info.exists)
                return -ENXIO;

        *ret = (DmInfo) {
                .device = makedev((unsigned) info.major, (unsigned) info.minor),
                .open_count = (unsigned) info.open_count,
                .suspended = info.suspended,
                .goes = info.deferred_remove,
        };
        buffer_format(ret->name, sizeof(ret->name), "%s", dm_task_get_name(task));
        buffer_format(ret->uuid, sizeof(ret->uuid), "%s", dm_task_get_uuid(task));
        return 0;
}

int dm_info(const char *name, DmInfo *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_INFO, name, &task);
        if (r >= 0)
                r = task_run(task);
        return r < 0 ? r : info_from_task(task, ret);
}

/* --- list ----------------------------------------------------------------------------------------------- */

int dm_names(const char *prefix, char ***ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        _cleanup_strv_ char **list = NULL;
        struct dm_names *names;
        int r;

        dm_init();
        task = dm_task_create(DM_DEVICE_LIST);
        if (!task)
                return -ENOMEM;
        r = task_run(task);
        if (r < 0)
                return r;
        names = dm_task_get_names(task);
        if (!names)
                return -EIO;
        while (names->dev) {
                if (startswith(names->name, prefix) && strv_append(&list, names->name) < 0)
                        return -ENOMEM;
                if (!names->next)
                        break;
                names = (struct dm_names *) ((char *) names + names->next);
        }
        *ret = TAKE_PTR(list);
        return 0;
}

int dm_list(DmInfo **ret, size_t *ret_count) {
        _cleanup_strv_ char **names = NULL;
        _cleanup_free_ DmInfo *list = NULL;
        size_t count = 0;
        int r;

        r = dm_names("quarry-", &names);
        list = r < 0 ? NULL : calloc(strv_length(names) + 1, sizeof(*list));
        if (!list)
                return r < 0 ? r : -ENOMEM;
        for (char **name = names; name && *name; name++) {
                r = dm_info(*name, &list[count]);
                if (r < 0 && r != -ENXIO) /* gone meanwhile */
                        return r;
                if (r >= 0 && !startswith(list[count].uuid, "LVM-"))
                        count++;
        }
        *ret = TAKE_PTR(list);
        *ret_count = count;
        return 0;
}

/* --- create and remove ---------------------------------------------------------------------------------- */

static int device_create(const char *name, const char *uuid, dev_t *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        struct dm_info info;
        int r;

        r = task_new(DM_DEVICE_CREATE, name, &task);
        if (r < 0)
                return r;
        if (!dm_task_set_uuid(task, uuid))
                return -EINVAL;
        r = task_run(task);
        if (r < 0)
                return r == -EBUSY ? -EEXIST : r;
        if (!dm_task_get_info(task, &info))
                return -EIO;
        *ret = makedev((unsigned) info.major, (unsigned) info.minor);
        return 0;
}

static int device_load(const char *name, uint64_t sectors, const char *type, const char *params, bool read_only) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_RELOAD, name, &task);
        if (r < 0)
                return r;
        if (!dm_task_add_target(task, 0, sectors, type, params) || (read_only && !dm_task_set_ro(task)))
                return -EINVAL;
        return task_run(task);
}

/* DM_DEVICE_RESUME or DM_DEVICE_REMOVE */
static int device_change(int type, const char *name) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(type, name, &task);
        if (r >= 0)
                r = task_keep_private(task);
        return r < 0 ? r : task_run(task);
}

static int device_open(const char *name, const char *uuid, uint64_t sectors, const char *type, const char *params,
                       bool read_only, dev_t *ret) {
        dev_t device;
        int r;

        r = device_create(name, uuid, &device);
        if (r < 0)
                return r;
        r = device_load(name, sectors, type, params, read_only);
        if (r >= 0)
                r = dm_resume(name);
        if (r < 0) {
                (void) dm_remove(name);
                return r;
        }
        *ret = device;
        return 0;
}

int dm_remove(const char *name) {
        for (unsigned i = 0;; i++) {
                unsigned ms = 5 * (i + 1) < REMOVE_PAUSE_MS_MAX ? 5 * (i + 1) : REMOVE_PAUSE_MS_MAX;
                int r = device_change(DM_DEVICE_REMOVE, name);

                if (r != -EBUSY || i == REMOVE_TRIES) {
                        if (i > 0)
                                log_debug(name, "was busy: %u tries to remove it", i + 1);
                        return r;
                }
                nanosleep(&(struct timespec) { .tv_nsec = ms * 1000000L }, NULL);
        }
}

int dm_remove_deferred(const char *name) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_REMOVE, name, &task);
        if (r >= 0)
                r = task_keep_private(task);
        if (r >= 0 && !dm_task_deferred_remove(task))
                r = -EINVAL;
        return r < 0 ? r : task_run(task);
}

int dm_message(const char *name, const char *message) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_TARGET_MSG, name, &task);
        if (r < 0)
                return r;
        if (!dm_task_set_sector(task, 0) || !dm_task_set_message(task, message))
                return -EINVAL;
        return task_run(task);
}

int dm_remove_deferred_cancel(const char *name) {
        return dm_message(name, "@cancel_deferred_remove");
}

/* --- status and table ----------------------------------------------------------------------------------- */

/* The parameters of the device's one target, which must be of this type: valid until the task is freed.
 * -ENXIO if there is no such device, or no table in it. */
static int target_params(int type, const char *name, const char *target, struct dm_task **ret, uint64_t *ret_sectors,
                         char **ret_params) {
        _cleanup_task_ struct dm_task *task = NULL;
        struct dm_info info;
        uint64_t start, sectors;
        char *have, *params;
        int r;

        r = task_new(type, name, &task);
        if (r < 0)
                return r;
        if (!dm_task_no_flush(task)) /* the default would commit the pool's metadata */
                return -EINVAL;
        r = task_run(task);
        if (r < 0)
                return r;
        if (!dm_task_get_info(task, &info))
                return -EIO;
        if (!info.exists)
                return -ENXIO;
        (void) dm_get_next_target(task, NULL, &start, &sectors, &have, &params);
        if (!have || !params)
                return -ENXIO;
        if (!streq(have, target))
                return -EBADF;
        *ret = TAKE_PTR(task);
        *ret_sectors = sectors;
        *ret_params = params;
        return 0;
}

typedef struct PoolTable {
        dev_t metadata, data;
        uint64_t size, chunk; /* bytes */
} PoolTable;

static int pool_table(const char *name, PoolTable *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        unsigned metadata[2], data[2];
        uint64_t sectors, chunk;
        char *params;
        int r;

        r = target_params(DM_DEVICE_TABLE, name, "thin-pool", &task, &sectors, &params);
        if (r < 0)
                return r;
        if (sscanf(params, "%u:%u %u:%u %" SCNu64, &metadata[0], &metadata[1], &data[0], &data[1], &chunk) != 5)
                return -EBADMSG;
        *ret = (PoolTable) { .metadata = makedev(metadata[0], metadata[1]),
                             .data = makedev(data[0], data[1]),
                             .size = sectors * SECTOR,
                             .chunk = chunk * SECTOR };
        return 0;
}

int dm_pool_table(sd_id128_t pool, dev_t *ret_metadata, dev_t *ret_data, uint64_t *ret_data_size) {
        char name[KERNEL_NAME_MAX];
        PoolTable table;
        int r;

        pool_kernel_name(pool, name);
        r = pool_table(name, &table);
        if (r < 0)
                return r;
        *ret_metadata = table.metadata;
        *ret_data = table.data;
        *ret_data_size = table.size;
        return 0;
}

static void allocator_freep(struct dm_pool **p) {
        if (*p)
                dm_pool_destroy(*p);
}

/* The block that holds it, or "-": libdevmapper does not tell. */
static bool has_snapshot(const char *params) {
        uint64_t block;

        return sscanf(params, "%*u %*u/%*u %*u/%*u %" SCNu64, &block) == 1;
}

int dm_pool_status(sd_id128_t pool, DmPoolStatus *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        _cleanup_(allocator_freep) struct dm_pool *allocator = NULL;
        struct dm_status_thin_pool *s;
        char name[KERNEL_NAME_MAX], *params;
        uint64_t sectors;
        PoolTable table;
        int r;

        pool_kernel_name(pool, name);
        r = target_params(DM_DEVICE_STATUS, name, "thin-pool", &task, &sectors, &params);
        if (r >= 0)
                r = pool_table(name, &table);
        if (r < 0)
                return r;

        allocator = dm_pool_create("quarry", 1024);
        if (!allocator)
                return -ENOMEM;
        if (!dm_get_status_thin_pool(allocator, params, &s))
                return -EBADMSG;
        *ret = (DmPoolStatus) {
                .transaction_id = s->transaction_id,
                .metadata_used = s->used_metadata_blocks * METADATA_BLOCK,
                .metadata_size = s->total_metadata_blocks * METADATA_BLOCK,
                .data_used = s->used_data_blocks * table.chunk,
                .data_size = s->total_data_blocks * table.chunk,
                .read_only = s->read_only,
                .out_of_data_space = s->out_of_data_space,
                .failed = s->fail || s->error,
                .needs_check = s->needs_check,
                .has_snapshot = has_snapshot(params),
        };
        return 0;
}

bool dm_pool_has_failed(const DmPoolStatus *status) {
        return status->failed || status->read_only || status->needs_check;
}

int dm_thin_used(sd_id128_t volume, uint64_t *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        _cleanup_(allocator_freep) struct dm_pool *allocator = NULL;
        struct dm_status_thin *s;
        char name[KERNEL_NAME_MAX], *params;
        uint64_t sectors;
        int r;

        volume_thin_name(volume, name);
        r = target_params(DM_DEVICE_STATUS, name, "thin", &task, &sectors, &params);
        if (r < 0)
                return r;
        allocator = dm_pool_create("quarry", 256);
        if (!allocator)
                return -ENOMEM;
        if (!dm_get_status_thin(allocator, params, &s))
                return -EBADMSG;
        if (s->fail)
                return -EIO;
        *ret = s->mapped_sectors * SECTOR;
        return 0;
}

int dm_thin_table(sd_id128_t volume, dev_t *ret_pool, uint32_t *ret_thin_id, uint64_t *ret_size) {
        _cleanup_task_ struct dm_task *task = NULL;
        char name[KERNEL_NAME_MAX], *params;
        unsigned pool_major, pool_minor;
        uint64_t sectors;
        uint32_t id;
        int r;

        volume_thin_name(volume, name);
        r = target_params(DM_DEVICE_TABLE, name, "thin", &task, &sectors, &params);
        if (r < 0)
                return r;
        if (sscanf(params, "%u:%u %" SCNu32, &pool_major, &pool_minor, &id) != 3)
                return -EBADMSG;
        *ret_pool = makedev(pool_major, pool_minor);
        *ret_thin_id = id;
        *ret_size = sectors * SECTOR;
        return 0;
}

/* --- pool and thin devices ------------------------------------------------------------------------------ */

int dm_pool_open(sd_id128_t pool, dev_t metadata, dev_t data, uint64_t data_size, uint64_t chunk_size,
                 uint64_t low_water, dev_t *ret) {
        char name[KERNEL_NAME_MAX], uuid[KERNEL_UUID_MAX], params[128];
        uint64_t chunks = data_size / chunk_size;

        pool_kernel_name(pool, name);
        kernel_uuid_format(pool, "pool", pool, uuid);
        /* No features: new chunks are zeroed, discards passed down, writers wait when space is out. */
        if (!buffer_format(params, sizeof(params), "%u:%u %u:%u %" PRIu64 " %" PRIu64 " 0", major(metadata),
                           minor(metadata), major(data), minor(data), chunk_size / SECTOR, low_water / chunk_size))
                return -EINVAL;
        return device_open(name, uuid, chunks * chunk_size / SECTOR, "thin-pool", params, false, ret);
}

/* One call of the kernel's suspends the device, puts the loaded table in place and resumes: nobody who dies on the
 * way leaves it suspended. Not flushed: what waits for space must not be waited for. */
static int table_switch(const char *name) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_RESUME, name, &task);
        if (r < 0)
                return r;
        if (!dm_task_no_flush(task) || !dm_task_skip_lockfs(task))
                return -EINVAL;
        r = task_keep_private(task);
        return r < 0 ? r : task_run(task);
}

static int table_replace(const char *name, const char *target, uint64_t old_sectors, const char *old, uint64_t sectors,
                         const char *wanted) {
        int r;

        r = device_load(name, sectors, target, wanted, false);
        if (r >= 0)
                r = table_switch(name);
        if (r < 0 && device_load(name, old_sectors, target, old, false) >= 0)
                (void) table_switch(name); /* a table that cannot be resumed took the place of the old one */
        return r;
}

int dm_pool_grow(sd_id128_t pool, uint64_t data_size, uint64_t low_water) {
        _cleanup_task_ struct dm_task *task = NULL;
        unsigned metadata_major, metadata_minor, data_major, data_minor;
        char name[KERNEL_NAME_MAX], wanted[256], *params;
        uint64_t sectors, chunk, size;
        int r, rest = 0;

        pool_kernel_name(pool, name);
        r = target_params(DM_DEVICE_TABLE, name, "thin-pool", &task, &sectors, &params);
        if (r < 0)
                return r;
        if (sscanf(params, "%u:%u %u:%u %" SCNu64 " %*u%n", &metadata_major, &metadata_minor, &data_major, &data_minor,
                   &chunk, &rest) != 5 ||
            rest == 0 || chunk == 0)
                return -EBADMSG;
        size = data_size / SECTOR / chunk * chunk;
        if (!buffer_format(wanted, sizeof(wanted), "%u:%u %u:%u %" PRIu64 " %" PRIu64 "%s", metadata_major,
                           metadata_minor, data_major, data_minor, chunk, low_water / SECTOR / chunk, params + rest))
                return -EINVAL;
        return table_replace(name, "thin-pool", sectors, params, size > sectors ? size : sectors, wanted);
}

int dm_resize(const char *name, const char *target, uint64_t size) {
        _cleanup_task_ struct dm_task *task = NULL;
        uint64_t sectors;
        char *params;
        int r;

        r = target_params(DM_DEVICE_TABLE, name, target, &task, &sectors, &params);
        return r < 0 ? r : table_replace(name, target, sectors, params, size / SECTOR, params);
}

int dm_pool_reserve(sd_id128_t pool, uint64_t *ret) {
        _cleanup_task_ struct dm_task *task = NULL;
        char name[KERNEL_NAME_MAX], size[SYSFS_VALUE_MAX], *params;
        unsigned data_major, data_minor;
        uint64_t sectors, all;
        int r;

        pool_kernel_name(pool, name);
        r = target_params(DM_DEVICE_TABLE, name, "thin-pool", &task, &sectors, &params);
        if (r < 0)
                return r;
        if (sscanf(params, "%*u:%*u %u:%u", &data_major, &data_minor) != 2)
                return -EBADMSG;
        r = sysfs_read(makedev(data_major, data_minor), "size", size);
        if (r >= 0)
                r = number_parse(size, &all);
        if (r >= 0)
                *ret = all > sectors ? (all - sectors) * SECTOR : 0;
        return r;
}

int dm_suspend(const char *name) {
        _cleanup_task_ struct dm_task *task = NULL;
        int r;

        r = task_new(DM_DEVICE_SUSPEND, name, &task);
        return r < 0 ? r : task_run(task);
}

int dm_resume(const char *name) {
        return device_change(DM_DEVICE_RESUME, name);
}

int dm_give_up(const char *name) {
        _cleanup_task_ struct dm_task *task = NULL;
        uint64_t sectors;
        char *params;
        int r;

        r = target_params(DM_DEVICE_TABLE, name, "crypt", &task, &sectors, &params);
        if (r >= 0)
                r = device_load(name, sectors, "error", "", false);
        return r < 0 ? r : table_switch(name);
}

int dm_thin_open(sd_id128_t pool, sd_id128_t volume, uint32_t thin_id, uint64_t size, bool read_only, dev_t *ret) {
        char name[KERNEL_NAME_MAX], uuid[KERNEL_UUID_MAX], params[64];
        DmInfo info;
        int r;

        pool_kernel_name(pool, name);
        r = dm_info(name, &info);
        if (r < 0)
                return r;
        buffer_format(params, sizeof(params), "%u:%u %" PRIu32, major(info.device), minor(info.device), thin_id);
        volume_thin_name(volume, name);
        kernel_uuid_format(pool, "thin", volume, uuid);
        return device_open(name, uuid, size / SECTOR, "thin", params, read_only, ret);
}
