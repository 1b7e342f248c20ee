#include "job-form.h"

#include <quarry/text.h>

const JobForm job_forms[_JOB_VERB_MAX] = {
        [JOB_POOL_SCAN] = { "pool_scan", 0 },
        [JOB_POOL_CREATE] = { "pool_create", WITH_POOL | WITH_SPEC },
        [JOB_POOL_OPEN] = { "pool_open", WITH_POOL },
        [JOB_POOL_RECOVER] = { "pool_recover", WITH_POOL },
        [JOB_POOL_REMOVE] = { "pool_remove", WITH_POOL },
        [JOB_POOL_IMPORT] = { "pool_import", WITH_DEVICES },
        [JOB_POOL_EXPORT] = { "pool_export", WITH_POOL },
        [JOB_POOL_FORGET] = { "pool_forget", WITH_POOL },
        [JOB_POOL_EXTEND] = { "pool_extend", WITH_POOL | WITH_GROWTH },
        [JOB_POOL_CLOSE] = { "pool_close", WITH_POOL },
        [JOB_POOL_RELIEVE] = { "pool_relieve", WITH_POOL },
        [JOB_POOL_WATCH] = { "pool_watch", WITH_POOL },
        [JOB_POOL_USAGE] = { "pool_usage", WITH_POOL },
        [JOB_POOL_CHECK] = { "pool_check", WITH_POOL },
        [JOB_POOL_REPAIR] = { "pool_repair", WITH_POOL },
        [JOB_POOL_AUDIT] = { "pool_audit", WITH_POOL },
        [JOB_HOST_AUDIT] = { "host_audit", WITH_FIX },
        [JOB_HOST_CALENDAR] = { "host_calendar", WITH_CALENDAR },
        [JOB_VOLUME_CREATE] = { "volume_create", ANY_KIND | MAY_HAVE_MEMBERS | WITH_POOL | WITH_VOLUME |
                                                         MAY_HAVE_SOURCE | WITH_OLD_KEY },
        [JOB_VOLUME_CLAIM] = { "volume_claim", ANY_KIND | WITH_POOL | WITH_VOLUME | WITH_LAZY | WITH_UNUSED },
        [JOB_VOLUME_REMOVE] = { "volume_remove", ANY_KIND | WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_MOUNT] = { "volume_mount",
                               ANY_KIND | MAY_HAVE_MEMBERS | WITH_POOL | WITH_VOLUME | WITH_MOUNT | WITH_STOPPED },
        [JOB_VOLUME_TRIM] = { "volume_trim", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_CHECK] = { "volume_check", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_UMOUNT] = { "volume_umount", ANY_KIND | WITH_POOL | WITH_VOLUME | WITH_LAZY | WITH_UNUSED },
        [JOB_VOLUME_LIMIT] = { "volume_limit", WITH_POOL | WITH_VOLUME | WITH_STOPPED },
        [JOB_VOLUME_USAGE] = { "volume_usage", ANY_KIND | WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_RELEASE] = { "volume_release", ANY_KIND | WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_SWEEP] = { "volume_sweep", ANY_KIND | WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_RETIRE] = { "volume_retire", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_FREE] = { "volume_free", WITH_POOL | WITH_VOLUME | WITH_OFFSET },
        [JOB_VOLUME_SNAPSHOT] = { "volume_snapshot", WITH_POOL | WITH_IMAGES },
        [JOB_VOLUME_CLONE] = { "volume_clone", WITH_POOL | WITH_VOLUME | WITH_SOURCE },
        [JOB_VOLUME_ROLLBACK] = { "volume_rollback",
                                  WITH_POOL | WITH_VOLUME | WITH_SOURCE | WITH_SPARE | WITH_REPEATED },
        [JOB_VOLUME_DROP_SPARE] = { "volume_drop_spare", WITH_POOL | WITH_VOLUME | WITH_SPARE },
        [JOB_VOLUME_RENAME] = { "volume_rename", ANY_KIND | WITH_POOL | WITH_VOLUME | WITH_OLD_NAME },
        [JOB_VOLUME_GROW] = { "volume_grow", WITH_POOL | WITH_VOLUME | WITH_PENDING },
        [JOB_VOLUME_UNGROW] = { "volume_ungrow", WITH_POOL | WITH_VOLUME | WITH_PENDING },
        [JOB_VOLUME_SHRINK] = { "volume_shrink", WITH_POOL | WITH_VOLUME | WITH_SPARE | WITH_PENDING | WITH_REPEATED },
        [JOB_VOLUME_OWN] = { "volume_own", ANY_KIND | WITH_POOL | WITH_VOLUME | WITH_OWNER },
        [JOB_VOLUME_REMOUNT] = { "volume_remount", ANY_KIND | WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_KEYS] = { "volume_keys", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_KEY_ADD] = { "volume_key_add", WITH_POOL | WITH_VOLUME | WITH_KEY | WITH_OLD_KEY },
        [JOB_VOLUME_KEY_REMOVE] = { "volume_key_remove", WITH_POOL | WITH_VOLUME | WITH_KEY | WITH_REPEATED },
        [JOB_VOLUME_KEY_CHANGE] = { "volume_key_change", WITH_POOL | WITH_VOLUME | WITH_REPEATED },
        [JOB_VOLUME_KEY_WRAP] = { "volume_key_wrap", WITH_POOL | WITH_VOLUME | WITH_KEY },
        [JOB_VOLUME_SUSPEND] = { "volume_suspend", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_UNLOCK] = { "volume_unlock", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_HEADER_BACKUP] = { "volume_header_backup", WITH_POOL | WITH_VOLUME },
        [JOB_VOLUME_HEADER_RESTORE] = { "volume_header_restore", WITH_POOL | WITH_VOLUME },
        [JOB_HOST_KEY_LOOK] = { "host_key_look", 0 },
        [JOB_HOST_KEY_ROTATE] = { "host_key_rotate", WITH_KEY },
        [JOB_HOST_KEY_RETIRE] = { "host_key_retire", WITH_KEY },
        [JOB_HOST_KEY_DERIVE] = { "host_key_derive", WITH_KEY | WITH_OLD_KEY },
        [JOB_POOL_EXCLUSIVE] = { "pool_exclusive", WITH_POOL },
        [JOB_POOL_UNION] = { "pool_union", WITH_POOL | WITH_THIN_IDS },
        [JOB_VOLUME_DIFF] = { "volume_diff", WITH_POOL | WITH_VOLUME | WITH_SOURCE | WITH_RANGES },
        [JOB_VOLUME_RECEIVE] = { "volume_receive", WITH_POOL | WITH_VOLUME | MAY_HAVE_SOURCE },
        [JOB_VOLUME_ACCEPT] = { "volume_accept", WITH_POOL | WITH_VOLUME | WITH_FOREIGN },
        [JOB_VOLUME_DEVICE] = { "volume_device", WITH_POOL | WITH_VOLUME | WITH_DEVICE },
};

