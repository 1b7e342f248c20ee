#include "terminal.h"

#include "must.h"

#include <quarry/text.h>
#include <sys/ioctl.h>
#include <wchar.h>

static bool is_capable(FILE *stream) {
        const char *term = getenv("TERM");

        return isatty(fileno(stream)) && term && !streq(term, "dumb");
}

const char *terminal_style(FILE *stream, Style style) {
        static const char *const sequences[] = {
                [STYLE_BOLD] = "\033[1m",
                [STYLE_RED] = "\033[1;31m",
                [STYLE_UNDERLINE] = "\033[4m",
                [STYLE_END] = "\033[0m",
        };

        return is_capable(stream) && isempty(getenv("NO_COLOR")) ? sequences[style] : "";
}

size_t terminal_width(FILE *stream) {
        struct winsize size = {};

        if (!isatty(fileno(stream)))
                return 0;
        if (ioctl(fileno(stream), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
                return 80;
        return size.ws_col;
}

bool terminal_can_ask(void) {
        return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool terminal_confirm(const char *question) {
        char answer[16] = "";

        fflush(stdout);
        fprintf(stderr, "%s [y/N] ", question);
        if (!fgets(answer, sizeof(answer), stdin)) {
                fputc('\n', stderr);
                return false;
        }
        answer[strcspn(answer, "\n")] = 0;
        return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

static bool progress_shown;

void progress_show(const char *what, const char *step, uint64_t position, uint64_t total) {
        if (!is_capable(stderr))
                return;

        _cleanup_free_ char *line = must_have(total == 0 ? format_new("%s: %s", what, step)
                                                         : format_new("%s: %s (%llu/%llu)", what, step,
                                                                      (unsigned long long) position,
                                                                      (unsigned long long) total));
        text_clean(line);
        _cleanup_free_ char *cut = text_cut(line, terminal_width(stderr) - 1, CUT_END);
        fprintf(stderr, "\r%s\033[K", cut);
        fflush(stderr);
        progress_shown = true;
}

void progress_clear(void) {
        if (progress_shown)
                fputs("\r\033[K", stderr);
        progress_shown = false;
}

/* One character: how many bytes it is, and how many places it takes. A stray byte takes one. */
static size_t character_measure(const char *s, size_t *ret_width) {
        wchar_t c = 0;
        mbstate_t state = {};
        size_t n = mbrtowc(&c, s, MB_CUR_MAX, &state);

        if (n == 0 || n == (size_t) -1 || n == (size_t) -2) {
                *ret_width = 1;
                return 1;
        }
        int width = wcwidth(c);
        *ret_width = width < 0 ? 1 : (size_t) width;
        return n;
}

size_t text_width(const char *s) {
        size_t total = 0, width = 0;

        while (*s) {
                s += character_measure(s, &width);
                total += width;
        }
        return total;
}

/* The first character that begins at or behind this many places. */
static const char *text_at(const char *s, size_t places) {
        size_t total = 0, width = 0;

        while (*s && total < places) {
                s += character_measure(s, &width);
                total += width;
        }
        return s;
}

char *text_cut(const char *s, size_t width, Cut cut) {
        size_t whole = text_width(s);

        if (whole <= width || cut == CUT_NOTHING || width < 4)
                return must_have(strdup(s));
        if (cut == CUT_START)
                return must_have(format_new("...%s", text_at(s, whole - (width - 3))));

        /* A wide character on the edge does not fit: one place stays free. */
        const char *end = text_at(s, width - 3);
        _cleanup_free_ char *head = must_have(strndup(s, (size_t) (end - s)));
        if (text_width(head) > width - 3)
                return text_cut(s, width - 1, cut);
        return must_have(format_new("%s...", head));
}
