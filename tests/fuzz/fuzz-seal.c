/* An object of a repository, as whoever has the place may have changed it: in the first place one that was not sealed
 * at all; then one that was, of the input, and is changed where its first bytes say. */

#include "../../repo/seal.h"
#include "fuzz.h"

static const uint8_t key[SEAL_KEY_SIZE] = "a key of thirty-two bytes......";

static void opens_not(const uint8_t *sealed, size_t size) {
        size_t n = 0;
        char buf[4096];
        Error err = {};

        assert(seal_open(key, "data/x", sealed, size, buf, sizeof(buf), &n, &err) == -EBADMSG && n == 0);
        assert_sentence(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *sealed = malloc(seal_bound(size));
        size_t n, is = 0;
        char buf[8192];
        Error err = {};

        opens_not(data, size);
        if (size < 3 || size > sizeof(buf))
                return 0;
        assert(sealed && seal(key, "data/x", data, size, sealed, &n, &err) >= 0);
        assert(seal_open(key, "data/x", sealed, n, buf, sizeof(buf), &is, &err) >= 0);
        assert(is == size && memcmp(buf, data, size) == 0);
        opens_not(sealed, n - 1 - data[2] % n);
        sealed[(data[0] | data[1] << 8) % n] ^= data[2] ?: 1;
        opens_not(sealed, n);
        return 0;
}
