#include "table.h"

#include "filter.h"
#include "must.h"
#include "report.h"

#include <quarry/text.h>

TableOptions table_options;

const Option table_option_rows[] = {
        { 'o', "output", "COLUMNS", "Columns: A,B; +C adds one; help lists them", option_string,
          &table_options.columns },
        { 0, "sort", "COLUMN", "Sort by it; -COLUMN: from the other end", option_string, &table_options.sort },
        TABLE_FILTER_OPTION,
        { 0, "no-legend", NULL, "Leave out the headings", option_flag, &table_options.no_legend },
        { 0, "bytes", NULL, "Sizes as plain numbers of bytes", option_flag, &table_options.bytes },
        {},
};

#define CUT_WIDTH_MIN 16
#define GAP 2

static Filter filter; /* of table_options */

static const Column *column_find(const Column *columns, const char *name, size_t length) {
        for (; columns->name; columns++)
                if (strlen(columns->name) == length && strncmp(columns->name, name, length) == 0)
                        return columns;
        return NULL;
}

const Column *table_column(const Column *columns, const char *name, size_t length) {
        const Column *c = column_find(columns, name, length);

        for (; !c && columns->name; columns++)
                if (columns->also && strlen(columns->also) == length && strncmp(columns->also, name, length) == 0)
                        c = columns;
        return c;
}

/* --- cells ----------------------------------------------------------------------------------------------- */

static sd_json_variant *field_find(sd_json_variant *row, const char *field) {
        const char *dot = strchr(field, '.');

        if (!dot)
                return sd_json_variant_by_key(row, field);
        _cleanup_free_ char *outer = must_have(strndup(field, (size_t) (dot - field)));
        return field_find(sd_json_variant_by_key(row, outer), dot + 1);
}

sd_json_variant *table_cell_value(const Column *c, sd_json_variant *row) {
        return field_find(row, c->field);
}

static bool has_numbers(const Column *c) {
        return c->kind == COLUMN_SIZE || c->kind == COLUMN_NUMBER || c->kind == COLUMN_PERCENT;
}

bool table_cell_number(const Column *c, sd_json_variant *row, uint64_t *ret) {
        sd_json_variant *v = field_find(row, c->field);

        if (!sd_json_variant_is_unsigned(v))
                return false;
        *ret = sd_json_variant_unsigned(v);
        if (c->kind != COLUMN_PERCENT)
                return true;

        uint64_t whole = sd_json_variant_unsigned(field_find(row, c->beside[0]));
        if (whole == 0)
                return false;
        *ret = (uint64_t) (((unsigned __int128) *ret * 100 + whole - 1) / whole); /* 0 only for nothing at all */
        return true;
}

static char *size_text(uint64_t bytes) {
        char buf[SIZE_TEXT_MAX];

        return must_have(table_options.bytes ? format_new("%llu", (unsigned long long) bytes)
                                             : strdup(size_format(bytes, buf)));
}

char *table_size(sd_json_variant *v) {
        return sd_json_variant_is_unsigned(v) ? size_text(sd_json_variant_unsigned(v))
                                              : must_have(strdup(TABLE_NOTHING));
}

/* One text for each element: "value" of an array, "key=value" of an object. */
static char **variant_texts(sd_json_variant *v) {
        char **texts = NULL;

        if (sd_json_variant_is_string(v))
                must(strv_append(&texts, sd_json_variant_string(v)));
        else if (sd_json_variant_is_boolean(v))
                must(strv_append(&texts, sd_json_variant_boolean(v) ? "yes" : "no"));
        else if (sd_json_variant_is_array(v))
                for (size_t i = 0; i < sd_json_variant_elements(v); i++) {
                        sd_json_variant *e = sd_json_variant_by_index(v, i);
                        if (sd_json_variant_is_string(e))
                                must(strv_append(&texts, sd_json_variant_string(e)));
                }
        else if (sd_json_variant_is_object(v))
                for (size_t i = 0; i + 1 < sd_json_variant_elements(v); i += 2) {
                        _cleanup_free_ char *pair = must_have(
                                format_new("%s=%s", sd_json_variant_string(sd_json_variant_by_index(v, i)),
                                           sd_json_variant_string(sd_json_variant_by_index(v, i + 1))));
                        must(strv_append(&texts, pair));
                }
        return texts;
}

char **table_cell_texts(const Column *c, sd_json_variant *row) {
        char **texts = NULL;
        uint64_t number;

        if (c->texts)
                return c->texts(row);
        if (!has_numbers(c))
                return variant_texts(field_find(row, c->field));
        if (!table_cell_number(c, row, &number))
                return NULL;

        _cleanup_free_ char *text = c->kind == COLUMN_SIZE
                                            ? size_text(number)
                                            : must_have(format_new("%llu%s", (unsigned long long) number,
                                                                   c->kind == COLUMN_PERCENT ? "%" : ""));
        must(strv_append(&texts, text));
        return texts;
}

