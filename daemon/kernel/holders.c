#include "kernel/holders.h"

#include "kernel/sysfs.h"

#include <quarry/fd.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define HOLDERS_NAMED 5      /* in the text; the others are counted */
#define CONTAINER_ID 64u     /* hex digits of the ids of docker, podman and CRI-O */
#define CONTAINER_SHORT 12   /* as those print them */
#define PROC_FILE_MAX (64u << 20)
#define LOOP_MAJOR 7u

typedef struct Search {
        const dev_t *devices;
        size_t n_devices;
        uint64_t mount; /* or what is reached by this one mount of the host */
        char *buf;
        size_t size;
        int count;
        ino_t *namespaces; /* of mounts, looked at already */
        size_t n_namespaces;
} Search;

static bool is_ours(const Search *s, dev_t device) {
        for (size_t i = 0; i < s->n_devices; i++)
                if (s->devices[i] == device)
                        return true;
        return false;
}

static void found(Search *s, const char *format, ...) _printf_(2, 3);

static void found(Search *s, const char *format, ...) {
        size_t have = strlen(s->buf);
        char text[256];
        va_list args;

        if (s->count++ >= HOLDERS_NAMED)
                return;
        va_start(args, format);
        (void) vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        buffer_format(s->buf + have, s->size - have, "%s%s", have ? "; " : "", text);
}

/* --- processes ------------------------------------------------------------------------------------------ */

static size_t hex_run(const char *p) {
        size_t n = 0;

        while (isdigit((unsigned char) p[n]) || (p[n] >= 'a' && p[n] <= 'f'))
                n++;
        return n;
}

/* The last run of exactly 64 hex digits: "docker-ID.scope", "/docker/ID", "libpod-ID.scope/container". */
static const char *container_id(const char *path) {
        const char *id = NULL;

        for (const char *p = path; *p;) {
                size_t n = hex_run(p);

                if (n == CONTAINER_ID)
                        id = p;
                p += n ? n : 1;
        }
        return id;
}

void holders_cgroup(const char *cgroup, char buf[static HOLDERS_CGROUP_MAX]) {
        const char *line, *path, *id;

        buf[0] = 0;
        /* Version 2 is the line "0::/path". */
        line = startswith(cgroup, "0::") ? cgroup : strstr(cgroup, "\n0::");
        path = line ? strchr(line, '/') : NULL;
        if (!path)
                return;
        _cleanup_free_ char *copy = strndup(path, strcspn(path, "\n"));
        if (!copy)
                return;
        id = container_id(copy);
        if (id) {
                buffer_format(buf, HOLDERS_CGROUP_MAX, "container %.*s", CONTAINER_SHORT, id);
                return;
        }
        /* The innermost service: below it are groups of its own making. user@1000.service is a person. */
        for (char *p = copy, *part; (part = strsep(&p, "/"));) {
                size_t n = strlen(part);

                if (n > 8 && streq(part + n - 8, ".service") && !startswith(part, "user@"))
                        buffer_format(buf, HOLDERS_CGROUP_MAX, "%s", part);
        }
}

/* "postgres (pid 4711, postgresql.service)" */
static void process_describe(const char *pid, char *buf, size_t size) {
        _cleanup_free_ char *name = NULL, *cgroup = NULL;
        char path[64], group[HOLDERS_CGROUP_MAX] = "";

        buffer_format(path, sizeof(path), "/proc/%s/comm", pid);
        if (file_read(AT_FDCWD, path, 256, &name, NULL) >= 0)
                name[strcspn(name, "\n")] = 0;
        buffer_format(path, sizeof(path), "/proc/%s/cgroup", pid);
        if (file_read(AT_FDCWD, path, PROC_FILE_MAX, &cgroup, NULL) >= 0)
                holders_cgroup(cgroup, group);
        buffer_format(buf, size, "%s (pid %s%s%s)", isempty(name) ? "a process" : name, pid, group[0] ? ", " : "",
                      group);
}