const char *job_verb_to_string(JobVerb verb) {
        return verb < _JOB_VERB_MAX ? job_forms[verb].word : NULL;
}

int job_verb_from_string(const char *s) {
        for (int i = 0; i < _JOB_VERB_MAX; i++)
                if (streq_ptr(job_forms[i].word, s))
                        return i;
        return -EINVAL;
}

void job_done(Job *job) {
        pool_spec_done(&job->pool_spec);
        pool_growth_done(&job->growth);
        volume_done(&job->volume);
        volume_done(&job->source);
        for (size_t i = 0; i < job->n_images; i++)
                volume_done(&job->images[i].origin);
        free(job->images);
        job->images = NULL;
        job->n_images = 0;
        job_members_done(job);
        job->calendar.expressions = strv_free(job->calendar.expressions);
        free(job->thin_ids);
        job->thin_ids = NULL;
        job->n_thin_ids = 0;
}

static int pool_spec_to_json(const PoolSpec *spec, sd_json_variant **ret) {
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_CONDITION(*spec->name, "name", SD_JSON_BUILD_STRING(spec->name)),
                        SD_JSON_BUILD_PAIR_STRV("devices", spec->devices),
                        SD_JSON_BUILD_PAIR_CONDITION(!!spec->vg, "volumeGroup", SD_JSON_BUILD_STRING(spec->vg)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!spec->file, "file", SD_JSON_BUILD_STRING(spec->file)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("metadataSizeBytes", spec->metadata_size),
                        SD_JSON_BUILD_PAIR_UNSIGNED("chunkSizeBytes", spec->chunk_size));
}

