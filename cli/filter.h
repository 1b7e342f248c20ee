#pragma once

/* What --filter says: terms, separated by commas or given one by one, all of which a row must match.
 *
 *   COLUMN=PATTERN  COLUMN!=PATTERN    * and ? match, - is no value; a list matches by any of its texts
 *   COLUMN<VALUE  <=  >  >=            of sizes and numbers; of times: how far that is from now, such as 7d
 *   COLUMN                             of one that is yes or no: yes
 *
 * A comma that belongs to a pattern is written "\,". */

#include "table.h"

typedef enum FilterOperator {
        FILTER_IS,
        FILTER_IS_NOT,
        FILTER_LESS,
        FILTER_AT_MOST,
        FILTER_MORE,
        FILTER_AT_LEAST,
} FilterOperator;

typedef struct FilterTerm {
        const Column *column;
        FilterOperator operator;
        char *pattern;
        bool has_number; /* the pattern is one: bytes, seconds of a time, or what the column counts */
        uint64_t number;
} FilterTerm;

typedef struct Filter {
        FilterTerm *terms;
        size_t n;
        time_t now;
} Filter;

/* ERROR_BAD_REQUEST that says what there is where a term names no column, or a value that a column never has. */
int filter_parse(const Column *columns, char *const *texts, Filter *ret, Error *err);
bool filter_matches(const Filter *filter, sd_json_variant *row);
void filter_done(Filter *filter);
