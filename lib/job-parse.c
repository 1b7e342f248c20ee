/* A job as it comes from the broker: believed in nothing. */

#include "job-form.h"

#include <quarry/schedule.h>
#include <quarry/text.h>

#define STRING SD_JSON_VARIANT_STRING, sd_json_dispatch_string
#define CONST_STRING SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string
#define STRINGS SD_JSON_VARIANT_ARRAY, sd_json_dispatch_strv
#define UUID SD_JSON_VARIANT_STRING, sd_json_dispatch_id128
#define NUMBER SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64
#define NUMBER32 SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32
#define BOOLEAN SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool
#define OBJECT SD_JSON_VARIANT_OBJECT, sd_json_dispatch_variant_noref

/* As sd_json_dispatch(), but the error names the field. */
static int dispatch(sd_json_variant *v, const sd_json_dispatch_field table[], const char *what, void *data,
                    Error *err) {
        char echo[TEXT_ECHO_MAX];
        const char *field = NULL;

        int r = sd_json_dispatch_full(v, table, NULL, 0, data, &field);
        if (r == -ENOMEM)
                return error_oom(err);
        if (r < 0)
                return error_field(err, field ?: what,
                                   "malformed %s: field \"%s\" is missing, unknown, of the wrong type or twice there",
                                   what, text_echo(field ?: "", echo));
        return 0;
}

static int devices_only_check(const PoolSpec *spec, const char *name, Error *err) {
        if (name || spec->vg || spec->file || spec->size || spec->metadata_size || spec->chunk_size)
                return error_field(err, "poolSpec", "this verb takes devices only");
        return pool_devices_check(spec->devices, err);
}

/* What was parsed goes into the job before it is checked: job_done() frees it then. */
static int pool_spec_from_json(sd_json_variant *v, unsigned parts, PoolSpec *ret, Error *err) {
        typedef struct Parsed {
                PoolSpec spec;
                const char *name;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "name", CONST_STRING, offsetof(Parsed, name), 0 },
                { "devices", STRINGS, offsetof(Parsed, spec.devices), 0 },
                { "volumeGroup", STRING, offsetof(Parsed, spec.vg), 0 },
                { "file", STRING, offsetof(Parsed, spec.file), 0 },
                { "sizeBytes", NUMBER, offsetof(Parsed, spec.size), 0 },
                { "metadataSizeBytes", NUMBER, offsetof(Parsed, spec.metadata_size), 0 },
                { "chunkSizeBytes", NUMBER, offsetof(Parsed, spec.chunk_size), 0 },
                {},
        };
        Parsed p = {};

        int r = dispatch(v, table, "poolSpec", &p, err);
        *ret = p.spec;
        if (r < 0)
                return r;
        if (parts & WITH_DEVICES)
                return devices_only_check(ret, p.name, err);

        r = pool_name_check(p.name ?: "", "name", err);
        if (r < 0)
                return r;
        (void) buffer_format(ret->name, sizeof(ret->name), "%s", p.name);
        return pool_spec_validate(ret, err);
}

static int growth_from_json(sd_json_variant *v, PoolGrowth *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "devices", STRINGS, offsetof(PoolGrowth, devices), 0 },
                { "sizeBytes", NUMBER, offsetof(PoolGrowth, total), 0 },
                { "dataBytes", NUMBER, offsetof(PoolGrowth, data), 0 },
                { "metadataBytes", NUMBER, offsetof(PoolGrowth, metadata), 0 },
                {},
        };

        int r = dispatch(v, table, "growth", ret, err);
        return r < 0 ? r : pool_growth_validate(ret, err);
}

typedef struct ParsedVolume {
        Volume volume;
        const char *name, *role, *kind, *tenant, *pool, *filesystem, *key_source, *source_id;
        uint32_t spare; /* UINT32_MAX: none; the same of volume.thin_id */
} ParsedVolume;

/* Names and words, which have a fixed place in the volume. */
static int volume_take_words(const ParsedVolume *p, VolumeSpec *spec, Error *err) {
        int fs = filesystem_from_string(p->filesystem), source = key_source_from_string(p->key_source);
        int role = volume_role_from_string(p->role), kind = volume_kind_from_string(p->kind);

        if (!buffer_format(spec->name, sizeof(spec->name), "%s", p->name) ||
            !buffer_format(spec->tenant, sizeof(spec->tenant), "%s", p->tenant) ||
            !buffer_format(spec->pool, sizeof(spec->pool), "%s", p->pool ?: ""))
                return error_field(err, "volume", "a name is too long");
        if (!buffer_format(spec->source_id, sizeof(spec->source_id), "%s", p->source_id ?: ""))
                return error_field(err, "sourceId", "it is too long");
        if (kind < 0)
                return error_field(err, "kind", "unknown kind");
        if (role < 0)
                return error_field(err, "role", "unknown role");
        if (fs < 0)
                return error_field(err, "filesystem", "unknown filesystem");
        if (source < 0)
                return error_field(err, "keySource", "unknown key source");

        spec->role = (VolumeRole) role;
        spec->kind = (VolumeKind) kind;
        spec->fs = (Filesystem) fs;
        spec->key_source = (KeySource) source;
        return 0;
}

