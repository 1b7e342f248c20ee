#pragma once

#include <sqlite3.h>

#include <quarry/error.h>

/* What the small tables have in common. */

/* A column's text; NULL is "". */
const char *table_text(sqlite3_stmt *statement, int column);
/* NULL is NULL. */
const char *table_text_or_null(sqlite3_stmt *statement, int column);

/* Room for one more in a list that has n elements of this size: its room is a power of two. -ENOMEM. */
int table_list_grow(void *list, size_t n, size_t size);

/* Calls back for each row of a query, which returns -ENOMEM, or another negative errno for a row that breaks a rule.
 * what: the rows, for the error. */
int table_each_row(sqlite3 *db, const char *sql, const char *what, int (*on_row)(sqlite3_stmt *s, void *userdata),
                   void *userdata, Error *err);

/* Runs a prepared statement, and lets it go. */
int table_finish(sqlite3 *db, sqlite3_stmt *statement, Error *err);
