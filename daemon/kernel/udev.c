#include "kernel/udev.h"

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

#define POLL_MS 5u

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
        char path[PATH_MAX], text[256];

        if (!tenant_name_is_valid(tenant) || !volume_name_is_valid(name) ||
            !buffer_format(text, sizeof(text), "QUARRY_TENANT=%s\nQUARRY_NAME=%s\n", tenant, name))
                return -EINVAL;
        if ((mkdir("/run/quarry", 0755) < 0 && errno != EEXIST) || (mkdir(UDEV_ROOT, 0755) < 0 && errno != EEXIST))
                return -errno;
        description_path(volume, encrypted, path);
        return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
}

int udev_forget(sd_id128_t volume) {
        char path[PATH_MAX];

        for (int encrypted = 0; encrypted < 2; encrypted++) {
                description_path(volume, encrypted, path);
                if (unlink(path) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}

int udev_wait_link(const char *link, dev_t device, unsigned timeout_ms) {
        struct stat status;

        for (unsigned ms = 0;; ms += POLL_MS) {
                if (stat(link, &status) >= 0 && S_ISBLK(status.st_mode) && status.st_rdev == device)
                        return 0;
                if (ms >= timeout_ms)
                        return -ETIMEDOUT;
                nanosleep(&(struct timespec) { .tv_nsec = POLL_MS * 1000000L }, NULL);
        }
}
