/* A pool from LVM up to a mount, on a real disk. The tests build on each other. */

#include "system.h"

#include "kernel/holders.h"
#include "kernel/lvm.h"
#include "kernel/mnt.h"
#include "kernel/udev.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define POOL_UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define VOLUME_UUID "7ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define OTHER_UUID "8ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define POOL_VG "quarry-" POOL_UUID
#define THIN "quarry-" VOLUME_UUID
#define CRYPT "quarry-" VOLUME_UUID "-crypt"
#define SIZE (512 * MIB)
#define CHUNK (64 * UINT64_C(1024))

static sd_id128_t pool, volume, other;
static char *disks[2];
static LvmPool lvm_pool;
static dev_t catalog, metadata, data;

static void device_path_of(const char *name, char buf[static DEVICE_PATH_MAX]) {
        DmInfo info;

        assert_int_equal(dm_info(name, &info), 0);
        dm_device_path(info.device, buf);
}

/* --- LVM ------------------------------------------------------------------------------------------------- */

static void lvm_group(void **state) {
        _cleanup_strv_ char **devices = NULL, **candidates = NULL;
        uint64_t available, extent;
        char *twice[] = { disks[0], disks[0], NULL };
        LvmPool remnant = {};
        Error err = {};

        assert_done(lvm_candidate_devices(&candidates, &err), &err);
        assert_true(strv_contains(candidates, disk));
        assert_int_equal(lvm_vg_space("no-such-vg", &available, &extent, &devices, &err), -EINVAL);
        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        assert_string_equal(err.field, "volumeGroup");
        assert_true(lvm_create_vg(pool, twice, &err) < 0);
        assert_non_null(strstr(err.text, "same device"));

        assert_done(lvm_create_vg(pool, disks, &err), &err);
        assert_done(lvm_find_pool(candidates, pool, &remnant, &err), &err);
        assert_string_equal(remnant.data, "");
        assert_string_equal(remnant.info.vg, POOL_VG);
        lvm_pool_done(&remnant);
        assert_refused(disk, "LVM2_member");
        assert_true(lvm_create_vg(other, disks, &err) < 0);
        assert_int_equal(err.kind, ERROR_DEVICE_UNUSABLE);
        assert_done(lvm_vg_space(POOL_VG, &available, &extent, &devices, &err), &err);
        assert_true(available > GIB && extent == 4 * MIB);
        assert_int_equal(strv_length(devices), 1);
        assert_string_equal(devices[0], disk);
}

static void lvm_volumes(void **state) {
        PoolInfo info = { .name = "fast", .uuid = pool, .origin = POOL_DEVICES, .chunk_size = CHUNK };
        PoolLayout layout = { .catalog = 64 * MIB, .metadata = 64 * MIB, .data = GIB },
                   huge = { .catalog = 64 * MIB, .metadata = 64 * MIB, .data = 1024 * GIB };
        LvmPool *pools;
        size_t n;
        Error err = {};

        assert_true(lvm_create_volumes(POOL_VG, disks, &info, &huge, "host-1", &err) < 0);
        print_message("# %s\n", err.text);
        assert_shell("test -z \"$(lvs --noheadings --devices %s)\"", disk);

        assert_done(lvm_create_volumes(POOL_VG, disks, &info, &layout, "host-1", &err), &err);
        assert_done(lvm_find_pools(disks, &pools, &n, &err), &err);
        assert_int_equal(n, 1);
        lvm_pool = pools[0];
        free(pools);
        assert_string_equal(lvm_pool.info.name, "fast");
        assert_true(sd_id128_equal(lvm_pool.info.uuid, pool));
        assert_string_equal(lvm_pool.host, "host-1");
        assert_string_equal(lvm_pool.info.devices[0], disk);
        assert_int_equal(lvm_pool.data_size, GIB);
        assert_int_equal(lvm_pool.metadata_size, 64 * MIB);
        assert_int_equal(lvm_pool.chunk_size, CHUNK);

        /* An admin renames one, and it is found all the same. */
        assert_shell("lvrename -q --devices %s %s " POOL_VG "-data renamed", disk, POOL_VG);
        lvm_pool_done(&lvm_pool);
        assert_done(lvm_find_pools(disks, &pools, &n, &err), &err);
        assert_int_equal(n, 1);
        lvm_pool = pools[0];
        free(pools);
        assert_string_equal(lvm_pool.data, "renamed");

        assert_done(lvm_deactivate(&lvm_pool, &err), &err);
        assert_shell("test -z \"$(dmsetup ls --target linear | grep quarry)\"");
        assert_done(lvm_activate(&lvm_pool, &catalog, &metadata, &data, &err), &err);
        assert_true(catalog && metadata && data && catalog != data);
}

