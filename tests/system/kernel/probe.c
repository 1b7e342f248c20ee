/* What probe refuses on real devices, loop devices, the file of the host key, and the identity of an ext4. */

#include "system.h"

#include "kernel/ext.h"
#include "kernel/hostkey.h"
#include "kernel/loop.h"

#include <fcntl.h>
#include <sys/wait.h>

/* --- probe ----------------------------------------------------------------------------------------------- */

static void probe_free(void **state) {
        Error err = {};
        uint64_t size;

        assert_done(probe_device_is_free(disk, &err), &err);
        assert_int_equal(probe_block_size(disk, &size), 0);
        assert_true(size >= GIB);
        assert_int_equal(probe_block_size("/etc/passwd", &size), -ENOTBLK);
        assert_refused("/", "is a directory");
        assert_refused("/etc/passwd", "is a file");
        assert_refused("/dev/null", "is no block device");
        assert_refused("/dev/quarry-missing", "No such file");
}

static void probe_signatures(void **state) {
        assert_shell("mkfs.ext4 -qF -L mine %s", disk);
        assert_refused(disk, "bears an ext4 filesystem (label \"mine\")");
        wipe();
        assert_shell("mkfs.xfs -qf %s", disk);
        assert_refused(disk, "xfs filesystem");
        wipe();
        assert_shell("mkswap -q %s", disk);
        assert_refused(disk, "swap");
        assert_shell("swapon %s", disk);
        assert_refused(disk, "used as swap");
        assert_shell("swapoff %s", disk);
        wipe();
        assert_shell("pvcreate -q --devices %s %s", disk, disk);
        assert_refused(disk, "LVM2_member");
        assert_shell("pvremove -q --devices %s %s", disk, disk);
        assert_shell("'%s'/write-gpt %s", getenv("QUARRY_TESTS") ?: "tests/system/kernel", disk);
        assert_refused(disk, "gpt partition table");
        /* Only the backup at the end is left. */
        assert_shell("dd if=/dev/zero of=%s bs=1M count=1 conv=fsync status=none", disk);
        assert_refused(disk, "gpt partition table");
        wipe();
        /* One partition from sector 2048, 1 MiB. */
        assert_shell(
                "(head -c 446 /dev/zero; printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\010\\0\\0'; head -c 48 /dev/zero; "
                "printf '\\125\\252') >%s && blockdev --rereadpt %s && udevadm settle",
                disk, disk);
        assert_refused(disk, "has partitions (/dev/");
        wipe();
        assert_shell("blockdev --rereadpt %s && udevadm settle", disk);
}

