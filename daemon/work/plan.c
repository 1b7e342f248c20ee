#include "work/plan.h"

/* A table of its own at each place it is used. */
#define PLAN(...)                                                        \
        ({                                                               \
                static const Step *const plan[] = { __VA_ARGS__, NULL }; \
                plan;                                                    \
        })

/* What is made is about to be mounted, as a rule, or to be taken: it stays open for a while, unless a passphrase is
 * asked for. */
static const Step *const *plan_volume_create(const Job *job) {
        const VolumeSpec *spec = &job->volume.spec;

        if (spec->fs == FILESYSTEM_NONE)
                return spec->key_source != KEY_SOURCE_NONE
                               ? PLAN(&step_thin_create, &step_thin_open, &step_luks_format, &step_thin_close)
                               : PLAN(&step_thin_create);
        if (spec->key_source == KEY_SOURCE_HOST)
                return PLAN(&step_thin_create, &step_thin_open, &step_luks_format, &step_luks_open, &step_format,
                            &step_root, &step_thin_keep);
        if (spec->key_source != KEY_SOURCE_NONE)
                return PLAN(&step_thin_create, &step_thin_open, &step_luks_format, &step_luks_open, &step_format,
                            &step_root, &step_luks_close, &step_thin_close);
        if (spec->role == ROLE_TEMPLATE && !sd_id128_is_null(job->source.uuid))
                return PLAN(&step_template_copy, &step_thin_open, &step_template_identify, &step_template_settle,
                            &step_thin_keep);
        if (spec->role == ROLE_TEMPLATE)
                return PLAN(&step_thin_create, &step_thin_open, &step_format, &step_root, &step_template_identify,
                            &step_thin_close);
        if (!sd_id128_is_null(job->source.uuid))
                return PLAN(&step_template_copy, &step_thin_open, &step_template_identify, &step_thin_keep);
        return PLAN(&step_thin_create, &step_thin_open, &step_format, &step_root, &step_thin_keep);
}

static const Step *const *plan_volume_mount(const Job *job) {
        bool encrypted = job->volume.spec.key_source != KEY_SOURCE_NONE;

        if (job->volume.spec.fs == FILESYSTEM_NONE)
                return encrypted ? PLAN(&step_thin_open, &step_luks_open, &step_link)
                                 : PLAN(&step_thin_open, &step_link);
        if (job->detached)
                return encrypted ? PLAN(&step_idmap, &step_thin_open, &step_luks_open, &step_unshared, &step_mount,
                                        &step_limit_mounted)
                                 : PLAN(&step_idmap, &step_thin_open, &step_unshared, &step_mount, &step_limit_mounted);
        return encrypted ? PLAN(&step_idmap, &step_thin_open, &step_luks_open, &step_unshared, &step_mount,
                                &step_limit_mounted, &step_attach)
                         : PLAN(&step_idmap, &step_thin_open, &step_unshared, &step_mount, &step_limit_mounted,
                                &step_attach);
}

static const Step *const *plan_volume_clone(const VolumeSpec *spec) {
        bool encrypted = spec->key_source != KEY_SOURCE_NONE;

        if (spec->fs != FILESYSTEM_EXT4) /* XFS is mounted whatever its UUID */
                return encrypted ? PLAN(&step_copy, &step_thin_open, &step_luks_identify, &step_thin_close)
                                 : PLAN(&step_copy);
        return encrypted ? PLAN(&step_copy, &step_thin_open, &step_luks_identify, &step_luks_open, &step_identify,
                                &step_luks_close, &step_thin_close)
                         : PLAN(&step_copy, &step_thin_open, &step_identify, &step_thin_close);
}

static const Step *const *plan_volume_grow(const VolumeSpec *spec) {
        bool encrypted = spec->key_source != KEY_SOURCE_NONE;

        if (spec->fs == FILESYSTEM_NONE)
                return encrypted ? PLAN(&step_thin_open, &step_luks_open, &step_grow_key, &step_grow_thin,
                                        &step_grow_crypt, &step_grow_crypt_close, &step_grow_thin_close)
                                 : PLAN(&step_thin_open, &step_grow_thin, &step_grow_thin_close);
        return encrypted ? PLAN(&step_thin_open, &step_luks_open, &step_unshared, &step_grow_key, &step_grow_thin,
                                &step_grow_crypt, &step_grow_fs, &step_grow_crypt_close, &step_grow_thin_close)
                         : PLAN(&step_thin_open, &step_unshared, &step_grow_thin, &step_grow_fs, &step_grow_thin_close);
}

