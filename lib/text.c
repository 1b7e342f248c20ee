#include <quarry/text.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

static const char units[] = "BKMGTPE"; /* powers of 1024 */

const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* "", "B", "G", "GB", "GiB": the power of 1024, or -EINVAL. */
static int unit_parse(const char *s) {
        int power = 0;

        if (!*s || strcasecmp(s, "B") == 0)
                return 0;

        for (int i = 1; units[i] != 'E'; i++)
                if (toupper((unsigned char) *s) == units[i])
                        power = i;
        if (power == 0)
                return -EINVAL;

        s++;
        return !*s || strcasecmp(s, "B") == 0 || strcasecmp(s, "iB") == 0 ? power : -EINVAL;
}

int size_parse(const char *s, uint64_t *ret_bytes) {
        unsigned __int128 whole = 0, part = 0, scale = 1;
        bool negative = *s == '-', fraction = false;

        if (negative)
                s++;
        if (!is_digit(*s))
                return -EINVAL;

        /* Kept below 2^70 and 10^18, so that the products below fit. */
        for (; is_digit(*s); s++)
                if (whole <= INT64_MAX)
                        whole = whole * 10 + (unsigned) (*s - '0');
        if (*s == '.') {
                fraction = true;
                if (!is_digit(*++s))
                        return -EINVAL;
                for (; is_digit(*s); s++)
                        if (scale < UINT64_C(1000000000000000000)) {
                                part = part * 10 + (unsigned) (*s - '0');
                                scale *= 10;
                        }
        }

        int power = unit_parse(s);
        if (power < 0 || (fraction && power == 0))
                return -EINVAL;

        unsigned __int128 bytes = (whole << (10 * power)) + (part << (10 * power)) / scale;
        if (negative || bytes > INT64_MAX)
                return -ERANGE;

        *ret_bytes = (uint64_t) bytes;
        return 0;
}

char *size_format(uint64_t bytes, char buf[static SIZE_TEXT_MAX]) {
        int power = 0;

        while (units[power + 1] && bytes >> (10 * (power + 1)))
                power++;

        for (;; power++) {
                unsigned __int128 unit = (unsigned __int128) 1 << (10 * power);
                uint64_t hundredths = (uint64_t) (((unsigned __int128) bytes * 100 + unit / 2) / unit);
                uint64_t tenths = (uint64_t) (((unsigned __int128) bytes * 10 + unit / 2) / unit);
                uint64_t whole = (uint64_t) ((bytes + unit / 2) / unit);

                if (hundredths < 1000 && hundredths % 10)
                        snprintf(buf, SIZE_TEXT_MAX, "%u.%02u%c", (unsigned) (hundredths / 100),
                                 (unsigned) (hundredths % 100), units[power]);
                else if (tenths < 1000 && tenths % 10)
                        snprintf(buf, SIZE_TEXT_MAX, "%u.%u%c", (unsigned) (tenths / 10), (unsigned) (tenths % 10),
                                 units[power]);
                else if (whole < 1024 || !units[power + 1])
                        snprintf(buf, SIZE_TEXT_MAX, "%u%c", (unsigned) whole, units[power]);
                else
                        continue; /* 1023.9M rounds to 1024M, which is 1G */
                return buf;
        }
}

char *size_format_exact(uint64_t bytes, char buf[static SIZE_TEXT_MAX]) {
        int power = 0;

        while (bytes > 0 && units[power + 1] != 'E' && bytes % 1024 == 0) {
                bytes /= 1024;
                power++;
        }
        snprintf(buf, SIZE_TEXT_MAX, "%llu%c", (unsigned long long) bytes, units[power]);
        return buf;
}

int number_parse(const char *s, uint64_t *ret) {
        uint64_t n = 0;

        if (!*s)
                return -EINVAL;
        for (const char *p = s; *p; p++)
                if (!is_digit(*p))
                        return -EINVAL;
        for (; *s; s++)
                if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (unsigned) (*s - '0'), &n))
                        return -ERANGE;

        *ret = n;
        return 0;
}

int mode_parse(const char *s, uint32_t *ret) {
        uint32_t mode = 0;

        if (!*s)
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '7')
                        return -EINVAL;
                mode = mode * 8 + (uint32_t) (*s - '0');
                if (mode > 07777)
                        return -EINVAL;
        }

        *ret = mode;
        return 0;
}

