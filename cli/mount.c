/* quarry mount, umount. */

#include "attach.h"
#include "client.h"
#include "must.h"
#include "report.h"
#include "verbs.h"
#include "volume.h"

#include <fcntl.h>
#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>
#include <quarry/volume.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static Attachment arg_how;
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
        { 'o', "options", "OPTION,...", "Such as ro, noexec, noatime", option_mount, &arg_how.spec },
        { 0, "read-only", NULL, "The same as -o ro", option_read_only, &arg_how.spec },
        { 0, "idmap", "UID:GID:COUNT", "Show ids 0, 1 ... as these of the host", option_range, &arg_how.spec },
        { 0, "userns", "PID", "Show ids as that process's user namespace", option_string, &arg_how.userns },
        { 0, "context", "CONTEXT", "SELinux context of all files", option_context, &arg_how.spec },
        { 0, "key-file", "FILE", "FILE holds the passphrase; - is stdin", option_string, &arg_how.key_file },
        {},
};

const Option umount_options[] = {
        { 0, "lazy", NULL, "Who uses it keeps it; it is closed behind the last", option_flag, &arg_lazy },
        {},
};

int verb_mount(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        _cleanup_free_ char *path = NULL;
        Error err = {};

        arg_how.spec.userns = arg_how.userns;
        if (attach_volume(arguments[0], arguments[1], &arg_how, &path, &err) < 0)
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
                        if (streq(json_string(sd_json_variant_by_index(holds, h), "path"), path) &&
                            sd_id128_from_string(json_string(volume, "uuid"), ret) >= 0)
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

/* quarry mount takes any path, but here one that begins with neither / nor . is a name. */
static void hint_path(const char *name, Error *err) {
        struct stat st;

        if (err->kind == ERROR_NO_SUCH_VOLUME && stat(name, &st) >= 0 && S_ISDIR(st.st_mode))
                error_hint(err, "quarry umount ./%s", name);
}

int verb_umount(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot unmount" };

        for (char **name = arguments; *name; name++) {
                bool is_path = **name == '/' || **name == '.'; /* no name begins so */
                Error err = {};

                if ((is_path ? unmount_path(&report, *name, &err) : call_unmount(&report, *name, NULL, &err)) >= 0) {
                        report_success(&report, *name);
                        continue;
                }
                if (!is_path)
                        hint_path(*name, &err);
                report_failure(&report, *name, &err);
        }
        return report_finish(&report, "unmounted");
}
