#include "attach.h"

#include "client.h"
#include "must.h"
#include "unlock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* By the caller's rights: to whom a process is closed, its user namespace is. */
static int userns_open(const char *pid, Error *err) {
        _cleanup_free_ char *path = NULL;
        char echo[TEXT_ECHO_MAX];
        uint64_t number;
        int fd;

        if (number_parse(pid, &number) < 0 || number == 0)
                return error_field(err, "--userns", "--userns: \"%s\" is not the number of a process",
                                   text_echo(pid, echo));
        path = must_have(format_new("/proc/%" PRIu64 "/ns/user", number));
        fd = RET_NERRNO(open(path, O_RDONLY | O_CLOEXEC));
        if (fd == -ENOENT)
                return error_field(err, "--userns", "there is no process %s", pid);
        if (fd == -EACCES || fd == -EPERM)
                return error_set(err, ERROR_PERMISSION_DENIED, fd, "no access to the user namespace of process %s",
                                 pid);
        return fd < 0 ? error_errno(err, fd, "cannot open %s", path) : fd;
}

static int open_volume(const char *name, const Attachment *how, bool detached, sd_json_variant **ret, int *ret_fd,
                       Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *options = NULL;
        _cleanup_free_ char *what = must_have(format_new("mounting %s", name));
        _cleanup_close_ int userns_fd = -EBADF;
        int r;

        r = mount_spec_validate(&how->spec, detached, err);
        if (r >= 0 && how->userns)
                r = userns_fd = userns_open(how->userns, err);
        if (r < 0)
                return r;
        must(mount_spec_to_json(&how->spec, &options));
        sd_json_variant *ranges = sd_json_variant_by_key(options, "idmap");
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        how->spec.said > 0, "options",
                                        SD_JSON_BUILD_VARIANT(sd_json_variant_by_key(options, "options"))),
                        SD_JSON_BUILD_PAIR_CONDITION(!!ranges, "idmap", SD_JSON_BUILD_VARIANT(ranges)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !isempty(how->spec.context), "context",
                                        SD_JSON_BUILD_STRING(how->spec.context)),
                        SD_JSON_BUILD_PAIR_CONDITION(detached, "detached", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_VOLUME ".Mount",
                      .parameters = parameters,
                      .what = what,
                      .second_fd = &userns_fd,
                      .second_field = "userNamespaceFileDescriptor" };
        return unlock_call(&call, name, how->key_file, ret, ret_fd, err);
}

/* The target is looked at first, so that nothing is opened in vain, and held, so that it stays what it was. */
static int target_open(const char *name, const char *path, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        struct stat status;

        /* Without O_DIRECTORY: at an automount point that would wait for the very mount that is to be attached. */
        fd = RET_NERRNO(open(path, O_PATH | O_CLOEXEC));
        if (fd == -ENOTDIR || (fd >= 0 && fstat(fd, &status) >= 0 && !S_ISDIR(status.st_mode)))
                return error_field(err, "target", "%s is not a directory", path);
        if (fd == -ENOENT) {
                error_field(err, "target", "the directory %s does not exist", path);
                if (name[0] == '/')
                        error_hint(err, "quarry mount %s %s", path, name);
                else
                        error_hint(err, "mkdir %s", path);
                return error_code(err);
        }
        if (fd == -EACCES)
                return error_set(err, ERROR_PERMISSION_DENIED, fd, "no access to %s", path);
        return fd < 0 ? error_errno(err, fd, "cannot open %s", path) : TAKE_FD(fd);
}

/* When this fails the daemon closes the volume by itself, as soon as the descriptor is gone. */
static int mount_attach(int mount_fd, int target_fd, const Attachment *how, const char *target, Error *err) {
        if (mount_fd < 0)
                return error_set(err, ERROR_FAILED, 0, "quarryd passed no mount to attach");
        if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) >= 0)
                return 0;

        int r = -errno;
        if (r != -EPERM)
                return error_errno(err, r, "cannot attach it to %s", target);
        error_set(err, ERROR_PERMISSION_DENIED, r, "attaching it to %s takes root", target);
        error_hint(err, "%s",
                   mount_spec_has_map(&how->spec) ? "or namespaces of your own, such as those of: podman unshare"
                                                  : "without a target it is mounted at a place that quarry keeps");
        return error_code(err);
}

/* What the daemon makes is nosuid and nodev in any case: this takes the right to mount. */
static int mount_trust(int mount_fd, const Attachment *how, const char *target, Error *err) {
        struct mount_attr attributes = {
                .attr_clr = (how->spec.options & MOUNT_SUID ? MOUNT_ATTR_NOSUID : 0) |
                            (how->spec.options & MOUNT_DEV ? MOUNT_ATTR_NODEV : 0),
        };

        if (attributes.attr_clr == 0 || mount_fd < 0 ||
            mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) >= 0)
                return 0;
        return errno == EPERM ? error_set(err, ERROR_PERMISSION_DENIED, EPERM, "attaching it to %s takes root", target)
                              : error_errno(err, errno, "cannot set mount options suid and dev");
}

