#include "../../../repo/slot.h"

#include <quarry/text.h>

#include "../members.h"

#include <sodium.h>

static const sd_id128_t repository = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);
static const uint8_t key[REPOSITORY_KEY_SIZE] = "the key of all that is therein!";
static const uint8_t by[REPOSITORY_KEY_SIZE] = "what the key is wrapped with...";

static Slot of_passphrase(void) {
        Slot slot = { .kind = SLOT_PASSPHRASE, .memory = crypto_pwhash_MEMLIMIT_MIN, .iterations = 1, .salt = "salt" };

        slot_wrap(&slot, repository, by, key);
        return slot;
}

static Slot of_host(void) {
        Slot slot = { .kind = SLOT_HOST, .host_key = "0123456789abcdef0123456789abcdef" };

        slot_wrap(&slot, repository, by, key);
        return slot;
}

static void opens(const Slot *slot) {
        uint8_t is[REPOSITORY_KEY_SIZE];
        Error err = {};

        assert_int_equal(slot_unwrap(slot, repository, by, is, &err), 0);
        assert_memory_equal(is, key, sizeof(key));
}

static void opens_not(const Slot *slot, sd_id128_t of, const uint8_t *with) {
        uint8_t is[REPOSITORY_KEY_SIZE] = {};
        Error err = {};

        assert_int_equal(slot_unwrap(slot, of, with, is, &err), -EKEYREJECTED);
        assert_int_equal(err.kind, ERROR_WRONG_KEY);
        assert_memory_not_equal(is, key, sizeof(key));
}

static void test_wrapped_key_comes_back(void **state) {
        Slot slot = of_passphrase(), again = of_passphrase(), host = of_host();

        opens(&slot);
        opens(&host);
        assert_memory_not_equal(slot.nonce, again.nonce, sizeof(slot.nonce));
        assert_memory_not_equal(slot.box, again.box, sizeof(slot.box));
}

static void test_wrong_key_opens_nothing(void **state) {
        uint8_t other[REPOSITORY_KEY_SIZE];
        sd_id128_t elsewhere = repository;
        Slot slot = of_host();

        memcpy(other, by, sizeof(by));
        other[31] ^= 1;
        opens_not(&slot, repository, other);
        elsewhere.bytes[15] ^= 1;
        opens_not(&slot, elsewhere, by);
        slot.kind = SLOT_PASSPHRASE; /* it is none of another kind */
        opens_not(&slot, repository, by);
        for (size_t i = 0; i < sizeof(slot.box); i++) {
                slot = of_host();
                slot.box[i] ^= 1;
                opens_not(&slot, repository, by);
        }
}

static void test_passphrase_and_all_that_the_slot_says_make_the_key(void **state) {
        uint8_t one[REPOSITORY_KEY_SIZE], other[REPOSITORY_KEY_SIZE];
        Slot slot = of_passphrase();
        Error err = {};

        assert_int_equal(slot_derive(&slot, "pass\0word", 9, one, &err), 0);
        assert_int_equal(slot_derive(&slot, "pass\0word", 9, other, &err), 0);
        assert_memory_equal(one, other, sizeof(one));
        assert_int_equal(slot_derive(&slot, "pass", 4, other, &err), 0);
        assert_memory_not_equal(one, other, sizeof(one));
        slot.salt[15] ^= 1;
        assert_int_equal(slot_derive(&slot, "pass\0word", 9, other, &err), 0);
        assert_memory_not_equal(one, other, sizeof(one));
        slot = of_passphrase();
        slot.iterations++;
        assert_int_equal(slot_derive(&slot, "pass\0word", 9, other, &err), 0);
        assert_memory_not_equal(one, other, sizeof(one));
}

static void comes_back(const Slot *slot) {
        _cleanup_free_ char *text = slot_format(slot);
        Slot back = { .memory = 77 };
        Error err = {};

        assert_non_null(text);
        assert_int_equal(slot_parse(text, &back, &err), 0);
        assert_int_equal(back.kind, slot->kind);
        assert_string_equal(back.host_key, slot->host_key);
        assert_int_equal(back.memory, slot->memory);
        assert_int_equal(back.iterations, slot->iterations);
        assert_memory_equal(back.salt, slot->salt, sizeof(back.salt));
        opens(&back);
}

static void test_as_text_and_back(void **state) {
        Slot slot = of_passphrase(), host = of_host();

        comes_back(&slot);
        comes_back(&host);
}

static void refused(const char *text) {
        Slot slot = { .memory = 77 };
        Error err = {};

        assert_row(slot_parse(text, &slot, &err) == -EBADMSG, text);
        assert_row(err.kind == ERROR_FAILED && streq(err.text, "a key of the repository is damaged"), text);
        assert_row(slot.memory == 77, text);
}

static void test_each_member_counts(void **state) {
        Slot slot = of_passphrase(), host = of_host();
        _cleanup_free_ char *text = slot_format(&slot), *host_text = slot_format(&host);

        each_member_counts(text, refused);
        each_member_counts(host_text, refused);
}

static void test_what_is_damaged_is_refused(void **state) {
        Slot slot = of_passphrase(), host = of_host();
        _cleanup_free_ char *text = slot_format(&slot);

        refused("");
        refused("{}");
        refused("[]");
        refused("7");
        refused("not json");
        for (size_t n = 0; n + 1 < strlen(text); n++) {
                _cleanup_free_ char *cut = strndup(text, n);
                refused(cut);
        }
        buffer_format(host.host_key, sizeof(host.host_key), "../../etc");
        free(text);
        text = slot_format(&host);
        refused(text);
}

/* Who wrote the repository says what opening it costs. */
static void costs(uint64_t memory, uint64_t iterations, bool fine) {
        Slot slot = of_passphrase(), back = {};
        _cleanup_free_ char *text = NULL;
        Error err = {};

        slot.memory = memory;
        slot.iterations = iterations;
        text = slot_format(&slot);
        if (fine)
                assert_int_equal(slot_parse(text, &back, &err), 0);
        else
                refused(text);
}

static void test_what_would_cost_too_much_is_refused(void **state) {
        costs(UINT64_C(4) << 30, 64, true);
        costs((UINT64_C(4) << 30) + 1, 1, false);
        costs(UINT64_MAX, 1, false);
        costs(UINT64_C(1) << 20, 65, false);
        costs(UINT64_C(1) << 20, UINT64_MAX, false);
        costs(8192, 1, true);
        costs(8191, 1, false);
        costs(8192, 0, false);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrapped_key_comes_back),
                cmocka_unit_test(test_wrong_key_opens_nothing),
                cmocka_unit_test(test_passphrase_and_all_that_the_slot_says_make_the_key),
                cmocka_unit_test(test_as_text_and_back),
                cmocka_unit_test(test_each_member_counts),
                cmocka_unit_test(test_what_is_damaged_is_refused),
                cmocka_unit_test(test_what_would_cost_too_much_is_refused),
        };
        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