/* A volume has a thin id, and may have a spare one, exactly if it is on a thin device. */
static int thin_ids_take(const ParsedVolume *p, Volume *ret, Error *err) {
        bool is_block = streq(p->kind, "block");

        if (!is_block && (ret->thin_id != UINT32_MAX || p->spare != UINT32_MAX))
                return error_field(err, "thinId", "only a block volume has a thin id");
        if (is_block && ret->thin_id > THIN_ID_MAX)
                return error_field(err, "thinId", "there is no thin id, or one above %u", THIN_ID_MAX);
        if (p->spare != UINT32_MAX && (p->spare > THIN_ID_MAX || p->spare == ret->thin_id))
                return error_field(err, "spareThinId", "thin id %u is above %u, or the volume's first", p->spare,
                                   THIN_ID_MAX);
        ret->has_spare = p->spare != UINT32_MAX;
        ret->spare_thin_id = ret->has_spare ? p->spare : 0;
        if (!is_block)
                ret->thin_id = 0;
        return 0;
}

static int volume_from_json(sd_json_variant *v, Volume *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "uuid", UUID, offsetof(ParsedVolume, volume.uuid), SD_JSON_MANDATORY },
                { "thinId", NUMBER32, offsetof(ParsedVolume, volume.thin_id), 0 },
                { "spareThinId", NUMBER32, offsetof(ParsedVolume, spare), 0 },
                { "role", CONST_STRING, offsetof(ParsedVolume, role), SD_JSON_MANDATORY },
                { "origin", UUID, offsetof(ParsedVolume, volume.spec.origin), 0 },
                { "kind", CONST_STRING, offsetof(ParsedVolume, kind), 0 },
                { "source", STRING, offsetof(ParsedVolume, volume.spec.source), 0 },
                { "sourceId", CONST_STRING, offsetof(ParsedVolume, source_id), 0 },
                { "readOnly", BOOLEAN, offsetof(ParsedVolume, volume.spec.read_only), 0 },
                { "inodes", NUMBER, offsetof(ParsedVolume, volume.spec.inodes), 0 },
                { "noswap", BOOLEAN, offsetof(ParsedVolume, volume.spec.noswap), 0 },
                { "pool", CONST_STRING, offsetof(ParsedVolume, pool), 0 },
                { "tenant", CONST_STRING, offsetof(ParsedVolume, tenant), SD_JSON_MANDATORY },
                { "name", CONST_STRING, offsetof(ParsedVolume, name), SD_JSON_MANDATORY },
                { "oldName", STRING, offsetof(ParsedVolume, volume.old_name), 0 },
                { "sizeBytes", NUMBER, offsetof(ParsedVolume, volume.spec.size), SD_JSON_MANDATORY },
                { "pendingSizeBytes", NUMBER, offsetof(ParsedVolume, volume.pending_size), 0 },
                { "filesystem", CONST_STRING, offsetof(ParsedVolume, filesystem), SD_JSON_MANDATORY },
                { "keySource", CONST_STRING, offsetof(ParsedVolume, key_source), SD_JSON_MANDATORY },
                { "uid", NUMBER32, offsetof(ParsedVolume, volume.spec.uid), SD_JSON_MANDATORY },
                { "gid", NUMBER32, offsetof(ParsedVolume, volume.spec.gid), SD_JSON_MANDATORY },
                { "mode", NUMBER32, offsetof(ParsedVolume, volume.spec.mode), SD_JSON_MANDATORY },
                { "mkfsOptions", STRINGS, offsetof(ParsedVolume, volume.spec.mkfs_options), 0 },
                { "labels", STRINGS, offsetof(ParsedVolume, volume.spec.labels), 0 },
                { "createdUsec", NUMBER, offsetof(ParsedVolume, volume.created_usec), 0 },
                {},
        };
        ParsedVolume p = { .kind = "block", .spare = UINT32_MAX, .volume.thin_id = UINT32_MAX };

        int r = dispatch(v, table, "volume", &p, err);
        *ret = p.volume;
        if (r < 0)
                return r;
        if (sd_id128_is_null(ret->uuid))
                return error_field(err, "uuid", "the volume has no UUID");
        r = thin_ids_take(&p, ret, err);
        if (r < 0)
                return r;
        if (ret->pending_size > VOLUME_SIZE_MAX || ret->pending_size % MIB != 0)
                return error_field(err, "pendingSizeBytes", "the size is not whole MiB, or too large");
        if (ret->old_name && !volume_name_is_valid(ret->old_name) && !full_name_is_valid(ret->old_name))
                return error_field(err, "oldName", "it is not the name of a volume or snapshot");

        r = volume_take_words(&p, &ret->spec, err);
        return r < 0 ? r : volume_spec_normalize(&ret->spec, err);
}

