/* Volumes that are not in the pool: what can be done to them, and with what. */

#include "broker/pool-open.h"
#include "broker/quota.h"
#include "broker/volume.h"

#include <quarry/text.h>

int volume_check_block(const VolumeEntry *entry, const char *what, Error *err) {
        const VolumeSpec *spec = &entry->volume.spec;

        if (spec->kind == KIND_BLOCK)
                return 0;
        return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                         "volume %s is %s, whose files lie in %s and not in the pool: %s is for block volumes",
                         spec->name, volume_kind_phrase(spec->kind), spec->source ?: "memory", what);
}

/* --- what nobody said ------------------------------------------------------------------------------------ */

#define DEFAULT_MODE 0755
#define DEFAULT_MODE_OF_MEMBERS 0700

/* It belongs to root then; a tenant's member could do nothing with that, and others need not see into it. The source of
 * a bind volume is made already. */
int volume_complete_spec(const Caller *caller, unsigned said, VolumeSpec *spec, Error *err) {
        bool admin = caller->admin;

        if (spec->kind == KIND_BIND && (said & (SAID_UID | SAID_GID | SAID_MODE)))
                return error_field(err,
                                   said & SAID_UID   ? "uid"
                                   : said & SAID_GID ? "gid"
                                                     : "mode",
                                   "the source of a bind volume keeps its owner, group and mode");
        if (!(said & SAID_FS))
                spec->fs = spec->kind == KIND_BLOCK ? FILESYSTEM_EXT4 : FILESYSTEM_NONE;
        if (spec->kind == KIND_BIND) {
                spec->uid = spec->gid = spec->mode = 0;
                return 0;
        }
        if (!(said & SAID_UID))
                spec->uid = admin ? 0 : caller->uid;
        if (!(said & SAID_GID))
                spec->gid = admin ? 0 : caller->gid;
        if (!(said & SAID_MODE))
                spec->mode = admin ? DEFAULT_MODE : DEFAULT_MODE_OF_MEMBERS;
        return 0;
}

/* --- whose rights count ----------------------------------------------------------------------------------- */

/* Groups of a user are not known here: who is a member by name is looked at with none, who is one by group as
 * nobody else. */
static int take_all_members(Job *job, const Tenant *tenant) {
        const gid_t nobody = 65534;
        int r = 0;

        for (size_t i = 0; i < tenant->users.n && r >= 0; i++)
                if (tenant->users.list[i] != 0)
                        r = job_add_member(job, tenant->users.list[i], nobody, NULL, 0);
        for (size_t i = 0; i < tenant->groups.n && r >= 0; i++)
                r = job_add_member(job, nobody, tenant->groups.list[i], NULL, 0);
        return r;
}

/* A member gets what is open to that member, and a tenant, for which an administrator acts, what is open to one of its
 * members; to the default tenant, which is root's, everything is. */
int volume_take_members(Job *job, const Caller *caller, const VolumeSpec *spec, const TenantEntry *tenant, Error *err) {
        int r;

        job_members_done(job);
        job->for_members = spec->kind == KIND_BIND && tenant;
        if (!job->for_members)
                return 0;
        r = caller->admin ? take_all_members(job, &tenant->tenant)
                          : job_add_member(job, caller->uid, caller->gid, caller->groups, caller->n_groups);
        return r < 0 ? error_oom(err) : 0;
}

/* --- another size for one in memory ----------------------------------------------------------------------- */

static void on_row_resized(const Error *err, void *userdata) {
        Operation *op = userdata;

        if (err)
                volume_entry_resize(op->volume, op->size_before);
        volume_entry_expect(op->volume, 0, false);
        operation_finish(op, err);
}

/* What is mounted first, then the row: it tells what was done. */
static void on_remounted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};

        if (operation_outlives_worker(op, err) &&
            operation_run_job(op, JOB_VOLUME_REMOUNT, on_remounted, &failure) >= 0)
                return;
        if (err) {
                volume_entry_expect(op->volume, 0, false);
                operation_finish(op, err);
                return;
        }
        op->size_before = op->volume->volume.spec.size;
        volume_entry_resize(op->volume, op->size);
        if (catalog_put_volume(op->pool->catalog, &op->volume->volume, on_row_resized, op, &failure) < 0)
                on_row_resized(&failure, op);
}

int volume_resize_tmpfs(Operation *op, Error *err) {
        const Volume *volume = &op->volume->volume;
        int r = 0;

        if (op->size > volume->spec.size)
                r = quota_check_tmpfs(op->volume->tenant, op->size - volume->spec.size, err);
        if (r < 0)
                return r;
        if (op->size == volume->spec.size || op->dry_run) {
                operation_finish(op, NULL);
                return 0;
        }
        op->job.volume.uuid = volume->uuid;
        if (volume_spec_copy(&volume->spec, &op->job.volume.spec) < 0)
                return error_oom(err);
        op->job.volume.spec.size = op->size;
        volume_entry_expect(op->volume, op->size, false); /* nobody else is promised that meanwhile */
        r = operation_run_job(op, JOB_VOLUME_REMOUNT, on_remounted, err);
        if (r < 0)
                volume_entry_expect(op->volume, 0, false);
        return r;
}
