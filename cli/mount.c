/* quarry mount, umount. Only here does the command use rights of its own on the kernel: to attach a mount that
 * the daemon made, and to take such a mount away again. */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "unlock.h"
#include "verbs.h"
#include "volume.h"

#include <fcntl.h>
#include <inttypes.h>
#include <quarry/fd.h>
#include <quarry/mount.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>
#include <quarry/volume.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

static const char *arg_key_file, *arg_userns;
static MountSpec arg_mount;
static bool arg_lazy;

static int option_mount(const Option *option, const char *value, Error *err) {
        return mount_spec_add_options(option->target, value, err);
}

static int option_read_only(const Option *option, const char *value, Error *err) {
        return mount_spec_add_option(option->target, "ro", err);
}

static int option_range(const Option *option, const char *value, Error *err) {
        return mount_spec_add_range(option->target, value, err);
}

static int option_context(const Option *option, const char *value, Error *err) {
        return mount_spec_set_context(option->target, value, err);
}

const Option mount_options[] = {
        { 'o', "options", "OPTION,...", "Such as ro, noexec, noatime", option_mount, &arg_mount },
        { 0, "read-only", NULL, "The same as -o ro", option_read_only, &arg_mount },
        { 0, "idmap", "UID:GID:COUNT", "Show ids 0, 1 ... as these of the host", option_range, &arg_mount },
        { 0, "userns", "PID", "Show ids as that process's user namespace", option_string, &arg_userns },
        { 0, "context", "CONTEXT", "SELinux context of all files", option_context, &arg_mount },
        { 0, "key-file", "FILE", "FILE holds the passphrase; - is stdin", option_string, &arg_key_file },
        {},
};

const Option umount_options[] = {
        { 0, "lazy", NULL, "Who uses it keeps it; it is closed behind the last", option_flag, &arg_lazy },
        {},
};

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

static int open_volume(const char *name, bool detached, sd_json_variant **ret, int *ret_fd, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *how = NULL;
        _cleanup_free_ char *what = must_have(format_new("mounting %s", name));
        _cleanup_close_ int userns_fd = -EBADF;
        int r;

        arg_mount.userns = arg_userns;
        r = mount_spec_validate(&arg_mount, detached, err);
        if (r >= 0 && arg_userns)
                r = userns_fd = userns_open(arg_userns, err);
        if (r < 0)
                return r;
        must(mount_spec_to_json(&arg_mount, &how));
        sd_json_variant *ranges = sd_json_variant_by_key(how, "idmap");
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", name),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        arg_mount.said > 0, "options",
                                        SD_JSON_BUILD_VARIANT(sd_json_variant_by_key(how, "options"))),
                        SD_JSON_BUILD_PAIR_CONDITION(!!ranges, "idmap", SD_JSON_BUILD_VARIANT(ranges)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !isempty(arg_mount.context), "context",
                                        SD_JSON_BUILD_STRING(arg_mount.context)),
                        SD_JSON_BUILD_PAIR_CONDITION(detached, "detached", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_VOLUME ".Mount",
                      .parameters = parameters,
                      .what = what,
                      .second_fd = &userns_fd,
                      .second_field = "userNamespaceFileDescriptor" };
        return unlock_call(&call, name, arg_key_file, ret, ret_fd, err);
}

/* The target is looked at first, so that nothing is opened in vain, and held, so that it stays what it was. */
static int target_open(const char *name, const char *path, Error *err) {
        int fd = RET_NERRNO(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));

        if (fd == -ENOTDIR)
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
        return fd < 0 ? error_errno(err, fd, "cannot open %s", path) : fd;
}

/* When this fails the daemon closes the volume by itself, as soon as the descriptor is gone. */
static int mount_attach(int mount_fd, int target_fd, const char *target, Error *err) {
        if (mount_fd < 0)
                return error_set(err, ERROR_FAILED, 0, "quarryd passed no mount to attach");
        if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) >= 0)
                return 0;

        int r = -errno;
        if (r != -EPERM)
                return error_errno(err, r, "cannot attach it to %s", target);
        error_set(err, ERROR_PERMISSION_DENIED, r, "attaching it to %s takes root", target);
        error_hint(err, "%s",
                   mount_spec_has_map(&arg_mount) ? "or namespaces of your own, such as those of: podman unshare"
                                                  : "without a target it is mounted at a place that quarry keeps");
        return error_code(err);
}

