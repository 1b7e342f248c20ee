#include <quarry/job.h>
#include <quarry/text.h>

#include "../unit.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"
#define KEY_ID "0123456789abcdef0123456789abcdef"
#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
static const sd_id128_t pool = SD_ID128_MAKE(fe, dc, ba, 98, 76, 54, 32, 10, fe, dc, ba, 98, 76, 54, 32, 10);
static const sd_id128_t volume = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);
static const sd_id128_t image = SD_ID128_MAKE(ab, cd, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);

/* A job of this verb with everything set that any verb takes. */
static Job job_make(JobVerb verb) {
        Job job = {
                .verb = verb,
                .pool = pool,
                .pool_spec = { .name = "fast", .chunk_size = 128 << 10, .metadata_size = 64 * MIB },
                .volume = {
                        .uuid = volume,
                        .thin_id = 17,
                        .has_spare = true,
                        .spare_thin_id = 18,
                        .pending_size = 2 * GIB,
                        .old_name = strdup("old"),
                        .spec = { .pool = "fast", .tenant = "team", .name = "db", .size = GIB, .fs = FILESYSTEM_XFS,
                                  .key_source = KEY_SOURCE_HOST, .uid = 1000, .gid = 4294967294, .mode = 01777 },
                },
                .growth = { .data = GIB, .metadata = MIB },
                .mount = { .options = MOUNT_READ_ONLY | MOUNT_NOEXEC, .said = MOUNT_READ_ONLY | MOUNT_NOEXEC,
                           .idmap = { { 1000, 1001, 1 }, { 100000, 200000, 65535 } }, .n_idmap = 2,
                           .context = "system_u:object_r:container_file_t:s0:c1,c2",
                           .has_giver = true, .giver_uid = 1000, .giver_gid = 1001 },
                .stopped = true,
                .detached = true,
                .lazy = true,
                .if_unused = true,
                .fix = true,
                .read_only = true,
                .as_stored = true,
                .needs_old_key = true,
                .repeated = true,
                .owner = { .uid = true, .gid = true, .mode = true },
                .source = { .uuid = image, .thin_id = 18 },
                .total_only = true,
                .mapped = true,
                .join = true,
                .key = { .host = true, .has_slot = true, .slot = 31, .id = KEY_ID },
        };

        job.calendar.base_usec = 17;
        assert_int_equal(strv_append(&job.calendar.expressions, "Mon..Fri *-*-* 08:00"), 0);
        assert_int_equal(strv_append(&job.pool_spec.devices, "/dev/vda"), 0);
        assert_int_equal(strv_append(&job.pool_spec.devices, "/dev/vdb"), 0);
        assert_int_equal(strv_append(&job.volume.spec.labels, "a=1"), 0);
        assert_int_equal(strv_append(&job.volume.spec.mkfs_options, "-m reflink=0"), 0);
        assert_int_equal(volume_spec_copy(&job.volume.spec, &job.source.spec), 0);
        job.thin_ids = calloc(2, sizeof(*job.thin_ids));
        job.thin_ids[1] = THIN_ID_MAX;
        job.n_thin_ids = 2;
        job.images = calloc(2, sizeof(*job.images));
        job.n_images = 2;
        for (uint32_t i = 0; i < 2; i++) {
                job.images[i] = (JobImage) { .origin = { .uuid = volume, .thin_id = 17 + i },
                                             .uuid = image,
                                             .note = i == 1,
                                             .unless = i == 1 ? volume : SD_ID128_NULL,
                                             .thin_id = THIN_ID_MAX - i };
                job.images[i].origin.uuid.bytes[0] += (uint8_t) i;
                assert_int_equal(volume_spec_copy(&job.volume.spec, &job.images[i].origin.spec), 0);
        }
        return job;
}

static bool is_host_key_verb(JobVerb verb) {
        return verb == JOB_HOST_KEY_LOOK || verb == JOB_HOST_KEY_ROTATE || verb == JOB_HOST_KEY_RETIRE ||
               verb == JOB_HOST_KEY_DERIVE;
}