static void lvm_hosts(void **state) {
        LvmPool gone = {};
        Error err = {};

        assert_done(lvm_set_host(&lvm_pool, NULL, &err), &err);
        assert_done(lvm_find_pool(disks, pool, &gone, &err), &err);
        assert_null(gone.host);
        assert_done(lvm_set_host(&gone, "host-2", &err), &err);
        lvm_pool_done(&gone);
        assert_done(lvm_find_pool(disks, pool, &gone, &err), &err);
        assert_string_equal(gone.host, "host-2");
        lvm_pool_done(&gone);
        assert_int_equal(lvm_find_pool(disks, other, &gone, &err), -ENXIO);
}

/* --- thin ------------------------------------------------------------------------------------------------ */

static void thin_pool(void **state) {
        DmPoolStatus status;
        DmInfo info;
        dev_t device;

        assert_int_equal(dm_pool_status(pool, &status), -ENXIO);
        /* A table that the kernel refuses leaves nothing behind. */
        assert_true(dm_pool_open(pool, makedev(259, 4711), data, GIB, CHUNK, 64 * MIB, &device) < 0);
        assert_int_equal(dm_info(POOL_VG, &info), -ENXIO);
        assert_int_equal(dm_pool_open(pool, metadata, data, GIB, CHUNK, 64 * MIB, &device), 0);
        assert_int_equal(dm_pool_open(pool, metadata, data, GIB, CHUNK, 64 * MIB, &device), -EEXIST);
        assert_int_equal(dm_pool_status(pool, &status), 0);
        assert_int_equal(status.data_size, GIB);
        assert_int_equal(status.metadata_size, 64 * MIB);
        assert_int_equal(status.data_used, 0);
        assert_false(status.read_only || status.failed || status.out_of_data_space || status.needs_check);
        assert_int_equal(dm_info(POOL_VG, &info), 0);
        assert_string_equal(info.uuid, "QUARRY-" POOL_UUID "-pool-" POOL_UUID);
}

static void thin_devices(void **state) {
        dev_t device, found;
        uint64_t used, size;
        uint32_t id;
        char path[DEVICE_PATH_MAX];
        DmInfo *list;
        size_t n;

        assert_int_equal(dm_thin_create(pool, 7), 0);
        assert_int_equal(dm_thin_create(pool, 7), -EEXIST);
        assert_int_equal(dm_thin_delete(pool, 8), -ENODATA);
        assert_int_equal(dm_thin_used(volume, &used), -ENXIO);
        assert_int_equal(dm_thin_open(pool, other, 8, SIZE, false, &device), -ENODATA);
        assert_int_equal(dm_thin_open(pool, volume, 7, SIZE, false, &device), 0);
        assert_int_equal(dm_thin_open(pool, volume, 7, SIZE, false, &found), -EEXIST);
        assert_int_equal(dm_thin_delete(pool, 7), -EBUSY);
        assert_int_equal(dm_thin_used(volume, &used), 0);
        assert_int_equal(used, 0);
        dm_device_path(device, path);
        assert_shell("dd if=/dev/urandom of=%s bs=64k count=3 oflag=direct status=none", path);
        assert_int_equal(dm_thin_used(volume, &used), 0);
        assert_int_equal(used, 3 * CHUNK);
        assert_int_equal(dm_thin_table(volume, &found, &id, &size), 0);
        assert_int_equal(id, 7);
        assert_int_equal(size, SIZE);
        assert_int_equal(dm_list(&list, &n), 0);
        assert_int_equal(n, 2);
        free(list);
        assert_int_equal(dm_remove(THIN), 0);
        assert_int_equal(dm_remove(THIN), -ENXIO);
        assert_int_equal(dm_thin_delete(pool, 7), 0);
}