static int image_from_json(sd_json_variant *v, JobImage *ret, Error *err) {
        typedef struct Parsed {
                sd_json_variant *origin;
                JobImage image;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "origin", OBJECT, offsetof(Parsed, origin), SD_JSON_MANDATORY },
                { "uuid", UUID, offsetof(Parsed, image.uuid), SD_JSON_MANDATORY },
                { "thinId", NUMBER32, offsetof(Parsed, image.thin_id), SD_JSON_MANDATORY },
                { "note", BOOLEAN, offsetof(Parsed, image.note), 0 },
                { "unless", UUID, offsetof(Parsed, image.unless), 0 },
                {},
        };
        Parsed p = {};

        int r = dispatch(v, table, "image", &p, err);
        if (r < 0)
                return r;
        if (sd_id128_is_null(p.image.uuid) || p.image.thin_id > THIN_ID_MAX)
                return error_field(err, "images", "an image has no UUID, or a thin id above %u", THIN_ID_MAX);
        *ret = p.image;
        return volume_from_json(p.origin, &ret->origin, err);
}

/* A volume is held still once, and an id is given to one image. */
static int images_check(const Job *job, Error *err) {
        for (size_t i = 0; i < job->n_images; i++)
                for (size_t j = 0; j < job->n_images; j++) {
                        const JobImage *a = &job->images[i], *b = &job->images[j];

                        if (a->thin_id == b->origin.thin_id ||
                            (i != j && (a->thin_id == b->thin_id || a->origin.thin_id == b->origin.thin_id ||
                                        sd_id128_equal(a->origin.uuid, b->origin.uuid))))
                                return error_field(err, "images", "a volume or a thin id is there twice");
                }
        return 0;
}

/* Those that were parsed go with the job. */
static int images_from_json(sd_json_variant *v, Job *job, Error *err) {
        size_t n = sd_json_variant_elements(v);
        int r = 0;

        if (n == 0 || n > JOB_IMAGES_MAX)
                return error_field(err, "images", "1 to %u images can be made at one instant", JOB_IMAGES_MAX);
        job->images = calloc(n, sizeof(*job->images));
        if (!job->images)
                return error_oom(err);
        for (size_t i = 0; i < n && r >= 0; i++, job->n_images++)
                r = image_from_json(sd_json_variant_by_index(v, i), &job->images[i], err);
        return r < 0 ? r : images_check(job, err);
}

static int calendar_from_json(sd_json_variant *v, JobCalendar *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "baseUsec", NUMBER, offsetof(JobCalendar, base_usec), SD_JSON_MANDATORY },
                { "expressions", STRINGS, offsetof(JobCalendar, expressions), SD_JSON_MANDATORY },
                {},
        };
        size_t n;

        int r = dispatch(v, table, "calendar", ret, err);
        if (r < 0)
                return r;
        n = strv_length(ret->expressions);
        if (n == 0 || n > JOB_EXPRESSIONS_MAX || ret->base_usec > INT64_MAX)
                return error_field(err, "calendar", "1 to %u expressions are looked at, from a time of 63 bits",
                                   JOB_EXPRESSIONS_MAX);
        for (char **e = ret->expressions; *e; e++)
                if (!schedule_expression_is_valid(*e))
                        return error_field(err, "expressions", "a calendar expression breaks the rule");
        return 0;
}

static int ids_from_json(sd_json_variant *v, Job *job, Error *err) {
        size_t n = sd_json_variant_elements(v);
        int r;

        if (n == 0 || n > JOB_THIN_IDS_MAX)
                return error_field(err, "thinIds", "1 to %u thin devices are looked at together", JOB_THIN_IDS_MAX);
        r = thin_ids_from_json(v, &job->thin_ids, &job->n_thin_ids);
        return r == -EINVAL ? error_field(err, "thinIds", "a thin id is no number up to %u", THIN_ID_MAX)
               : r < 0      ? error_oom(err)
                            : 0;
}