static bool path_is_on(const Search *s, int dir_fd, const char *path) {
        struct statx status;

        /* What the kernel has in memory: a dead network filesystem must not keep us. */
        if (statx(dir_fd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_MNT_ID, &status) < 0)
                return false;
        if (s->mount != 0)
                return status.stx_mnt_id == s->mount;
        return is_ours(s, makedev(status.stx_dev_major, status.stx_dev_minor)) ||
               (S_ISBLK(status.stx_mode) && is_ours(s, makedev(status.stx_rdev_major, status.stx_rdev_minor)));
}

static void dir_closep(DIR **dir) {
        if (*dir)
                closedir(*dir);
}

static bool links_are_on(const Search *s, int process, const char *folder) {
        _cleanup_(dir_closep) DIR *dir = NULL;
        int fd;

        fd = openat(process, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return false;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return false;
        }
        for (struct dirent *entry; (entry = readdir(dir));)
                if (entry->d_name[0] != '.' && path_is_on(s, dirfd(dir), entry->d_name))
                        return true;
        return false;
}

/* Lines of /proc/PID/maps: "start-end perms offset major:minor inode path". */
static bool mappings_are_on(const Search *s, int process) {
        _cleanup_free_ char *text = NULL;
        unsigned major_number, minor_number;
        char *line, *p;

        if (file_read(process, "maps", PROC_FILE_MAX, &text, NULL) < 0)
                return false;
        p = text;
        while ((line = strsep(&p, "\n")))
                if (sscanf(line, "%*s %*s %*s %x:%x", &major_number, &minor_number) == 2 &&
                    is_ours(s, makedev(major_number, minor_number)))
                        return true;
        return false;
}

static void look_at_process(Search *s, const char *pid) {
        _cleanup_close_ int process = -EBADF;
        char path[64], who[128 + HOLDERS_CGROUP_MAX];

        buffer_format(path, sizeof(path), "/proc/%s", pid);
        process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process < 0 || strtol(pid, NULL, 10) == getpid())
                return;
        if (!path_is_on(s, process, "cwd") && !path_is_on(s, process, "root") && !links_are_on(s, process, "fd") &&
            !(s->mount ? links_are_on(s, process, "map_files") : mappings_are_on(s, process)))
                return;
        process_describe(pid, who, sizeof(who));
        found(s, "used by %s", who);
}

/* --- mounts --------------------------------------------------------------------------------------------- */

/* Whether the namespace of this process was not looked at before. */
static bool namespace_is_new(Search *s, const char *pid) {
        struct stat status;
        char path[64];
        ino_t *more;

        buffer_format(path, sizeof(path), "/proc/%s/ns/mnt", pid);
        if (stat(path, &status) < 0)
                return false;
        for (size_t i = 0; i < s->n_namespaces; i++)
                if (s->namespaces[i] == status.st_ino)
                        return false;
        more = realloc(s->namespaces, (s->n_namespaces + 1) * sizeof(*more));
        if (!more)
                return false;
        s->namespaces = more;
        more[s->n_namespaces++] = status.st_ino;
        return true;
}

/* Services with a mount namespace of their own get copies of the host's mounts, which go when those go. */
static bool is_copy(const MountEntry *mount) {
        _cleanup_free_ char *text = NULL;
        MountEntry entry;
        char *p;
        int r;

        if (mountinfo_read(&text) < 0)
                return false;
        p = text;
        while ((r = mountinfo_next(&p, &entry)) != 0)
                if (r > 0 && entry.device == mount->device && streq(entry.target, mount->target))
                        return true;
        return false;
}

/* "mnt:[4026532281]", as lsns(8) and nsenter(1) have it. */
static void namespace_name(const char *pid, char buf[static 32]) {
        char path[64];
        ssize_t n;

        buffer_format(path, sizeof(path), "/proc/%s/ns/mnt", pid);
        n = readlink(path, buf, 31);
        buf[n > 0 ? n : 0] = 0;
}

