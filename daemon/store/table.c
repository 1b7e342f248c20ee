#include "store/table.h"

#include "store/schema.h"

#include <stdlib.h>

const char *table_text_or_null(sqlite3_stmt *s, int column) {
        return (const char *) sqlite3_column_text(s, column);
}

const char *table_text(sqlite3_stmt *s, int column) {
        return table_text_or_null(s, column) ?: "";
}

int table_list_grow(void *list, size_t n, size_t size) {
        void **at = list, *more;

        if ((n & (n - 1)) != 0)
                return 0;
        more = reallocarray(*at, n ? n * 2 : 1, size);
        if (!more)
                return -ENOMEM;
        *at = more;
        return 0;
}

int table_each_row(sqlite3 *db, const char *sql, const char *what, int (*on_row)(sqlite3_stmt *s, void *userdata),
                   void *userdata, Error *err) {
        sqlite3_stmt *s = NULL;
        int r = 0, code;

        if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "read the catalog");
        while ((code = sqlite3_step(s)) == SQLITE_ROW && r >= 0)
                r = on_row(s, userdata);
        if (r == -ENOMEM)
                r = error_oom(err);
        else if (r < 0)
                r = error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "a row of the catalog's %s breaks a rule", what);
        else if (code != SQLITE_DONE)
                r = sqlite_error(db, err, "read the catalog");
        sqlite3_finalize(s);
        return r;
}

int table_finish(sqlite3 *db, sqlite3_stmt *s, Error *err) {
        int r = sqlite3_step(s) == SQLITE_DONE ? 0 : sqlite_error(db, err, "write the catalog");

        sqlite3_finalize(s);
        return r;
}
