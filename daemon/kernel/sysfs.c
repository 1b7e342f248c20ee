#include "kernel/sysfs.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>

static void path_format(dev_t device, const char *rest, char buf[static PATH_MAX]) {
        buffer_format(buf, PATH_MAX, "/sys/dev/block/%u:%u/%s", major(device), minor(device), rest);
}

int sysfs_read(dev_t device, const char *attribute, char buf[static SYSFS_VALUE_MAX]) {
        _cleanup_free_ char *text = NULL;
        char path[PATH_MAX];
        int r;

        path_format(device, attribute, path);
        r = file_read(AT_FDCWD, path, SYSFS_VALUE_MAX - 1, &text, NULL);
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = 0;
        buffer_format(buf, SYSFS_VALUE_MAX, "%s", text);
        return 0;
}

void sysfs_name(dev_t device, char buf[static SYSFS_VALUE_MAX]) {
        char path[PATH_MAX], target[PATH_MAX];
        ssize_t n;

        if (sysfs_read(device, "dm/name", buf) >= 0)
                return;
        path_format(device, "", path);
        path[strlen(path) - 1] = 0;
        n = readlink(path, target, sizeof(target) - 1);
        if (n > 0) {
                target[n] = 0;
                const char *slash = strrchr(target, '/');
                if (slash && buffer_format(buf, SYSFS_VALUE_MAX, "/dev/%s", slash + 1))
                        return;
        }
        buffer_format(buf, SYSFS_VALUE_MAX, "%u:%u", major(device), minor(device));
}

static void dir_closep(DIR **dir) {
        if (*dir)
                closedir(*dir);
}

static int number_append(dev_t **list, size_t *count, const char *text) {
        unsigned major_number, minor_number;
        dev_t *more;

        if (sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
                return -EBADMSG;
        more = realloc(*list, (*count + 1) * sizeof(*more));
        if (!more)
                return -ENOMEM;
        *list = more;
        more[(*count)++] = makedev(major_number, minor_number);
        return 0;
}

/* The entries of a folder: device numbers, or folders with a file "dev". */
static int folder_devices(const char *path, bool named_by_number, dev_t **ret, size_t *ret_count) {
        _cleanup_(dir_closep) DIR *dir = NULL;
        _cleanup_free_ dev_t *list = NULL;
        size_t count = 0;
        int r;

        dir = opendir(path);
        if (!dir)
                return -errno;
        for (struct dirent *entry; (entry = readdir(dir));) {
                _cleanup_free_ char *text = NULL;
                char attribute[NAME_MAX + 8];

                if (entry->d_name[0] == '.')
                        continue;
                buffer_format(attribute, sizeof(attribute), "%s/dev", entry->d_name);
                if (!named_by_number && file_read(dirfd(dir), attribute, 64, &text, NULL) < 0)
                        continue; /* gone meanwhile */
                r = number_append(&list, &count, text ?: entry->d_name);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(list);
        *ret_count = count;
        return 0;
}

int sysfs_links(dev_t device, const char *folder, dev_t **ret, size_t *ret_count) {
        char path[PATH_MAX];
        int r;

        path_format(device, folder, path);
        r = folder_devices(path, false, ret, ret_count);
        if (r != -ENOENT)
                return r;
        *ret = NULL; /* partitions have no slaves */
        *ret_count = 0;
        return 0;
}

int sysfs_devices(dev_t **ret, size_t *ret_count) {
        return folder_devices("/sys/dev/block", true, ret, ret_count);
}
