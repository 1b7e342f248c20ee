#include <quarry/error.h>

#include <quarry/text.h>

#include <stdarg.h>
#include <stdio.h>

static const struct {
        const char *name;
        int number;
        int exit_code;
        unsigned http_status;
        const char *sentence;
} kinds[_ERROR_KIND_MAX] = { [ERROR_NONE] = { "None", 0, EXIT_DONE, 200, "No error" },
#define ERROR_ROW(kind, name, number, code, http, sentence) [ERROR_##kind] = { #name, number, code, http, sentence },
                             ERROR_KINDS(ERROR_ROW)
#undef ERROR_ROW
};

/* Errors that the Varlink library itself answers with. */
static const struct {
        const char *name;
        ErrorKind kind;
        const char *sentence;
} foreign[] = {
        { "org.varlink.service.InvalidParameter", ERROR_BAD_REQUEST, "A field of the request is not valid" },
        { "org.varlink.service.ExpectedMore", ERROR_BAD_REQUEST, "The method answers only calls with \"more\"" },
        { "org.varlink.service.InterfaceNotFound", ERROR_NOT_SUPPORTED, "The daemon does not have this interface" },
        { "org.varlink.service.MethodNotFound", ERROR_NOT_SUPPORTED, "The daemon does not have this method" },
        { "org.varlink.service.MethodNotImplemented", ERROR_NOT_SUPPORTED, "The daemon lacks this method" },
        { "org.varlink.service.PermissionDenied", ERROR_PERMISSION_DENIED, "Permission denied" },
        { "io.systemd.Disconnected", ERROR_FAILED, "The connection was closed before the answer came" },
        { "io.systemd.TimedOut", ERROR_FAILED, "No answer came in time" },
        { "io.systemd.Protocol", ERROR_FAILED, "The answer was not understood" },
        { "io.systemd.System", ERROR_FAILED, "The operation failed" },
};

static ErrorKind kind_sanitize(ErrorKind kind) {
        return kind > ERROR_NONE && kind < _ERROR_KIND_MAX ? kind : ERROR_FAILED;
}

/* Copies what fits. The result is always text that JSON can carry. */
static void text_copy(char *buf, size_t size, const char *text) {
        (void) buffer_format(buf, size, "%s", text);
        text_clean(buf);
}

/* Also a number such as INT_MIN must come out positive. */
static int number_positive(int number) {
        return number >= 0 ? number : number == INT32_MIN ? EIO : -number;
}

/* Arguments may point into *err, so it is written last. */
_printf_(4, 0) static int error_fill(Error *err, ErrorKind kind, int number, const char *format, va_list ap) {
        Error e = { .kind = kind_sanitize(kind), .number = number_positive(number) };

        if (vsnprintf(e.text, sizeof(e.text), format, ap) < 0)
                text_copy(e.text, sizeof(e.text), error_kind_sentence(e.kind));
        text_clean(e.text);

        if (err)
                *err = e;
        return error_code(&e);
}

int error_set(Error *err, ErrorKind kind, int number, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        int r = error_fill(err, kind, number, format, ap);
        va_end(ap);
        return r;
}

int error_errno(Error *err, int number, const char *format, ...) {
        Error e = {};
        va_list ap;

        va_start(ap, format);
        int r = error_fill(&e, ERROR_FAILED, number, format, ap);
        va_end(ap);

        if (e.number > 0) {
                size_t n = strlen(e.text);
                (void) buffer_format(e.text + n, sizeof(e.text) - n, ": %s", strerror(e.number));
                text_clean(e.text);
        }
        if (err)
                *err = e;
        return r;
}

int error_field(Error *err, const char *field, const char *format, ...) {
        Error e = {};
        va_list ap;

        va_start(ap, format);
        int r = error_fill(&e, ERROR_BAD_REQUEST, 0, format, ap);
        va_end(ap);

        text_copy(e.field, sizeof(e.field), field ?: "");
        if (err)
                *err = e;
        return r;
}

int error_oom(Error *err) {
        return error_set(err, ERROR_FAILED, ENOMEM, "Out of memory");
}

void error_hint(Error *err, const char *format, ...) {
        char hint[sizeof(err->hint)];
        va_list ap;

        if (!err)
                return;

        va_start(ap, format);
        int n = vsnprintf(hint, sizeof(hint), format, ap);
        va_end(ap);
        text_copy(err->hint, sizeof(err->hint), n < 0 ? "" : hint);
}

void error_prefix(Error *err, const char *format, ...) {
        char context[sizeof(err->text)], whole[sizeof(err->text)];
        va_list ap;

        if (!err)
                return;

        va_start(ap, format);
        int n = vsnprintf(context, sizeof(context), format, ap);
        va_end(ap);
        if (n < 0)
                return;

        (void) buffer_format(whole, sizeof(whole), "%s: %s", context, err->text);
        text_copy(err->text, sizeof(err->text), whole);
}