static bool is_volume_verb(JobVerb verb) {
        return verb >= JOB_VOLUME_CREATE && verb != JOB_VOLUME_SNAPSHOT && verb != JOB_POOL_EXCLUSIVE &&
               verb != JOB_POOL_UNION && !is_host_key_verb(verb);
}

static void assert_images(const Job *job, const Job *back) {
        char difference[200];

        assert_int_equal(back->n_images, job->n_images);
        for (size_t i = 0; i < job->n_images; i++) {
                const JobImage *have = &back->images[i], *want = &job->images[i];

                assert_true(sd_id128_equal(have->uuid, want->uuid));
                assert_int_equal(have->thin_id, want->thin_id);
                assert_int_equal(have->note, want->note);
                assert_true(sd_id128_equal(have->unless, want->unless));
                assert_true(sd_id128_equal(have->origin.uuid, want->origin.uuid));
                assert_int_equal(have->origin.thin_id, want->origin.thin_id);
                assert_string_equal(have->origin.spec.name, want->origin.spec.name);
                assert_null(
                        volume_spec_difference(&want->origin.spec, &have->origin.spec, difference, sizeof(difference)));
        }
}

static void test_verbs(void **state) {
        for (JobVerb verb = 0; verb < _JOB_VERB_MAX; verb++)
                assert_int_equal(job_verb_from_string(job_verb_to_string(verb)), verb);
        assert_string_equal(job_verb_to_string(JOB_POOL_SCAN), "pool_scan");
        assert_string_equal(job_verb_to_string(JOB_VOLUME_UMOUNT), "volume_umount");
        assert_int_equal(job_verb_from_string("volume_format"), -EINVAL);
        assert_int_equal(job_verb_from_string(NULL), -EINVAL);
        assert_null(job_verb_to_string(_JOB_VERB_MAX));
}

