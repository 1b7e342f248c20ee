/* What was proven of a backup. */

#include "../../repo/backup.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        BackupProof p = {};
        Error err = {};

        if (backup_proof_from_json(text, &p, &err) < 0) {
                assert_sentence(&err);
                assert(!p.text);
        } else
                assert(backup_id_is_valid(p.backup) && text_is_printable(p.text));
        backup_proof_done(&p);
        return 0;
}
