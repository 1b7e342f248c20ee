/* A volume that is a directory of the host. Its path comes from the broker, and is believed as little as all else: it
 * lies below AllowedRoots=, no link leads there, and whoever mounts it gets the directory that it was made with. */

#include "step/source-limit.h"
#include "step/step.h"

#include "kernel/mnt.h"
#include "kernel/source.h"
#include "kernel/sysfs.h"
#include "kernel/tmpfs.h"

#include <quarry/mount.h>
#include <quarry/mountinfo.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* --- what can be a source --------------------------------------------------------------------------------- */

static int open_error(StepContext *c, int r, Error *err) {
        const char *source = c->job->volume.spec.source;
        char *const *roots = c->config->allowed_roots;

        if (r == -EXDEV && !roots) {
                error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                          "no directory of this host may be the source of a volume: no AllowedRoots= are set");
                error_hint(err, "write \"[Bind]\" and \"AllowedRoots=DIRECTORY\" into /etc/quarry/quarry.conf.d/"
                                "bind.conf, then: systemctl restart quarryd; see quarry.conf(5)");
        } else if (r == -EXDEV) {
                error_set(err, ERROR_PERMISSION_DENIED, EPERM, "%s lies below none of AllowedRoots=", source);
                error_hint(err, "allowed is what [Bind] AllowedRoots= in /etc/quarry/quarry.conf says; see "
                                "quarry.conf(5)");
        } else if (r == -ELOOP)
                error_field(err, "source", "%s: a part of this path is a symbolic link", source);
        else if (r == -ENOTDIR)
                error_field(err, "source", "%s: it, or a part of its path, is no directory", source);
        else if (r == -ENOENT)
                error_field(err, "source", "the directory %s does not exist", source);
        else
                error_errno(err, r, "cannot open %s", source);
        return error_code(err);
}

/* Of the mount that an open directory is in. */
static int mount_is_of_tmpfs_volume(dev_t device) {
        _cleanup_free_ char *text = NULL;
        MountEntry mount;
        sd_id128_t volume;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;)
                if (r > 0 && mount.device == device && tmpfs_volume_of(&mount, &volume) >= 0)
                        return 1;
        return 0;
}

