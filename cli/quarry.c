/* The quarry command: finds the verb and its options, shows help, and runs it. */

#include "complete.h"
#include "helper.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "terminal.h"
#include "verbs.h"
#include "volume.h"

#include <locale.h>
#include <quarry/text.h>

static bool arg_help, arg_version;

static const Option common_options[] = {
        { 0, "json", NULL, "Print a JSON document, also for errors", option_flag, &arg_json },
        { 'h', "help", NULL, "Show this help", option_flag, &arg_help },
        {},
};

static const Option top_options[] = {
        { 0, "version", NULL, "Show the version", option_flag, &arg_version },
        {},
};

/* The verbs whose words begin with this one, or all. */
static void print_verbs(FILE *stream, const char *first) {
        fprintf(stream, "%sVerbs:%s\n", terminal_style(stream, STYLE_BOLD), terminal_style(stream, STYLE_END));
        for (const Verb *v = verbs; v->words; v++)
                if (!first || startswith(v->words, first))
                        fprintf(stream, "  %-15s %s\n", v->words, v->summary);
        fprintf(stream, "\nMore about one: quarry help VERB\n"
                        "More about all: man quarry\n");
}

static void print_top_help(FILE *stream) {
        fprintf(stream,
                "%sUsage:%s quarry VERB [ARGUMENT]... [OPTION]...\n\n"
                "Named, persistent volumes for containers, tenants and services.\n\n",
                terminal_style(stream, STYLE_BOLD), terminal_style(stream, STYLE_END));
        print_verbs(stream, NULL);
}

static void print_verb_help(const Verb *verb) {
        const Option *tables[4];
        const char *bold = terminal_style(stdout, STYLE_BOLD), *end = terminal_style(stdout, STYLE_END);

        printf("%sUsage:%s quarry %s %s\n\n%s.\n", bold, end, verb->words, verb->synopsis, verb->summary);
        if (verb->text)
                printf("\n%s", verb->text);
        printf("\n%sOptions:%s\n", bold, end);
        option_print(verb_options(verb, common_options, tables));
        printf("\n%sExamples:%s\n%s", bold, end, verb->examples);
        printf("\nMore: man quarry%s%s\n", verb->page ? "-" : "", verb->page ?: "");
}

static int unknown_verb(char *const *words) {
        static const struct {
                const char *noun, *verbs;
        } nouns[] = {
                { "pool", "create, ls, inspect, extend, check, update, rm, import or export" },
                { "tenant", "create, ls, inspect, update or rm" },
                { "backup", "target, run, ls, restore, verify or prune" },
                { "key", "status, rotate, lock, unlock, add, remove, change, backup or restore" },
        };
        char echo[TEXT_ECHO_MAX];
        Error err = {};

        for (size_t i = 0; i < ELEMENTSOF(nouns); i++)
                if (streq(words[0], nouns[i].noun)) {
                        error_field(&err, FIELD_ARGUMENTS, "%s is followed by %s", words[0], nouns[i].verbs);
                        error_hint(&err, "quarry help %s", words[0]);
                        return report_error(NULL, NULL, &err);
                }
        error_field(&err, FIELD_ARGUMENTS, "there is no verb \"%s\"", text_echo(words[0], echo));
        error_hint(&err, "quarry help");
        return report_error(NULL, NULL, &err);
}

/* Of verbs of two words, the first. */
static bool is_noun(const char *word) {
        for (const Verb *v = verbs; v->words; v++) {
                const char *rest = startswith(v->words, word);

                if (rest && *rest == ' ')
                        return true;
        }
        return false;
}

int verb_help(char **arguments) {
        size_t length;

        if (!arguments[0]) {
                print_top_help(stdout);
                return EXIT_DONE;
        }
        const Verb *verb = verb_find(verbs, arguments, &length);
        if (verb)
                print_verb_help(verb);
        else if (!arguments[1] && is_noun(arguments[0]))
                print_verbs(stdout, arguments[0]);
        else
                return unknown_verb(arguments);
        return EXIT_DONE;
}