static void probe_users(void **state) {
        Error err = {};

        assert_shell("mkfs.ext4 -qF %s && mkdir -p '/tmp/a place' && mount -o ro %s '/tmp/a place'", disk, disk);
        assert_refused(disk, "is mounted at /tmp/a place");
        assert_shell("umount '/tmp/a place'");
        wipe();
        assert_shell("dmsetup create holder --table \"0 8192 linear %s 0\"", disk);
        assert_refused(disk, "is used by holder");
        assert_shell("dmsetup remove --retry holder");
        int fd = open(disk, O_RDONLY | O_EXCL | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_refused(disk, "exclusively");
        close(fd);
        assert_shell("blockdev --setro %s", disk);
        assert_refused(disk, "read-only");
        assert_shell("blockdev --setrw %s && udevadm settle", disk);
        assert_done(probe_device_is_free(disk, &err), &err);
}

/* --- loop ------------------------------------------------------------------------------------------------ */

static void loop_devices(void **state) {
        _cleanup_free_ char *first = NULL, *again = NULL;

        assert_shell("truncate -s 8M /var/tmp/loop.img");
        assert_int_equal(loop_detach("/var/tmp/loop.img"), -ENXIO);
        assert_int_equal(loop_attach("/var/tmp/loop.img", &first), 0);
        assert_int_equal(loop_attach("/var/tmp/loop.img", &again), 0);
        assert_string_equal(first, again);
        assert_refused(first, "is too small: 8M");
        assert_int_equal(loop_detach("/var/tmp/loop.img"), 0);
        assert_int_equal(loop_detach("/var/tmp/loop.img"), -ENXIO);
        assert_int_equal(loop_attach("/var/tmp", &again), -EISDIR);
        assert_shell("rm /var/tmp/loop.img");
}

/* --- host key ---------------------------------------------------------------------------------------------- */

/* Two that race for the first key get the same. */
static void host_key_file(void **state) {
        uint8_t *key, *again;
        Error err = {};

        assert_shell("mkdir -p /var/lib/quarry && rm -f " HOST_KEY_FILE);
        assert_true(hostkey_load(NULL, false, &key, &err) < 0);
        print_message("# %s\n", err.text);
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        for (int i = 0; i < 4; i++)
                if (fork() == 0) {
                        if (hostkey_load(NULL, true, &key, &err) < 0 ||
                            write(pipes[1], key, HOST_KEY_SIZE) != HOST_KEY_SIZE)
                                _exit(1);
                        _exit(0);
                }
        assert_done(hostkey_load(NULL, true, &key, &err), &err);
        for (int i = 0; i < 4; i++) {
                uint8_t theirs[HOST_KEY_SIZE];
                int status;

                assert_true(wait(&status) > 0);
                assert_int_equal(status, 0);
                assert_int_equal(read(pipes[0], theirs, sizeof(theirs)), HOST_KEY_SIZE);
                assert_memory_equal(theirs, key, HOST_KEY_SIZE);
        }
        close(pipes[0]);
        close(pipes[1]);
        assert_done(hostkey_load(NULL, false, &again, &err), &err);
        assert_memory_equal(key, again, HOST_KEY_SIZE);
        hostkey_free(key);
        hostkey_free(again);
        assert_shell("test \"$(stat -c %%a:%%u:%%s " HOST_KEY_FILE
                     ")\" = 400:0:32 && test \"$(ls -A /var/lib/quarry | grep -c host-key)\" = 1");
        assert_shell("chmod 0440 " HOST_KEY_FILE);
        assert_true(hostkey_load(NULL, true, &key, &err) < 0);
        print_message("# %s | %s\n", err.text, err.hint);
        assert_shell("chmod 0400 " HOST_KEY_FILE " && truncate -s 31 " HOST_KEY_FILE);
        assert_true(hostkey_load(NULL, true, &key, &err) < 0);
        print_message("# %s | %s\n", err.text, err.hint);
        assert_shell("rm " HOST_KEY_FILE);
}

/* --- the identity of a copied ext4 ------------------------------------------------------------------------- */

#define EXT_UUID "7ba7b810-9dad-11d1-80b4-00c04fd430c8"

static void assert_uuid_is(const char *uuid) {
        assert_shell("test \"$(blkid -p -o value -s UUID %s)\" = %s", disk, uuid);
        assert_shell("e2fsck -fn %s", disk);
}

static void ext_identity(void **state) {
        static const ExtOwner owner = { .uid = 100000, .gid = 70000, .mode = 02750 };
        sd_id128_t uuid;

        sd_id128_from_string(EXT_UUID, &uuid);
        assert_shell("mkfs.ext4 -qF -O metadata_csum,metadata_csum_seed %s 512M && mount %s /mnt", disk, disk);
        assert_int_equal(ext_identify(disk, uuid, NULL, NULL), -EBUSY);
        assert_shell("mkdir /mnt/data && echo kept > /mnt/data/file && umount /mnt");
        assert_int_equal(ext_identify(disk, uuid, NULL, NULL), 0);
        assert_uuid_is(EXT_UUID);
        assert_int_equal(ext_identify(disk, uuid, "elsewhere", &owner), -ENOENT);
        assert_int_equal(ext_identify(disk, uuid, "data", &owner), 0);
        assert_int_equal(ext_identify(disk, uuid, "data", &owner), 0);
        assert_uuid_is(EXT_UUID);
        assert_shell("mount %s /mnt && test \"$(stat -c %%u:%%g:%%a /mnt/data) $(cat /mnt/data/file)\" = "
                     "'100000:70000:2750 kept'",
                     disk);
        assert_shell("echo more > /mnt/data/more && umount /mnt && e2fsck -fn %s", disk);
}

/* What was not closed may have its old UUID in the journal. */
static void ext_identity_waits(void **state) {
        sd_id128_t uuid;

        sd_id128_from_string(EXT_UUID, &uuid);
        assert_shell("debugfs -w -R 'feature needs_recovery' %s", disk);
        assert_int_equal(ext_identify(disk, uuid, NULL, NULL), -EUCLEAN);
        for (size_t i = 0; i < 3; i++) {
                static const char *const features[] = { "metadata_csum,^metadata_csum_seed", "^metadata_csum,uninit_bg",
                                                        "^metadata_csum,^uninit_bg" };

                assert_shell("mkfs.ext4 -qF -O %s %s 512M", features[i], disk);
                assert_int_equal(ext_identify(disk, uuid, NULL, NULL), i == 1 ? -EOPNOTSUPP : 0);
                if (i != 1)
                        assert_uuid_is(EXT_UUID);
        }
        wipe();
        assert_int_equal(ext_identify(disk, uuid, NULL, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(probe_free),         cmocka_unit_test(probe_signatures),
                cmocka_unit_test(probe_users),        cmocka_unit_test(loop_devices),
                cmocka_unit_test(host_key_file),      cmocka_unit_test(ext_identity),
                cmocka_unit_test(ext_identity_waits),
        };

        begin();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