static void thin_speed(void **state) {
        double open_ms[25], close_ms[25];
        dev_t device;

        assert_int_equal(dm_thin_create(pool, 1), 0);
        for (size_t i = 0; i < ELEMENTSOF(open_ms); i++) {
                double t = now_ms();
                assert_int_equal(dm_thin_open(pool, volume, 1, SIZE, false, &device), 0);
                open_ms[i] = now_ms() - t;
                char path[DEVICE_PATH_MAX];
                dm_device_path(device, path);
                int fd = open(path, O_RDWR | O_CLOEXEC | O_EXCL); /* the node is there at once */
                assert_true(fd >= 0);
                close(fd);
                t = now_ms();
                assert_int_equal(dm_remove(THIN), 0);
                close_ms[i] = now_ms() - t;
        }
        print_message("# median of %zu: dm_thin_open %.1f ms, dm_remove %.1f ms\n", ELEMENTSOF(open_ms),
                      median(open_ms, ELEMENTSOF(open_ms)), median(close_ms, ELEMENTSOF(close_ms)));
        assert_int_equal(dm_thin_delete(pool, 1), 0);
}

/* --- LUKS ------------------------------------------------------------------------------------------------ */

static const LuksKdf cheap = {};
static const char secret[] = "correct horse";

static void luks_header(void **state) {
        _cleanup_(luks_freep) Luks *luks = NULL, *loaded = NULL;
        _cleanup_free_ char *token = NULL;
        char path[DEVICE_PATH_MAX];
        dev_t thin, device, backing, mapped;
        int slot;

        assert_int_equal(dm_thin_create(pool, 2), 0);
        assert_int_equal(dm_thin_open(pool, volume, 2, SIZE + LUKS_HEADER_SIZE, false, &thin), 0);
        dm_device_path(thin, path);
        assert_true(luks_load(path, &loaded) < 0);
        assert_null(loaded);
        assert_int_equal(luks_format(path, volume, &cheap, secret, sizeof(secret), NULL, &luks), 0);
        assert_int_equal(luks_token_get(luks, &token, &slot), -ENOENT);
        assert_int_equal(luks_token_set(luks, "{\"type\":\"quarry-host-key\",\"keyslots\":[\"0\"],\"a\":1}"), 0);
        assert_int_equal(luks_token_set(luks, "{\"type\":\"quarry-host-key\",\"keyslots\":[\"0\"],\"a\":2}"), 0);

        assert_int_equal(luks_close(CRYPT), -ENXIO);
        assert_int_equal(luks_backing(CRYPT, &backing, &mapped), -ENXIO);
        assert_int_equal(luks_open(luks, CRYPT, false, &device), 0);
        assert_int_equal(luks_open(luks, CRYPT, false, &device), -EEXIST);
        assert_int_equal(luks_backing(CRYPT, &backing, &mapped), 0);
        assert_int_equal(backing, thin);
        assert_int_equal(mapped, device);
        dm_device_path(device, path);
        uint64_t size;
        assert_int_equal(probe_block_size(path, &size), 0);
        assert_int_equal(size, SIZE);
        assert_shell(
                "dmsetup table " CRYPT
                " | grep -E '^0 [0-9]+ crypt aes-xts-plain64 :64:logon:.* 0 [0-9:]+ 8192 2 allow_discards sector_size:4096$'");
        assert_shell("test \"$(blockdev --getss %s)\" = 4096", path);
        assert_int_equal(dm_remove(THIN), -EBUSY);
        assert_int_equal(luks_close(CRYPT), 0);
        assert_int_equal(luks_close(THIN), -EBADF);
        device_path_of(THIN, path);
        assert_shell("cryptsetup luksDump %s | grep -q 'offset: 4194304 '", path);
        assert_shell("cryptsetup luksUUID %s | grep -q " VOLUME_UUID, path);

        assert_int_equal(luks_load(path, &loaded), 0);
        assert_int_equal(luks_token_get(loaded, &token, &slot), 0);
        assert_non_null(strstr(token, "\"a\":2"));
        assert_int_equal(luks_open(loaded, CRYPT, false, &device), -ENOKEY);
        assert_int_equal(luks_unlock(loaded, "wrong", 5), -EPERM);
        assert_int_equal(luks_unlock(loaded, "wrong", 5), -EPERM);
        assert_int_equal(luks_open(loaded, CRYPT, false, &device), -ENOKEY);
        assert_int_equal(luks_unlock(loaded, secret, sizeof(secret)), 0);
        assert_int_equal(luks_open(loaded, CRYPT, false, &device), 0);
        assert_int_equal(luks_close(CRYPT), 0);
        /* The key does not stay in the keyring of this process. */
        assert_shell("! grep -q 'cryptsetup:' /proc/keys");
}