static int refuse_volumes(StepContext *c, int fd, Error *err) {
        const char *source = c->job->volume.spec.source;
        char name[SYSFS_VALUE_MAX];
        struct stat status;
        int r;

        if (fstat(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at %s", source);
        r = mount_is_of_tmpfs_volume(status.st_dev);
        if (r < 0)
                return error_errno(err, r, "cannot look where %s lies", source);
        if (r > 0 || startswith(source, MOUNT_ROOT "/") ||
            (sysfs_read(status.st_dev, "dm/name", name) >= 0 && startswith(name, "quarry-")))
                return error_field(err, "source", "%s lies in another volume of quarry", source);
        r = source_is_mount_point(fd);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", source);
        return r > 0 ? error_field(err, "source", "%s is a mount point: name a directory within what is mounted there",
                                   source)
                     : 0;
}

/* What a tenant's volume shows, its members could see without it. It is opened with their rights, so that nothing is
 * told of what lies where they see nothing. */
static int open_for_members(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        int r = -EACCES;

        for (size_t i = 0; i < c->job->n_members && r == -EACCES; i++)
                r = source_open_as(&c->job->members[i], c->config->allowed_roots, spec->source, spec->read_only);
        if (r != -EACCES)
                return r < 0 ? open_error(c, r, err) : r;
        r = error_set(err, ERROR_PERMISSION_DENIED, EACCES, "%s could not reach%s %s without quarry",
                      c->job->n_members == 1 ? "the member of the tenant who asks" : "no member of the tenant",
                      spec->read_only ? " and read" : ", read and write", spec->source);
        error_hint(err, "its owner, group or mode decides, and those of the directories that it lies in");
        return r;
}

static int open_for_root(StepContext *c, Error *err) {
        int r = source_open(c->config->allowed_roots, c->job->volume.spec.source);

        return r < 0 ? open_error(c, r, err) : r;
}

int source_find(StepContext *c, int *ret, Error *err) {
        _cleanup_close_ int fd = c->job->for_members ? open_for_members(c, err) : open_for_root(c, err);
        int r;

        if (fd < 0)
                return fd;
        r = refuse_volumes(c, fd, err);
        if (r < 0)
                return r;
        *ret = TAKE_FD(fd);
        return 0;
}

/* Nothing is made: what the volume is to be is there. */
static int source_check_run(StepContext *c, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        char id[SOURCE_ID_MAX];
        int r;

        r = source_find(c, &fd, err);
        if (r < 0)
                return r;
        r = source_identify(fd, id);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", c->job->volume.spec.source);
        c->result->source_id = strdup(id);
        return c->result->source_id ? 0 : error_oom(err);
}

/* --- mounting --------------------------------------------------------------------------------------------- */

static int check_same(StepContext *c, int fd, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        char id[SOURCE_ID_MAX];
        int r;

        r = source_identify(fd, id);
        if (r < 0)
                return error_errno(err, r, "cannot look at %s", spec->source);
        if (streq(id, spec->source_id))
                return 0;
        r = error_set(err, ERROR_FAILED, ESTALE,
                      "%s is not the directory that volume %s was made with: it was replaced, or the disk that it is "
                      "on is not mounted",
                      spec->source, spec->name);
        error_hint(err, "if the new one is meant, make the volume anew; rm leaves the files alone: quarry rm %s",
                   VOLUME_REFERENCE(spec));
        return r;
}

static int bind_mount_undo(StepContext *c, Error *err) {
        if (c->mount_fd >= 0)
                close(TAKE_FD(c->mount_fd)); /* a detached mount goes with its last descriptor */
        return 0;
}

/* Whoever mounted what the source is on may have had reasons. */
static int check_options(StepContext *c, int fd, Error *err) {
        const unsigned kept = MOUNT_READ_ONLY | MOUNT_NOEXEC | MOUNT_NOSYMFOLLOW;
        const MountSpec *m = &c->job->mount;
        char text[MOUNT_OPTIONS_TEXT_MAX];
        struct statvfs status;
        int r;

        if (m->has_giver && mount_spec_has_map(m))
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "showing files of the host with other ids is for administrators");
        if (fstatvfs(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at %s", c->job->volume.spec.source);
        unsigned there = mount_options_of(status.f_flag) & kept;
        if ((there & ~m->options) == 0)
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "%s is mounted with options %s, and no volume in it without",
                      c->job->volume.spec.source, mount_options_format(there, text));
        error_hint(err, "quarry mount -o %s %s", text, VOLUME_REFERENCE(&c->job->volume.spec));
        return r;
}

static int bind_mount_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = source_find(c, &fd, err);
        if (r >= 0)
                r = check_same(c, fd, err);
        if (r >= 0 && spec->size > 0)
                r = source_limit_check(c, fd, err);
        if (r >= 0)
                r = check_options(c, fd, err);
        if (r < 0) {
                if (err->kind == ERROR_BAD_REQUEST) /* it was right when it was asked for */
                        err->kind = ERROR_FAILED;
                return r;
        }
        c->mount_fd = mnt_folder(fd);
        if (c->mount_fd < 0)
                return error_errno(err, c->mount_fd, "cannot mount %s", spec->source);
        r = mount_shape(c, err);
        if (r < 0)
                (void) bind_mount_undo(c, NULL);
        return r;
}

/* --- removing --------------------------------------------------------------------------------------------- */

/* Where the directory is mounted, be it by us or by somebody else, who had better be told: 1 with *ret, 0. */
static int find_mount(StepContext *c, char **ret) {
        _cleanup_free_ char *text = NULL;
        MountEntry mount;
        int r;

        r = mountinfo_read(&text);
        if (r < 0)
                return r;
        for (char *rest = text; (r = mountinfo_next(&rest, &mount)) != 0;) {
                _cleanup_close_ int fd = -EBADF;
                char id[SOURCE_ID_MAX];

                if (r < 0 || streq(mount.root, "/"))
                        continue;
                fd = open(mount.target, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 || source_identify(fd, id) < 0 || !streq(id, c->job->volume.spec.source_id))
                        continue;
                *ret = strdup(mount.target);
                return *ret ? 1 : -ENOMEM;
        }
        return 0;
}

/* Lazily nobody is asked: who has it mounted has a directory of the host, which stays. */
static int bind_claim_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_free_ char *target = NULL;
        char standard[MOUNT_PATH_MAX];
        int r;

        if (c->job->lazy || isempty(spec->source_id)) /* it was never made: never mounted, either */
                return 0;
        r = find_mount(c, &target);
        if (r <= 0)
                return r < 0 ? error_errno(err, r, "cannot look where volume %s is mounted", spec->name) : 0;
        volume_mount_path(spec->tenant, spec->name, standard);
        r = error_set(err, ERROR_VOLUME_BUSY, EBUSY, "volume %s is in use: mounted at %s", spec->name, target);
        if (streq(target, standard))
                error_hint(err, "quarry umount %s", VOLUME_REFERENCE(spec));
        else
                error_hint(err, "unmount it there; or leave it mounted, and let the volume go: quarry rm --lazy %s",
                           VOLUME_REFERENCE(spec));
        return r;
}

const Step step_source_check = { "looking at the source", NULL, source_check_run, NULL };
const Step step_bind_mount = { "mounting", NULL, bind_mount_run, bind_mount_undo };
const Step step_bind_claim = { "looking for users", NULL, bind_claim_run, NULL };