int error_code(const Error *err) {
        if (!err)
                return -EIO;
        if (err->number > 0)
                return -err->number;
        return -kinds[kind_sanitize(err->kind)].number;
}

const char *error_kind_name(ErrorKind kind) {
        return kinds[kind == ERROR_NONE ? ERROR_NONE : kind_sanitize(kind)].name;
}

ErrorKind error_kind_from_name(const char *name) {
        if (!name)
                return ERROR_NONE;

        const char *dot = strrchr(name, '.');
        const char *last = dot ? dot + 1 : name;

        for (ErrorKind kind = ERROR_NONE + 1; kind < _ERROR_KIND_MAX; kind++)
                if (streq(last, kinds[kind].name))
                        return kind;
        return ERROR_NONE;
}

int error_kind_exit_code(ErrorKind kind) {
        return kinds[kind == ERROR_NONE ? ERROR_NONE : kind_sanitize(kind)].exit_code;
}

unsigned error_kind_http_status(ErrorKind kind) {
        return kinds[kind == ERROR_NONE ? ERROR_NONE : kind_sanitize(kind)].http_status;
}

const char *error_kind_sentence(ErrorKind kind) {
        return kinds[kind == ERROR_NONE ? ERROR_NONE : kind_sanitize(kind)].sentence;
}

int error_to_json(const Error *err, sd_json_variant **ret) {
        const char *message = isempty(err->text) ? error_kind_sentence(err->kind) : err->text;

        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_STRING("message", message),
                        SD_JSON_BUILD_PAIR_CONDITION(*err->hint, "hint", SD_JSON_BUILD_STRING(err->hint)),
                        SD_JSON_BUILD_PAIR_CONDITION(*err->field, "field", SD_JSON_BUILD_STRING(err->field)),
                        SD_JSON_BUILD_PAIR_CONDITION(*err->step, "step", SD_JSON_BUILD_STRING(err->step)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        err->number > 0, "errorNumber", SD_JSON_BUILD_INTEGER(err->number)),
                        SD_JSON_BUILD_PAIR_CONDITION(err->undo_failed, "undoFailed", SD_JSON_BUILD_BOOLEAN(true)));
}

/* Empty if the member is missing or not a string. */
static void member_copy(char *buf, size_t size, sd_json_variant *parameters, const char *key) {
        sd_json_variant *v = sd_json_variant_by_key(parameters, key);

        text_copy(buf, size, v && sd_json_variant_is_string(v) ? sd_json_variant_string(v) : "");
}

/* The errors of the kernel end at 4095. */
static int member_number(sd_json_variant *parameters, const char *key) {
        sd_json_variant *v = sd_json_variant_by_key(parameters, key);

        if (!v || !sd_json_variant_is_integer(v))
                return 0;
        int64_t n = sd_json_variant_integer(v);
        return n > 0 && n < 4096 ? (int) n : 0;
}

/* Fills err if name is one of the library's errors. */
static bool error_from_foreign(Error *err, const char *name, sd_json_variant *parameters) {
        for (size_t i = 0; i < ELEMENTSOF(foreign); i++) {
                Error e = { .kind = foreign[i].kind };

                if (!streq(name, foreign[i].name))
                        continue;

                e.number = member_number(parameters, "errno");
                member_copy(e.field, sizeof(e.field), parameters, "parameter");
                const char *detail = *e.field ? e.field : e.number > 0 ? strerror(e.number) : NULL;
                (void) buffer_format(e.text, sizeof(e.text), "%s%s%s", foreign[i].sentence, detail ? ": " : "",
                                     detail ?: "");
                *err = e;
                return true;
        }
        return false;
}

void error_from_json(Error *err, const char *name, sd_json_variant *parameters) {
        char echo[TEXT_ECHO_MAX];

        if (!err)
                return;
        if (isempty(name))
                name = "without a name";
        if (error_from_foreign(err, name, parameters))
                return;

        Error e = { .kind = error_kind_from_name(name) };
        e.number = member_number(parameters, "errorNumber");
        e.undo_failed = sd_json_variant_boolean(sd_json_variant_by_key(parameters, "undoFailed"));
        member_copy(e.text, sizeof(e.text), parameters, "message");
        member_copy(e.hint, sizeof(e.hint), parameters, "hint");
        member_copy(e.field, sizeof(e.field), parameters, "field");
        member_copy(e.step, sizeof(e.step), parameters, "step");
        if (isempty(e.text) && e.kind != ERROR_NONE)
                text_copy(e.text, sizeof(e.text), error_kind_sentence(e.kind));
        else if (isempty(e.text))
                (void) buffer_format(e.text, sizeof(e.text), "Unknown error %s", text_echo(name, echo));

        e.kind = kind_sanitize(e.kind);
        *err = e;
}