static int growth_to_json(const PoolGrowth *growth, sd_json_variant **ret) {
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRV("devices", growth->devices),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", growth->total),
                        SD_JSON_BUILD_PAIR_UNSIGNED("dataBytes", growth->data),
                        SD_JSON_BUILD_PAIR_UNSIGNED("metadataBytes", growth->metadata));
}

static int volume_to_json(const Volume *volume, sd_json_variant **ret) {
        const VolumeSpec *spec = &volume->spec;
        bool is_block = spec->kind == KIND_BLOCK;

        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_UUID("uuid", volume->uuid),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        is_block, "thinId", SD_JSON_BUILD_UNSIGNED(volume->thin_id)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        volume->has_spare,
                                        "spareThinId",
                                        SD_JSON_BUILD_UNSIGNED(volume->spare_thin_id)),
                        SD_JSON_BUILD_PAIR_STRING("role", volume_role_to_string(spec->role)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !sd_id128_is_null(spec->origin), "origin", SD_JSON_BUILD_UUID(spec->origin)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !is_block, "kind", SD_JSON_BUILD_STRING(volume_kind_to_string(spec->kind))),
                        SD_JSON_BUILD_PAIR_CONDITION(!!spec->source, "source", SD_JSON_BUILD_STRING(spec->source)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        *spec->source_id, "sourceId", SD_JSON_BUILD_STRING(spec->source_id)),
                        SD_JSON_BUILD_PAIR_CONDITION(spec->read_only, "readOnly", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->inodes > 0, "inodes", SD_JSON_BUILD_UNSIGNED(spec->inodes)),
                        SD_JSON_BUILD_PAIR_CONDITION(spec->noswap, "noswap", SD_JSON_BUILD_BOOLEAN(true)),
                        SD_JSON_BUILD_PAIR_CONDITION(*spec->pool, "pool", SD_JSON_BUILD_STRING(spec->pool)),
                        SD_JSON_BUILD_PAIR_STRING("tenant", spec->tenant),
                        SD_JSON_BUILD_PAIR_STRING("name", spec->name),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!volume->old_name, "oldName", SD_JSON_BUILD_STRING(volume->old_name)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("sizeBytes", spec->size),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        volume->pending_size > 0,
                                        "pendingSizeBytes",
                                        SD_JSON_BUILD_UNSIGNED(volume->pending_size)),
                        SD_JSON_BUILD_PAIR_STRING("filesystem", filesystem_to_string(spec->fs)),
                        SD_JSON_BUILD_PAIR_STRING("keySource", key_source_to_string(spec->key_source)),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", spec->mode),
                        SD_JSON_BUILD_PAIR_STRV("mkfsOptions", spec->mkfs_options),
                        SD_JSON_BUILD_PAIR_STRV("labels", spec->labels),
                        SD_JSON_BUILD_PAIR_UNSIGNED("createdUsec", volume->created_usec));
}

static int images_to_json(const Job *job, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r = 0;

        for (size_t i = 0; i < job->n_images && r >= 0; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *origin = NULL;
                const JobImage *image = &job->images[i];

                r = volume_to_json(&image->origin, &origin);
                if (r >= 0)
                        r = sd_json_variant_append_arraybo(
                                        &list,
                                        SD_JSON_BUILD_PAIR_VARIANT("origin", origin),
                                        SD_JSON_BUILD_PAIR_UUID("uuid", image->uuid),
                                        SD_JSON_BUILD_PAIR_UNSIGNED("thinId", image->thin_id),
                                        SD_JSON_BUILD_PAIR_CONDITION(image->note, "note", SD_JSON_BUILD_BOOLEAN(true)),
                                        SD_JSON_BUILD_PAIR_CONDITION(
                                                        !sd_id128_is_null(image->unless), "unless",
                                                        SD_JSON_BUILD_UUID(image->unless)));
        }
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

static int calendar_to_json(const JobCalendar *calendar, sd_json_variant **ret) {
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_UNSIGNED("baseUsec", calendar->base_usec),
                        SD_JSON_BUILD_PAIR_STRV("expressions", calendar->expressions));
}