static void test_what_a_verb_needs_arrives_and_nothing_else(void **state) {
        for (JobVerb verb = 0; verb < _JOB_VERB_MAX; verb++) {
                _cleanup_(job_done) Job job = job_make(verb), back = {};
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                char difference[200];
                Error err = {};

                assert_true(job_to_json(&job, &v) >= 0);
                int r = job_from_json(v, &back, &err);
                assert_string_equal(err.text, "");
                assert_int_equal(r, 0);
                assert_int_equal(back.verb, verb);

                bool with_pool = verb != JOB_POOL_SCAN && verb != JOB_POOL_IMPORT && verb != JOB_HOST_AUDIT &&
                                 verb != JOB_HOST_CALENDAR && !is_host_key_verb(verb);
                assert_true(sd_id128_equal(back.pool, with_pool ? pool : SD_ID128_NULL));
                assert_string_equal(back.pool_spec.name, verb == JOB_POOL_CREATE ? "fast" : "");
                assert_int_equal(back.pool_spec.chunk_size, verb == JOB_POOL_CREATE ? 128 << 10 : 0);
                assert_int_equal(back.pool_spec.metadata_size, verb == JOB_POOL_CREATE ? 64 * MIB : 0);
                bool with_devices = verb == JOB_POOL_CREATE || verb == JOB_POOL_IMPORT;
                assert_true(strv_equal(back.pool_spec.devices, with_devices ? job.pool_spec.devices : NULL));
                assert_int_equal(back.growth.data, verb == JOB_POOL_EXTEND ? GIB : 0);
                assert_int_equal(back.growth.metadata, verb == JOB_POOL_EXTEND ? MIB : 0);
                assert_int_equal(back.stopped, verb == JOB_VOLUME_MOUNT || verb == JOB_VOLUME_LIMIT);
                assert_memory_equal(&back.mount, verb == JOB_VOLUME_MOUNT ? &job.mount : &(MountSpec) {},
                                    sizeof(MountSpec));
                assert_int_equal(back.detached, verb == JOB_VOLUME_MOUNT);
                assert_int_equal(back.lazy, verb == JOB_VOLUME_UMOUNT || verb == JOB_VOLUME_CLAIM);
                assert_int_equal(back.if_unused, verb == JOB_VOLUME_UMOUNT || verb == JOB_VOLUME_CLAIM);
                assert_int_equal(back.fix, verb == JOB_HOST_AUDIT);
                assert_int_equal(back.n_thin_ids, verb == JOB_POOL_UNION ? 2 : 0);
                assert_true(verb != JOB_POOL_UNION || back.thin_ids[1] == THIN_ID_MAX);
                assert_int_equal(back.needs_old_key, verb == JOB_VOLUME_CREATE || verb == JOB_VOLUME_KEY_ADD ||
                                                             verb == JOB_HOST_KEY_DERIVE);
                assert_int_equal(back.repeated, verb == JOB_VOLUME_ROLLBACK || verb == JOB_VOLUME_SHRINK ||
                                                        verb == JOB_VOLUME_KEY_REMOVE || verb == JOB_VOLUME_KEY_CHANGE);
                bool with_key = verb == JOB_VOLUME_KEY_ADD || verb == JOB_VOLUME_KEY_REMOVE ||
                                verb == JOB_VOLUME_KEY_WRAP || verb == JOB_HOST_KEY_ROTATE ||
                                verb == JOB_HOST_KEY_DERIVE || verb == JOB_HOST_KEY_RETIRE;
                assert_int_equal(back.key.host && back.key.has_slot, with_key);
                assert_int_equal(back.key.slot, with_key ? 31 : 0);
                assert_string_equal(back.key.id, with_key ? KEY_ID : "");
                assert_int_equal(back.calendar.base_usec, verb == JOB_HOST_CALENDAR ? 17 : 0);
                assert_true(strv_equal(back.calendar.expressions,
                                       verb == JOB_HOST_CALENDAR ? job.calendar.expressions : NULL));
                bool with_source = verb == JOB_VOLUME_DIFF || verb == JOB_VOLUME_RECEIVE || verb == JOB_VOLUME_CREATE ||
                                   verb == JOB_VOLUME_CLONE || verb == JOB_VOLUME_ROLLBACK;
                assert_int_equal(back.source.thin_id, with_source ? 18 : 0);
                assert_true(sd_id128_equal(back.source.uuid, with_source ? image : SD_ID128_NULL));
                assert_int_equal(back.total_only && back.mapped && back.join, verb == JOB_VOLUME_DIFF);
                assert_int_equal(back.read_only && back.as_stored, verb == JOB_VOLUME_DEVICE);
                assert_int_equal(back.owner.uid && back.owner.gid && back.owner.mode, verb == JOB_VOLUME_OWN);
                if (verb == JOB_VOLUME_SNAPSHOT)
                        assert_images(&job, &back);
                else
                        assert_int_equal(back.n_images, 0);
                if (!is_volume_verb(verb)) {
                        assert_true(sd_id128_is_null(back.volume.uuid));
                        continue;
                }
                assert_true(sd_id128_equal(back.volume.uuid, volume));
                assert_int_equal(back.volume.thin_id, 17);
                assert_true(back.volume.has_spare);
                assert_int_equal(back.volume.spare_thin_id, 18);
                assert_int_equal(back.volume.pending_size, 2 * GIB);
                assert_string_equal(back.volume.old_name, "old");
                assert_string_equal(back.volume.spec.pool, "fast");
                assert_string_equal(back.volume.spec.tenant, "team");
                assert_string_equal(back.volume.spec.name, "db");
                assert_null(
                        volume_spec_difference(&job.volume.spec, &back.volume.spec, difference, sizeof(difference)));
        }
}

