#include "kernel/mnt.h"

#include <quarry/fd.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define STAGE_STACK_SIZE (64u << 10)
#define STAGE_ROOT "/run" /* any folder */
#define STAGE_PLACE "/stage"

/* --- mounts by descriptor ------------------------------------------------------------------------------- */

/* The kernel's own words: lines such as "e ext4: Unknown parameter". */
void mnt_context_message(int context, char *message, size_t size) {
        char line[256];
        ssize_t n;

        if (!message)
                return;
        message[0] = 0;
        while ((n = read(context, line, sizeof(line) - 1)) > 0) {
                size_t have = strlen(message);

                line[n] = 0;
                line[strcspn(line, "\n")] = 0;
                buffer_format(message + have, size - have, "%s%s", have ? "; " : "", n > 2 ? line + 2 : line);
        }
}

static bool has_selinux(void) {
        _cleanup_free_ char *filesystems = NULL;

        return file_read(AT_FDCWD, "/proc/filesystems", 64u << 10, &filesystems, NULL) >= 0 &&
               strstr(filesystems, "\tselinuxfs\n");
}

int mnt_context_of(const char *device, char buf[static MOUNT_CONTEXT_MAX + 1]) {
        _cleanup_free_ char *text = NULL;
        struct stat status;
        MountEntry mount;
        int r;

        if (stat(device, &status) < 0)
                return -errno;
        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        buf[0] = 0;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && mount.device == status.st_rdev)
                        return mount_context(mount.super_options, buf, MOUNT_CONTEXT_MAX + 1) ? 1 : -EOVERFLOW;
        return 0;
}

/* What is to be said to the kernel about it. */
static int context_choose(const char *device, const char *wanted, char buf[static MOUNT_CONTEXT_MAX + 1]) {
        int r;

        buf[0] = 0;
        if (!has_selinux())
                return isempty(wanted) ? 0 : -EOPNOTSUPP;
        r = mnt_context_of(device, buf);
        if (r < 0 || isempty(wanted))
                return r;
        if (r > 0 && !streq(buf, wanted))
                return -EEXIST;
        buffer_format(buf, MOUNT_CONTEXT_MAX + 1, "%s", wanted);
        return 0;
}

static int parameters_set(int context, const char *device, const char *fstype, MntAccess access, const char *label) {
        bool is_xfs = streq(fstype, "xfs");
        int r;

        const char *const flags[] = {
                access == MNT_IMAGE || access == MNT_FIXED ? "ro" : NULL,
                access != MNT_FIXED ? NULL
                : is_xfs            ? "norecovery"
                                    : "noload",
                is_xfs ? "nouuid" : NULL,
        };
        r = RET_NERRNO(fsconfig(context, FSCONFIG_SET_STRING, "source", device, 0));
        for (size_t i = 0; i < ELEMENTSOF(flags) && r >= 0; i++)
                if (flags[i])
                        r = RET_NERRNO(fsconfig(context, FSCONFIG_SET_FLAG, flags[i], NULL, 0));
        if (r >= 0 && !isempty(label))
                r = RET_NERRNO(fsconfig(context, FSCONFIG_SET_STRING, "context", label, 0));
        return r;
}

static int filesystem_open(const char *device, const char *fstype, MntAccess access, unsigned attributes,
                           const char *label, char *message, size_t size) {
        _cleanup_close_ int context = -EBADF;
        char chosen[MOUNT_CONTEXT_MAX + 1];
        int r;

        if (message)
                message[0] = 0;
        r = context_choose(device, label, chosen);
        if (r < 0)
                return r;
        context = fsopen(fstype, FSOPEN_CLOEXEC);
        if (context < 0)
                return -errno;
        r = parameters_set(context, device, fstype, access, chosen);
        if (r >= 0)
                r = RET_NERRNO(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
        if (r >= 0)
                r = RET_NERRNO(fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | attributes));
        if (r < 0)
                mnt_context_message(context, message, size);
        return r;
}

int mnt_filesystem_labelled(const char *device, const char *fstype, MntAccess access, const char *context,
                            char *message, size_t size) {
        return filesystem_open(device, fstype, access, access == MNT_WRITABLE ? 0 : MOUNT_ATTR_RDONLY, context, message,
                               size);
}

int mnt_filesystem(const char *device, const char *fstype, MntAccess access, char *message, size_t size) {
        return mnt_filesystem_labelled(device, fstype, access, NULL, message, size);
}

int mnt_filesystem_noexec(const char *device, const char *fstype, char *message, size_t size) {
        return filesystem_open(device, fstype, MNT_WRITABLE, MOUNT_ATTR_NOEXEC, NULL, message, size);
}

/* --- a folder inside a mount ---------------------------------------------------------------------------- */

/* The kernel (before 6.15) clones only of mounts in the caller's namespace, not of detached ones. So the mount is
 * attached for a moment where nobody sees it: in a mount namespace of this process that has nothing but one empty
 * folder, and goes with it. A new one each time would be a copy of every mount of the host. */
