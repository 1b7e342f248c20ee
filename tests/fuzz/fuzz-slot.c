/* A key of a repository, as whoever has the place may have written it. */

#include "../../repo/slot.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size), *again = NULL, *twice = NULL;
        Slot slot = {}, back = {};
        Error err = {};

        if (slot_parse(text, &slot, &err) < 0) {
                assert_sentence(&err);
                return 0;
        }
        assert(slot.kind == SLOT_HOST
                       ? host_key_id_is_valid(slot.host_key)
                       : slot.memory <= UINT64_C(4) << 30 && slot.iterations >= 1 && slot.iterations <= 64);
        again = slot_format(&slot);
        assert(again && slot_parse(again, &back, &err) >= 0);
        twice = slot_format(&back);
        assert(twice && streq(again, twice));
        return 0;
}
