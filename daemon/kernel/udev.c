#include "kernel/udev.h"

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DESCRIPTION_MAX 256u
#define LINK_TRIES 100u
#define LINK_TARGET_MAX 64u

/* Found by the kernel name of the device that users see: the crypt device, not the ciphertext below. */
static void description_path(sd_id128_t volume, bool encrypted, char buf[static PATH_MAX]) {
        char name[KERNEL_NAME_MAX];

        if (encrypted)
                volume_crypt_name(volume, name);
        else
                volume_thin_name(volume, name);
        buffer_format(buf, PATH_MAX, UDEV_ROOT "/%s", name);
}

static bool names_are_valid(const char *tenant, const char *name) {
        return tenant_name_is_valid(tenant) && (volume_name_is_valid(name) || full_name_is_valid(name));
}

int udev_describe(sd_id128_t volume, const char *tenant, const char *name, bool encrypted) {
        char path[PATH_MAX], text[DESCRIPTION_MAX];

        if (!names_are_valid(tenant, name) ||
            !buffer_format(text, sizeof(text), "QUARRY_TENANT=%s\nQUARRY_NAME=%s\n", tenant, name))
                return -EINVAL;
        if ((mkdir("/run/quarry", 0755) < 0 && errno != EEXIST) || (mkdir(UDEV_ROOT, 0700) < 0 && errno != EEXIST))
                return -errno;
        description_path(volume, encrypted, path);
        return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
}

/* Whose link it is; -ENOENT if the volume has no such device, or is not described. */
static int link_path(sd_id128_t volume, bool encrypted, char buf[static MOUNT_PATH_MAX]) {
        _cleanup_free_ char *text = NULL;
        char path[PATH_MAX], tenant[TENANT_NAME_MAX + 1], name[FULL_NAME_MAX + 1];
        int r;

        description_path(volume, encrypted, path);
        r = file_read(AT_FDCWD, path, DESCRIPTION_MAX, &text, NULL);
        if (r < 0)
                return r;
        static_assert(TENANT_NAME_MAX == 32 && FULL_NAME_MAX == 193, "the maxima below");
        if (sscanf(text, "QUARRY_TENANT=%32[^\n]\nQUARRY_NAME=%193[^\n]", tenant, name) != 2 ||
            !names_are_valid(tenant, name))
                return -EINVAL;
        volume_device_link(tenant, name, buf);
        return 0;
}

/* The folder of a tenant goes with its last link, perhaps just now. */
static int link_replace(const char *target, const char *link, const char *folder) {
        char fresh[MOUNT_PATH_MAX + 16];

        buffer_format(fresh, sizeof(fresh), "%s/.%d", folder, (int) getpid());
        for (unsigned i = 0; i < LINK_TRIES; i++) {
                if ((mkdir(DEVICE_LINK_ROOT, 0711) < 0 && errno != EEXIST) ||
                    (mkdir(folder, 0711) < 0 && errno != EEXIST))
                        return -errno;
                if (unlink(fresh) < 0 && errno != ENOENT)
                        return -errno;
                if (symlink(target, fresh) < 0) {
                        if (errno == ENOENT)
                                continue;
                        return -errno;
                }
                return RET_NERRNO(rename(fresh, link));
        }
        return -ENOENT;
}

static bool leads_to(const char *link, dev_t device) {
        char target[LINK_TARGET_MAX], now[LINK_TARGET_MAX] = "";

        buffer_format(target, sizeof(target), "../../dm-%u", minor(device));
        return readlink(link, now, sizeof(now) - 1) > 0 && streq(now, target);
}

int udev_link(sd_id128_t volume, bool encrypted, dev_t device) {
        char link[MOUNT_PATH_MAX], folder[MOUNT_PATH_MAX], target[LINK_TARGET_MAX];
        int r;

        r = link_path(volume, encrypted, link);
        if (r < 0)
                return r;
        if (leads_to(link, device))
                return 0;
        buffer_format(target, sizeof(target), "../../dm-%u", minor(device));
        buffer_format(folder, sizeof(folder), "%.*s", (int) (strrchr(link, '/') - link), link);
        return link_replace(target, link, folder);
}

static void link_remove(char *link) {
        if (unlink(link) < 0)
                return;
        *strrchr(link, '/') = 0;
        (void) rmdir(link); /* unless others are in it */
}

void udev_unlink(sd_id128_t volume) {
        char link[MOUNT_PATH_MAX];

        for (int encrypted = 0; encrypted < 2; encrypted++)
                if (link_path(volume, encrypted, link) >= 0)
                        link_remove(link);
}

void udev_unlink_name(const char *tenant, const char *name, dev_t device) {
        char link[MOUNT_PATH_MAX];

        volume_device_link(tenant, name, link);
        if (leads_to(link, device))
                link_remove(link);
}

void udev_tell(dev_t device) {
        _cleanup_close_ int fd = -EBADF;
        char path[64];

        buffer_format(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major(device), minor(device));
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void) write_all(fd, "change", strlen("change")); /* the link does not depend on it */
}

int udev_forget(sd_id128_t volume) {
        char path[PATH_MAX];

        udev_unlink(volume);
        for (int encrypted = 0; encrypted < 2; encrypted++) {
                description_path(volume, encrypted, path);
                if (unlink(path) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}
