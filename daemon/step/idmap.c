/* Whose ids a mount is to show for the volume's: judged before anything is opened. */

#include "step/step.h"

#include "kernel/userns.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <pwd.h>

#define SUBIDS_MAX (16u << 20)

/* Their own id alone, or what root gave them. A host without the file gave nobody any. */
static int may_give(const char *file, const char *what, const MountSpec *m, uint32_t own, uint32_t first,
                    uint32_t count, Error *err) {
        _cleanup_free_ char *text = NULL;
        const struct passwd *user;
        int r;

        if (count == 1 && first == own)
                return 0;
        r = file_read(AT_FDCWD, file, SUBIDS_MAX, &text, NULL);
        if (r < 0 && r != -ENOENT)
                return error_errno(err, r, "cannot read %s", file);
        user = getpwuid(m->giver_uid);
        if (text && subid_has(text, user ? user->pw_name : NULL, m->giver_uid, first, count))
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                      "%ss %u to %u are not yours to give: neither your own alone, nor in your ranges of %s", what,
                      first, first + count - 1, file);
        error_hint(err, "grep '^%s:' %s", user ? user->pw_name : "NAME", file);
        return r;
}

static int judge_ranges(const MountSpec *m, Error *err) {
        int r = 0;

        for (size_t i = 0; m->has_giver && i < m->n_idmap && r >= 0; i++) {
                const IdRange *range = &m->idmap[i];

                r = may_give("/etc/subuid", "uid", m, m->giver_uid, range->uid, range->count, err);
                if (r >= 0)
                        r = may_give("/etc/subgid", "gid", m, m->giver_gid, range->gid, range->count, err);
        }
        return r;
}

/* Who made a user namespace has every right over the ids in it. */
static int judge_namespace(const MountSpec *m, int fd, Error *err) {
        uid_t owner;
        int r;

        r = userns_owner(fd, &owner);
        if (r == -EPERM)
                return error_field(err, "userNamespace",
                                   "that is the user namespace of the host, which shows the volume's ids as they are");
        if (r == -EINVAL)
                return error_field(err, "userNamespace", "what was passed is no user namespace");
        if (r < 0)
                return error_errno(err, r, "cannot look at the user namespace");
        if (m->has_giver && owner != m->giver_uid)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "the user namespace is not yours: it was made by uid %u", owner);
        return 0;
}

/* A rootless container engine is in the user namespace of its containers. Who is in the host's sees ids as they are. */
static int take_namespace(StepContext *c, Error *err) {
        uid_t owner;
        int r;

        r = userns_of_process(c->second_fd);
        closep(&c->second_fd);
        c->second_fd = r;
        if (r == -ENOTTY)
                return error_set(
                        err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                        "this kernel does not tell in which user namespace a process is: that takes Linux 6.11");
        if (r < 0)
                return error_errno(err, r, "cannot look at the user namespace of who asks");
        if (userns_owner(c->second_fd, &owner) == -EPERM) {
                close(TAKE_FD(c->second_fd));
                return 0;
        }
        if (c->job->volume.spec.kind == KIND_BIND)
                return error_set(err, ERROR_PERMISSION_DENIED, EPERM,
                                 "volume %s is a bind volume: showing its files with other ids is for administrators",
                                 c->job->volume.spec.name);
        return judge_namespace(&c->job->mount, c->second_fd, err);
}

static int idmap_probe(StepContext *c, Error *err) {
        return mount_spec_has_map(&c->job->mount) || c->job->mount.peer ? 0 : 1;
}

static int idmap_run(StepContext *c, Error *err) {
        const MountSpec *m = &c->job->mount;
        int r;

        if (m->peer)
                return take_namespace(c, err);
        if (m->userns)
                return judge_namespace(m, c->second_fd, err);
        r = judge_ranges(m, err);
        if (r < 0)
                return r;
        r = userns_make(m->idmap, m->n_idmap);
        if (r < 0)
                return error_errno(err, r, "cannot make a user namespace for the ids");
        c->second_fd = r;
        return 0;
}

const Step step_idmap = { "looking whose the ids are", idmap_probe, idmap_run, NULL };
