#include "store/schema.h"

#include <quarry/failpoint.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <sys/statvfs.h>

#define PAGES_MAX UINT64_C(1073741823) /* SQLite's own limit, halved twice */

/* migrations[n] leads from version n to n + 1. Never change one that was released. */
static const char *const migrations[] = {
        "CREATE TABLE volume ("
        "  uuid TEXT NOT NULL PRIMARY KEY,"
        "  thin_id INTEGER NOT NULL UNIQUE,"
        "  tenant TEXT NOT NULL,"
        "  name TEXT NOT NULL,"
        "  state TEXT NOT NULL,"
        "  failure TEXT,"
        "  size INTEGER NOT NULL,"
        "  filesystem TEXT NOT NULL,"
        "  key_source TEXT NOT NULL,"
        "  uid INTEGER NOT NULL,"
        "  gid INTEGER NOT NULL,"
        "  mode INTEGER NOT NULL,"
        "  mkfs_options TEXT NOT NULL," /* one a line */
        "  labels TEXT NOT NULL,"       /* key=value, one a line */
        "  created_usec INTEGER NOT NULL,"
        "  UNIQUE (tenant, name)"
        ") STRICT, WITHOUT ROWID;",
};

int sqlite_error(sqlite3 *db, Error *err, const char *what) {
        int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
        int number = code == SQLITE_FULL         ? ENOSPC
                     : code == SQLITE_NOMEM      ? ENOMEM
                     : code == SQLITE_CONSTRAINT ? EEXIST
                     : code == SQLITE_BUSY       ? EBUSY
                                                 : EIO;

        return error_set(err, code == SQLITE_FULL ? ERROR_NO_SPACE : ERROR_FAILED, number, "cannot %s: %s", what,
                         db ? sqlite3_errmsg(db) : "out of memory");
}

static int on_text(void *userdata, int n, char **values, char **names) {
        char **ret = userdata;

        if (n > 0 && values[0] && !*ret)
                *ret = strdup(values[0]);
        return 0;
}

/* The first value of the first row, as text. */
static int query_text(sqlite3 *db, const char *sql, char **ret, Error *err) {
        _cleanup_free_ char *text = NULL;

        if (sqlite3_exec(db, sql, on_text, &text, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "read the catalog");
        if (!text)
                return error_set(err, ERROR_FAILED, EIO, "the catalog does not answer '%s'", sql);
        *ret = TAKE_PTR(text);
        return 0;
}

static int migrate(sqlite3 *db, unsigned version, Error *err) {
        char version_sql[64];

        buffer_format(version_sql, sizeof(version_sql), "PRAGMA user_version = %u", version + 1);
        if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(db, version_sql, NULL, NULL, NULL) != SQLITE_OK || failpoint("catalog.migration.before") < 0 ||
            sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK || failpoint("catalog.migration.after") < 0) {
                int r = sqlite_error(db, err, "bring the catalog up to date");
                (void) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
                return r;
        }
        return 0;
}

/* A catalog that fills its disk to the last block could not even shrink: a quarter is left to the log. */
static int limit_size(sqlite3 *db, const char *folder, Error *err) {
        _cleanup_free_ char *page_size = NULL;
        char sql[64];
        struct statvfs fs;
        uint64_t page, pages;
        int r;

        r = query_text(db, "PRAGMA page_size", &page_size, err);
        if (r < 0)
                return r;
        if (statvfs(folder, &fs) < 0 || number_parse(page_size, &page) < 0 || page == 0)
                return error_errno(err, errno ?: EIO, "cannot see how large the catalog's disk is");
        pages = (uint64_t) fs.f_blocks * fs.f_frsize / 4 * 3 / page;
        buffer_format(sql, sizeof(sql), "PRAGMA max_page_count = %" PRIu64, pages < PAGES_MAX ? pages : PAGES_MAX);
        return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(db, err, "set the catalog up");
}

int schema_prepare(sqlite3 *db, const char *folder, Error *err) {
        _cleanup_free_ char *integrity = NULL, *version = NULL;
        uint64_t n;
        int r;

        /* FULL: a commit is on the disk when it returns. Exclusive: nobody else writes, and WAL needs no shared
         * memory then. */
        if (sqlite3_exec(db,
                         "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                         "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
                         NULL, NULL, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "set the catalog up");

        r = limit_size(db, folder, err);
        if (r >= 0)
                r = query_text(db, "PRAGMA integrity_check(1)", &integrity, err);
        if (r < 0)
                return r;
        if (!streq(integrity, "ok"))
                return error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the catalog is damaged: %s", integrity);

        r = query_text(db, "PRAGMA user_version", &version, err);
        if (r < 0)
                return r;
        if (number_parse(version, &n) < 0 || n > ELEMENTSOF(migrations))
                return error_set(err, ERROR_POOL_UNAVAILABLE, EPROTONOSUPPORT,
                                 "the catalog was written by a newer quarry (version %s)", version);
        for (; n < ELEMENTSOF(migrations); n++) {
                r = migrate(db, (unsigned) n, err);
                if (r < 0)
                        return r;
        }
        return 0;
}
