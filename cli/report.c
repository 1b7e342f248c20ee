#include "report.h"

#include "must.h"
#include "terminal.h"

#include <quarry/text.h>
#include <stdarg.h>

bool arg_json;

#define UNREACHABLE_STEP "asking quarryd"

int error_set_unreachable(Error *err, int number, const char *format, ...) {
        char text[sizeof(err->text)];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        int r = error_set(err, ERROR_FAILED, number, "%s", text);
        buffer_format(err->step, sizeof(err->step), UNREACHABLE_STEP);
        return r;
}

bool error_is_unreachable(const Error *err) {
        return err->kind == ERROR_FAILED && streq(err->step, UNREACHABLE_STEP);
}

static int exit_code_of(const Error *err) {
        return error_is_unreachable(err) ? EXIT_UNREACHABLE : error_kind_exit_code(err->kind);
}

/* Texts made by hand begin with a small letter; a whole sentence is bent to go on behind a colon. */
static void print_text(const char *text) {
        bool is_sentence = text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z';

        fprintf(stderr, "%c%s", is_sentence ? text[0] - 'A' + 'a' : text[0], text + 1);
}

static const char *usage_words, *usage_synopsis;

void report_set_usage(const char *words, const char *synopsis) {
        usage_words = words;
        usage_synopsis = synopsis;
}

static bool is_about_typing(const Error *err) {
        return err->kind == ERROR_BAD_REQUEST && (*err->field == '-' || streq(err->field, FIELD_ARGUMENTS));
}

/* A hint is a command to run, or advice. */
static const char *hint_lead(const char *hint) {
        static const char *const commands[] = {
                "quarry ", "systemctl ", "journalctl ", "mkdir ", "umount ", "fuser ", "--",
        };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (startswith(hint, commands[i]))
                        return "try";
        return "hint";
}

/* Where it broke is worth knowing only if it broke: a refusal says all in its text. */
static bool has_broken(const Error *err) {
        return *err->step && !error_is_unreachable(err) &&
               (err->kind == ERROR_FAILED || err->kind == ERROR_WORKER_DIED);
}

static void print_failure(const char *action, const char *object, const Error *err) {
        const char *red = terminal_style(stderr, STYLE_RED), *bold = terminal_style(stderr, STYLE_BOLD),
                   *end = terminal_style(stderr, STYLE_END);
        _cleanup_free_ char *name = must_have(strdup(object ?: "")); /* as typed, perhaps by a script from elsewhere */

        text_clean(name);
        fflush(stdout);
        progress_clear();
        fprintf(stderr, "%squarry:%s ", red, end);
        if (action)
                fprintf(stderr, "%s%s%s: ", action, *name ? " " : "", name);
        print_text(isempty(err->text) ? error_kind_sentence(err->kind) : err->text);
        if (has_broken(err))
                fprintf(stderr, " (while %s)", err->step);
        fputc('\n', stderr);
        if (usage_words && is_about_typing(err))
                fprintf(stderr, "  usage: quarry %s %s\n", usage_words, usage_synopsis);
        if (*err->hint)
                fprintf(stderr, "  %s: %s%s%s\n", hint_lead(err->hint), bold, err->hint, end);
}

/* object may be NULL. The caller owns the result. */
static sd_json_variant *failure_to_json(const char *object, const Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL, *members = NULL;

        if (object)
                must(sd_json_variant_set_field_string(&v, "object", object));
        must(sd_json_variant_set_field_string(&v, "kind",
                                              error_is_unreachable(err) ? "Unreachable" : error_kind_name(err->kind)));
        must(error_to_json(err, &members));
        must(sd_json_variant_merge_object(&v, members));
        return TAKE_PTR(v);
}

int report_document(sd_json_variant *members) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_INTEGER("version", 1)));
        must(sd_json_variant_merge_object(&document, members));
        must(sd_json_variant_dump(document,
                                  SD_JSON_FORMAT_NEWLINE | SD_JSON_FORMAT_PRETTY_AUTO | SD_JSON_FORMAT_COLOR_AUTO,
                                  stdout, NULL));
        return EXIT_DONE;
}

int report_error(const char *action, const char *object, const Error *err) {
        if (arg_json) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL, *error = NULL;

                error = failure_to_json(NULL, err);
                must(sd_json_variant_set_field(&document, "error", error));
                progress_clear();
                report_document(document);
        } else
                print_failure(action, object, err);
        return exit_code_of(err);
}

void report_done(Report *report) {
        sd_json_variant_unref(report->done);
        sd_json_variant_unref(report->errors);
        sd_json_variant_unref(report->members);
}

void report_failure(Report *report, const char *object, const Error *err) {
        if (report->exit_code == EXIT_DONE)
                report->exit_code = exit_code_of(err);

        if (arg_json) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *failure = failure_to_json(object, err);

                must(sd_json_variant_append_array(&report->errors, failure));
        } else
                print_failure(report->action, object, err);
}

void report_success(Report *report, const char *object) {
        if (arg_json)
                must(sd_json_variant_append_arrayb(&report->done, SD_JSON_BUILD_STRING(object)));
        else
                puts(object);
}

void report_users(Report *report, const char *object, const char *what, sd_json_variant *reply) {
        sd_json_variant *text = sd_json_variant_by_key(reply, "users");

        if (!sd_json_variant_is_string(text))
                return;
        if (arg_json) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *users = NULL;

                users = sd_json_variant_ref(sd_json_variant_by_key(report->members, "users"));
                must(sd_json_variant_set_field(&users, object, text));
                must(sd_json_variant_set_field(&report->members, "users", users));
                return;
        }
        progress_clear();
        fprintf(stderr, "%s %s: %s\n", object, what, sd_json_variant_string(text));
}

void report_add(Report *report, sd_json_variant *object) {
        must(sd_json_variant_append_array(&report->done, object));
}

int report_finish(Report *report, const char *field) {
        if (arg_json) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

                must(sd_json_buildo(
                                &document,
                                SD_JSON_BUILD_PAIR_CONDITION(
                                                !!report->done, field, SD_JSON_BUILD_VARIANT(report->done)),
                                SD_JSON_BUILD_PAIR_CONDITION(!report->done, field, SD_JSON_BUILD_EMPTY_ARRAY),
                                SD_JSON_BUILD_PAIR_CONDITION(
                                                !!report->errors, "errors", SD_JSON_BUILD_VARIANT(report->errors)),
                                SD_JSON_BUILD_PAIR_CONDITION(
                                                !report->errors, "errors", SD_JSON_BUILD_EMPTY_ARRAY)));
                if (report->members)
                        must(sd_json_variant_merge_object(&document, report->members));
                report_document(document);
        }
        return report->exit_code;
}
