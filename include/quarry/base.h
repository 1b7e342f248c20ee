#pragma once

/* The handful of idioms every file uses: ownership by cleanup attribute, ownership handed on by TAKE_*. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

/* Hands a pointer on: the variable is NULL afterwards, so its cleanup does nothing. */
#define TAKE_PTR(p)                    \
        ({                             \
                typeof(p) *_pp = &(p); \
                typeof(p) _p = *_pp;   \
                *_pp = NULL;           \
                _p;                    \
        })

/* Hands a file descriptor on: the variable is -EBADF afterwards. */
#define TAKE_FD(fd)                \
        ({                         \
                int *_fdp = &(fd); \
                int _fd = *_fdp;   \
                *_fdp = -EBADF;    \
                _fd;               \
        })

/* Turns libc's "-1 and errno" into -errno at once, so that no other call comes between. */
#define RET_NERRNO(expr)                             \
        ({                                           \
                typeof(expr) _r = (expr);            \
                _r < 0 ? (typeof(expr)) -errno : _r; \
        })

/* Defines x_freep() for _cleanup_(), from x_free(). */
#define DEFINE_CLEANUP(type, func)            \
        static inline void func##p(type *p) { \
                if (*p)                       \
                        func(*p);             \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
