#pragma once

/* Options as tables: what is parsed and what --help says come from the same rows. */

#include <quarry/error.h>

typedef struct Option Option;

/* Stores value (NULL for a flag) at option->target. ERROR_BAD_REQUEST with the rule that it breaks. */
typedef int (*OptionParser)(const Option *option, const char *value, Error *err);

struct Option {
        char letter;          /* 0: only the long form */
        const char *name;     /* without the dashes; NULL ends a table */
        const char *argument; /* what the value is, in capitals; NULL: a flag */
        const char *help;     /* one line */
        OptionParser parse;
        void *target;
};

int option_flag(const Option *option, const char *value, Error *err);   /* bool */
int option_string(const Option *option, const char *value, Error *err); /* const char *, the last one counts */
int option_output(const Option *option, const char *value, Error *err); /* the same; NULL for "-", standard output */
/* The file of that, to be read and written: nothing is written over, ERROR_VOLUME_EXISTS. Returns a descriptor. */
int output_make(const char *path, Error *err);
int option_list(const Option *option, const char *value, Error *err);   /* char **, all of them */
int option_label(const Option *option, const char *value, Error *err);  /* char **, each "key=value" */
int option_size(const Option *option, const char *value, Error *err);   /* uint64_t, bytes, never 0 */
int option_mode(const Option *option, const char *value, Error *err);   /* OptionNumber */
int option_switch(const Option *option, const char *value, Error *err); /* OptionNumber: 1, of --no-... 0 */
int option_user(const Option *option, const char *value, Error *err);   /* OptionNumber, by name or number */
int option_group(const Option *option, const char *value, Error *err);  /* OptionNumber, by name or number */

typedef struct OptionNumber {
        bool set;
        uint32_t value;
} OptionNumber;

/* Parses argv up to its end: options of the tables, NULL-terminated, anywhere; "--" ends them. What is left goes
 * to *ret, whose strings are argv's; free() it. */
int option_parse(const Option *const *tables, char **argv, char ***ret, Error *err);

/* The rows of the tables for --help, aligned. */
void option_print(const Option *const *tables);