static void test_a_spare_thin_device(void **state) {
        static const struct {
                JobVerb verb;
                bool has_spare;
                uint32_t id;
                const char *field;
        } cases[] = {
                { JOB_VOLUME_REMOVE, false, 0, "" },
                { JOB_VOLUME_DROP_SPARE, true, THIN_ID_MAX, "" },
                { JOB_VOLUME_DROP_SPARE, true, THIN_ID_MAX + 1, "spareThinId" },
                { JOB_VOLUME_DROP_SPARE, true, 17, "spareThinId" }, /* the first one's */
                { JOB_VOLUME_DROP_SPARE, false, 0, "spareThinId" },
                { JOB_VOLUME_ROLLBACK, false, 0, "spareThinId" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(job_done) Job job = job_make(cases[i].verb), back = {};
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                Error err = {};

                job.volume.has_spare = cases[i].has_spare;
                job.volume.spare_thin_id = cases[i].id;
                assert_true(job_to_json(&job, &v) >= 0);
                assert_int_equal(job_from_json(v, &back, &err), isempty(cases[i].field) ? 0 : -EINVAL);
                assert_string_equal(err.field, cases[i].field);
        }
}

static void test_pools_of_a_group_or_a_file(void **state) {
        for (int i = 0; i < 2; i++) {
                _cleanup_(job_done) Job job = job_make(JOB_POOL_CREATE), back = {};
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

                job.pool_spec.devices = strv_free(job.pool_spec.devices);
                *(i ? &job.pool_spec.vg : &job.pool_spec.file) = strdup(i ? "vg0" : "/var/lib/p");
                job.pool_spec.size = GIB;
                assert_true(job_to_json(&job, &v) >= 0);
                assert_int_equal(job_from_json(v, &back, NULL), 0);
                assert_true(streq_ptr(back.pool_spec.vg, job.pool_spec.vg));
                assert_true(streq_ptr(back.pool_spec.file, job.pool_spec.file));
                assert_true(back.pool_spec.size == GIB);
        }
}

static void test_no_list_stays_no_list(void **state) {
        _cleanup_(job_done) Job job = { .verb = JOB_POOL_IMPORT }, back = {};
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        assert_true(job_to_json(&job, &v) >= 0);
        assert_int_equal(job_from_json(v, &back, NULL), 0);
        assert_null(back.pool_spec.devices);
}

static void test_a_plain_volume(void **state) {
        _cleanup_(job_done) Job job = { .verb = JOB_VOLUME_RELEASE, .pool = pool }, back = {};
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        job.volume = (Volume) { .uuid = volume, .thin_id = THIN_ID_MAX, .spec = VOLUME_SPEC_DEFAULT };
        strcpy(job.volume.spec.name, "db");
        job.volume.spec.size = 16 * MIB;
        assert_true(job_to_json(&job, &v) >= 0);
        assert_int_equal(job_from_json(v, &back, NULL), 0);
        assert_int_equal(back.volume.spec.fs, FILESYSTEM_EXT4);
        assert_int_equal(back.volume.spec.key_source, KEY_SOURCE_NONE);
        assert_int_equal(back.volume.thin_id, THIN_ID_MAX);
        assert_string_equal(back.volume.spec.pool, "");
        assert_null(back.volume.spec.labels);
        assert_null(back.volume.spec.mkfs_options);
        assert_int_equal(back.volume.spec.role, ROLE_VOLUME);
        assert_true(sd_id128_is_null(back.volume.spec.origin));
}

static void test_a_snapshot(void **state) {
        _cleanup_(job_done) Job job = job_make(JOB_VOLUME_MOUNT), back = {};
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        strcpy(job.volume.spec.name, "db@monday");
        job.volume.spec.role = ROLE_SNAPSHOT;
        job.volume.spec.origin = image;
        assert_true(job_to_json(&job, &v) >= 0);
        assert_int_equal(job_from_json(v, &back, NULL), 0);
        assert_int_equal(back.volume.spec.role, ROLE_SNAPSHOT);
        assert_true(sd_id128_equal(back.volume.spec.origin, image));
        assert_string_equal(back.volume.spec.name, "db@monday");
}

/* Puts a number into each member in turn, or a boolean where a number belongs. */
static void assert_types_are_checked(sd_json_variant *whole, const char *part) {
        sd_json_variant *object = part ? sd_json_variant_by_key(whole, part) : whole;

        for (size_t i = 0; i < sd_json_variant_elements(object); i += 2) {
                const char *member = sd_json_variant_string(sd_json_variant_by_index(object, i));
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *copy = sd_json_variant_ref(whole);
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *inner = sd_json_variant_ref(object);
                Job job;

                if (sd_json_variant_is_number(sd_json_variant_by_index(object, i + 1)))
                        assert_true(sd_json_variant_set_field_boolean(&inner, member, true) >= 0);
                else
                        assert_true(sd_json_variant_set_field_integer(&inner, member, 5) >= 0);
                assert_true(!part || sd_json_variant_set_field(&copy, part, inner) >= 0);
                assert_row(job_from_json(part ? copy : inner, &job, NULL) == -EINVAL, member);
        }
}

static void test_every_member_has_its_type(void **state) {
        _cleanup_(job_done) Job of_volume = job_make(JOB_VOLUME_MOUNT), of_pool = job_make(JOB_POOL_CREATE);
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *p = NULL;

        assert_true(job_to_json(&of_volume, &v) >= 0);
        assert_types_are_checked(v, NULL);
        assert_types_are_checked(v, "volume");
        assert_true(job_to_json(&of_pool, &p) >= 0);
        assert_types_are_checked(p, NULL);
        assert_types_are_checked(p, "poolSpec");
}

/* A spoiled copy of a good job's JSON: path "a.b", and the JSON to put there (NULL: take it away). */
static sd_json_variant *spoil(sd_json_variant *v, const char *path, const char *json) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *value = NULL, *inner = NULL;
        sd_json_variant *copy = sd_json_variant_ref(v);
        const char *dot = strchr(path, '.');

        if (dot) {
                _cleanup_free_ char *head = strndup(path, (size_t) (dot - path));

                inner = spoil(sd_json_variant_by_key(v, head), dot + 1, json);
                assert_true(sd_json_variant_set_field(&copy, head, inner) >= 0);
        } else if (json) {
                assert_true(sd_json_parse(json, 0, &value, NULL, NULL) >= 0);
                assert_true(sd_json_variant_set_field(&copy, path, value) >= 0);
        } else {
                const char *const drop[] = { path, NULL };

                assert_true(sd_json_variant_filter(&copy, (char **) drop) >= 0);
        }
        return copy;
}