static void look_at_mounts(Search *s, const char *pid) {
        _cleanup_free_ char *text = NULL;
        char path[64], who[128 + HOLDERS_CGROUP_MAX], namespace[32];
        MountEntry entry;
        char *p;
        int r;

        if (!namespace_is_new(s, pid))
                return;
        buffer_format(path, sizeof(path), "/proc/%s/mountinfo", pid);
        if (file_read(AT_FDCWD, path, PROC_FILE_MAX, &text, NULL) < 0)
                return;
        p = text;
        while ((r = mountinfo_next(&p, &entry)) != 0) {
                if (r < 0 || !is_ours(s, entry.device))
                        continue;
                if (streq(pid, "self")) {
                        found(s, "mounted at %s", entry.target);
                        continue;
                }
                if (is_copy(&entry))
                        continue;
                process_describe(pid, who, sizeof(who));
                namespace_name(pid, namespace);
                found(s, "mounted at %s in the mount namespace %s of %s", entry.target, namespace, who);
        }
}

static int each_process(Search *s, void (*look)(Search *s, const char *pid)) {
        _cleanup_(dir_closep) DIR *dir = NULL;

        dir = opendir("/proc");
        if (!dir)
                return -errno;
        for (struct dirent *entry; (entry = readdir(dir));)
                if (isdigit((unsigned char) entry->d_name[0]))
                        look(s, entry->d_name);
        return 0;
}

/* --- devices -------------------------------------------------------------------------------------------- */

static void look_at_stacked(Search *s, dev_t device) {
        _cleanup_free_ dev_t *above = NULL;
        char name[SYSFS_VALUE_MAX];
        size_t n = 0;

        if (sysfs_links(device, "holders", &above, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                sysfs_name(above[i], name);
                if (!startswith(name, "quarry-"))
                        found(s, "used by device %s", name);
        }
}

/* Loop devices of files on our filesystems: no process has those open. */
static void look_at_loops(Search *s) {
        _cleanup_free_ dev_t *devices = NULL;
        char file[SYSFS_VALUE_MAX], name[SYSFS_VALUE_MAX];
        size_t n = 0;

        if (sysfs_devices(&devices, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                if (major(devices[i]) == LOOP_MAJOR && sysfs_read(devices[i], "loop/backing_file", file) >= 0 &&
                    path_is_on(s, AT_FDCWD, file)) {
                        sysfs_name(devices[i], name);
                        found(s, "used by device %s (file %s)", name, file);
                }
}

static void look_at_swaps(Search *s) {
        _cleanup_free_ char *text = NULL;
        char *line, *p;

        if (file_read(AT_FDCWD, "/proc/swaps", PROC_FILE_MAX, &text, NULL) < 0)
                return;
        p = text;
        while ((line = strsep(&p, "\n"))) {
                line[strcspn(line, " \t")] = 0;
                if (line[0] == '/' && path_is_on(s, AT_FDCWD, line))
                        found(s, "used as swap (%s)", line);
        }
}

static void tell_how_many_more(const Search *s) {
        size_t have = strlen(s->buf);

        if (s->count > HOLDERS_NAMED)
                buffer_format(s->buf + have, s->size - have, "; and %d more", s->count - HOLDERS_NAMED);
}

int holders_describe_mount(const char *target, char *buf, size_t size) {
        Search s = { .buf = buf, .size = size };
        struct statx status;
        int r;

        buf[0] = 0;
        if (statx(AT_FDCWD, target, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) < 0)
                return -errno;
        s.mount = status.stx_mnt_id;
        r = each_process(&s, look_at_process);
        if (r < 0)
                return r;
        look_at_loops(&s);
        look_at_swaps(&s);
        tell_how_many_more(&s);
        return s.count;
}

int holders_describe(const dev_t *devices, size_t n_devices, char *buf, size_t size) {
        Search s = { .devices = devices, .n_devices = n_devices, .buf = buf, .size = size };
        int r;

        if (size == 0)
                return -EINVAL;
        buf[0] = 0;
        look_at_mounts(&s, "self");
        r = each_process(&s, look_at_process);
        if (r >= 0)
                r = each_process(&s, look_at_mounts);
        free(s.namespaces);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_devices; i++)
                look_at_stacked(&s, devices[i]);
        look_at_loops(&s);
        look_at_swaps(&s);
        tell_how_many_more(&s);
        return s.count;
}
