#pragma once

/* A command that runs out of memory has nothing to save: it says so and ends. */

#include <quarry/base.h>

#include <stdio.h>
#include <string.h>

/* Passes r on unless it is a negative errno. For what fails only without memory: building JSON and text. */
static inline int must(int r) {
        if (r < 0) {
                fprintf(stderr, "quarry: %s\n", strerror(-r));
                exit(EXIT_FAILURE);
        }
        return r;
}

static inline void *must_have(void *p) {
        must(p ? 0 : -ENOMEM);
        return p;
}