static const Step *const *plan_volume_ungrow(const VolumeSpec *spec) {
        return spec->key_source != KEY_SOURCE_NONE
                       ? PLAN(&step_thin_open, &step_luks_open, &step_ungrow_key, &step_ungrow_check,
                              &step_ungrow_crypt, &step_ungrow_thin, &step_grow_crypt_close, &step_grow_thin_close)
                       : PLAN(&step_thin_open, &step_ungrow_check, &step_ungrow_thin, &step_grow_thin_close);
}

static const Step *const *plan_volume_own(const VolumeSpec *spec) {
        return spec->key_source != KEY_SOURCE_NONE ? PLAN(&step_thin_open, &step_luks_open, &step_unshared, &step_own,
                                                          &step_luks_close, &step_thin_close)
                                                   : PLAN(&step_thin_open, &step_unshared, &step_own, &step_thin_close);
}

static const Step *const *plan_volume_trim(const VolumeSpec *spec) {
        return spec->key_source != KEY_SOURCE_NONE
                       ? PLAN(&step_thin_open, &step_luks_open, &step_unshared, &step_trim, &step_luks_close,
                              &step_thin_close)
                       : PLAN(&step_thin_open, &step_unshared, &step_trim, &step_thin_close);
}

static const Step *const *plan_volume_check(const VolumeSpec *spec) {
        return spec->key_source != KEY_SOURCE_NONE
                       ? PLAN(&step_claim, &step_thin_open, &step_luks_open, &step_unshared, &step_check,
                              &step_luks_close, &step_thin_close)
                       : PLAN(&step_claim, &step_thin_open, &step_unshared, &step_check, &step_thin_close);
}

static const Step *const *plan_volume_receive(const Job *job) {
        return sd_id128_is_null(job->source.uuid) ? PLAN(&step_thin_create, &step_thin_open, &step_give)
                                                  : PLAN(&step_copy, &step_thin_open, &step_give);
}

static const Step *const *plan_volume_accept(const Job *job) {
        const VolumeSpec *spec = &job->volume.spec;

        if (job->foreign)
                return PLAN(&step_thin_open, &step_accept, &step_adopt, &step_thin_close);
        return spec->key_source != KEY_SOURCE_NONE
                       ? PLAN(&step_thin_open, &step_accept, &step_key_look, &step_thin_close)
                       : PLAN(&step_thin_open, &step_accept, &step_thin_close);
}

/* What somebody is given, or was. */
static const Step *const *plan_volume_device(const Job *job) {
        if (job->verb == JOB_VOLUME_RECEIVE)
                return plan_volume_receive(job);
        if (job->verb == JOB_VOLUME_ACCEPT)
                return plan_volume_accept(job);
        return job->volume.spec.key_source != KEY_SOURCE_NONE && !job->as_stored
                       ? PLAN(&step_thin_open, &step_luks_open, &step_give)
                       : PLAN(&step_thin_open, &step_give);
}

static const Step *const *plan_volume_shrink(const VolumeSpec *spec) {
        return spec->key_source != KEY_SOURCE_NONE
                       ? PLAN(&step_claim, &step_luks_close, &step_thin_remove, &step_spare_of_itself, &step_spare_use,
                              &step_thin_open, &step_luks_open, &step_shrink_check, &step_shrink_fs, &step_luks_close,
                              &step_thin_remove)
                       : PLAN(&step_claim, &step_thin_remove, &step_spare_of_itself, &step_spare_use, &step_thin_open,
                              &step_shrink_check, &step_shrink_fs, &step_thin_remove);
}

static const Step *const *plan_volume_change(const Job *job) {
        return job->verb == JOB_VOLUME_GROW     ? plan_volume_grow(&job->volume.spec)
               : job->verb == JOB_VOLUME_UNGROW ? plan_volume_ungrow(&job->volume.spec)
               : job->verb == JOB_VOLUME_SHRINK ? plan_volume_shrink(&job->volume.spec)
               : job->verb == JOB_VOLUME_OWN    ? plan_volume_own(&job->volume.spec)
                                                : PLAN(&step_move_mount, &step_move_link, &step_old_point_remove);
}

