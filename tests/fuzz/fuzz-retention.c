/* What is kept of backups, as people type it. */

#include "../../repo/retention.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint64_t times[] = { 0, 1, UINT64_C(1795708800000000), UINT64_C(1795708800000000), UINT64_MAX };
        _cleanup_free_ char *text = input_string(data, size);
        bool keep[ELEMENTSOF(times)] = {};
        Retention r = {};
        Error err = {};
        unsigned all = 0;

        if (retention_parse(text, "--keep", &r, &err) < 0) {
                assert_sentence(&err);
                assert(err.kind == ERROR_BAD_REQUEST);
                return 0;
        }
        for (unsigned i = 0; i < _RETAIN_MAX; i++) {
                assert(r.keep[i] <= 10000);
                all += r.keep[i];
        }
        assert(all > 0); /* nothing is no rule */
        retention_apply(&r, times, ELEMENTSOF(times), keep);
        assert(keep[ELEMENTSOF(times) - 1]);
        return 0;
}
