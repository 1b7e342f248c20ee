/* quarry.conf. */

#include "fuzz.h"

#include <quarry/config.h>
#include <quarry/volume.h>

static bool equal(const Config *a, const Config *b) {
        return streq(a->default_pool, b->default_pool) && a->overprovision_max == b->overprovision_max &&
               a->workers_max == b->workers_max && strv_equal(a->key_command, b->key_command) &&
               a->argon2_memory == b->argon2_memory && a->argon2_memory_total == b->argon2_memory_total &&
               a->argon2_iterations == b->argon2_iterations;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        _cleanup_(config_done) Config config = {}, twice = {};
        Error err = {};

        assert(config_set_defaults(&config) == 0 && config_set_defaults(&twice) == 0);
        int r = config_parse(&config, "name", text, &err);
        if (r < 0) {
                assert_sentence(&err);
                assert(startswith(err.text, "name:"));
        }

        /* Also what was applied before an error is within the rules. */
        assert(pool_name_is_valid(config.default_pool));
        assert(config.overprovision_max > 0 && config.workers_max <= 256);
        assert(!config.key_command || path_is_plain(config.key_command[0]));
        assert(config.argon2_memory >= 32 << 10 && config.argon2_memory_total >= 32 << 10);
        assert(config.argon2_iterations == 0 || config.argon2_iterations >= 4);

        assert(config_parse(&twice, "name", text, NULL) == r);
        assert(config_parse(&twice, "name", text, NULL) == r);
        assert(equal(&config, &twice));
        return 0;
}