typedef struct ParsedJob {
        Job job;
        const char *verb;
        sd_json_variant *pool_spec, *growth, *volume, *source, *images, *calendar, *mount, *thin_ids, *key, *members;
} ParsedJob;

static int part_check(bool there, bool wanted, const char *field, const char *verb, Error *err) {
        if (there == wanted)
                return 0;
        return error_field(err, field, "a job \"%s\" takes %s \"%s\"", verb, wanted ? "a" : "no", field);
}

/* A verb is given what it needs and nothing else. */
static int parts_check(const ParsedJob *p, unsigned parts, Error *err) {
        const struct {
                const char *field;
                unsigned part;
                bool is_given;
        } options[] = {
                { "totalOnly", WITH_RANGES, p->job.total_only },
                { "mapped", WITH_RANGES, p->job.mapped },
                { "join", WITH_RANGES, p->job.join },
                { "detached", WITH_MOUNT, p->job.detached },
                { "lazy", WITH_LAZY, p->job.lazy },
                { "ifUnused", WITH_UNUSED, p->job.if_unused },
                { "fix", WITH_FIX, p->job.fix },
                { "needsOldKey", WITH_OLD_KEY, p->job.needs_old_key },
                { "repeated", WITH_REPEATED, p->job.repeated },
                { "offset", WITH_OFFSET, p->job.offset > 0 },
                { "stopped", WITH_STOPPED, p->job.stopped },
                { "readOnly", WITH_DEVICE, p->job.read_only },
                { "asStored", WITH_DEVICE, p->job.as_stored },
                { "foreign", WITH_FOREIGN, p->job.foreign },
                { "setUid", WITH_OWNER, p->job.owner.uid || p->job.owner.gid || p->job.owner.mode },
        };
        int r = part_check(!sd_id128_is_null(p->job.pool), parts & WITH_POOL, "pool", p->verb, err);

        if (r >= 0)
                r = part_check(p->pool_spec, parts & (WITH_SPEC | WITH_DEVICES), "poolSpec", p->verb, err);
        if (r >= 0)
                r = part_check(p->growth, parts & WITH_GROWTH, "growth", p->verb, err);
        if (r >= 0)
                r = part_check(p->volume, parts & WITH_VOLUME, "volume", p->verb, err);
        if (r >= 0 && !(parts & MAY_HAVE_SOURCE))
                r = part_check(p->source, parts & WITH_SOURCE, "source", p->verb, err);
        if (r >= 0)
                r = part_check(p->images, parts & WITH_IMAGES, "images", p->verb, err);
        if (r >= 0)
                r = part_check(p->calendar, parts & WITH_CALENDAR, "calendar", p->verb, err);
        if (r >= 0)
                r = part_check(p->mount, parts & WITH_MOUNT, "mount", p->verb, err);
        if (r >= 0)
                r = part_check(p->thin_ids, parts & WITH_THIN_IDS, "thinIds", p->verb, err);
        if (r >= 0)
                r = part_check(p->key, parts & WITH_KEY, "key", p->verb, err);
        if (r >= 0 && !(parts & MAY_HAVE_MEMBERS))
                r = part_check(p->members, false, "members", p->verb, err);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(options); i++)
                if (!(parts & options[i].part))
                        r = part_check(options[i].is_given, false, options[i].field, p->verb, err);
        return r;
}

/* Most of what is done is done to thin devices. */
static int kinds_check(const Job *job, unsigned parts, Error *err) {
        bool all_block = job->volume.spec.kind == KIND_BLOCK || (parts & ANY_KIND);

        for (size_t i = 0; i < job->n_images; i++)
                all_block = all_block && job->images[i].origin.spec.kind == KIND_BLOCK;
        if (!all_block || job->source.spec.kind != KIND_BLOCK)
                return error_field(err, "kind", "a job \"%s\" is for block volumes", job_verb_to_string(job->verb));
        if (job->for_members && job->volume.spec.kind != KIND_BIND)
                return error_field(err, "members", "only of a bind volume somebody's rights are looked at");
        return 0;
}

static int volumes_from_json(const ParsedJob *p, unsigned parts, Job *job, Error *err) {
        int r = 0;

        if (p->volume)
                r = volume_from_json(p->volume, &job->volume, err);
        if (r >= 0 && p->source)
                r = volume_from_json(p->source, &job->source, err);
        if (r >= 0 && (parts & WITH_SPARE))
                r = part_check(job->volume.has_spare, true, "spareThinId", p->verb, err);
        if (r >= 0 && (parts & WITH_PENDING))
                r = part_check(job->volume.pending_size > 0, true, "pendingSizeBytes", p->verb, err);
        if (r >= 0 && (parts & WITH_OLD_NAME))
                r = part_check(job->volume.old_name, true, "oldName", p->verb, err);
        return r;
}

