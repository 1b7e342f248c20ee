/* A file that says where backups go. */

#include "fuzz.h"

#include <quarry/backup-target.h>
#include <quarry/volume.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        BackupTarget t = {};
        Error err = {};

        if (backup_target_parse("home", text, &t, &err) < 0) {
                assert_sentence(&err);
                assert(!t.url && !t.plans && t.n_plans == 0);
                return 0;
        }
        assert(t.url && streq(t.name, "home"));
        assert(!*t.host_key || host_key_id_is_valid(t.host_key));
        assert((!t.credentials || path_is_plain(t.credentials)) && (!t.key_file || path_is_plain(t.key_file)));
        for (size_t i = 0; i < t.n_plans; i++) {
                Reference reference;

                assert(reference_parse(t.plans[i].volume, "volume", &reference, &err) >= 0);
                assert(t.plans[i].schedule.n <= SCHEDULE_RULES_MAX);
        }
        backup_target_done(&t);
        return 0;
}