/* Whether what is attached there is what the daemon has just made, but for its options. */
static bool target_is_same(int mount_fd, int target_fd) {
        struct stat a, b;

        return fstat(mount_fd, &a) >= 0 && fstat(target_fd, &b) >= 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool target_has_other_ids(int mount_fd, int target_fd) {
        struct stat a, b;

        return fstat(mount_fd, &a) < 0 || fstat(target_fd, &b) < 0 || a.st_uid != b.st_uid || a.st_gid != b.st_gid;
}

static int options_of(int fd, const char *target, unsigned *ret, Error *err) {
        struct statvfs status;

        if (fstatvfs(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at %s", target);
        *ret = mount_options_of(status.f_flag);
        return 0;
}

/* Returns 1 if the volume is attached there already, as asked for: a second mount would only hide the first. */
static int target_has_it(int mount_fd, int target_fd, const Attachment *how, const char *target, Error *err) {
        char have[MOUNT_OPTIONS_TEXT_MAX], want[MOUNT_OPTIONS_TEXT_MAX];
        unsigned wanted = 0, there = 0;
        int r;

        if (!target_is_same(mount_fd, target_fd))
                return 0;
        r = options_of(mount_fd, target, &wanted, err);
        if (r >= 0)
                r = options_of(target_fd, target, &there, err);
        if (r < 0)
                return r;
        if (mount_spec_has_map(&how->spec) || target_has_other_ids(mount_fd, target_fd))
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "it is mounted at %s already, perhaps with other ids", target);
        else if (there != wanted)
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "it is mounted at %s already, with options %s, not %s", target,
                          mount_options_format(there, have), mount_options_format(wanted, want));
        else
                return 1;
        error_hint(err, "quarry umount %s", target);
        return error_code(err);
}

int attach_volume(const char *name, const char *target, const Attachment *how, char **ret_path, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        _cleanup_close_ int target_fd = -EBADF, mount_fd = -EBADF;
        int r;

        if (target) {
                target_fd = target_open(name, target, err);
                if (target_fd < 0)
                        return target_fd;
        }
        r = open_volume(name, how, target, &reply, &mount_fd, err);
        if (r >= 0 && target)
                r = mount_trust(mount_fd, how, target, err);
        if (r >= 0 && target)
                r = target_has_it(mount_fd, target_fd, how, target, err);
        if (r == 0 && target)
                r = mount_attach(mount_fd, target_fd, how, target, err);
        if (r < 0)
                return r;

        *ret_path = must_have(strdup(target ?: json_string(reply, "path")));
        return 0;
}

int attach_open(const char *name, const Attachment *how, int *ret_fd, Error *err) {
        int fd = -EBADF, r;

        r = open_volume(name, how, true, NULL, &fd, err);
        if (r >= 0 && fd < 0)
                r = error_set(err, ERROR_FAILED, EPROTO, "quarryd passed no mount");
        if (r >= 0)
                *ret_fd = fd;
        return r;
}

int attach_check(const char *name, const char *target, const Attachment *how, Error *err) {
        _cleanup_close_ int target_fd = -EBADF;
        int r;

        r = mount_spec_validate(&how->spec, true, err);
        if (r >= 0)
                r = target_fd = target_open(name, target, err);
        return r;
}

/* Everything that can be said of a mount is said anew. */
static int options_set(int target_fd, unsigned options, const char *target, Error *err) {
        const uint64_t set = (options & MOUNT_READ_ONLY ? MOUNT_ATTR_RDONLY : 0) |
                             (options & MOUNT_NOEXEC ? MOUNT_ATTR_NOEXEC : 0) |
                             (options & MOUNT_NODIRATIME ? MOUNT_ATTR_NODIRATIME : 0) |
                             (options & MOUNT_NOSYMFOLLOW ? MOUNT_ATTR_NOSYMFOLLOW : 0) |
                             (options & MOUNT_SUID ? 0 : MOUNT_ATTR_NOSUID) |
                             (options & MOUNT_DEV ? 0 : MOUNT_ATTR_NODEV) |
                             (options & MOUNT_NOATIME       ? MOUNT_ATTR_NOATIME
                              : options & MOUNT_STRICTATIME ? MOUNT_ATTR_STRICTATIME
                                                            : MOUNT_ATTR_RELATIME);
        struct mount_attr attributes = {
                .attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW |
                            MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR__ATIME,
                .attr_set = set,
        };

        if (mount_setattr(target_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) >= 0)
                return 0;
        if (errno == EPERM)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM, "changing the mount at %s takes root", target);
        if (errno == EBUSY)
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY, "files in %s are open for writing", target);
        return error_errno(err, errno, "cannot change the options of the mount at %s", target);
}

int attach_again(const char *name, const char *target, const Attachment *how, Error *err) {
        _cleanup_close_ int target_fd = -EBADF, mount_fd = -EBADF;
        unsigned options = 0;
        int r;

        target_fd = r = target_open(name, target, err);
        if (r >= 0)
                r = open_volume(name, how, target, NULL, &mount_fd, err);
        if (r >= 0)
                r = mount_trust(mount_fd, how, target, err);
        if (r < 0)
                return r;
        if (!target_is_same(mount_fd, target_fd))
                return error_set(err, ERROR_NO_SUCH_VOLUME, 0, "it is not mounted at %s", target);
        if (target_has_other_ids(mount_fd, target_fd))
                return error_set(err, ERROR_VOLUME_BUSY, EBUSY,
                                 "the ids that the mount at %s shows stay as they are: take it away first", target);
        r = options_of(mount_fd, target, &options, err);
        return r < 0 ? r : options_set(target_fd, options, target, err);
}