static void test_two_that_are_compared(void **state) {
        static const struct {
                const char *path, *json, *field;
        } rows[] = {
                { "source", NULL, "source" },         { "source.thinId", "16777216", "thinId" },
                { "source.name", "\"/\"", "volume" }, { "source.uuid", NULL, "uuid" },
                { "totalOnly", "1", "totalOnly" },    { "images", "[]", "images" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *good = NULL, *bad = NULL;
                _cleanup_(job_done) Job job = job_make(JOB_VOLUME_DIFF), back = {};
                Error err = {};

                assert_true(job_to_json(&job, &good) >= 0);
                bad = spoil(good, rows[i].path, rows[i].json);
                assert_row(job_from_json(bad, &back, &err) == -EINVAL, rows[i].path);
                assert_string_equal(err.field, rows[i].field);
        }
}

static const struct {
        JobVerb verb;
        const char *path, *json, *field;
} rules[] = {
        { JOB_POOL_OPEN, "verb", NULL, "verb" },
        { JOB_POOL_OPEN, "verb", "\"format_c\"", "verb" },
        { JOB_POOL_OPEN, "verb", "5", "verb" },
        { JOB_POOL_OPEN, "verb", "\"pool_scan\"", "pool" },
        { JOB_POOL_OPEN, "pool", NULL, "pool" },
        { JOB_POOL_OPEN, "pool", "\"00000000-0000-0000-0000-000000000000\"", "pool" },
        { JOB_POOL_OPEN, "pool", "\"x\"", "pool" },
        { JOB_POOL_OPEN, "pool", "null", "pool" },
        { JOB_POOL_OPEN, "path", "\"/etc/shadow\"", "path" },
        { JOB_POOL_OPEN, "poolSpec", "{}", "poolSpec" },
        { JOB_POOL_OPEN, "volume", "{}", "volume" },
        { JOB_POOL_OPEN, "mount", "{\"options\":[]}", "mount" },
        { JOB_VOLUME_UMOUNT, "detached", "true", "detached" },
        { JOB_VOLUME_MOUNT, "mount", NULL, "mount" },
        { JOB_VOLUME_MOUNT, "mount.options", NULL, "mount" },
        { JOB_VOLUME_MOUNT, "mount.options", "[5]", "options" },
        { JOB_VOLUME_MOUNT, "mount.options", "[\"ro\",\"rw\"]", "options" },
        { JOB_VOLUME_MOUNT, "mount.options", "[\"suid\"]", "mount" },
        { JOB_VOLUME_MOUNT, "mount.options", "[\"dev\"]", "mount" },
        { JOB_VOLUME_MOUNT, "mount.idmap", "[{\"uid\":1,\"gid\":1}]", "idmap" },
        { JOB_VOLUME_MOUNT, "mount.idmap", "[{\"uid\":0,\"gid\":1,\"count\":1}]", "idmap" },
        { JOB_VOLUME_MOUNT, "mount.userNamespace", "true", "idmap" },
        { JOB_VOLUME_MOUNT, "mount.context", "\"a:b\"", "context" },
        { JOB_VOLUME_MOUNT, "mount.giverGid", NULL, "mount" },
        { JOB_VOLUME_MOUNT, "mount.giverUid", "4294967296", "mount" },
        { JOB_POOL_SCAN, "pool", "\"" UUID "\"", "pool" },
        { JOB_POOL_CREATE, "poolSpec", NULL, "poolSpec" },
        { JOB_POOL_CREATE, "poolSpec", "[]", "poolSpec" },
        { JOB_POOL_CREATE, "poolSpec.name", NULL, "name" },
        { JOB_POOL_CREATE, "poolSpec.name", "\"../x\"", "name" },
        { JOB_POOL_CREATE, "poolSpec.name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "name" },
        { JOB_POOL_CREATE, "poolSpec.devices", "[]", "devices" },
        { JOB_POOL_CREATE, "poolSpec.devices", "[\"vda\"]", "devices" },
        { JOB_POOL_CREATE, "poolSpec.devices", "[\"/dev/vda\",5]", "devices" },
        { JOB_POOL_CREATE, "poolSpec.volumeGroup", "\"vg0\"", "devices" },
        { JOB_POOL_CREATE, "poolSpec.chunkSizeBytes", "5", "chunkSizeBytes" },
        { JOB_POOL_CREATE, "poolSpec.sizeBytes", "-5", "sizeBytes" },
        { JOB_POOL_CREATE, "poolSpec.force", "true", "force" },
        { JOB_POOL_IMPORT, "poolSpec", NULL, "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.devices", "[\"/dev/../x\"]", "devices" },
        { JOB_POOL_IMPORT, "poolSpec.name", "\"p\"", "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.file", "\"/f\"", "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.sizeBytes", "5", "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.metadataSizeBytes", "5", "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.chunkSizeBytes", "5", "poolSpec" },
        { JOB_POOL_IMPORT, "poolSpec.volumeGroup", "\"vg0\"", "poolSpec" },
        { JOB_POOL_EXTEND, "growth", NULL, "growth" },
        { JOB_POOL_EXTEND, "growth.sizeBytes", "5", "devices" },
        { JOB_POOL_EXTEND, "growth.devices", "[\"vda\"]", "devices" },
        { JOB_POOL_EXTEND, "growth.devices", "[5]", "devices" },
        { JOB_POOL_EXTEND, "growth.file", "\"/f\"", "file" },
        { JOB_POOL_OPEN, "growth", "{}", "growth" },
        { JOB_VOLUME_CREATE, "volume", NULL, "volume" },
        { JOB_VOLUME_CREATE, "volume.uuid", NULL, "uuid" },
        { JOB_VOLUME_CREATE, "volume.uuid", "\"00000000-0000-0000-0000-000000000000\"", "uuid" },
        { JOB_VOLUME_CREATE, "volume.thinId", NULL, "thinId" },
        { JOB_VOLUME_CREATE, "volume.thinId", "16777216", "thinId" },
        { JOB_VOLUME_CREATE, "volume.thinId", "4294967296", "thinId" },
        { JOB_VOLUME_CREATE, "volume.thinId", "-1", "thinId" },
        { JOB_VOLUME_CREATE, "volume.name", "\"../../etc\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.name", "\"\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.tenant", "\"..\"", "volume" },
        /* not cut to names that are valid */
        { JOB_VOLUME_CREATE, "volume.tenant", "\"" LONG "\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.pool", "\"" LONG "\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.name", "\"" LONG LONG LONG LONG "\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.tenant", NULL, "tenant" },
        { JOB_VOLUME_CREATE, "volume.pool", "\"Fast\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.sizeBytes", "0", "sizeBytes" },
        { JOB_VOLUME_CREATE, "volume.sizeBytes", "1048576", "sizeBytes" },
        { JOB_VOLUME_CREATE, "volume.sizeBytes", "1.5", "sizeBytes" },
        { JOB_VOLUME_CREATE, "volume.filesystem", "\"btrfs\"", "filesystem" },
        { JOB_VOLUME_CREATE, "volume.keySource", "\"\"", "keySource" },
        { JOB_VOLUME_CREATE, "volume.keySource", NULL, "keySource" },
        { JOB_VOLUME_CREATE, "volume.uid", "4294967295", "uid" },
        { JOB_VOLUME_CREATE, "volume.gid", "4294967295", "gid" },
        { JOB_VOLUME_CREATE, "volume.mode", "4096", "mode" },
        { JOB_VOLUME_CREATE, "volume.mkfsOptions", "[\"-p /etc/passwd\"]", "mkfsOptions" },
        { JOB_VOLUME_CREATE, "volume.mkfsOptions", "\"-K\"", "mkfsOptions" },
        { JOB_VOLUME_CREATE, "volume.labels", "[\"a=1\",\"a=2\"]", "labels" },
        { JOB_VOLUME_CREATE, "volume.labels", "{}", "labels" },
        { JOB_VOLUME_CREATE, "volume.passphrase", "\"secret\"", "passphrase" },
        { JOB_VOLUME_CREATE, "volume.role", NULL, "role" },
        { JOB_VOLUME_CREATE, "volume.role", "\"backup\"", "role" },
        { JOB_VOLUME_CREATE, "volume.role", "\"snapshot\"", "volume" }, /* whose name has no '@' */
        { JOB_VOLUME_CREATE, "volume.name", "\"db@monday\"", "volume" },
        { JOB_VOLUME_CREATE, "volume.origin", "\"x\"", "origin" },
        { JOB_VOLUME_CREATE, "images", "[]", "images" },
        { JOB_VOLUME_SNAPSHOT, "volume", "{}", "volume" },
        { JOB_VOLUME_SNAPSHOT, "images", NULL, "images" },
        { JOB_VOLUME_SNAPSHOT, "images", "{}", "images" },
        { JOB_VOLUME_SNAPSHOT, "images", "[]", "images" },
        { JOB_VOLUME_SNAPSHOT, "images", "[5]", "image" },
        { JOB_VOLUME_SNAPSHOT, "images", "[{}]", "origin" },
};

static void test_every_rule_is_checked_again(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *good = NULL, *bad = NULL;
                _cleanup_(job_done) Job job = job_make(rules[i].verb), back = { .verb = _JOB_VERB_MAX };
                Error err = {};

                assert_true(job_to_json(&job, &good) >= 0);
                bad = spoil(good, rules[i].path, rules[i].json);
                assert_row(job_from_json(bad, &back, &err) == -EINVAL, rules[i].path);
                assert_int_equal(err.kind, ERROR_BAD_REQUEST);
                assert_string_equal(err.field, rules[i].field);
                assert_int_equal(back.verb, _JOB_VERB_MAX);
        }
}

/* The second image, so that the first is there to be freed. */
static void test_every_rule_of_an_image_is_checked(void **state) {
        static const struct {
                const char *path, *json, *field;
        } rows[] = {
                { "uuid", NULL, "uuid" },
                { "uuid", "\"00000000-0000-0000-0000-000000000000\"", "images" },
                { "thinId", NULL, "thinId" },
                { "thinId", "16777216", "images" },
                { "thinId", "-1", "thinId" },
                { "path", "\"/etc/shadow\"", "path" },
                { "origin", NULL, "origin" },
                { "origin", "5", "origin" },
                { "origin.uuid", "\"00000000-0000-0000-0000-000000000000\"", "uuid" },
                { "origin.thinId", "16777216", "thinId" },
                { "origin.thinId", "17", "images" }, /* as the first */
                { "origin.thinId", "16777215", "images" },
                { "thinId", "16777215", "images" },
                { "thinId", "18", "images" },
                { "origin.name", "\"../../etc\"", "volume" },
                { "origin.sizeBytes", "0", "sizeBytes" },
        };
        _cleanup_(job_done) Job job = job_make(JOB_VOLUME_SNAPSHOT);
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *good = NULL;

        assert_true(job_to_json(&job, &good) >= 0);
        sd_json_variant *images = sd_json_variant_by_key(good, "images");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *image_bad = NULL, *list = NULL;
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *bad = sd_json_variant_ref(good);
                Job back = { .verb = _JOB_VERB_MAX };
                Error err = {};

                image_bad = spoil(sd_json_variant_by_index(images, 1), rows[i].path, rows[i].json);
                assert_true(sd_json_variant_append_array(&list, sd_json_variant_by_index(images, 0)) >= 0);
                assert_true(sd_json_variant_append_array(&list, image_bad) >= 0);
                assert_true(sd_json_variant_set_field(&bad, "images", list) >= 0);
                assert_row(job_from_json(bad, &back, &err) == -EINVAL, rows[i].path);
                assert_string_equal(err.field, rows[i].field);
                assert_int_equal(back.verb, _JOB_VERB_MAX);
        }

        _cleanup_(sd_json_variant_unrefp) sd_json_variant *many = NULL, *bad = sd_json_variant_ref(good);
        Error err = {};
        Job back;
        for (size_t i = 0; i < JOB_IMAGES_MAX + 1; i++)
                assert_true(sd_json_variant_append_array(&many, sd_json_variant_by_index(images, 0)) >= 0);
        assert_true(sd_json_variant_set_field(&bad, "images", many) >= 0);
        assert_int_equal(job_from_json(bad, &back, &err), -EINVAL);
        assert_string_equal(err.field, "images");
}