/* What is shown: one line without control characters, whatever a label or a path contains. */
static char *cell_line(const Column *c, sd_json_variant *row) {
        _cleanup_strv_ char **texts = table_cell_texts(c, row);
        char *line = NULL;

        for (size_t i = 0; texts && texts[i]; i++) {
                char *longer = must_have(format_new("%s%s%s", line ?: "", line ? "," : "", texts[i]));
                free(line);
                line = longer;
        }
        if (isempty(line)) {
                free(line);
                return must_have(strdup(TABLE_NOTHING));
        }
        text_clean(line);
        return line;
}

/* --- options --------------------------------------------------------------------------------------------- */

static void columns_help(const Column *columns) {
        size_t name = 0, meaning = 0;

        for (const Column *c = columns; c->name; c++) {
                name = strlen(c->name) > name ? strlen(c->name) : name;
                meaning = strlen(c->meaning) > meaning ? strlen(c->meaning) : meaning;
        }
        if (!table_options.no_legend)
                printf("%-*s  %-*s  %s\n", (int) name, "COLUMN", (int) meaning, "MEANING", "JSON");
        for (const Column *c = columns; c->name; c++)
                printf("%-*s  %-*s  %s\n", (int) name, c->name, (int) meaning, c->meaning, c->field);
}

static void columns_help_json(const Column *columns) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL, *document = NULL;

        for (const Column *c = columns; c->name; c++)
                must(sd_json_variant_append_arraybo(
                                &list,
                                SD_JSON_BUILD_PAIR_STRING("name", c->name),
                                SD_JSON_BUILD_PAIR_STRING("meaning", c->meaning),
                                SD_JSON_BUILD_PAIR_STRING("member", c->field)));
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("columns", list)));
        report_document(document);
}

static int column_check(const Column *columns, const char *option, const char *name, size_t length, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (column_find(columns, name, length))
                return 0;
        _cleanup_free_ char *copy = must_have(strndup(name, length));
        error_field(err, option, "%s: there is no column \"%s\"", option, text_echo(copy, echo));
        error_hint(err, "-o help tells which there are");
        return error_code(err);
}

/* Calls for each name between commas; stops at an error. */
static int columns_check(const Column *columns, const char *list, Error *err) {
        for (const char *name = list + (*list == '+' ? 1 : 0);; name++) {
                size_t length = strcspn(name, ",");
                int r = column_check(columns, "-o", name, length, err);

                if (r < 0)
                        return r;
                name += length;
                if (!*name)
                        return 0;
        }
}

int table_check_options(const Column *columns, Error *err) {
        const TableOptions *o = &table_options;
        int r = 0;

        if (o->columns && streq(o->columns, "help")) {
                (arg_json ? columns_help_json : columns_help)(columns);
                return 1;
        }
        if (o->columns)
                r = columns_check(columns, o->columns, err);
        if (r >= 0 && o->sort)
                r = column_check(columns, "--sort", o->sort + (*o->sort == '-' ? 1 : 0),
                                 strlen(o->sort) - (*o->sort == '-' ? 1 : 0), err);
        if (r >= 0)
                r = filter_parse(columns, o->filters, &filter, err);
        return r < 0 ? r : 0;
}

/* --- columns --------------------------------------------------------------------------------------------- */

/* The chosen ones, in their order; to be freed. */
static const Column **columns_choose(const Column *columns, size_t *ret_n) {
        const char *list = table_options.columns;
        size_t n = 0, room = list ? strlen(list) : 0;

        for (const Column *c = columns; c->name; c++)
                room++;
        const Column **chosen = must_have(calloc(room, sizeof(Column *)));

        for (const Column *c = columns; c->name && (!list || *list == '+'); c++)
                if (c->shown)
                        chosen[n++] = c;
        for (const char *name = list ? list + (*list == '+') : ""; *name; name += strspn(name, ",")) {
                size_t length = strcspn(name, ",");
                const Column *c = column_find(columns, name, length);

                if (c)
                        chosen[n++] = c;
                name += length;
        }
        *ret_n = n;
        return chosen;
}

static void member_add(char ***members, const char *field) {
        _cleanup_free_ char *member = must_have(strndup(field, strcspn(field, ".")));

        if (!strv_contains(*members, member))
                must(strv_append(members, member));
}

static void column_add_members(const Column *c, char ***members) {
        member_add(members, c->field);
        for (size_t i = 0; i < BESIDE_MAX && c->beside[i]; i++)
                member_add(members, c->beside[i]);
}

