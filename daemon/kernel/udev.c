#include "kernel/udev.h"

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <systemd/sd-device.h>

#define POLL_MS 5u
#define DESCRIPTION_MAX 256u

/* The rules find a device's description by its kernel name: that of the crypt device, so that the link goes
 * there and not to the ciphertext below. */
static void description_path(sd_id128_t volume, bool encrypted, char buf[static PATH_MAX]) {
        char name[KERNEL_NAME_MAX];

        if (encrypted)
                volume_crypt_name(volume, name);
        else
                volume_thin_name(volume, name);
        buffer_format(buf, PATH_MAX, UDEV_ROOT "/%s", name);
}

int udev_describe(sd_id128_t volume, const char *tenant, const char *name, bool encrypted) {
        char path[PATH_MAX], text[DESCRIPTION_MAX];

        if (!tenant_name_is_valid(tenant) || !volume_name_is_valid(name) ||
            !buffer_format(text, sizeof(text), "QUARRY_TENANT=%s\nQUARRY_NAME=%s\n", tenant, name))
                return -EINVAL;
        if ((mkdir("/run/quarry", 0755) < 0 && errno != EEXIST) || (mkdir(UDEV_ROOT, 0755) < 0 && errno != EEXIST))
                return -errno;
        description_path(volume, encrypted, path);
        return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
}

/* Not left to udev, which may come to it only when the device's number is another volume's. */
static int link_remove(const char *description) {
        _cleanup_free_ char *text = NULL;
        char tenant[TENANT_NAME_MAX + 1], name[VOLUME_NAME_MAX + 1], link[MOUNT_PATH_MAX];
        int r;

        r = file_read(AT_FDCWD, description, DESCRIPTION_MAX, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        static_assert(TENANT_NAME_MAX == 32 && VOLUME_NAME_MAX == 128, "the maxima below");
        if (sscanf(text, "QUARRY_TENANT=%32[^\n]\nQUARRY_NAME=%128[^\n]", tenant, name) != 2 ||
            !tenant_name_is_valid(tenant) || !volume_name_is_valid(name))
                return 0;
        volume_device_link(tenant, name, link);
        return unlink(link) < 0 && errno != ENOENT ? -errno : 0;
}

int udev_forget(sd_id128_t volume) {
        char path[PATH_MAX];
        int r;

        for (int encrypted = 0; encrypted < 2; encrypted++) {
                description_path(volume, encrypted, path);
                r = link_remove(path);
                if (r < 0)
                        return r;
                if (unlink(path) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}

uint64_t udev_now(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* Since when udev knows the device of this number: 0 if it does not yet. */
static uint64_t known_since(dev_t number) {
        _cleanup_(sd_device_unrefp) sd_device *device = NULL;
        uint64_t usec;

        return sd_device_new_from_devnum(&device, 'b', number) >= 0 &&
                               sd_device_get_usec_initialized(device, &usec) >= 0
                       ? usec
                       : 0;
}

int udev_wait_link(const char *link, dev_t device, uint64_t since, unsigned timeout_ms) {
        struct stat status;

        for (unsigned ms = 0;; ms += POLL_MS) {
                if (stat(link, &status) >= 0 && S_ISBLK(status.st_mode) && status.st_rdev == device &&
                    known_since(device) >= since)
                        return 0;
                if (ms >= timeout_ms)
                        return -ETIMEDOUT;
                nanosleep(&(struct timespec) { .tv_nsec = POLL_MS * 1000000L }, NULL);
        }
}