static void test_no_object_is_refused(void **state) {
        static const char *const rows[] = { "null", "[]", "5", "\"pool_scan\"", "{}" };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                Error err = {};
                Job job;

                assert_true(sd_json_parse(rows[i], 0, &v, NULL, NULL) >= 0);
                assert_row(job_from_json(v, &job, &err) == -EINVAL, rows[i]);
                assert_non_null(strstr(err.text, "malformed job"));
        }
}

static void test_bad_verb_has_no_json(void **state) {
        sd_json_variant *v = NULL;

        assert_int_equal(job_to_json(&(Job) { .verb = _JOB_VERB_MAX }, &v), -EINVAL);
        assert_null(v);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verbs),
                cmocka_unit_test(test_what_a_verb_needs_arrives_and_nothing_else),
                cmocka_unit_test(test_a_spare_thin_device),
                cmocka_unit_test(test_pools_of_a_group_or_a_file),
                cmocka_unit_test(test_no_list_stays_no_list),
                cmocka_unit_test(test_a_plain_volume),
                cmocka_unit_test(test_a_snapshot),
                cmocka_unit_test(test_every_member_has_its_type),
                cmocka_unit_test(test_every_rule_is_checked_again),
                cmocka_unit_test(test_two_that_are_compared),
                cmocka_unit_test(test_every_rule_of_an_image_is_checked),
                cmocka_unit_test(test_no_object_is_refused),
                cmocka_unit_test(test_bad_verb_has_no_json),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