/* A mapping that was opened a moment ago is closed fifty times: nobody else has it open by then. */
static void luks_speed(void **state) {
        double format_ms[5], unlock_ms[5], open_ms[50], close_ms[50];
        _cleanup_(luks_freep) Luks *luks = NULL;
        char path[DEVICE_PATH_MAX];
        dev_t device;
        double t;

        device_path_of(THIN, path);
        for (size_t i = 0; i < ELEMENTSOF(format_ms); i++) {
                luks_free(TAKE_PTR(luks));
                t = now_ms();
                assert_int_equal(luks_format(path, volume, &cheap, secret, sizeof(secret), NULL, &luks), 0);
                format_ms[i] = now_ms() - t;
        }
        for (size_t i = 0; i < ELEMENTSOF(unlock_ms); i++) {
                luks_free(TAKE_PTR(luks));
                t = now_ms();
                assert_int_equal(luks_load(path, &luks), 0);
                assert_int_equal(luks_unlock(luks, secret, sizeof(secret)), 0);
                unlock_ms[i] = now_ms() - t;
        }
        for (size_t i = 0; i < ELEMENTSOF(open_ms); i++) {
                t = now_ms();
                assert_int_equal(luks_open(luks, CRYPT, false, &device), 0);
                open_ms[i] = now_ms() - t;
                t = now_ms();
                assert_int_equal(luks_close(CRYPT), 0);
                close_ms[i] = now_ms() - t;
        }
        print_message("# median: luks_format %.1f ms, luks_load and luks_unlock %.1f ms, luks_open %.1f ms, "
                      "luks_close %.1f ms\n",
                      median(format_ms, ELEMENTSOF(format_ms)), median(unlock_ms, ELEMENTSOF(unlock_ms)),
                      median(open_ms, ELEMENTSOF(open_ms)), median(close_ms, ELEMENTSOF(close_ms)));
}

static void luks_argon2(void **state) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        LuksKdf kdf = { .argon2 = true, .memory = 16 * MIB, .iterations = 4 };
        char path[DEVICE_PATH_MAX];

        device_path_of(THIN, path);
        assert_int_equal(luks_format(path, volume, &kdf, secret, sizeof(secret), NULL, &luks), 0);
        assert_shell("cryptsetup luksDump %s | grep -A20 '^Keyslots' | tr -s ' \\t' ' ' | grep -q 'Memory: 16384'",
                     path);
        luks_free(TAKE_PTR(luks));
        kdf.iterations = 0;
        double t = now_ms();
        assert_int_equal(luks_format(path, volume, &kdf, secret, sizeof(secret), NULL, &luks), 0);
        print_message("# luks_format with a measured argon2id, 16 MiB: %.0f ms\n", now_ms() - t);
        assert_shell("cryptsetup luksDump %s | grep 'Memory:' | awk '{ exit $2 > 16384 }'", path);
}

static void luks_wipe(void **state) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        char path[DEVICE_PATH_MAX];

        device_path_of(THIN, path);
        assert_int_equal(luks_load(path, &luks), 0);
        assert_int_equal(luks_destroy_keyslots(luks), 0);
        assert_int_equal(luks_destroy_keyslots(luks), 0);
        assert_true(luks_unlock(luks, secret, sizeof(secret)) < 0);
        luks_free(TAKE_PTR(luks));
        assert_int_equal(luks_load(path, &luks), 0);
        assert_true(luks_unlock(luks, secret, sizeof(secret)) < 0);
        assert_int_equal(dm_remove(THIN), 0);
        assert_int_equal(dm_thin_delete(pool, 2), 0);
}

/* --- mounts, links, holders -------------------------------------------------------------------------------- */

#define TARGET MOUNT_ROOT "/default/web"