/* Compares the runs of digits that *a and *b begin with, and moves both behind them. */
static int digits_compare(const char **a, const char **b) {
        const char *x = *a, *y = *b;

        x += strspn(x, "0");
        y += strspn(y, "0");
        size_t n = strspn(x, "0123456789"), m = strspn(y, "0123456789");

        *a = x + n;
        *b = y + m;
        if (n != m)
                return n < m ? -1 : 1;
        return memcmp(x, y, n);
}

int natural_compare(const char *a, const char *b) {
        const char *x = a, *y = b;

        while (*x && *y) {
                int c;

                if (is_digit(*x) && is_digit(*y))
                        c = digits_compare(&x, &y);
                else
                        c = (unsigned char) *x++ - (unsigned char) *y++;
                if (c != 0)
                        return c;
        }
        if (*x || *y)
                return *x ? 1 : -1;
        return strcmp(a, b); /* "a01" and "a1" are not the same */
}

bool buffer_format(char *buf, size_t size, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        int n = vsnprintf(buf, size, format, ap);
        va_end(ap);

        if (n < 0) {
                if (size > 0)
                        *buf = 0;
                return false;
        }
        return (size_t) n < size;
}

/* Length of the valid UTF-8 character at s, 0 if there is none (also for overlong forms and surrogates). */
static size_t utf8_length(const char *s) {
        const unsigned char *p = (const unsigned char *) s;
        uint32_t c;
        size_t n;

        if (p[0] < 0x80)
                return 1;
        if (p[0] >= 0xc2 && p[0] <= 0xdf)
                n = 2, c = p[0] & 0x1fu;
        else if ((p[0] & 0xf0) == 0xe0)
                n = 3, c = p[0] & 0x0fu;
        else if (p[0] >= 0xf0 && p[0] <= 0xf4)
                n = 4, c = p[0] & 0x07u;
        else
                return 0;

        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3fu);
        }
        if (n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
                return 0;
        if (n == 4 && (c < 0x10000 || c > 0x10ffff))
                return 0;
        return n;
}

/* As utf8_length(), but 0 also for control characters: C0, DEL and C1. */
static size_t printable_length(const char *s) {
        const unsigned char *p = (const unsigned char *) s;

        if (*p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0))
                return 0;
        return utf8_length(s);
}

void text_clean(char *s) {
        while (*s) {
                size_t n = printable_length(s);

                if (n == 0)
                        *s = '?';
                s += n ?: 1;
        }
}

bool text_is_printable(const char *s) {
        while (*s) {
                size_t n = printable_length(s);

                if (n == 0)
                        return false;
                s += n;
        }
        return true;
}

bool path_is_plain(const char *path) {
        if (*path != '/' || !text_is_printable(path))
                return false;

        while (*path == '/') {
                size_t n = strcspn(++path, "/");

                if (n == 0 || (n <= 2 && strspn(path, ".") >= n))
                        return false;
                path += n;
        }
        return true;
}

char *text_echo(const char *s, char buf[static TEXT_ECHO_MAX]) {
        char *p = buf;

        for (int i = 0; *s && i < 40; i++) {
                size_t n = printable_length(s);

                if (n > 0)
                        p = mempcpy(p, s, n);
                else
                        p += sprintf(p, "\\x%02x", (unsigned char) *s);
                s += n ?: 1;
        }
        memcpy(p, *s ? "..." : "\0\0\0", 4);
        return buf;
}

size_t strv_length(char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

int strv_append(char ***list, const char *s) {
        size_t n = strv_length(*list);
        char *copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        char **bigger = reallocarray(*list, n + 2, sizeof(char *));
        if (!bigger) {
                free(copy);
                return -ENOMEM;
        }

        bigger[n] = copy;
        bigger[n + 1] = NULL;
        *list = bigger;
        return 0;
}

int strv_copy(char *const *list, char ***ret) {
        _cleanup_strv_ char **copy = NULL;

        for (size_t i = 0; list && list[i]; i++)
                if (strv_append(&copy, list[i]) < 0)
                        return -ENOMEM;

        *ret = TAKE_PTR(copy);
        return 0;
}

bool strv_contains(char *const *list, const char *s) {
        for (; list && *list; list++)
                if (streq(*list, s))
                        return true;
        return false;
}

bool strv_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (n != strv_length(b))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return false;
        return true;
}

char **strv_free(char **list) {
        for (size_t i = 0; list && list[i]; i++)
                free(list[i]);
        free(list);
        return NULL;
}

char *format_new(const char *format, ...) {
        va_list ap;
        char *s;

        va_start(ap, format);
        int n = vasprintf(&s, format, ap);
        va_end(ap);
        return n < 0 ? NULL : s;
}
