/* What container engines send: the body of a request, and the options of a new volume in it. */

#include "fuzz.h"

#include <quarry/docker.h>

static void check_options(const DockerRequest *request) {
        _cleanup_(docker_options_done) DockerOptions options = DOCKER_OPTIONS_DEFAULT;
        Error err = {};

        if (docker_options_parse(request->options, &options, &err) < 0) {
                assert_sentence(&err);
                assert(!options.from && !options.schedule && !options.has_size);
                return;
        }
        assert(!options.from || (full_name_is_valid(options.from) && !options.has_size && !options.spec.source));
        assert(options.spec.key_source != KEY_SOURCE_PASSPHRASE && options.spec.fs != FILESYSTEM_NONE);
        assert(options.spec.mode <= 07777 && strv_length(options.spec.labels) <= LABELS_MAX);
        buffer_format(options.spec.name, sizeof(options.spec.name), "%s", request->name);
        if (volume_spec_normalize(&options.spec, &err) < 0)
                assert_sentence(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(docker_request_done) DockerRequest request = {};
        _cleanup_free_ char *text = input_string(data, size);
        Error err = {};

        if (docker_request_parse(text, &request, &err) < 0) {
                assert_sentence(&err);
                assert(!request.json && !request.name && !request.id && !request.options);
                return 0;
        }
        assert(!request.options || sd_json_variant_is_object(request.options));
        if (docker_request_check_id(&request, &err) < 0)
                assert_sentence(&err);
        else
                assert(*request.id != '.' && !strchr(request.id, '/') && strlen(request.id) <= MOUNT_ID_MAX);
        if (docker_request_check_name(&request, &err) < 0)
                assert_sentence(&err);
        else {
                assert(volume_name_is_valid(request.name));
                check_options(&request);
        }
        return 0;
}