static void mounts(void **state) {
        _cleanup_close_ int fd = -EBADF, subtree = -EBADF;
        char path[DEVICE_PATH_MAX], message[256];
        dev_t thin, device;
        unsigned options;

        assert_int_equal(dm_thin_create(pool, 3), 0);
        assert_int_equal(dm_thin_open(pool, volume, 3, SIZE, false, &thin), 0);
        dm_device_path(thin, path);
        assert_true(mnt_filesystem(path, "ext4", MNT_WRITABLE, message, sizeof(message)) < 0);
        print_message("# no filesystem: \"%s\"\n", message);
        assert_int_equal(mnt_filesystem(path, "nofs", MNT_WRITABLE, message, sizeof(message)), -ENODEV);
        assert_shell("mkfs.ext4 -qF %s", path);

        assert_int_equal(mnt_point_device(TARGET, &device, &options), 0);
        assert_int_equal(mnt_point_make(MOUNT_ROOT, "/etc/x"), -EINVAL);
        assert_int_equal(mnt_point_make(MOUNT_ROOT, TARGET), 0);
        assert_int_equal(mnt_point_make(MOUNT_ROOT, TARGET), 0);
        assert_int_equal(open(TARGET "/x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(mnt_unmount(TARGET), -EINVAL);

        fd = mnt_filesystem(path, "ext4", MNT_WRITABLE, message, sizeof(message));
        assert_true(fd >= 0);
        assert_int_equal(mkdirat(fd, "data", 0755), 0);
        assert_int_equal(mnt_subtree(fd, "missing"), -ENOENT);
        close(TAKE_FD(fd));
        fd = mnt_filesystem(path, "ext4", MNT_WRITABLE, message, sizeof(message));
        double t = now_ms();
        subtree = mnt_subtree(fd, "data");
        print_message("# mnt_subtree %.1f ms\n", now_ms() - t);
        assert_true(subtree >= 0);
        close(TAKE_FD(fd));
        assert_int_equal(mnt_attach(subtree, TARGET), 0);
        close(TAKE_FD(subtree));
        assert_int_equal(mnt_point_device(TARGET, &device, &options), 1);
        assert_int_equal(device, thin);
        assert_int_equal(options, 0);
        assert_int_equal(mnt_point_make(MOUNT_ROOT, TARGET), -EBUSY);
        assert_int_equal(mnt_point_remove(TARGET), -EBUSY);
        assert_shell("grep ' /data " TARGET " ' /proc/self/mountinfo | grep nosuid | grep nodev | grep ' shared:'");
        assert_shell("test -z \"$(ls -A " TARGET ")\" && echo hello >" TARGET "/file");
        assert_int_equal(mnt_unmount(TARGET), 0);

        /* Read-only, while it is mounted for writing elsewhere. */
        fd = mnt_filesystem(path, "ext4", MNT_READ_ONLY, message, sizeof(message));
        assert_true(fd >= 0);
        subtree = mnt_subtree(fd, "data");
        assert_true(subtree >= 0);
        assert_int_equal(mnt_set_options(subtree, MOUNT_READ_ONLY | MOUNT_NOATIME), 0);
        close(TAKE_FD(fd));
        assert_int_equal(mnt_attach(subtree, TARGET), 0);
        close(TAKE_FD(subtree));
        assert_int_equal(mnt_point_device(TARGET, &device, &options), 1);
        assert_int_equal(options, MOUNT_READ_ONLY | MOUNT_NOATIME);
        assert_shell("grep -q hello " TARGET "/file && ! touch " TARGET "/file2 2>/dev/null");
        assert_int_equal(mnt_unmount(TARGET), 0);
        assert_int_equal(mnt_point_remove(TARGET), 0);
        assert_int_equal(mnt_point_remove(TARGET), 0);

        fd = mnt_filesystem_noexec(path, "ext4", message, sizeof(message));
        assert_true(fd >= 0);
        close(TAKE_FD(fd));
        assert_int_equal(dm_remove(THIN), 0); /* nothing holds it */
}

/* A process that does something and sleeps; returns its pid. */
static pid_t hold(const char *script) {
        pid_t pid = fork();

        if (pid == 0) {
                execl("/bin/sh", "sh", "-c", script, NULL);
                _exit(1);
        }
        usleep(700000);
        return pid;
}

static void release(pid_t pid) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void assert_holder(dev_t device, int count, const char *what) {
        char text[512];
        int n = holders_describe(&device, 1, text, sizeof(text));

        print_message("# %d: %s\n", n, text);
        if (count >= 0)
                assert_int_equal(n, count);
        if (what && !strstr(text, what))
                fail_msg("\"%s\" does not say \"%s\"", text, what);
}

static void holders(void **state) {
        _cleanup_close_ int fd = -EBADF;
        char path[DEVICE_PATH_MAX];
        dev_t thin;
        pid_t pid;

        assert_int_equal(dm_thin_open(pool, volume, 3, SIZE, false, &thin), 0);
        dm_device_path(thin, path);
        assert_holder(thin, 0, NULL);
        fd = mnt_filesystem(path, "ext4", MNT_WRITABLE, NULL, 0);
        assert_true(fd >= 0);
        assert_int_equal(mnt_point_make(MOUNT_ROOT, TARGET), 0);
        assert_int_equal(mnt_attach(fd, TARGET), 0);
        close(TAKE_FD(fd));
        assert_holder(thin, 1, "mounted at " TARGET);

        pid = hold("cd " TARGET " && exec sleep 60");
        assert_holder(thin, 2, "used by sleep (pid ");
        release(pid);
        pid = hold("exec sleep 60 3>" TARGET "/open");
        assert_holder(thin, 2, "used by sleep (pid ");
        release(pid);
        assert_shell("systemd-run -q --unit=holder-test sh -c 'exec sleep 60 3<" TARGET "/open'; sleep 1");
        assert_holder(thin, 2, "holder-test.service)");
        assert_shell("systemctl stop holder-test");
        assert_shell("truncate -s 1M " TARGET "/image && losetup /dev/loop7 " TARGET "/image");
        assert_holder(thin, 2, "used by device /dev/loop7 (file " TARGET "/image)");
        assert_shell("losetup -d /dev/loop7");
        pid = hold("exec unshare -m --propagation private sleep 60");
        assert_int_equal(mnt_unmount(TARGET), 0);
        assert_holder(thin, 1, "] of sleep (pid ");
        assert_int_equal(dm_remove(THIN), -EBUSY);
        release(pid);
        assert_int_equal(mnt_point_remove(TARGET), 0);
        assert_shell("dmsetup create stacked --table \"0 8192 linear %s 0\"", path);
        assert_holder(thin, 1, "used by device stacked");
        assert_shell("dmsetup remove --retry stacked");
        assert_int_equal(dm_remove(THIN), 0);
        assert_int_equal(dm_thin_delete(pool, 3), 0);
}

static void links(void **state) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        _cleanup_strv_ char **candidates = NULL;
        char path[DEVICE_PATH_MAX];
        dev_t thin, crypt;
        Error err = {};

        assert_int_equal(udev_describe(volume, "default", "../x", false), -EINVAL);
        assert_int_equal(dm_thin_create(pool, 4), 0);
        assert_int_equal(udev_describe(volume, "team-a", "web_1.data", false), 0);
        assert_int_equal(dm_thin_open(pool, volume, 4, SIZE, false, &thin), 0);
        assert_int_equal(udev_link(volume, true, thin), -ENOENT);
        assert_shell("test ! -L /dev/quarry/team-a/web_1.data");
        assert_int_equal(udev_link(volume, false, thin), 0);
        assert_int_equal(udev_link(volume, false, thin), 0);
        assert_shell("udevadm settle");
        dm_device_path(thin, path);
        /* What a tenant writes does not show on the host. */
        assert_shell("mkfs.ext4 -qF -L root %s && udevadm trigger --settle %s && test ! -e /dev/disk/by-label/root",
                     path, path);
        assert_shell("! udevadm info %s | grep ID_FS_TYPE && udevadm info %s | grep UDISKS_IGNORE=1", path, path);
        assert_shell(
                "udevadm trigger --settle -c add %s && test -b /dev/quarry/team-a/web_1.data && test -b /dev/mapper/" THIN,
                path);
        assert_shell("systemctl show -P ActiveState 'dev-quarry-team\\x2da-web_1.data.device' | grep -qx active");
        assert_shell(
                "pvcreate -qffy --config 'devices{filter=[\"a|.*|\"]}' --devices %s %s && udevadm trigger --settle %s",
                path, path, path);
        assert_done(lvm_candidate_devices(&candidates, &err), &err);
        assert_true(strv_contains(candidates, disk));
        assert_false(strv_contains(candidates, path));
        assert_false(strv_contains(candidates, "/dev/mapper/" THIN));

        /* Nobody is led to the volume that gets the number next, however long udev takes. */
        assert_shell("udevadm settle && udevadm control --stop-exec-queue");
        udev_unlink(volume);
        assert_int_equal(dm_remove(THIN), 0);
        assert_shell("test ! -L /dev/quarry/team-a/web_1.data");
        assert_int_equal(udev_describe(volume, "team-b", "other", false), 0);
        dev_t before = thin;
        assert_int_equal(dm_thin_open(pool, volume, 4, SIZE, false, &thin), 0);
        assert_true(thin == before);
        assert_int_equal(udev_link(volume, false, thin), 0);
        assert_shell("udevadm control --start-exec-queue && udevadm settle && test ! -e /dev/quarry/team-a");
        assert_shell("test /dev/quarry/team-b/other -ef %s", path);
        udev_unlink(volume);
        assert_int_equal(dm_remove(THIN), 0);
        assert_int_equal(udev_forget(volume), 0);
        assert_int_equal(udev_forget(volume), 0);
        assert_shell("udevadm settle && test ! -e /dev/quarry/team-b");

        assert_int_equal(udev_describe(volume, "default", "vault", true), 0);
        assert_int_equal(dm_thin_open(pool, volume, 4, SIZE + LUKS_HEADER_SIZE, false, &thin), 0);
        assert_int_equal(luks_format(path, volume, &cheap, secret, sizeof(secret), NULL, &luks), 0);
        assert_int_equal(luks_open(luks, CRYPT, false, &crypt), 0);
        assert_int_equal(udev_link(volume, false, thin), -ENOENT);
        assert_int_equal(udev_link(volume, true, crypt), 0);
        assert_shell("udevadm settle");
        assert_shell("systemctl show -P ActiveState 'dev-quarry-default-vault.device' | grep -qx active");
        assert_shell("systemctl show -P ActiveState 'dev-mapper-quarry\\x2d"
                     "7ba7b810\\x2d9dad\\x2d11d1\\x2d80b4\\x2d00c04fd430c8.device' | grep -qx inactive");
        assert_int_equal(luks_close(CRYPT), 0);
        assert_int_equal(dm_remove(THIN), 0);
        assert_int_equal(udev_forget(volume), 0);
        assert_int_equal(dm_thin_delete(pool, 4), 0);
}

/* --- end --------------------------------------------------------------------------------------------------- */

static void lvm_end(void **state) {
        Error err = {};
        DmInfo info;

        assert_int_equal(lvm_deactivate(&lvm_pool, &err), -EBUSY);
        assert_int_equal(err.kind, ERROR_POOL_BUSY);
        print_message("# %s\n", err.text);
        assert_int_equal(dm_remove(POOL_VG), 0);
        assert_int_equal(dm_info(POOL_VG, &info), -ENXIO);
        assert_true(lvm_remove_vg(POOL_VG, disks, &err) < 0); /* not while volumes are in it */
        assert_done(lvm_remove_volumes(&lvm_pool, &err), &err);
        assert_done(lvm_remove_vg(POOL_VG, disks, &err), &err);
        assert_done(lvm_remove_vg(POOL_VG, disks, &err), &err);
        lvm_pool_done(&lvm_pool);
        assert_done(probe_device_is_free(disk, &err), &err);
}

static void nothing_is_left(void **state) {
        assert_shell("udevadm settle; dmsetup ls | grep -q '^No devices found'");
        assert_shell("test -z \"$(losetup -a)\"");
        assert_shell("! grep -E 'quarry/mnt|/dev/dm-|%s' /proc/self/mountinfo", disk);
        assert_shell("! find /dev/quarry /run/quarry/udev -mindepth 1 2>/dev/null | grep .");
        assert_shell("! find /run/quarry/mnt -mindepth 2 | grep .");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lvm_group),   cmocka_unit_test(lvm_volumes),  cmocka_unit_test(lvm_hosts),
                cmocka_unit_test(thin_pool),   cmocka_unit_test(thin_devices), cmocka_unit_test(thin_speed),
                cmocka_unit_test(luks_header), cmocka_unit_test(luks_speed),   cmocka_unit_test(luks_argon2),
                cmocka_unit_test(luks_wipe),   cmocka_unit_test(mounts),       cmocka_unit_test(holders),
                cmocka_unit_test(links),       cmocka_unit_test(lvm_end),      cmocka_unit_test(nothing_is_left),
        };

        begin();
        disks[0] = (char *) disk;
        sd_id128_from_string(POOL_UUID, &pool);
        sd_id128_from_string(VOLUME_UUID, &volume);
        sd_id128_from_string(OTHER_UUID, &other);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
