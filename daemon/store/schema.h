#pragma once

#include <sqlite3.h>

#include <quarry/error.h>

/* Sets the connection up and brings the schema to the newest version, one migration after the other, each in
 * a transaction. Refuses a catalog that a newer quarry has written. Keeps it smaller than the disk of its folder. */
int schema_prepare(sqlite3 *db, const char *folder, Error *err);

/* Fills err from the connection's last error. */
int sqlite_error(sqlite3 *db, Error *err, const char *what);
