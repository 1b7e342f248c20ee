#include "../../../repo/seal.h"

#include <quarry/text.h>

#include "../unit.h"

#include <sodium.h>

static const uint8_t key[SEAL_KEY_SIZE] = "a key of thirty-two bytes......";

static uint8_t *sealed_new(const void *data, size_t size, size_t *ret_size) {
        uint8_t *sealed = malloc(seal_bound(size));
        Error err = {};

        assert_non_null(sealed);
        assert_int_equal(seal(key, "kind/name", data, size, sealed, ret_size, &err), 0);
        assert_true(*ret_size <= seal_bound(size));
        return sealed;
}

static void comes_back(const void *data, size_t size) {
        _cleanup_free_ uint8_t *sealed = NULL, *back = malloc(size + 1);
        size_t n, is = 77;
        Error err = {};

        sealed = sealed_new(data, size, &n);
        assert_int_equal(seal_open(key, "kind/name", sealed, n, back, size, &is, &err), 0);
        assert_int_equal(is, size);
        assert_memory_equal(back, data, size);
        if (size > 0) { /* room that is too small */
                err = (Error) {};
                assert_int_equal(seal_open(key, "kind/name", sealed, n, back, size - 1, &is, &err), -EBADMSG);
        }
}

static void opens_not(const uint8_t *with, const char *name, const uint8_t *sealed, size_t size, const char *row) {
        uint8_t back[64];
        size_t is = 77;
        Error err = {};

        assert_row(seal_open(with, name, sealed, size, back, sizeof(back), &is, &err) == -EBADMSG, row);
        assert_row(err.kind == ERROR_FAILED && strstr(err.text, name), row);
        assert_row(is == 77, row);
}

static void test_round_trip(void **state) {
        static uint8_t big[300000];

        comes_back("", 0);
        comes_back("x", 1);
        comes_back("the same and the same and the same and the same", 47);
        comes_back(big, sizeof(big));
        randombytes_buf(big, sizeof(big));
        comes_back(big, sizeof(big));
}

static void test_it_hides_what_it_holds_and_never_is_the_same(void **state) {
        _cleanup_free_ uint8_t *one = NULL, *other = NULL;
        size_t n, m;

        one = sealed_new("forty-two", 9, &n);
        other = sealed_new("forty-two", 9, &m);
        assert_null(memmem(one, n, "forty", 5));
        assert_int_equal(n, m);
        assert_memory_not_equal(one, other, n);
}

static void test_whatever_is_changed_is_refused(void **state) {
        _cleanup_free_ uint8_t *sealed = NULL;
        uint8_t longer[200] = {};
        size_t n;

        sealed = sealed_new("a small object", 14, &n);
        for (size_t i = 0; i < 8 * n; i++) {
                sealed[i / 8] ^= (uint8_t) (1 << i % 8);
                opens_not(key, "kind/name", sealed, n, "a bit");
                sealed[i / 8] ^= (uint8_t) (1 << i % 8);
        }
        for (size_t cut = 0; cut < n; cut++)
                opens_not(key, "kind/name", sealed, cut, "cut");
        memcpy(longer, sealed, n);
        opens_not(key, "kind/name", longer, n + 1, "longer");
        opens_not(key, "kind/name", NULL, 0, "nothing");
}

static void test_another_name_or_key_is_refused(void **state) {
        _cleanup_free_ uint8_t *sealed = NULL;
        uint8_t other[SEAL_KEY_SIZE];
        size_t n;

        sealed = sealed_new("a small object", 14, &n);
        opens_not(key, "kind/name2", sealed, n, "name");
        opens_not(key, "kind/nam", sealed, n, "name");
        opens_not(key, "", sealed, n, "name");
        memcpy(other, key, sizeof(key));
        other[0] ^= 1;
        opens_not(other, "kind/name", sealed, n, "key");
}

/* Nobody who has no key can make them. */
static void test_what_was_sealed_otherwise_is_refused(void **state) {
        crypto_secretstream_xchacha20poly1305_state s;
        uint8_t sealed[200];
        unsigned char *body = sealed + crypto_secretstream_xchacha20poly1305_HEADERBYTES;
        unsigned long long n;

        crypto_secretstream_xchacha20poly1305_init_push(&s, sealed, key);
        crypto_secretstream_xchacha20poly1305_push(&s, body, &n, (const uint8_t *) "no zstd", 7,
                                                   (const uint8_t *) "kind/name", 9,
                                                   crypto_secretstream_xchacha20poly1305_TAG_FINAL);
        opens_not(key, "kind/name", sealed, (size_t) (body - sealed) + n, "no zstd");
        crypto_secretstream_xchacha20poly1305_init_push(&s, sealed, key);
        crypto_secretstream_xchacha20poly1305_push(&s, body, &n, (const uint8_t *) "\x28\xb5\x2f\xfd\x20\0\1\0\0", 9,
                                                   (const uint8_t *) "kind/name", 9,
                                                   crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
        opens_not(key, "kind/name", sealed, (size_t) (body - sealed) + n, "not the last");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_it_hides_what_it_holds_and_never_is_the_same),
                cmocka_unit_test(test_whatever_is_changed_is_refused),
                cmocka_unit_test(test_another_name_or_key_is_refused),
                cmocka_unit_test(test_what_was_sealed_otherwise_is_refused),
        };
        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
