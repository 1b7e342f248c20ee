#pragma once

/* Listings: one registry of columns decides what -o, --sort and --filter know and what -o help says. */

#include <quarry/error.h>

#include "option.h"
#include "terminal.h"

typedef enum ColumnKind {
        COLUMN_TEXT,    /* sorted as people sort: web2 before web10 */
        COLUMN_YES,     /* yes or no */
        COLUMN_TIME,    /* RFC 3339, in UTC */
        COLUMN_SIZE,    /* bytes */
        COLUMN_NUMBER,
        COLUMN_PERCENT,
} ColumnKind;

#define BESIDE_MAX 4

typedef struct Column {
        const char *name;  /* as typed; NULL ends a registry */
        const char *title;
        const char *meaning;
        const char *field; /* member of the JSON object it comes from; "a.b" is member b of a */
        ColumnKind kind;
        bool shown;        /* in the table without -o */
        Cut cut;           /* where it may be shortened when the terminal is too narrow */

        /* For what is not just the member: the texts of a cell, none if there is nothing to say. A filter
         * matches if it matches any of them. */
        char **(*texts)(sd_json_variant *row);
        /* Other members that it looks at. COLUMN_PERCENT: 100 times field is divided by the first. */
        const char *beside[BESIDE_MAX];
        const char *values; /* all that a text can be, separated by spaces; NULL: anything */
        const char *also;   /* another name for it in a filter, or NULL */
} Column;

typedef struct TableOptions {
        const char *columns, *sort;
        char **filters;
        bool no_legend, bytes;
} TableOptions;

extern TableOptions table_options;

/* The options of every listing. */
extern const Option table_option_rows[];

/* One of them, for a verb that lists without a table. */
#define TABLE_FILTER_OPTION \
        { 0, "filter", "FILTER", "Only these, all must match: size>10G,name=db*", option_list, &table_options.filters }

/* Before the daemon is asked: whether the options name columns, and the filter makes sense. Returns 1 if only the list
 * of columns was asked for, which is printed then. */
int table_check_options(const Column *columns, Error *err);

/* The members of an object that the options ask for or need: what a list must tell. NULL: all. To be freed. */
char **table_members(const Column *columns);

/* Filters and sorts an array of objects. With --json and -o only the members of the chosen columns are left in them. */
sd_json_variant *table_select(const Column *columns, sd_json_variant *rows);

void table_print(const Column *columns, sd_json_variant *rows);

/* Another table beside the one that the options are about: its usual columns, all rows, sorted like this. Only the
 * first n are printed, and the number of the others is returned. */
size_t table_print_beside(const Column *columns, sd_json_variant *rows, const char *sort, size_t n);

/* The first n of an array; the caller owns the result. */
sd_json_variant *table_first(sd_json_variant *rows, size_t n);

/* "10G", or the plain number with --bytes; "-" where v is no number. To be freed. */
char *table_size(sd_json_variant *v);

/* --- for filters --- */

#define TABLE_NOTHING "-" /* a cell without value */

const Column *table_column(const Column *columns, const char *name, size_t length);
sd_json_variant *table_cell_value(const Column *column, sd_json_variant *row);
/* False if the row has none. */
bool table_cell_number(const Column *column, sd_json_variant *row, uint64_t *ret);
/* None if there is nothing to say; to be freed. */
char **table_cell_texts(const Column *column, sd_json_variant *row);
