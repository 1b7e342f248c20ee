/* What people type for sizes, numbers and modes, and the order of names. */

#include "fuzz.h"

static void check_size(const char *s) {
        char exact[SIZE_TEXT_MAX], people[SIZE_TEXT_MAX];
        uint64_t bytes = 0, again = 0, about = 0;

        if (size_parse(s, &bytes) < 0)
                return;
        assert(bytes <= INT64_MAX);
        assert(*s >= '0' && *s <= '9');
        assert(size_parse(size_format_exact(bytes, exact), &again) == 0 && again == bytes);

        size_format(bytes, people);
        assert(strlen(people) <= 5);
        if (size_parse(people, &about) == 0) { /* not for E */
                uint64_t off = about > bytes ? about - bytes : bytes - about;

                assert(off <= bytes / 128);
        }
}

static void check_number(const char *s) {
        char text[32];
        uint64_t n, size;
        uint32_t mode;

        if (number_parse(s, &n) == 0) {
                (void) buffer_format(text, sizeof(text), "%llu", (unsigned long long) n);
                assert(streq(s + strspn(s, "0"), n == 0 ? "" : text));
                assert(size_parse(s, &size) == (n > INT64_MAX ? -ERANGE : 0));
        }
        if (mode_parse(s, &mode) == 0)
                assert(mode <= 07777 && strtoul(s, NULL, 8) == mode);
}

static void check_order(const char *a, const char *b) {
        int c = natural_compare(a, b), d = natural_compare(b, a);

        assert((c < 0) == (d > 0) && (c > 0) == (d < 0));
        assert((c == 0) == streq(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = input_string(data, size);
        char echo[TEXT_ECHO_MAX];

        check_size(s);
        check_number(s);
        check_order(s, s + strlen(s) / 2);
        assert(text_is_printable(text_echo(s, echo)) && strlen(echo) <= 40 * 4 + 3);
        text_clean(s);
        assert(text_is_printable(s));
        return 0;
}