typedef struct Stage {
        int namespace_fd; /* of what there is, or -EBADF */
        int mount_fd;
        const char *folder; /* in it; NULL: all of it, with its flags locked */
        int result;
} Stage;

static int stage_namespace = -EBADF;

/* Runs on our memory and descriptors, but with namespaces, a root and a working directory of its own. */
static int stage_run(int (*function)(void *userdata), char *stack_end, int flags, Stage *stage) {
        pid_t pid;

        stage->result = -EIO;
        pid = clone(function, stack_end, flags | CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, stage);
        if (pid < 0)
                return -errno;
        while (waitpid(pid, NULL, 0) < 0)
                if (errno != EINTR)
                        break;
        return stage->result;
}

/* Whatever was mounted on the host is let go: nothing is held, and nothing goes out or comes in. */
static int stage_make(void) {
        _cleanup_close_ int fd = -EBADF;

        if (unshare(CLONE_NEWNS) < 0)
                return -errno;
        fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("quarry", STAGE_ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=700") < 0 ||
            chdir(STAGE_ROOT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
            umount2(".", MNT_DETACH) < 0 || /* the host's root, which lies over the new one */
            mkdir(STAGE_PLACE, 0700) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* In a copy of the stage that another user namespace has: there the kernel has locked the flags of all mounts. */
static int stage_copy_main(void *userdata) {
        Stage *stage = userdata;

        stage->result = RET_NERRNO(
                open_tree(AT_FDCWD, STAGE_PLACE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
        return 0;
}

static int stage_use(Stage *stage) {
        static char stack[STAGE_STACK_SIZE] __attribute__((aligned(16)));
        int r;

        r = RET_NERRNO(setns(stage->namespace_fd, CLONE_NEWNS));
        if (r >= 0)
                r = RET_NERRNO(move_mount(stage->mount_fd, "", AT_FDCWD, STAGE_PLACE, MOVE_MOUNT_F_EMPTY_PATH));
        if (r < 0)
                return r;
        r = stage->folder ? RET_NERRNO(open_tree(stage->mount_fd, stage->folder,
                                                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW))
                          : stage_run(stage_copy_main, stack + sizeof(stack), CLONE_NEWUSER | CLONE_NEWNS, stage);
        if (umount2(STAGE_PLACE, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && r >= 0) {
                int failed = -errno;

                close(r);
                r = failed;
        }
        return r;
}

static int stage_main(void *userdata) {
        Stage *stage = userdata;

        stage->result = stage->namespace_fd < 0 ? stage_make() : stage_use(stage);
        return 0;
}

static int stage_clone(int mount_fd, const char *folder) {
        static char stack[STAGE_STACK_SIZE] __attribute__((aligned(16)));
        Stage stage = { .namespace_fd = -EBADF, .mount_fd = mount_fd, .folder = folder };

        if (stage_namespace < 0) {
                int r = stage_run(stage_main, stack + sizeof(stack), 0, &stage);

                if (r < 0)
                        return r;
                stage_namespace = r;
        }
        stage.namespace_fd = stage_namespace;
        return stage_run(stage_main, stack + sizeof(stack), 0, &stage);
}

/* Whoever is given a mount that was cloned on the stage cannot clone it once more, which is done to change its ids: so
 * that is only for kernels that can do nothing else. */
int mnt_subtree(int mount_fd, const char *folder) {
        int r = RET_NERRNO(open_tree(mount_fd, folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));

        return r >= 0 ? r : stage_clone(mount_fd, folder);
}

int mnt_lock(int mount_fd) {
        return stage_clone(mount_fd, NULL);
}

#define ATTRIBUTES \
        (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

int mnt_set_options(int mount_fd, unsigned options) {
        struct mount_attr attributes = {
                .attr_clr = ATTRIBUTES,
                .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (options & MOUNT_READ_ONLY ? MOUNT_ATTR_RDONLY : 0) |
                            (options & MOUNT_NOEXEC ? MOUNT_ATTR_NOEXEC : 0) |
                            (options & MOUNT_NOATIME       ? MOUNT_ATTR_NOATIME
                             : options & MOUNT_STRICTATIME ? MOUNT_ATTR_STRICTATIME
                                                           : MOUNT_ATTR_RELATIME) |
                            (options & MOUNT_NODIRATIME ? MOUNT_ATTR_NODIRATIME : 0) |
                            (options & MOUNT_NOSYMFOLLOW ? MOUNT_ATTR_NOSYMFOLLOW : 0),
        };

        return RET_NERRNO(mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)));
}

int mnt_set_owners(int mount_fd, int userns_fd) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) userns_fd };

        return RET_NERRNO(mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)));
}

