#pragma once

/* Included before every source for gcc -fanalyzer: what it cannot see from another file. */

#include <quarry/error.h>

static inline int negative(int r) {
        if (r >= 0)
                __builtin_unreachable();
        return r;
}

#define error_set(...) negative(error_set(__VA_ARGS__))
#define error_errno(...) negative(error_errno(__VA_ARGS__))
#define error_field(...) negative(error_field(__VA_ARGS__))
#define error_oom(err) negative(error_oom(err))
