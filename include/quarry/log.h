#pragma once

/* Log lines go to the journal (stderr when that is not a journal stream). The object a line is about is
 * a parameter, so that every line carries it: QUARRY_OBJECT= in the journal, "object: text" for people.
 *
 * Mechanism (lib, kernel) logs at debug at most; exactly one level above logs an error. */

#include <quarry/base.h>
#include <quarry/error.h>

#include <syslog.h>

void log_open(const char *program); /* reads QUARRY_DEBUG=1 for debug lines */
bool log_debug_enabled(void);

void log_write(int priority, const char *object, const char *format, ...) _printf_(3, 4);

/* With fields of its own, "NAME=value", which only the journal has. */
void log_write_fields(int priority, const char *object, const char *text, char *const *fields, size_t n);

#define log_debug(object, ...) (log_debug_enabled() ? log_write(LOG_DEBUG, object, __VA_ARGS__) : (void) 0)
#define log_info(object, ...) log_write(LOG_INFO, object, __VA_ARGS__)
#define log_warning(object, ...) log_write(LOG_WARNING, object, __VA_ARGS__)
#define log_error(object, ...) log_write(LOG_ERR, object, __VA_ARGS__)

/* One line for an error object: "context: text (step, hint)". Returns error_code(err). */
int log_failure(const char *object, const Error *err, const char *context);
