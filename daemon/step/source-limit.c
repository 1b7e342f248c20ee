/* The size of a bind volume: what the files of its source take together is limited where their filesystem can do that.
 * The number of its project is made of the volume's UUID, so that it is known to whoever takes it away. */

#include "step/source-limit.h"

#include "kernel/quota.h"
#include "kernel/source.h"

#include <quarry/log.h>
#include <quarry/text.h>

/* Numbers that people give are small. */
static uint32_t project_of(const Volume *volume) {
        return UINT32_C(0x40000000) | (uint32_t) (volume->uuid.qwords[0] & UINT32_C(0x3fffffff));
}

static int not_kept(StepContext *c, Error *err) {
        error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                  "the filesystem of %s keeps no limit on a directory: it has no project quota, or that is off",
                  c->job->volume.spec.source);
        error_hint(err, "without --size there is no limit; or mount it with prjquota: ext4 needs tune2fs -O "
                        "project,quota before, XFS nothing");
        return error_code(err);
}

int source_limit_check(StepContext *c, int fd, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        uint32_t project = 0;
        int r;

        r = quota_is_kept(fd);
        if (r > 0)
                r = quota_project(fd, &project);
        if (r < 0 && r != -EOPNOTSUPP)
                return error_errno(err, r, "cannot look whether %s has its limit", spec->source);
        if (r == 0 && project == project_of(&c->job->volume))
                return 0;
        error_set(err, ERROR_FAILED, ESTALE, "the limit of volume %s is not kept: %s", spec->name,
                  r == 0 && project > 0 ? "its source was given to another project"
                                        : "its filesystem has no project "
                                          "quota now");
        error_hint(err, "mount the filesystem of %.100s with prjquota", spec->source);
        return error_code(err);
}

/* Nobody else's limit is taken away. */
static int check_free(StepContext *c, int fd, Error *err) {
        const char *source = c->job->volume.spec.source;
        uint32_t own = project_of(&c->job->volume), project;
        uint64_t used, limit;
        int r;

        r = quota_is_kept(fd);
        if (r > 0)
                r = quota_project(fd, &project);
        else if (r == 0)
                r = -EOPNOTSUPP;
        if (r == -EOPNOTSUPP)
                return not_kept(c, err);
        if (r >= 0 && project != 0 && project != own)
                return error_set(err, ERROR_FAILED, EEXIST, "%s belongs to project %u already: somebody else limits it",
                                 source, project);
        if (r >= 0 && project == 0)
                r = quota_look(fd, own, &used, &limit);
        if (r >= 0 && project == 0 && (used > 0 || limit > 0))
                return error_set(err, ERROR_FAILED, EEXIST, "project %u of the filesystem of %s is in use", own,
                                 source);
        return r < 0 ? error_errno(err, r, "cannot look at the quota of %s", source) : 0;
}

static int take_back(int fd, uint32_t project) {
        int r = quota_set_limit(fd, project, 0), s;

        s = quota_set_project(fd, project, 0);
        return r < 0 ? r : s;
}

static int source_limit_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        uint32_t project = project_of(&c->job->volume);
        char used_text[SIZE_TEXT_MAX], size_text[SIZE_TEXT_MAX];
        _cleanup_close_ int fd = -EBADF;
        uint64_t used = 0, limit;
        int r;

        r = source_find(c, &fd, err);
        if (r >= 0)
                r = check_free(c, fd, err);
        if (r < 0)
                return r;
        r = quota_set_project(fd, 0, project);
        if (r >= 0)
                r = quota_look(fd, project, &used, &limit);
        if (r >= 0 && used <= spec->size)
                r = quota_set_limit(fd, project, spec->size);
        if (r >= 0 && used <= spec->size)
                return 0;
        if (r == -EEXIST)
                error_set(err, ERROR_FAILED, EEXIST,
                          "something in %s belongs to a project already: somebody else limits it", spec->source);
        else if (r < 0)
                error_errno(err, r, "cannot limit %s", spec->source);
        else
                error_set(err, ERROR_NO_SPACE, ENOSPC, "%s holds %s already, more than %s", spec->source,
                          size_format(used, used_text), size_format_exact(spec->size, size_text));
        err->undo_failed = take_back(fd, project) < 0;
        return error_code(err);
}

/* Its files stay. Of a source that is not there any more nothing is left to take away. */
static int source_unlimit_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int fd = source_open(c->config->allowed_roots, spec->source);
        uint32_t project = 0;
        int r = fd;

        if (r >= 0)
                r = quota_project(fd, &project);
        if (r >= 0 && project == project_of(&c->job->volume))
                r = take_back(fd, project);
        if (r < 0 && r != -EOPNOTSUPP)
                log_warning(spec->name, "the limit of %s may stay: %s", spec->source, strerror(-r));
        return 0;
}

static int source_limit_undo(StepContext *c, Error *err) {
        return source_unlimit_run(c, err);
}

static int bind_look_run(StepContext *c, Error *err) {
        const VolumeSpec *spec = &c->job->volume.spec;
        _cleanup_close_ int fd = source_open(c->config->allowed_roots, spec->source);
        JobDevice device = { .uuid = c->job->volume.uuid };
        uint64_t limit;

        if (fd < 0 || quota_look(fd, project_of(&c->job->volume), &device.used, &limit) < 0)
                return 0; /* it is not there now: nothing is known of it */
        c->result->devices = calloc(1, sizeof(device));
        if (!c->result->devices)
                return error_oom(err);
        c->result->devices[0] = device;
        c->result->n_devices = 1;
        return 0;
}

const Step step_source_limit = { "limiting the source", NULL, source_limit_run, source_limit_undo };
const Step step_source_unlimit = { "taking the limit away", NULL, source_unlimit_run, NULL };
const Step step_bind_look = { "looking at its size", NULL, bind_look_run, NULL };
