#include "filter.h"

#include "must.h"
#include "when.h"

#include <fnmatch.h>
#include <quarry/text.h>
#include <time.h>

static const char *const operators[] = {
        [FILTER_IS] = "=",       [FILTER_IS_NOT] = "!=", [FILTER_LESS] = "<",
        [FILTER_AT_MOST] = "<=", [FILTER_MORE] = ">",    [FILTER_AT_LEAST] = ">=",
};

#define OPERATOR_CHARACTERS "=!<>"
#define WILDCARDS "*?["

/* --- values ---------------------------------------------------------------------------------------------- */

static bool time_parse(const char *text, time_t *ret) {
        struct tm tm = {};
        const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

        if (!rest || *rest)
                return false;
        *ret = timegm(&tm);
        return true;
}

static int percent_parse(const char *text, uint64_t *ret) {
        _cleanup_free_ char *digits = must_have(strdup(text));
        size_t n = strlen(digits);

        if (n > 0 && digits[n - 1] == '%')
                digits[n - 1] = 0;
        return number_parse(digits, ret);
}

/* -EINVAL for a column without numbers, too. */
static int column_parse_number(const Column *c, const char *text, uint64_t *ret) {
        switch (c->kind) {
        case COLUMN_SIZE:
                return size_parse(text, ret);
        case COLUMN_NUMBER:
                return number_parse(text, ret);
        case COLUMN_PERCENT:
                return percent_parse(text, ret);
        case COLUMN_TIME:
                return when_parse_span(text, ret);
        default:
                return -EINVAL;
        }
}

static int refuse_value(const Column *c, const char *value, Error *err) {
        static const char *const rules[] = {
                [COLUMN_SIZE] = "size: write a number with K, M, G, T or P, such as 10G",
                [COLUMN_NUMBER] = "number",
                [COLUMN_PERCENT] = "number of percent, such as 80",
                [COLUMN_TIME] = "span of time: write a number with s, m, h, d or w, such as 7d",
        };
        char echo[TEXT_ECHO_MAX];

        return error_field(err, "--filter", "--filter: %s: \"%s\" is not a %s", c->name, text_echo(value, echo),
                           rules[c->kind]);
}

/* Whether one of the words, which are separated by spaces, matches. */
static bool word_matches(const char *words, const char *pattern) {
        for (const char *word = words; *word; word += strspn(word, " ")) {
                size_t n = strcspn(word, " ");
                _cleanup_free_ char *copy = must_have(strndup(word, n));

                if (fnmatch(pattern, copy, 0) == 0)
                        return true;
                word += n;
        }
        return false;
}

/* What could never match was not meant. */
static int pattern_check(const Column *c, FilterTerm *term, Error *err) {
        const char *pattern = term->pattern, *words = c->kind == COLUMN_YES ? "yes no" : c->values;
        char echo[TEXT_ECHO_MAX];
        time_t ignored;

        if (streq(pattern, TABLE_NOTHING))
                return 0;
        if (words)
                return word_matches(words, pattern)
                               ? 0
                               : error_field(err, "--filter", "--filter: %s is one of: %s; not \"%s\"", c->name, words,
                                             text_echo(pattern, echo));
        if (c->kind == COLUMN_TEXT || (c->kind != COLUMN_SIZE && strpbrk(pattern, WILDCARDS)))
                return 0;
        if (c->kind == COLUMN_TIME)
                return time_parse(pattern, &ignored)
                               ? 0
                               : error_field(err, "--filter",
                                             "--filter: %s: \"%s\" is not a time; for its age write %s<7d or %s>7d, "
                                             "for a day %s=2026-11-27*",
                                             c->name, text_echo(pattern, echo), c->name, c->name, c->name);
        term->has_number = column_parse_number(c, pattern, &term->number) >= 0;
        return term->has_number ? 0 : refuse_value(c, pattern, err);
}

static int value_check(FilterTerm *term, Error *err) {
        const Column *c = term->column;

        if (term->operator== FILTER_IS || term->operator== FILTER_IS_NOT)
                return pattern_check(c, term, err);
        if (c->kind == COLUMN_TEXT || c->kind == COLUMN_YES)
                return error_field(err, "--filter",
                                   "--filter: %s is no size, number or time: it can be compared with = and !=, not "
                                   "with %s",
                                   c->name, operators[term->operator]);
        if (column_parse_number(c, term->pattern, &term->number) < 0)
                return refuse_value(c, term->pattern, err);
        term->has_number = true;
        return 0;
}

/* --- terms ----------------------------------------------------------------------------------------------- */

/* "name, size, ...", or only of one kind; to be freed */
static char *columns_list(const Column *columns, bool yes_only) {
        char *list = must_have(strdup(""));

        for (const Column *c = columns; c->name; c++) {
                if (yes_only && c->kind != COLUMN_YES)
                        continue;
                char *longer = must_have(
                        format_new("%s%s%s%s%s", list, *list ? ", " : "", c->name, c->also ? ", " : "", c->also ?: ""));
                free(list);
                list = longer;
        }
        return list;
}

static int refuse_term(const Column *columns, const char *text, const char *term, Error *err) {
        _cleanup_free_ char *alone = columns_list(columns, true);
        char echo[TEXT_ECHO_MAX];

        error_field(err, "--filter", "--filter: \"%s\" is not COLUMN=VALUE%s%s%s", text_echo(term, echo),
                    *alone ? ", nor one of: " : "", alone,
                    strchr(text, ',') ? "; a comma that belongs to a value is written \\," : "");
        error_hint(err, "-o help tells which columns there are");
        return error_code(err);
}

