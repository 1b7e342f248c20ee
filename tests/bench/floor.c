/* What creating and mounting a volume costs at least: nothing but the calls of the kernel that it cannot do without.
 *
 *   floor POOL TEMPLATE THIN-ID SECTORS FILE FILESYSTEM TARGET
 *
 * In the thin pool with the device-mapper name POOL a snapshot of the thin device TEMPLATE, which is formatted and not
 * active; its device bench-floor; an ext4's own UUID; one durable write into FILE, as into a catalog; and the
 * mount. Prints its milliseconds as JSON. What it made is the caller's to remove. */

#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "bench-floor"

/* The ext4 superblock: where it is, and three of its fields. */
#define SUPER_OFFSET 1024
#define SUPER_SIZE 1024
#define SUPER_MAGIC 0x38
#define SUPER_UUID 0x68
#define SUPER_CHECKSUM 0x3fc

static void check(bool holds, const char *what) {
        if (holds)
                return;
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static double now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static struct dm_task *task_new(int type, const char *name) {
        struct dm_task *task = dm_task_create(type);

        check(task && dm_task_set_name(task, name), "libdevmapper");
        return task;
}

static struct dm_info task_run(struct dm_task *task, const char *what) {
        struct dm_info info = {};

        check(dm_task_run(task) && dm_task_get_info(task, &info), what);
        dm_task_destroy(task);
        return info;
}

static void thin_snapshot(const char *pool, const char *thin, const char *origin) {
        struct dm_task *task = task_new(DM_DEVICE_TARGET_MSG, pool);
        char message[64];

        snprintf(message, sizeof(message), "create_snap %s %s", thin, origin);
        check(dm_task_set_sector(task, 0) && dm_task_set_message(task, message), "libdevmapper");
        task_run(task, message);
}

/* Nobody is waited for, and udev is told to leave the device alone. */
static void thin_open(const struct dm_info *pool, const char *thin, uint64_t sectors, char *path, size_t size) {
        uint16_t private = DM_UDEV_DISABLE_LIBRARY_FALLBACK | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                           DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
        struct dm_task *task = task_new(DM_DEVICE_CREATE, DEVICE);
        struct dm_info info = task_run(task, "create");
        uint32_t cookie = 0;
        char params[64];

        snprintf(params, sizeof(params), "%u:%u %s", (unsigned) pool->major, (unsigned) pool->minor, thin);
        task = task_new(DM_DEVICE_RELOAD, DEVICE);
        check(dm_task_add_target(task, 0, sectors, "thin", params), "libdevmapper");
        task_run(task, "load");

        task = task_new(DM_DEVICE_RESUME, DEVICE);
        check(dm_task_set_cookie(task, &cookie, private), "libdevmapper");
        task_run(task, "resume");
        snprintf(path, size, "/dev/dm-%u", (unsigned) info.minor);
}

static uint32_t crc32c(const uint8_t *data, size_t size) {
        uint32_t crc = ~UINT32_C(0);

        for (size_t i = 0; i < size; i++) {
                crc ^= data[i];
                for (int bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
        }
        return crc;
}

/* Other checksums begin with a seed of the superblock's (metadata_csum_seed), not with the UUID. */
static void ext4_identify(const char *path) {
        uint8_t super[SUPER_SIZE];
        uint32_t crc;
        int fd = open(path, O_RDWR | O_CLOEXEC);

        check(fd >= 0, path);
        check(pread(fd, super, sizeof(super), SUPER_OFFSET) == (ssize_t) sizeof(super), "read the superblock");
        check(super[SUPER_MAGIC] == 0x53 && super[SUPER_MAGIC + 1] == 0xef, "no ext4 in the template");
        check(getrandom(super + SUPER_UUID, 16, 0) == 16, "getrandom");
        crc = crc32c(super, SUPER_CHECKSUM);
        for (int i = 0; i < 4; i++)
                super[SUPER_CHECKSUM + i] = (uint8_t) (crc >> 8 * i);
        check(pwrite(fd, super, sizeof(super), SUPER_OFFSET) == (ssize_t) sizeof(super), "write the superblock");
        check(close(fd) >= 0, "close");
}

static void catalog_write(const char *path) {
        uint8_t block[4096];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        memset(block, 'q', sizeof(block));
        check(fd >= 0 && pwrite(fd, block, sizeof(block), 0) == (ssize_t) sizeof(block) && fdatasync(fd) >= 0, path);
        close(fd);
}

static void filesystem_mount(const char *path, const char *type, const char *target) {
        int context = fsopen(type, FSOPEN_CLOEXEC), mount;

        check(context >= 0 && fsconfig(context, FSCONFIG_SET_STRING, "source", path, 0) >= 0, "fsopen");
        check(strcmp(type, "xfs") != 0 || fsconfig(context, FSCONFIG_SET_FLAG, "nouuid", NULL, 0) >= 0, "fsconfig");
        check(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0, "mount");
        mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        check(mount >= 0, "fsmount");
        check(move_mount(mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) >= 0, "move_mount");
        close(mount);
        close(context);
}

int main(int argc, char **argv) {
        enum { BEGIN, SNAPSHOT, OPEN, UUID, CATALOG, MOUNT, _STEPS };
        static const char *const names[] = {
                NULL, "create_snap", "dm create, load, resume", "UUID", "catalog", "mount"
        };
        double at[_STEPS];
        struct dm_info pool;
        char path[32];

        if (argc != 8) {
                fprintf(stderr, "usage: floor POOL TEMPLATE THIN-ID SECTORS FILE FILESYSTEM TARGET\n");
                return 2;
        }
        dm_udev_set_sync_support(0);
        pool = task_run(task_new(DM_DEVICE_INFO, argv[1]), "look at the pool");
        catalog_write(argv[5]); /* it has its block from now on, and the library is warm */

        at[BEGIN] = now_ms();
        thin_snapshot(argv[1], argv[3], argv[2]);
        at[SNAPSHOT] = now_ms();
        thin_open(&pool, argv[3], strtoull(argv[4], NULL, 10), path, sizeof(path));
        at[OPEN] = now_ms();
        if (strcmp(argv[6], "ext4") == 0)
                ext4_identify(path);
        at[UUID] = now_ms();
        catalog_write(argv[5]);
        at[CATALOG] = now_ms();
        filesystem_mount(path, argv[6], argv[7]);
        at[MOUNT] = now_ms();

        printf("{\"ms\": %.2f, \"steps\": {", at[MOUNT] - at[BEGIN]);
        for (int i = SNAPSHOT; i < _STEPS; i++)
                printf("%s\"%s\": %.2f", i > SNAPSHOT ? ", " : "", names[i], at[i] - at[i - 1]);
        printf("}}\n");
        return 0;
}