int mnt_folder(int fd) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE };
        _cleanup_close_ int mount_fd = -EBADF;

        mount_fd = RET_NERRNO(open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
        if (mount_fd < 0)
                return mount_fd;
        if (mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return -errno;
        return TAKE_FD(mount_fd);
}

int mnt_clone(const char *target) {
        return RET_NERRNO(open_tree(AT_FDCWD, target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
}

int mnt_attach(int mount_fd, const char *target) {
        return RET_NERRNO(move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
}

int mnt_unmount(const char *target) {
        return RET_NERRNO(umount2(target, UMOUNT_NOFOLLOW));
}

int mnt_unmount_lazy(const char *target) {
        return RET_NERRNO(umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH));
}

/* --- mount points --------------------------------------------------------------------------------------- */

/* Opens folder, which lies in the folder of dir_fd, after making it if need be. */
static int folder_enter(int dir_fd, const char *folder) {
        if (mkdirat(dir_fd, folder, 0711) < 0 && errno != EEXIST)
                return -errno;
        return RET_NERRNO(openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

/* Walks down path from dir_fd, which it takes over. */
static int folders_enter(int dir_fd, const char *path) {
        _cleanup_close_ int fd = dir_fd;

        for (;;) {
                char folder[NAME_MAX + 1];
                size_t n;
                int next;

                path += strspn(path, "/");
                n = strcspn(path, "/");
                if (n == 0)
                        return TAKE_FD(fd);
                if (!buffer_format(folder, sizeof(folder), "%.*s", (int) n, path))
                        return -ENAMETOOLONG;
                next = folder_enter(fd, folder);
                if (next < 0)
                        return next;
                close(fd);
                fd = next;
                path += n;
        }
}

static int is_mounted_on(int fd) {
        struct statx status;

        if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &status) < 0)
                return -errno;
        return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static int immutable_set(int fd, bool on) {
        int flags;

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
                return -errno;
        flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
        return RET_NERRNO(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int folder_is_empty(int fd) {
        struct dirent *entry;
        DIR *dir;
        int copy, r = 1;

        copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (copy < 0)
                return -errno;
        dir = fdopendir(copy);
        if (!dir) {
                r = -errno;
                close(copy);
                return r;
        }
        while (r > 0 && (entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        r = 0;
        closedir(dir);
        return r;
}

int mnt_point_make(const char *base, const char *target) {
        _cleanup_close_ int fd = -EBADF;
        const char *below = startswith(target, base);
        int r;

        if (!below || *below != '/')
                return -EINVAL;
        fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        fd = folders_enter(TAKE_FD(fd), target);
        if (fd < 0)
                return fd;
        r = is_mounted_on(fd);
        if (r != 0)
                return r < 0 ? r : -EBUSY;
        r = immutable_set(fd, true);
        if (r < 0)
                return r;
        r = folder_is_empty(fd); /* after the flag: nothing comes in any more */
        if (r != 0)
                return r < 0 ? r : 0;
        (void) immutable_set(fd, false); /* somebody has to clear it up */
        return -ENOTEMPTY;
}

int mnt_point_remove(const char *target) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        r = is_mounted_on(fd);
        if (r != 0)
                return r < 0 ? r : -EBUSY;
        r = immutable_set(fd, false);
        if (r < 0)
                return r;
        return rmdir(target) < 0 && errno != ENOENT ? -errno : 0;
}

int mnt_point_device(const char *target, dev_t *ret_device, unsigned *ret_options) {
        _cleanup_close_ int fd = -EBADF;
        struct statvfs filesystem;
        struct stat status;
        int r;

        fd = open(target, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        r = is_mounted_on(fd);
        if (r <= 0)
                return r;
        if (fstat(fd, &status) < 0 || fstatvfs(fd, &filesystem) < 0)
                return -errno;
        *ret_device = status.st_dev;
        *ret_options = mount_options_of(filesystem.f_flag);
        return 1;
}

int mnt_has_same_owner(int mount_fd, const char *target) {
        struct stat a, b;

        if (fstat(mount_fd, &a) < 0 || lstat(target, &b) < 0)
                return -errno;
        return a.st_uid == b.st_uid && a.st_gid == b.st_gid;
}

/* A mount may be hidden behind another at the same place. */
static void root_open(const char *target, dev_t device, int *fd) {
        struct stat status;

        if (!fd || *fd >= 0)
                return;
        *fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*fd >= 0 && (fstat(*fd, &status) < 0 || status.st_dev != device))
                close(TAKE_FD(*fd));
}

int mnt_count(dev_t device, int *ret_fd) {
        _cleanup_free_ char *text = NULL;
        MountEntry mount;
        int r, n = 0;

        if (ret_fd)
                *ret_fd = -EBADF;
        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && mount.device == device) {
                        n++;
                        root_open(mount.target, device, ret_fd);
                }
        return n;
}

int mnt_is_whole(dev_t device) {
        _cleanup_free_ char *text = NULL;
        bool found = false;
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;) {
                if (r < 0 || mount.device != device)
                        continue;
                if (!streq(mount.root, "/"))
                        return 0;
                found = true;
        }
        return found;
}

int mnt_find_below(const char *path, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t length = strlen(path);
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && strncmp(mount.target, path, length) == 0 && mount.target[length] == '/') {
                        *ret = strdup(mount.target);
                        return *ret ? 1 : -ENOMEM;
                }
        return 0;
}
