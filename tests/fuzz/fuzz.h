#pragma once

#include <quarry/error.h>
#include <quarry/text.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a string, up to its first NUL. */
static inline char *input_string(const uint8_t *data, size_t size) {
        char *s = strndup((const char *) data, size);

        assert(s);
        return s;
}

/* Whatever was sent: a refusal is a sentence that can be shown. */
static inline void assert_sentence(const Error *err) {
        assert(err->kind > ERROR_NONE && err->kind < _ERROR_KIND_MAX);
        assert(!isempty(err->text) && text_is_printable(err->text) && text_is_printable(err->field));
}