static char **shown_members(const Column *columns) {
        char **members = NULL;
        size_t n;
        _cleanup_free_ const Column **chosen = columns_choose(columns, &n);

        for (size_t i = 0; i < n; i++)
                column_add_members(chosen[i], &members);
        return members;
}

char **table_members(const Column *columns) {
        const char *sort = table_options.sort ?: columns->name;

        if (arg_json && !table_options.columns)
                return NULL;
        char **members = shown_members(columns);
        column_add_members(columns, &members); /* rows are sorted by the first column, too */
        sort += *sort == '-';
        column_add_members(column_find(columns, sort, strlen(sort)), &members);
        for (size_t i = 0; i < filter.n; i++)
                column_add_members(filter.terms[i].column, &members);
        return members;
}

/* --- selecting ------------------------------------------------------------------------------------------- */

typedef struct SortRow {
        sd_json_variant *row;
        char *text, *first; /* of the column that is sorted by, and of the first one, which decides between equals */
        uint64_t number;
        bool has_number, reverse;
} SortRow;

static int sort_compare(const void *a, const void *b) {
        const SortRow *x = a, *y = b;
        int c;

        if (x->has_number != y->has_number)
                c = x->has_number ? 1 : -1;
        else if (x->has_number)
                c = x->number < y->number ? -1 : x->number > y->number;
        else
                c = natural_compare(x->text, y->text);
        if (c != 0)
                return x->reverse ? -c : c;
        return natural_compare(x->first, y->first);
}

static void sort_rows(const Column *columns, sd_json_variant **rows, size_t n) {
        const char *by = table_options.sort ?: columns->name;
        bool reverse = *by == '-';
        const Column *c = column_find(columns, by + reverse, strlen(by + reverse));
        _cleanup_free_ SortRow *sort = must_have(calloc(n + 1, sizeof(SortRow)));

        if (!c)
                c = columns; /* never: table_check_options() has seen to it */
        for (size_t i = 0; i < n; i++) {
                sort[i] = (SortRow) {
                        .row = rows[i],
                        .text = cell_line(c, rows[i]),
                        .first = cell_line(columns, rows[i]),
                        .reverse = reverse,
                };
                sort[i].has_number = has_numbers(c) && table_cell_number(c, rows[i], &sort[i].number);
        }
        qsort(sort, n, sizeof(SortRow), sort_compare);
        for (size_t i = 0; i < n; i++) {
                rows[i] = sort[i].row;
                free(sort[i].text);
                free(sort[i].first);
        }
}

static sd_json_variant *row_reduce(sd_json_variant *row, char *const *members) {
        _cleanup_free_ sd_json_variant **pairs = must_have(calloc(sd_json_variant_elements(row) + 1, sizeof(*pairs)));
        sd_json_variant *reduced = NULL;
        size_t n = 0;

        for (size_t i = 0; i + 1 < sd_json_variant_elements(row); i += 2) {
                sd_json_variant *name = sd_json_variant_by_index(row, i);

                if (!strv_contains(members, sd_json_variant_string(name)))
                        continue;
                pairs[n++] = name;
                pairs[n++] = sd_json_variant_by_index(row, i + 1);
        }
        must(sd_json_variant_new_object(&reduced, pairs, n));
        return reduced;
}

static sd_json_variant *rows_reduce(const Column *columns, sd_json_variant *rows) {
        _cleanup_strv_ char **members = shown_members(columns);
        sd_json_variant *reduced = NULL;

        must(sd_json_variant_new_array(&reduced, NULL, 0));
        for (size_t i = 0; i < sd_json_variant_elements(rows); i++) {
                _cleanup_(sd_json_variant_unrefp)
                sd_json_variant *row = row_reduce(sd_json_variant_by_index(rows, i), members);

                must(sd_json_variant_append_array(&reduced, row));
        }
        return reduced;
}

sd_json_variant *table_select(const Column *columns, sd_json_variant *rows) {
        size_t n = sd_json_variant_elements(rows), kept = 0;
        _cleanup_free_ sd_json_variant **list = must_have(calloc(n + 1, sizeof(sd_json_variant *)));
        sd_json_variant *selected = NULL;

        for (size_t i = 0; i < n; i++) {
                sd_json_variant *row = sd_json_variant_by_index(rows, i);

                if (filter_matches(&filter, row))
                        list[kept++] = row;
        }
        sort_rows(columns, list, kept);
        must(sd_json_variant_new_array(&selected, list, kept));
        if (!arg_json || !table_options.columns)
                return selected;

        sd_json_variant *reduced = rows_reduce(columns, selected);
        sd_json_variant_unref(selected);
        return reduced;
}