static int refuse_column(const Column *columns, const char *name, size_t length, Error *err) {
        _cleanup_free_ char *list = columns_list(columns, false), *copy = must_have(strndup(name, length));
        char echo[TEXT_ECHO_MAX];

        error_field(err, "--filter", "--filter: there is no column \"%s\"; there are: %s", text_echo(copy, echo), list);
        error_hint(err, "-o help tells what they mean");
        return error_code(err);
}

/* The longest that is there: "<=" is not "<". Returns its length, or 0. */
static size_t operator_parse(const char *text, FilterOperator *ret) {
        size_t length = 0;

        for (size_t i = 0; i < ELEMENTSOF(operators); i++)
                if (startswith(text, operators[i]) && strlen(operators[i]) > length) {
                        length = strlen(operators[i]);
                        *ret = (FilterOperator) i;
                }
        return length;
}

static int term_parse(const Column *columns, const char *text, const char *term, FilterTerm *ret, Error *err) {
        size_t length = strcspn(term, OPERATOR_CHARACTERS), n;

        ret->column = table_column(columns, term, length);
        n = operator_parse(term + length, &ret->operator);
        if (n == 0 && !(ret->column && ret->column->kind == COLUMN_YES && !term[length]))
                return refuse_term(columns, text, term, err);
        if (!ret->column)
                return refuse_column(columns, term, length, err);
        ret->pattern = must_have(strdup(n == 0 ? "yes" : term + length + n));
        return value_check(ret, err);
}

/* Up to the next comma that no backslash stands before. */
static size_t term_length(const char *text) {
        size_t n = 0;

        while (text[n] && text[n] != ',')
                n += text[n] == '\\' && text[n + 1] ? 2 : 1;
        return n;
}

static int terms_parse(const Column *columns, const char *text, Filter *filter, Error *err) {
        for (const char *rest = text;; rest++) {
                rest += strspn(rest, " ");
                size_t length = term_length(rest);
                _cleanup_free_ char *term = must_have(strndup(rest, length));

                filter->terms = must_have(reallocarray(filter->terms, filter->n + 1, sizeof(FilterTerm)));
                filter->terms[filter->n++] = (FilterTerm) {};
                int r = term_parse(columns, text, term, &filter->terms[filter->n - 1], err);
                if (r < 0)
                        return r;
                rest += length;
                if (!*rest)
                        return 0;
        }
}

int filter_parse(const Column *columns, char *const *texts, Filter *ret, Error *err) {
        _cleanup_(filter_done) Filter filter = { .now = time(NULL) };

        for (; texts && *texts; texts++) {
                int r = terms_parse(columns, *texts, &filter, err);

                if (r < 0)
                        return r;
        }
        *ret = filter;
        filter = (Filter) {};
        return 0;
}

void filter_done(Filter *filter) {
        for (size_t i = 0; i < filter->n; i++)
                free(filter->terms[i].pattern);
        free(filter->terms);
        *filter = (Filter) {};
}

/* --- matching -------------------------------------------------------------------------------------------- */

/* A list matches by any of its texts, and "key=value" also by its key alone. */
static bool text_matches(const char *text, const char *pattern, bool is_map) {
        if (streq(text, pattern) || fnmatch(pattern, text, 0) == 0)
                return true;
        const char *equal = strchr(text, '=');
        return is_map && equal && strlen(pattern) == (size_t) (equal - text) &&
               strncmp(text, pattern, strlen(pattern)) == 0;
}

static bool cell_is(const FilterTerm *term, sd_json_variant *row) {
        const Column *c = term->column;
        uint64_t number;

        if (term->has_number)
                return table_cell_number(c, row, &number) && number == term->number;

        _cleanup_strv_ char **texts = table_cell_texts(c, row);
        if (strv_length(texts) == 0)
                return streq(term->pattern, TABLE_NOTHING);
        for (size_t i = 0; texts[i]; i++)
                if (text_matches(texts[i], term->pattern, sd_json_variant_is_object(table_cell_value(c, row))))
                        return true;
        return false;
}

/* Of a time how many seconds it is from now, before or behind. */
static bool cell_amount(const Filter *filter, const Column *c, sd_json_variant *row, uint64_t *ret) {
        sd_json_variant *v = table_cell_value(c, row);
        time_t at;

        if (c->kind != COLUMN_TIME)
                return table_cell_number(c, row, ret);
        if (!sd_json_variant_is_string(v) || !time_parse(sd_json_variant_string(v), &at))
                return false;
        *ret = (uint64_t) (at < filter->now ? filter->now - at : at - filter->now);
        return true;
}

static bool term_matches(const Filter *filter, const FilterTerm *term, sd_json_variant *row) {
        uint64_t amount = 0;

        if (term->operator== FILTER_IS || term->operator== FILTER_IS_NOT)
                return cell_is(term, row) == (term->operator== FILTER_IS);
        if (!cell_amount(filter, term->column, row, &amount))
                return false; /* what is not known is neither less nor more */
        switch (term->operator) {
        case FILTER_LESS:
                return amount < term->number;
        case FILTER_AT_MOST:
                return amount <= term->number;
        case FILTER_MORE:
                return amount > term->number;
        default:
                return amount >= term->number;
        }
}

bool filter_matches(const Filter *filter, sd_json_variant *row) {
        for (size_t i = 0; i < filter->n; i++)
                if (!term_matches(filter, &filter->terms[i], row))
                        return false;
        return true;
}
