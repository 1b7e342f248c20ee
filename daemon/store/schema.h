#pragma once

#include <sqlite3.h>

#include <quarry/error.h>

/* Opens or makes the database in a folder and brings the schema to the newest version, one migration after the
 * other, each in a transaction. Refuses a catalog that a newer quarry has written. *ret is set in any case, as SQLite
 * does: to be closed. */
int schema_open(const char *folder, sqlite3 **ret, Error *err);

/* Writes to the disk, and changes nothing. */
int schema_touch(sqlite3 *db, Error *err);

/* Whether SQLite finds the database whole. */
int schema_check(sqlite3 *db, Error *err);

/* Fills err from the connection's last error. */
int sqlite_error(sqlite3 *db, Error *err, const char *what);
