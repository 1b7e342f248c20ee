/* A file that says where backups go. */

#include "fuzz.h"

#include <quarry/backup-target.h>
#include <quarry/text.h>
#include <quarry/volume.h>

/* What is opened is a file that is named whole, or lies in a folder of credentials. */
static bool is_secret(const char *secret) {
        const char *name = startswith(secret, BACKUP_CREDENTIAL);

        return name ? *name && *name != '.' && !strchr(name, '/') : path_is_plain(secret);
}

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
        assert((!t.credentials || is_secret(t.credentials)) && (!t.key_file || is_secret(t.key_file)));
        for (char **id = t.host_keys; id && *id; id++)
                assert(host_key_id_is_valid(*id));
        for (size_t i = 0; i < t.n_plans; i++) {
                Reference reference;

                assert(reference_parse(t.plans[i].volume, "volume", &reference, &err) >= 0);
                assert(t.plans[i].schedule.n <= SCHEDULE_RULES_MAX);
        }
        backup_target_done(&t);
        return 0;
}
