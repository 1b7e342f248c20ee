#pragma once

/* What cmocka wants before its own header, and a word for tables of cases. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Says which row of a table failed. */
#define assert_row(condition, row)                                       \
        do {                                                             \
                if (!(condition))                                        \
                        fail_msg("\"%s\": not so: %s", row, #condition); \
        } while (0)