int verb_complete(char **arguments) {
        complete_print(verbs, common_options, top_options, arguments);
        return EXIT_DONE;
}

static int arguments_check(const Verb *verb, char **arguments, Error *err) {
        size_t n = strv_length(arguments);
        char echo[TEXT_ECHO_MAX];

        if (n < verb->min)
                return error_field(err, FIELD_ARGUMENTS, "an argument is missing");
        if (n > verb->max)
                return error_field(err, FIELD_ARGUMENTS, "\"%s\" is one argument too many",
                                   text_echo(arguments[verb->max], echo));
        return 0;
}

static int run_verb(const Verb *verb, char **words) {
        _cleanup_free_ char **arguments = NULL;
        const Option *tables[4];
        Error err = {};
        int r;

        report_set_usage(verb->words, verb->synopsis);
        r = option_parse(verb_options(verb, common_options, tables), words, &arguments, &err);
        if (r >= 0 && arg_help) {
                print_verb_help(verb);
                return EXIT_DONE;
        }
        if (r >= 0)
                r = arguments_check(verb, arguments, &err);
        if (r >= 0)
                return verb->run(arguments);

        error_prefix(&err, "%s", verb->words);
        error_hint(&err, "quarry help %s", verb->words);
        return report_error(NULL, NULL, &err);
}

/* Options before the verb: --help, --version, --json. Returns how many words they are. */
static int leading_options(char **words, size_t *ret, Error *err) {
        _cleanup_free_ char **left = NULL;
        size_t n = 0;

        while (words[n] && words[n][0] == '-')
                n++;
        char *after = words[n];
        words[n] = NULL;
        int r = option_parse((const Option *[]) { top_options, common_options, NULL }, words, &left, err);
        words[n] = after;
        *ret = n;
        return r;
}

static int run(char **words) {
        size_t n = 0, length = 0;
        Error err = {};

        if (leading_options(words, &n, &err) < 0) {
                error_hint(&err, "quarry help");
                return report_error(NULL, NULL, &err);
        }
        words += n;
        if (arg_version) {
                puts("quarry " QUARRY_VERSION);
                return EXIT_DONE;
        }
        const Verb *verb = verb_find(verbs, words, &length);
        if (verb)
                return run_verb(verb, words + length);
        if (words[0] && words[1] && (streq(words[1], "--help") || streq(words[1], "-h")))
                return verb_help((char *[]) { words[0], NULL });
        if (words[0])
                return unknown_verb(words);

        print_top_help(arg_help ? stdout : stderr);
        return arg_help ? EXIT_DONE : EXIT_USAGE;
}

/* JSON carries only UTF-8; an error about anything else must come out as JSON too where it is wanted. */
static int words_check(char **words, Error *err) {
        bool valid = true;

        for (char **word = words; *word && !streq(*word, "--"); word++)
                arg_json = arg_json || streq(*word, "--json");
        for (char **word = words; *word; word++)
                valid = valid && mbstowcs(NULL, *word, 0) != (size_t) -1;
        return valid ? 0 : error_set(err, ERROR_BAD_REQUEST, 0, "the arguments are not UTF-8");
}

int main(int argc, char **argv) {
        Error err = {};
        int code;

        (void) setlocale(LC_CTYPE, "C.UTF-8"); /* names, labels and JSON are UTF-8 whatever the user's locale is */
        if (argc < 1 || words_check(argv + 1, &err) < 0)
                code = report_error(NULL, NULL, &err);
        else
                code = streq(program_invocation_short_name, HELPER_NAME) ? helper_run(argc, argv) : run(argv + 1);

        if (fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "quarry: cannot write the output: %s\n", strerror(errno));
                return code == EXIT_DONE ? EXIT_FAILED : code;
        }
        return code;
}