/* What the daemon makes is nosuid and nodev in any case: this takes the right to mount. */
static int mount_trust(int mount_fd, const char *target, Error *err) {
        struct mount_attr attributes = {
                .attr_clr = (arg_mount.options & MOUNT_SUID ? MOUNT_ATTR_NOSUID : 0) |
                            (arg_mount.options & MOUNT_DEV ? MOUNT_ATTR_NODEV : 0),
        };

        if (attributes.attr_clr == 0 || mount_fd < 0 ||
            mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) >= 0)
                return 0;
        return errno == EPERM ? error_set(err, ERROR_PERMISSION_DENIED, EPERM, "attaching it to %s takes root", target)
                              : error_errno(err, errno, "cannot set mount options suid and dev");
}

/* Returns 1 if the volume is attached there already, as asked for: a second mount would only hide the first. */
static int target_has_it(int mount_fd, int target_fd, const char *target, Error *err) {
        char have[MOUNT_OPTIONS_TEXT_MAX], want[MOUNT_OPTIONS_TEXT_MAX];
        struct statvfs wanted, there;
        unsigned options;
        struct stat a, b;

        if (fstat(mount_fd, &a) < 0 || fstat(target_fd, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
                return 0;
        if (fstatvfs(mount_fd, &wanted) < 0 || fstatvfs(target_fd, &there) < 0)
                return error_errno(err, errno, "cannot look at %s", target);
        options = mount_options_of(there.f_flag);
        if (mount_spec_has_map(&arg_mount) || a.st_uid != b.st_uid || a.st_gid != b.st_gid)
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "it is mounted at %s already, perhaps with other ids", target);
        else if (options != mount_options_of(wanted.f_flag))
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "it is mounted at %s already, with options %s, not %s", target,
                          mount_options_format(options, have),
                          mount_options_format(mount_options_of(wanted.f_flag), want));
        else
                return 1;
        error_hint(err, "quarry umount %s", target);
        return error_code(err);
}

static int mount_volume(const char *name, const char *target, char **ret_path, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        _cleanup_close_ int target_fd = -EBADF, mount_fd = -EBADF;
        int r;

        if (target) {
                target_fd = target_open(name, target, err);
                if (target_fd < 0)
                        return target_fd;
        }
        r = open_volume(name, target, &reply, &mount_fd, err);
        if (r >= 0 && target)
                r = mount_trust(mount_fd, target, err);
        if (r >= 0 && target)
                r = target_has_it(mount_fd, target_fd, target, err);
        if (r == 0 && target)
                r = mount_attach(mount_fd, target_fd, target, err);
        if (r < 0)
                return r;

        *ret_path = must_have(strdup(target ?: describe_string(reply, "path")));
        return 0;
}

int verb_mount(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        _cleanup_free_ char *path = NULL;
        Error err = {};

        if (mount_volume(arguments[0], arguments[1], &path, &err) < 0)
                return report_error("cannot mount", arguments[0], &err);

        if (!arg_json) {
                puts(path);
                return EXIT_DONE;
        }
        must(sd_json_buildo(
                        &document,
                        SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                        SD_JSON_BUILD_PAIR_STRING("path", path)));
        return report_document(document);
}

/* --- umount ---------------------------------------------------------------------------------------------- */

/* By its UUID, if name is only what it is called. */
static int call_unmount(Report *report, const char *name, const char *uuid, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *what = must_have(format_new("unmounting %s", name));

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("volume", uuid ?: name),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_lazy, "lazy", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_VOLUME ".Unmount", .parameters = parameters, .what = what };
        int r = client_call(&call, &reply, NULL, err);
        if (r >= 0)
                report_users(report, name, "is unmounted, and stays open", reply);
        else if (uuid && err->kind == ERROR_NO_SUCH_VOLUME) /* the daemon knows only what it was asked */
                error_set(err, ERROR_NO_SUCH_VOLUME, 0, "there is no volume %s", name);
        return r;
}

