#pragma once

/* Pure rules about text: sizes, numbers, comparing, lists of strings. */

#include <quarry/base.h>

#include <string.h>

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* Equal, where both may be NULL. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static inline bool isempty(const char *s) {
        return !s || !*s;
}

/* The rest of s after prefix, or NULL if s does not start with it. */
const char *startswith(const char *s, const char *prefix);

/* Parses "10G", "512M", "1TiB", "4096": powers of 1024; K M G T P, optionally with B or iB; fractions
 * such as 1.5G. Returns 0, -EINVAL (not a size), -ERANGE (negative, or more than INT64_MAX bytes). */
int size_parse(const char *s, uint64_t *ret_bytes);

#define SIZE_TEXT_MAX 24

/* "1.5G", "512M", "0B": at most three significant digits, for people; whole numbers up to
 * 1023 of a unit stay. Returns buf. */
char *size_format(uint64_t bytes, char buf[static SIZE_TEXT_MAX]);

/* The whole number of the largest unit that gives it exactly: "1G", "1025M", "4097B"; size_parse()
 * reads it back. Returns buf. */
char *size_format_exact(uint64_t bytes, char buf[static SIZE_TEXT_MAX]);

/* Decimal number without sign, spaces or leftovers. Returns 0, -EINVAL or -ERANGE. */
int number_parse(const char *s, uint64_t *ret);

/* "755", "0755", "01777": octal, at most 07777. Returns 0 or -EINVAL. */
int mode_parse(const char *s, uint32_t *ret);

/* Compares as people sort: "web2" before "web10". */
int natural_compare(const char *a, const char *b);

/* Formats into a fixed buffer; false if it was cut. */
bool buffer_format(char *buf, size_t size, const char *format, ...) _printf_(3, 4);

/* Replaces control characters and what is no UTF-8 by '?', in place: the result can be put on a terminal,
 * in a log line and in JSON. */
void text_clean(char *s);

/* Valid UTF-8 without control characters. */
bool text_is_printable(const char *s);

/* Absolute, printable, without empty, "." and ".." parts: "/dev/vda". */
bool path_is_plain(const char *path);

#define TEXT_ECHO_MAX 192

/* What somebody sent, for an error message: control characters and malformed UTF-8 as \xNN, cut to about
 * 40 characters. Returns buf. */
char *text_echo(const char *s, char buf[static TEXT_ECHO_MAX]);

/* NULL-terminated lists of strings. */
typedef char **Strv;
size_t strv_length(char *const *list);
int strv_append(char ***list, const char *s);       /* copies s; 0 or -ENOMEM */
int strv_copy(char *const *list, char ***ret);
bool strv_contains(char *const *list, const char *s);
bool strv_equal(char *const *a, char *const *b);    /* same order; NULL equals an empty list */
char **strv_free(char **list);                      /* returns NULL */

static inline void strv_freep(char ***p) {
        strv_free(*p);
}
#define _cleanup_strv_ _cleanup_(strv_freep)

/* asprintf() that returns NULL when out of memory. */
char *format_new(const char *format, ...) _printf_(1, 2);
