#pragma once

#include <sqlite3.h>

#include <quarry/error.h>

/* Sets the connection up and brings the schema to the newest version, one migration after the other, each in
 * a transaction. Refuses a catalog that a newer quarry has written. */
int schema_prepare(sqlite3 *db, Error *err);

/* Whether SQLite finds the database whole. */
int schema_check(sqlite3 *db, Error *err);

/* Fills err from the connection's last error. */
int sqlite_error(sqlite3 *db, Error *err, const char *what);
