/* What broker and worker send each other. */

#include "fuzz.h"

#include <quarry/job.h>

static bool same(sd_json_variant *a, sd_json_variant *b) {
        return sd_json_variant_equal(a, b);
}

static void check_job(sd_json_variant *v) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *once = NULL, *twice = NULL;
        _cleanup_(job_done) Job job = {}, again = {};
        Error err = {};

        if (job_from_json(v, &job, &err) < 0) {
                assert_sentence(&err);
                return;
        }
        assert(job_to_json(&job, &once) >= 0);
        assert(job_from_json(once, &again, NULL) >= 0);
        assert(job_to_json(&again, &twice) >= 0);
        assert(same(once, twice));
        assert(job.volume.thin_id <= THIN_ID_MAX && job.volume.spec.size <= VOLUME_SIZE_MAX);
        assert(!*job.volume.spec.name || volume_name_is_valid(job.volume.spec.name) ||
               (job.volume.spec.role == ROLE_SNAPSHOT && full_name_is_valid(job.volume.spec.name)));
        assert(job.n_images <= JOB_IMAGES_MAX);
        for (size_t i = 0; i < job.n_images; i++)
                assert(job.images[i].thin_id <= THIN_ID_MAX && !sd_id128_is_null(job.images[i].uuid));
        for (char **d = job.pool_spec.devices; d && *d; d++)
                assert(path_is_plain(*d));
        for (char **d = job.growth.devices; d && *d; d++)
                assert(path_is_plain(*d));
}

static void check_result(sd_json_variant *v) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *once = NULL, *twice = NULL;
        _cleanup_(job_result_done) JobResult result = {}, again = {};

        int r = job_result_from_json(v, &result);
        assert(r >= 0 || r == -EINVAL);
        if (r < 0)
                return;
        assert(job_result_to_json(&result, &once) >= 0);
        assert(job_result_from_json(once, &again) >= 0);
        assert(job_result_to_json(&again, &twice) >= 0);
        assert(same(once, twice));
}

static void check_error(sd_json_variant *v) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *json = NULL;
        Error err = {}, again = {};

        error_from_json(&err, "io.quarry.Worker.NoSpace", v);
        assert(err.kind == ERROR_NO_SPACE && error_code(&err) < 0);
        assert_sentence(&err);
        assert(error_to_json(&err, &json) >= 0);
        error_from_json(&again, "NoSpace", json);
        assert(memcmp(&err, &again, sizeof(err)) == 0);

        error_from_json(&err, sd_json_variant_is_string(v) ? sd_json_variant_string(v) : NULL, v);
        assert_sentence(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *text = input_string(data, size);

        if (sd_json_parse(text, 0, &v, NULL, NULL) < 0)
                return 0;
        check_job(v);
        check_result(v);
        check_error(v);
        return 0;
}