/* The device of what is mounted at path, the last one if several lie over each other. */
static int mounted_device(const char *path, dev_t *ret, Error *err) {
        _cleanup_free_ char *text = NULL;
        MountEntry entry;
        bool found = false;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return error_errno(err, r, "cannot read /proc/self/mountinfo");

        char *rest = text;
        while ((r = mountinfo_next(&rest, &entry)) != 0)
                if (r > 0 && streq(entry.target, path)) {
                        *ret = entry.device;
                        found = true;
                }
        return found ? 0 : error_set(err, ERROR_NO_SUCH_VOLUME, 0, "nothing is mounted at %s", path);
}

/* Which volume a device belongs to, by the name it has in the kernel. */
static int device_volume(dev_t device, sd_id128_t *ret) {
        _cleanup_free_ char *path = must_have(format_new("/sys/dev/block/%u:%u/dm/name", major(device), minor(device)));
        _cleanup_free_ char *name = NULL;

        int r = file_read(AT_FDCWD, path, 4096, &name, NULL);
        if (r < 0)
                return r;
        name[strcspn(name, "\n")] = 0;
        return volume_uuid_from_kernel_name(name, ret);
}

/* What is mounted there tells of itself only if it is on a device of a volume: else the daemon knows which it is. */
static int held_volume(const char *path, sd_id128_t *ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *all = NULL;
        char *fields[] = { (char[]) { "uuid" }, (char[]) { "holds" }, NULL };

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRV("fields", fields)));
        Call call = { .method = API_VOLUME ".List", .parameters = parameters, .collect = "volumes" };
        int r = client_call(&call, &all, NULL, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sd_json_variant_elements(all); i++) {
                sd_json_variant *volume = sd_json_variant_by_index(all, i);
                sd_json_variant *holds = sd_json_variant_by_key(volume, "holds");

                for (size_t h = 0; h < sd_json_variant_elements(holds); h++)
                        if (streq(describe_string(sd_json_variant_by_index(holds, h), "path"), path) &&
                            sd_id128_from_string(describe_string(volume, "uuid"), ret) >= 0)
                                return 1;
        }
        return 0;
}

/* The standard place is the daemon's to take away; any other was attached by a caller's rights, and the daemon
 * notices by itself when nobody uses the volume any more. */
static int unmount_path(Report *report, const char *typed, Error *err) {
        _cleanup_free_ char *path = realpath(typed, NULL);
        char uuid[UUID_TEXT_MAX];
        const char *name;
        sd_id128_t volume;
        dev_t device = 0;
        int r;

        if (!path)
                return error_set(err, ERROR_NO_SUCH_VOLUME, errno, "cannot look at it: %s", strerror(errno));
        r = mounted_device(path, &device, err);
        if (r < 0)
                return r;
        r = device_volume(device, &volume);
        if (r < 0)
                r = held_volume(path, &volume, err);
        else
                r = 1;
        if (r < 0)
                return r;
        if (r == 0) {
                error_set(err, ERROR_NO_SUCH_VOLUME, 0, "what is mounted there is no volume of quarry");
                error_hint(err, "umount %s", typed);
                return error_code(err);
        }

        name = startswith(path, MOUNT_ROOT "/");
        if (name)
                return call_unmount(report, name, uuid_format(volume, uuid), err);
        if (umount2(path, UMOUNT_NOFOLLOW | (arg_lazy ? MNT_DETACH : 0)) >= 0)
                return 0;
        if (errno == EBUSY) {
                error_set(err, ERROR_VOLUME_BUSY, EBUSY, "files on it are in use");
                error_hint(err, "fuser -vm %s; or leave it to them until they end: quarry umount --lazy %s", typed,
                           typed);
                return error_code(err);
        }
        if (errno == EPERM)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM, "taking it away takes root");
        return error_errno(err, errno, "cannot take it away");
}

int verb_umount(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot unmount" };

        for (char **name = arguments; *name; name++) {
                bool is_path = **name == '/' || **name == '.'; /* no name begins so */
                Error err = {};

                if ((is_path ? unmount_path(&report, *name, &err) : call_unmount(&report, *name, NULL, &err)) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, "unmounted");
}