/* Nobody could write into the place of a snapshot: it goes with the mount, and no rename leaves it behind. */
static const Step *const *plan_volume_unmount(const VolumeSpec *spec) {
        if (spec->role == ROLE_SNAPSHOT)
                return PLAN(&step_unmount, &step_luks_close, &step_thin_close, &step_mount_point_remove);
        return PLAN(&step_unmount, &step_luks_close, &step_thin_close);
}

static const Step *const *plan_volume_release(const VolumeSpec *spec) {
        if (spec->role == ROLE_SNAPSHOT)
                return PLAN(&step_luks_close, &step_thin_close, &step_mount_point_remove);
        return PLAN(&step_luks_close, &step_thin_close);
}

static const Step *const *plan_volume_close(const Job *job) {
        return job->verb == JOB_VOLUME_UMOUNT ? plan_volume_unmount(&job->volume.spec)
                                              : plan_volume_release(&job->volume.spec);
}

static const Step *const *plan_maps(JobVerb verb) {
        return verb == JOB_POOL_EXCLUSIVE ? PLAN(&step_thin_usage)
               : verb == JOB_POOL_UNION   ? PLAN(&step_thin_union)
                                          : PLAN(&step_thin_delta);
}

static const Step *const *plan_key(JobVerb verb) {
        switch (verb) {
        case JOB_VOLUME_KEY_ADD:
                return PLAN(&step_thin_open, &step_key_unlock, &step_key_add, &step_key_look, &step_thin_close);
        case JOB_VOLUME_KEY_REMOVE:
                return PLAN(&step_thin_open, &step_key_remove, &step_key_look, &step_thin_close);
        case JOB_VOLUME_KEY_CHANGE:
                return PLAN(&step_thin_open, &step_key_change, &step_key_look, &step_thin_close);
        case JOB_VOLUME_KEY_WRAP:
                return PLAN(&step_thin_open, &step_key_wrap, &step_key_look, &step_thin_close);
        case JOB_VOLUME_SUSPEND:
                return PLAN(&step_suspend);
        case JOB_VOLUME_UNLOCK:
                return PLAN(&step_thin_open, &step_suspend_end, &step_luks_open, &step_key_look, &step_thin_keep);
        case JOB_VOLUME_HEADER_BACKUP:
                return PLAN(&step_thin_open, &step_header_backup, &step_thin_close);
        case JOB_VOLUME_HEADER_RESTORE:
                return PLAN(&step_claim, &step_luks_close, &step_thin_open, &step_header_restore, &step_key_look,
                            &step_thin_close);
        case JOB_VOLUME_KEYS:
                return PLAN(&step_thin_open, &step_key_look, &step_thin_close);
        case JOB_HOST_KEY_LOOK:
                return PLAN(&step_host_key_look);
        case JOB_HOST_KEY_ROTATE:
                return PLAN(&step_host_key_rotate, &step_host_key_look);
        case JOB_HOST_KEY_RETIRE:
                return PLAN(&step_host_key_retire, &step_host_key_look);
        case JOB_HOST_KEY_DERIVE:
                return PLAN(&step_host_key_derive);
        default:
                return NULL;
        }
}

/* What is not on a device of the pool has little that could be done to it; job_from_json() refuses the rest. */
static const Step *const *plan_tmpfs(JobVerb verb) {
        switch (verb) {
        case JOB_VOLUME_CREATE:
                return PLAN(&step_tmpfs_try);
        case JOB_VOLUME_MOUNT:
                return PLAN(&step_idmap, &step_tmpfs_mount, &step_attach);
        case JOB_VOLUME_UMOUNT:
                return PLAN(&step_unmount, &step_tmpfs_look);
        case JOB_VOLUME_CLAIM:
                return PLAN(&step_tmpfs_claim);
        case JOB_VOLUME_REMOVE:
                return PLAN(&step_tmpfs_claim, &step_mount_point_remove);
        case JOB_VOLUME_OWN:
                return PLAN(&step_tmpfs_own, &step_tmpfs_look);
        case JOB_VOLUME_REMOUNT:
                return PLAN(&step_tmpfs_remount);
        case JOB_VOLUME_USAGE:
        case JOB_VOLUME_RELEASE:
                return PLAN(&step_tmpfs_look);
        case JOB_VOLUME_RENAME:
                return PLAN(&step_move_mount, &step_old_point_remove);
        default:
                return PLAN(NULL);
        }
}

