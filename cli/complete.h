#pragma once

/* What the last word of a command line can be: for the shells, which all ask the same. What an argument or the value
 * of an option is, is told by its name, as help prints it: POOL, NAME@SNAPSHOT, ext4|xfs. */

#include "option.h"
#include "table.h"

typedef struct Verb {
        const char *words;
        const char *synopsis; /* what follows the words */
        const char *summary;  /* one line, begins with a verb */
        const char *text;     /* what one has to know, or NULL */
        const char *examples; /* whole lines */
        const Option *options;
        bool is_listing;   /* has table_option_rows too */
        unsigned min, max; /* number of arguments */
        int (*run)(char **arguments);
        const char *page;      /* of the manual, quarry-PAGE(1); NULL: quarry(1) */
        const Column *columns; /* that its options are about, or NULL */
} Verb;

/* The verb that begins at words, and of how many words it is; NULL if there is none. The table ends with words NULL. */
const Verb *verb_find(const Verb *verbs, char *const *words, size_t *ret_length);

/* All that a verb understands, the general ones last. */
const Option *const *verb_options(const Verb *verb, const Option *common, const Option *ret[static 4]);

/* Prints a line for each possible last word: the word, and behind a tab what it means if that is known. What ends in
 * one of "/=," is not yet whole. Live names are asked of the daemon, which gets two seconds. common: options of every
 * verb; top: of the command without one. */
void complete_print(const Verb *verbs, const Option *common, const Option *top, char **words);
