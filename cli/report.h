#pragma once

/* What became of a command: results on stdout; failures as sentences on stderr, or with --json as members of
 * the one document on stdout. The document is an object with "version":1; a command that failed as a whole has
 * "error", one that goes through several objects has "errors", each entry with its "object". An error is
 * {"kind","message"} and, where known, "hint","field","step","errorNumber". */

#include <quarry/error.h>

extern bool arg_json;

/* The usage line of the verb that runs, for errors in what was typed; its strings are kept. */
void report_set_usage(const char *words, const char *synopsis);

/* The field of an error about the arguments; one about an option has the option. */
#define FIELD_ARGUMENTS "arguments"

/* The command as a whole failed. action: "cannot create"; object: what it is about; both may be NULL. Returns
 * the exit code. */
int report_error(const char *action, const char *object, const Error *err);

/* Adds "version" to members and prints the document. Returns the exit code. */
int report_document(sd_json_variant *members);

/* A command that goes through several objects: every failure is reported, the first decides the exit code. */
typedef struct Report {
        const char *action; /* "cannot remove" */
        sd_json_variant *done;
        sd_json_variant *errors;
        sd_json_variant *members; /* of the document, beside these; or NULL */
        int exit_code;
} Report;

void report_done(Report *report);
void report_failure(Report *report, const char *object, const Error *err);

/* The object's name on stdout, or in the document. */
void report_success(Report *report, const char *object);

/* A note that the object is still in use, if the daemon's answer names its "users"; the document's member of that name
 * has them by object. */
void report_users(Report *report, const char *object, const char *what, sd_json_variant *reply);

/* Keeps a whole object for the document; prints nothing. */
void report_add(Report *report, sd_json_variant *object);

/* Prints the document, what was done as member field. Returns the exit code. */
int report_finish(Report *report, const char *field);

/* The daemon could not be asked, or went away before it answered. No kind of the shared table, since no daemon
 * says so of itself: in JSON its kind is "Unreachable". */
int error_set_unreachable(Error *err, int number, const char *format, ...) _printf_(3, 4);
bool error_is_unreachable(const Error *err);