static const Step *const *plan_bind(const Job *job) {
        bool is_limited = job->volume.spec.size > 0;

        switch (job->verb) {
        case JOB_VOLUME_CREATE:
                return is_limited ? PLAN(&step_source_check, &step_source_limit) : PLAN(&step_source_check);
        case JOB_VOLUME_MOUNT:
                return PLAN(&step_idmap, &step_bind_mount, &step_attach);
        case JOB_VOLUME_UMOUNT:
                return PLAN(&step_unmount);
        case JOB_VOLUME_CLAIM:
                return PLAN(&step_bind_claim);
        case JOB_VOLUME_REMOVE:
                return is_limited ? PLAN(&step_source_unlimit, &step_mount_point_remove)
                                  : PLAN(&step_mount_point_remove);
        case JOB_VOLUME_USAGE:
                return is_limited ? PLAN(&step_bind_look) : PLAN(NULL);
        case JOB_VOLUME_RENAME:
                return PLAN(&step_move_mount, &step_old_point_remove);
        default:
                return PLAN(NULL);
        }
}

/* A detached mount is for the caller to attach. */
static const Step *const *plan_of_kind(const Job *job) {
        bool is_tmpfs = job->volume.spec.kind == KIND_TMPFS;

        if (job->verb == JOB_VOLUME_MOUNT && job->detached)
                return is_tmpfs ? PLAN(&step_idmap, &step_tmpfs_mount) : PLAN(&step_idmap, &step_bind_mount);
        return is_tmpfs ? plan_tmpfs(job->verb) : plan_bind(job);
}

static const Step *const *plan_pool(JobVerb verb) {
        switch (verb) {
        case JOB_POOL_SCAN:
                return PLAN(&step_list_scan);
        case JOB_POOL_CREATE:
                return PLAN(&step_pool_place, &step_list_begin, &step_pool_file, &step_pool_vg, &step_pool_volumes,
                            &step_pool_found, &step_pool_activate, &step_catalog_format, &step_catalog_mount,
                            &step_pool_format, &step_pool_target, &step_list_add, &step_pool_status);
        case JOB_POOL_OPEN:
                return PLAN(&step_pool_find, &step_pool_activate, &step_pool_check, &step_pool_target,
                            &step_catalog_mount, &step_list_refresh, &step_pool_devices, &step_pool_status);
        case JOB_POOL_RECOVER:
                return PLAN(&step_pool_find, &step_pool_reactivate, &step_pool_check, &step_pool_target,
                            &step_catalog_unmount, &step_catalog_mount, &step_pool_devices, &step_pool_status);
        case JOB_POOL_EXPORT:
                return PLAN(&step_pool_release, &step_pool_find, &step_pool_target_remove, &step_catalog_unmount,
                            &step_pool_disown, &step_pool_deactivate, &step_list_remove);
        case JOB_POOL_REMOVE:
                return PLAN(&step_pool_release, &step_pool_find, &step_pool_target_remove, &step_catalog_unmount,
                            &step_list_doom, &step_pool_destroy, &step_list_remove);
        case JOB_POOL_FORGET:
                return PLAN(&step_pool_release, &step_pool_target_remove, &step_catalog_unmount, &step_pool_close_parts,
                            &step_list_remove);
        case JOB_POOL_IMPORT:
                return PLAN(&step_list_import);
        case JOB_POOL_EXTEND:
                return PLAN(&step_grow_check, &step_grow_file, &step_pool_find, &step_grow_vg, &step_grow_volumes,
                            &step_grow_target, &step_list_refresh, &step_pool_status);
        case JOB_POOL_CLOSE:
                return PLAN(&step_pool_close_volumes, &step_catalog_unmount, &step_pool_target_remove,
                            &step_pool_close_parts);
        case JOB_POOL_RELIEVE:
                return PLAN(&step_relieve, &step_pool_status);
        case JOB_POOL_WATCH:
                return PLAN(&step_space_watch);
        case JOB_POOL_USAGE:
                return PLAN(&step_pool_devices, &step_pool_status);
        case JOB_POOL_CHECK:
                return PLAN(&step_pool_find, &step_pool_activate, &step_metadata_check, &step_pool_deactivate);
        case JOB_POOL_REPAIR:
                return PLAN(&step_pool_release, &step_pool_find, &step_pool_target_remove, &step_catalog_unmount,
                            &step_pool_activate, &step_metadata_mend, &step_metadata_spare, &step_metadata_repair,
                            &step_metadata_switch);
        case JOB_POOL_AUDIT:
                return PLAN(&step_audit_pool, &step_audit_thin_ids);
        default:
                return plan_key(verb);
        }
}

