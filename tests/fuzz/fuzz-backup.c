/* The description of a backup, as somebody who has the repository's key may have written it. */

#include "../../repo/backup.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size), *again = NULL, *twice = NULL;
        Backup b = {}, back = {};
        Error err = {};

        if (backup_from_json(text, &b, &err) < 0) {
                assert_sentence(&err);
                assert(!b.segments && !b.rule && !b.spec.labels);
                return 0;
        }
        assert(backup_id_is_valid(b.id) && (!*b.parent || backup_id_is_valid(b.parent)));
        assert(volume_name_is_valid(b.spec.name) && tenant_name_is_valid(b.spec.tenant));
        assert(pool_name_is_valid(b.spec.pool) && text_is_printable(b.host));
        assert(!b.rule || text_is_printable(b.rule));
        for (char **label = b.spec.labels; label && *label; label++)
                assert(text_is_printable(*label));
        assert(b.n_segments > 0 && b.n_segments == backup_count_segments(b.device_size));
        assert(b.device_size == volume_spec_device_size(&b.spec));
        assert(backup_to_json(&b, &again) >= 0);
        assert(backup_from_json(again, &back, &err) >= 0);
        assert(backup_to_json(&back, &twice) >= 0 && streq(again, twice));
        backup_done(&b);
        backup_done(&back);
        return 0;
}