/* --- printing -------------------------------------------------------------------------------------------- */

typedef struct Grid {
        const Column **columns; /* the chosen ones */
        size_t *widths;
        size_t n_columns, n_rows;
        char **cells; /* row after row */
} Grid;

static void grid_done(Grid *grid) {
        for (size_t i = 0; i < grid->n_rows * grid->n_columns; i++)
                free(grid->cells[i]);
        free(grid->cells);
        free(grid->widths);
        free(grid->columns);
}

static void grid_fill(Grid *grid, sd_json_variant *rows) {
        size_t n = grid->n_columns;

        grid->n_rows = sd_json_variant_elements(rows);
        grid->cells = must_have(calloc(n * grid->n_rows + 1, sizeof(char *)));
        for (size_t i = 0; i < n; i++)
                grid->widths[i] = table_options.no_legend ? 1 : strlen(grid->columns[i]->title);

        for (size_t i = 0; i < n * grid->n_rows; i++) {
                grid->cells[i] = cell_line(grid->columns[i % n], sd_json_variant_by_index(rows, i / n));
                size_t width = text_width(grid->cells[i]);
                if (width > grid->widths[i % n])
                        grid->widths[i % n] = width;
        }
}

/* Takes from the columns that may be cut, from the right: a name that is cut cannot be typed, so it stays longest. */
static void grid_fit(Grid *grid, size_t available) {
        size_t total = (grid->n_columns - 1) * GAP;

        for (size_t i = 0; i < grid->n_columns; i++)
                total += grid->widths[i];
        for (size_t i = grid->n_columns; i-- > 0 && total > available;) {
                size_t excess = total - available;

                if (grid->columns[i]->cut == CUT_NOTHING || grid->widths[i] <= CUT_WIDTH_MIN)
                        continue;
                if (excess > grid->widths[i] - CUT_WIDTH_MIN)
                        excess = grid->widths[i] - CUT_WIDTH_MIN;
                grid->widths[i] -= excess;
                total -= excess;
        }
}

/* No spaces behind the last cell of a line. */
static void grid_print_cell(const Grid *grid, size_t i, const char *text) {
        bool right = has_numbers(grid->columns[i]), last = i == grid->n_columns - 1;
        size_t have = text_width(text);
        int pad = have < grid->widths[i] ? (int) (grid->widths[i] - have) : 0;

        printf("%*s%s%*s", right ? pad : 0, "", text, right || last ? 0 : pad, "");
        if (!last)
                printf("%*s", GAP, "");
}

static void grid_print(const Grid *grid) {
        size_t n = grid->n_columns;

        if (!table_options.no_legend) {
                fputs(terminal_style(stdout, STYLE_BOLD), stdout);
                for (size_t i = 0; i < n; i++)
                        grid_print_cell(grid, i, grid->columns[i]->title);
                puts(terminal_style(stdout, STYLE_END));
        }
        for (size_t i = 0; i < n * grid->n_rows; i++) {
                _cleanup_free_ char *text = text_cut(grid->cells[i], grid->widths[i % n], grid->columns[i % n]->cut);

                grid_print_cell(grid, i % n, text);
                if (i % n == n - 1)
                        putchar('\n');
        }
}

void table_print(const Column *columns, sd_json_variant *rows) {
        _cleanup_(grid_done) Grid grid = {};
        size_t available = terminal_width(stdout);

        grid.columns = columns_choose(columns, &grid.n_columns);
        grid.widths = must_have(calloc(grid.n_columns + 1, sizeof(size_t)));
        grid_fill(&grid, rows);
        if (available > 0)
                grid_fit(&grid, available);
        grid_print(&grid);
}

sd_json_variant *table_first(sd_json_variant *rows, size_t n) {
        sd_json_variant *first = NULL;

        must(sd_json_variant_new_array(&first, NULL, 0));
        for (size_t i = 0; i < n && i < sd_json_variant_elements(rows); i++)
                must(sd_json_variant_append_array(&first, sd_json_variant_by_index(rows, i)));
        return first;
}

size_t table_print_beside(const Column *columns, sd_json_variant *rows, const char *sort, size_t n) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *sorted = NULL, *first = NULL;
        TableOptions options = table_options;
        Filter terms = filter;

        table_options = (TableOptions) { .sort = sort, .no_legend = options.no_legend, .bytes = options.bytes };
        filter = (Filter) {};
        sorted = table_select(columns, rows);
        first = table_first(sorted, n);
        table_print(columns, first);
        table_options = options;
        filter = terms;
        return sd_json_variant_elements(rows) - sd_json_variant_elements(first);
}