static const Step *const *plan_of_block(const Job *job) {
        switch (job->verb) {
        case JOB_HOST_AUDIT:
                return PLAN(&step_audit_kernel, &step_audit_folders, &step_audit_setup);
        case JOB_VOLUME_CREATE:
                return plan_volume_create(job);
        case JOB_VOLUME_CLAIM:
                return PLAN(&step_claim, &step_luks_close, &step_thin_remove);
        case JOB_VOLUME_REMOVE:
                return PLAN(&step_claim, &step_luks_close, &step_luks_destroy, &step_thin_remove, &step_spare_delete,
                            &step_thin_delete, &step_mount_point_remove);
        case JOB_VOLUME_MOUNT:
                return plan_volume_mount(job);
        case JOB_VOLUME_UMOUNT:
        case JOB_VOLUME_RELEASE:
                return plan_volume_close(job);
        case JOB_VOLUME_TRIM:
                return plan_volume_trim(&job->volume.spec);
        case JOB_VOLUME_CHECK:
                return plan_volume_check(&job->volume.spec);
        case JOB_VOLUME_DEVICE:
        case JOB_VOLUME_RECEIVE:
        case JOB_VOLUME_ACCEPT:
                return plan_volume_device(job);
        case JOB_VOLUME_LIMIT:
                return PLAN(&step_recover, &step_limit);
        case JOB_VOLUME_USAGE:
                return PLAN(&step_thin_look, &step_pool_status);
        case JOB_VOLUME_RETIRE:
                return PLAN(&step_claim, &step_luks_close, &step_luks_destroy, &step_thin_remove, &step_spare_delete,
                            &step_mount_point_remove);
        case JOB_VOLUME_FREE:
                return PLAN(&step_free, &step_thin_remove, &step_free_end);
        case JOB_VOLUME_SNAPSHOT:
                return PLAN(&step_snapshot_prepare, &step_snapshot);
        case JOB_VOLUME_CLONE:
                return plan_volume_clone(&job->volume.spec);
        case JOB_VOLUME_ROLLBACK:
                return PLAN(&step_claim, &step_luks_close, &step_thin_remove, &step_spare_copy);
        case JOB_VOLUME_DROP_SPARE:
                return PLAN(&step_spare_close, &step_spare_delete);
        case JOB_VOLUME_SWEEP:
                return PLAN(&step_luks_close, &step_thin_close, &step_mount_point_remove);
        case JOB_VOLUME_GROW:
        case JOB_VOLUME_UNGROW:
        case JOB_VOLUME_SHRINK:
        case JOB_VOLUME_RENAME:
        case JOB_VOLUME_OWN:
                return plan_volume_change(job);
        case JOB_POOL_EXCLUSIVE:
        case JOB_POOL_UNION:
        case JOB_VOLUME_DIFF:
                return plan_maps(job->verb);
        case JOB_HOST_CALENDAR:
                return PLAN(&step_calendar);
        default:
                return plan_pool(job->verb);
        }
}

const Step *const *plan_for(const Job *job) {
        return job->volume.spec.kind == KIND_BLOCK ? plan_of_block(job) : plan_of_kind(job);
}

bool plan_needs_pool(JobVerb verb) {
        return verb != JOB_POOL_SCAN && verb != JOB_POOL_CREATE && verb != JOB_POOL_IMPORT && verb != JOB_HOST_AUDIT &&
               verb != JOB_POOL_WATCH && verb != JOB_HOST_CALENDAR && verb != JOB_HOST_KEY_LOOK &&
               verb != JOB_HOST_KEY_ROTATE && verb != JOB_HOST_KEY_RETIRE && verb != JOB_HOST_KEY_DERIVE;
}
