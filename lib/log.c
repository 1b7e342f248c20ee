#include <quarry/log.h>

#include <quarry/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* it would always be this file */
#include <systemd/sd-journal.h>

#define LOG_TEXT_MAX 2048

static const char *log_program = "quarry";
static bool log_debugging;
static bool log_to_journal;

/* systemd tells in JOURNAL_STREAM which device and inode the journal's stream is; a redirected stderr is
 * another one. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        char own[64];
        struct stat st;

        if (!stream || fstat(STDERR_FILENO, &st) < 0)
                return false;
        return buffer_format(own, sizeof(own), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino) &&
               streq(own, stream);
}

void log_open(const char *program) {
        log_program = program;
        log_debugging = streq_ptr(getenv("QUARRY_DEBUG"), "1");
        log_to_journal = stderr_is_journal();
}

bool log_debug_enabled(void) {
        return log_debugging;
}

static bool journal_write(int priority, const char *object, const char *line, char *const *own, size_t n_own) {
        _cleanup_free_ char *message = format_new("MESSAGE=%s", line);
        _cleanup_free_ char *level = format_new("PRIORITY=%i", priority);
        _cleanup_free_ char *identifier = format_new("SYSLOG_IDENTIFIER=%s", log_program);
        _cleanup_free_ char *about = format_new("QUARRY_OBJECT=%s", object ?: "");
        _cleanup_free_ struct iovec *fields = calloc(4 + n_own, sizeof(*fields));
        int n = 0;

        if (!message || !level || !identifier || !about || !fields)
                return false;
        fields[n++] = (struct iovec) { message, strlen(message) };
        fields[n++] = (struct iovec) { level, strlen(level) };
        fields[n++] = (struct iovec) { identifier, strlen(identifier) };
        if (!isempty(object))
                fields[n++] = (struct iovec) { about, strlen(about) };
        for (size_t i = 0; i < n_own; i++)
                fields[n++] = (struct iovec) { own[i], strlen(own[i]) };
        return sd_journal_sendv(fields, n) >= 0;
}

static void write_line(int priority, const char *object, const char *text, char *const *fields, size_t n) {
        char line[LOG_TEXT_MAX + 256];

        (void) buffer_format(line, sizeof(line), "%s%s%s", object ?: "", isempty(object) ? "" : ": ", text);
        text_clean(line); /* what a client sent must not forge another line */
        if (!log_to_journal || !journal_write(priority, object, line, fields, n))
                (void) dprintf(STDERR_FILENO, "%s\n", line);
}

void log_write(int priority, const char *object, const char *format, ...) {
        char text[LOG_TEXT_MAX];
        int saved = errno;
        va_list ap;

        va_start(ap, format);
        int n = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (n < 0)
                *text = 0;
        write_line(priority, object, text, NULL, 0);
        errno = saved;
}

void log_write_fields(int priority, const char *object, const char *text, char *const *fields, size_t n) {
        int saved = errno;

        write_line(priority, object, text, fields, n);
        errno = saved;
}

int log_failure(const char *object, const Error *err, const char *context) {
        char detail[sizeof(err->step) + sizeof(err->hint) + 8] = "";

        if (*err->step && *err->hint)
                (void) buffer_format(detail, sizeof(detail), " (%s, %s)", err->step, err->hint);
        else if (*err->step || *err->hint)
                (void) buffer_format(detail, sizeof(detail), " (%s%s)", err->step, err->hint);

        log_error(object, "%s%s%s%s", context ?: "", isempty(context) ? "" : ": ", err->text, detail);
        return error_code(err);
}