int job_to_json(const Job *job, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *pool_spec = NULL, *growth = NULL, *volume = NULL,
                                                          *images = NULL, *source = NULL, *calendar = NULL,
                                                          *mount = NULL, *thin_ids = NULL, *key = NULL, *members = NULL;
        const char *word = job_verb_to_string(job->verb);
        int r = 0;

        if (!word)
                return -EINVAL;

        unsigned parts = job_forms[job->verb].parts;
        if (parts & WITH_SPEC)
                r = pool_spec_to_json(&job->pool_spec, &pool_spec);
        else if (parts & WITH_DEVICES)
                r = pool_spec_to_json(&(PoolSpec) { .devices = job->pool_spec.devices }, &pool_spec);
        if (r >= 0 && (parts & WITH_GROWTH))
                r = growth_to_json(&job->growth, &growth);
        if (r >= 0 && (parts & WITH_VOLUME))
                r = volume_to_json(&job->volume, &volume);
        if (r >= 0 && (parts & (WITH_SOURCE | MAY_HAVE_SOURCE)) && !sd_id128_is_null(job->source.uuid))
                r = volume_to_json(&job->source, &source);
        if (r >= 0 && (parts & WITH_IMAGES))
                r = images_to_json(job, &images);
        if (r >= 0 && (parts & WITH_CALENDAR))
                r = calendar_to_json(&job->calendar, &calendar);
        if (r >= 0 && (parts & WITH_MOUNT))
                r = mount_spec_to_json(&job->mount, &mount);
        if (r >= 0 && (parts & WITH_THIN_IDS))
                r = thin_ids_to_json(job->thin_ids, job->n_thin_ids, &thin_ids);
        if (r >= 0 && (parts & WITH_KEY))
                r = key_choice_to_json(&job->key, &key);
        if (r >= 0 && (parts & MAY_HAVE_MEMBERS) && job->for_members)
                r = job_members_to_json(job, &members);
        if (r < 0)
                return r;

        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRING("verb", word),
                        SD_JSON_BUILD_PAIR_CONDITION(!!(parts & WITH_POOL), "pool", SD_JSON_BUILD_UUID(job->pool)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!pool_spec, "poolSpec", SD_JSON_BUILD_VARIANT(pool_spec)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!growth, "growth", SD_JSON_BUILD_VARIANT(growth)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!volume, "volume", SD_JSON_BUILD_VARIANT(volume)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!source, "source", SD_JSON_BUILD_VARIANT(source)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!images, "images", SD_JSON_BUILD_VARIANT(images)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!calendar, "calendar", SD_JSON_BUILD_VARIANT(calendar)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!thin_ids, "thinIds", SD_JSON_BUILD_VARIANT(thin_ids)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!key, "key", SD_JSON_BUILD_VARIANT(key)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!members, "members", SD_JSON_BUILD_VARIANT(members)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_RANGES), "totalOnly", SD_JSON_BUILD_BOOLEAN(job->total_only)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_RANGES), "mapped", SD_JSON_BUILD_BOOLEAN(job->mapped)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_RANGES), "join", SD_JSON_BUILD_BOOLEAN(job->join)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!mount, "mount", SD_JSON_BUILD_VARIANT(mount)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_STOPPED), "stopped", SD_JSON_BUILD_BOOLEAN(job->stopped)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_MOUNT), "detached", SD_JSON_BUILD_BOOLEAN(job->detached)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_LAZY), "lazy", SD_JSON_BUILD_BOOLEAN(job->lazy)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_UNUSED), "ifUnused", SD_JSON_BUILD_BOOLEAN(job->if_unused)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_OFFSET), "offset", SD_JSON_BUILD_UNSIGNED(job->offset)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!(parts & WITH_FIX), "fix", SD_JSON_BUILD_BOOLEAN(job->fix)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_DEVICE), "readOnly", SD_JSON_BUILD_BOOLEAN(job->read_only)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_DEVICE), "asStored", SD_JSON_BUILD_BOOLEAN(job->as_stored)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_FOREIGN), "foreign", SD_JSON_BUILD_BOOLEAN(job->foreign)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_OLD_KEY), "needsOldKey",
                                        SD_JSON_BUILD_BOOLEAN(job->needs_old_key)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_REPEATED), "repeated", SD_JSON_BUILD_BOOLEAN(job->repeated)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_OWNER), "setUid", SD_JSON_BUILD_BOOLEAN(job->owner.uid)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_OWNER), "setGid", SD_JSON_BUILD_BOOLEAN(job->owner.gid)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!(parts & WITH_OWNER), "setMode", SD_JSON_BUILD_BOOLEAN(job->owner.mode)));
}