int job_from_json(sd_json_variant *v, Job *ret, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "verb", CONST_STRING, offsetof(ParsedJob, verb), SD_JSON_MANDATORY },
                { "pool", UUID, offsetof(ParsedJob, job.pool), 0 },
                { "poolSpec", OBJECT, offsetof(ParsedJob, pool_spec), 0 },
                { "growth", OBJECT, offsetof(ParsedJob, growth), 0 },
                { "volume", OBJECT, offsetof(ParsedJob, volume), 0 },
                { "source", OBJECT, offsetof(ParsedJob, source), 0 },
                { "images", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(ParsedJob, images), 0 },
                { "totalOnly", BOOLEAN, offsetof(ParsedJob, job.total_only), 0 },
                { "mapped", BOOLEAN, offsetof(ParsedJob, job.mapped), 0 },
                { "join", BOOLEAN, offsetof(ParsedJob, job.join), 0 },
                { "calendar", OBJECT, offsetof(ParsedJob, calendar), 0 },
                { "mount", OBJECT, offsetof(ParsedJob, mount), 0 },
                { "thinIds", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(ParsedJob, thin_ids), 0 },
                { "key", OBJECT, offsetof(ParsedJob, key), 0 },
                { "members", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(ParsedJob, members), 0 },
                { "stopped", BOOLEAN, offsetof(ParsedJob, job.stopped), 0 },
                { "detached", BOOLEAN, offsetof(ParsedJob, job.detached), 0 },
                { "lazy", BOOLEAN, offsetof(ParsedJob, job.lazy), 0 },
                { "ifUnused", BOOLEAN, offsetof(ParsedJob, job.if_unused), 0 },
                { "fix", BOOLEAN, offsetof(ParsedJob, job.fix), 0 },
                { "readOnly", BOOLEAN, offsetof(ParsedJob, job.read_only), 0 },
                { "asStored", BOOLEAN, offsetof(ParsedJob, job.as_stored), 0 },
                { "foreign", BOOLEAN, offsetof(ParsedJob, job.foreign), 0 },
                { "needsOldKey", BOOLEAN, offsetof(ParsedJob, job.needs_old_key), 0 },
                { "repeated", BOOLEAN, offsetof(ParsedJob, job.repeated), 0 },
                { "offset", NUMBER, offsetof(ParsedJob, job.offset), 0 },
                { "setUid", BOOLEAN, offsetof(ParsedJob, job.owner.uid), 0 },
                { "setGid", BOOLEAN, offsetof(ParsedJob, job.owner.gid), 0 },
                { "setMode", BOOLEAN, offsetof(ParsedJob, job.owner.mode), 0 },
                {},
        };
        ParsedJob p = {};

        int r = dispatch(v, table, "job", &p, err);
        if (r < 0)
                return r;
        int verb = job_verb_from_string(p.verb);
        if (verb < 0)
                return error_field(err, "verb", "the job's verb is unknown");
        r = parts_check(&p, job_forms[verb].parts, err);
        if (r < 0)
                return r;

        _cleanup_(job_done) Job job = p.job;
        job.verb = (JobVerb) verb;
        if (p.pool_spec)
                r = pool_spec_from_json(p.pool_spec, job_forms[verb].parts, &job.pool_spec, err);
        if (r >= 0 && p.growth)
                r = growth_from_json(p.growth, &job.growth, err);
        if (r >= 0)
                r = volumes_from_json(&p, job_forms[verb].parts, &job, err);
        if (r >= 0 && p.images)
                r = images_from_json(p.images, &job, err);
        if (r >= 0 && p.calendar)
                r = calendar_from_json(p.calendar, &job.calendar, err);
        if (r >= 0 && p.mount)
                r = mount_spec_from_json(p.mount, job.detached, &job.mount, err);
        if (r >= 0 && p.thin_ids)
                r = ids_from_json(p.thin_ids, &job, err);
        if (r >= 0 && p.key && key_choice_from_json(p.key, &job.key) < 0)
                r = error_field(err, "key", "malformed key");
        if (r >= 0 && p.members)
                r = job_members_from_json(p.members, &job, err);
        if (r >= 0)
                r = kinds_check(&job, job_forms[verb].parts, err);
        if (r < 0)
                return r;

        *ret = job;
        job = (Job) {};
        return 0;
}
