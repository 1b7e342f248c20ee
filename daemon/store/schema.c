#include "store/schema.h"

#include <quarry/failpoint.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <sys/statvfs.h>

#define PAGE_SIZE_DEFAULT 4096u

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
        /* A snapshot is called by what follows the '@', of its origin's UUID: renaming a volume changes one row. */
        "CREATE TABLE thing ("
        "  uuid TEXT NOT NULL PRIMARY KEY,"
        "  role TEXT NOT NULL,"
        "  origin TEXT NOT NULL," /* UUID, or '' */
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
        "  mkfs_options TEXT NOT NULL,"
        "  labels TEXT NOT NULL,"
        "  created_usec INTEGER NOT NULL,"
        "  held INTEGER NOT NULL DEFAULT 0,"
        "  copied INTEGER NOT NULL DEFAULT 0,"
        "  rule TEXT,"
        "  schedule TEXT,"
        "  pending_size INTEGER NOT NULL DEFAULT 0,"
        "  spare_thin_id INTEGER UNIQUE,"
        "  old_name TEXT"
        ") STRICT, WITHOUT ROWID;"
        "INSERT INTO thing (uuid, role, origin, thin_id, tenant, name, state, failure, size, filesystem, key_source,"
        " uid, gid, mode, mkfs_options, labels, created_usec) SELECT uuid, 'volume', '', thin_id, tenant, name, state,"
        " failure, size, filesystem, key_source, uid, gid, mode, mkfs_options, labels, created_usec FROM volume;"
        "DROP TABLE volume;"
        "ALTER TABLE thing RENAME TO volume;"
        "CREATE UNIQUE INDEX volume_name ON volume (tenant, origin, name) WHERE state != 'freeing';"
        "CREATE TABLE schedule_run (" /* of a volume's schedule: when a rule ran last, and why that failed */
        "  volume TEXT NOT NULL,"
        "  rule TEXT NOT NULL,"
        "  base_usec INTEGER NOT NULL," /* it is due when its expression elapses first behind this */
        "  at_usec INTEGER NOT NULL," /* 0: it never ran */
        "  failure TEXT,"
        "  snapshot TEXT," /* UUID of the last that it made */
        "  content TEXT," /* what the volume held then, see step/change.h */
        "  PRIMARY KEY (volume, rule)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TRIGGER volume_gone AFTER DELETE ON volume BEGIN"
        "  DELETE FROM schedule_run WHERE volume = OLD.uuid;"
        " END;"
        "CREATE TABLE setting (" /* of the pool */
        "  name TEXT NOT NULL PRIMARY KEY,"
        "  value TEXT NOT NULL"
        ") STRICT, WITHOUT ROWID;",
        "CREATE TABLE tenant ("
        "  name TEXT NOT NULL PRIMARY KEY,"
        "  users TEXT NOT NULL," /* uids, one a line; */
        "  groups TEXT NOT NULL," /* gids */
        "  schedule TEXT,"
        "  schedule_since_usec INTEGER NOT NULL,"
        "  created_usec INTEGER NOT NULL,"
        "  max_volumes INTEGER," /* NULL: no limit */
        "  max_snapshots INTEGER,"
        "  max_size INTEGER"
        ") STRICT, WITHOUT ROWID;"
        "ALTER TABLE volume ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;",
        "ALTER TABLE tenant ADD COLUMN max_used INTEGER;"
        /* Volumes that are not in the pool have no thin id. */
        "CREATE TABLE thing ("
        "  uuid TEXT NOT NULL PRIMARY KEY,"
        "  role TEXT NOT NULL,"
        "  origin TEXT NOT NULL,"
        "  kind TEXT NOT NULL,"
        "  thin_id INTEGER UNIQUE,"
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
        "  mkfs_options TEXT NOT NULL,"
        "  labels TEXT NOT NULL,"
        "  created_usec INTEGER NOT NULL,"
        "  held INTEGER NOT NULL DEFAULT 0,"
        "  copied INTEGER NOT NULL DEFAULT 0,"
        "  protected INTEGER NOT NULL DEFAULT 0,"
        "  rule TEXT,"
        "  schedule TEXT,"
        "  pending_size INTEGER NOT NULL DEFAULT 0,"
        "  spare_thin_id INTEGER UNIQUE,"
        "  old_name TEXT,"
        "  source TEXT," /* of a bind volume: its directory, */
        "  source_id TEXT," /* and what that was when the volume was made */
        "  read_only INTEGER NOT NULL DEFAULT 0,"
        "  inodes INTEGER NOT NULL DEFAULT 0," /* of a tmpfs volume */
        "  noswap INTEGER NOT NULL DEFAULT 0,"
        "  locked INTEGER NOT NULL DEFAULT 0,"
        "  host_key TEXT NOT NULL DEFAULT '',"
        "  CHECK ((kind = 'block') = (thin_id IS NOT NULL))"
        ") STRICT, WITHOUT ROWID;"
        "INSERT INTO thing (uuid, role, origin, kind, thin_id, tenant, name, state, failure, size, filesystem,"
        " key_source, uid, gid, mode, mkfs_options, labels, created_usec, held, copied, protected, rule, schedule,"
        " pending_size, spare_thin_id, old_name) SELECT uuid, role, origin, 'block', thin_id, tenant, name, state,"
        " failure, size, filesystem, key_source, uid, gid, mode, mkfs_options, labels, created_usec, held, copied,"
        " protected, rule, schedule, pending_size, spare_thin_id, old_name FROM volume;"
        "DROP TABLE volume;"
        "ALTER TABLE thing RENAME TO volume;"
        "CREATE UNIQUE INDEX volume_name ON volume (tenant, origin, name) WHERE state != 'freeing';"
        "CREATE TRIGGER volume_gone AFTER DELETE ON volume BEGIN"
        "  DELETE FROM schedule_run WHERE volume = OLD.uuid;"
        " END;"
        "ALTER TABLE tenant ADD COLUMN max_tmpfs INTEGER;",
};

int sqlite_error(sqlite3 *db, Error *err, const char *what) {
        int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
        int number = code == SQLITE_CONSTRAINT                         ? EINVAL
                     : code == SQLITE_FULL                             ? ENOSPC
                     : code == SQLITE_NOMEM                            ? ENOMEM
                     : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? EUCLEAN
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

int schema_touch(sqlite3 *db, Error *err) {
        /* It is nobody's, and yet written into the first page. */
        if (sqlite3_exec(db, "PRAGMA application_id = 0", NULL, NULL, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "write the catalog");
        return 0;
}

int schema_check(sqlite3 *db, Error *err) {
        _cleanup_free_ char *integrity = NULL;
        int r;

        (void) sqlite3_db_release_memory(db); /* what is on the disk is asked for */
        r = query_text(db, "PRAGMA integrity_check(1)", &integrity, err);
        if (r < 0)
                return r;
        return streq(integrity, "ok")
                       ? 0
                       : error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN, "the catalog is damaged: %s", integrity);
}

static int prepare(sqlite3 *db, Error *err) {
        _cleanup_free_ char *version = NULL;
        uint64_t n;
        int r;

        /* FULL: a commit is on the disk when it returns. Exclusive: nobody else writes, and WAL needs no shared
         * memory then. */
        if (sqlite3_exec(db,
                         "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                         "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
                         NULL, NULL, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "set the catalog up");

        r = schema_check(db, err);
        if (r < 0)
                return r;

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

/* The log of changes lies beside the database, and has to fit too. */
static int size_limit(sqlite3 *db, const char *folder, Error *err) {
        struct statvfs fs;
        char sql[64];

        if (statvfs(folder, &fs) < 0)
                return error_errno(err, errno, "cannot look at the catalog's filesystem");
        buffer_format(sql, sizeof(sql), "PRAGMA max_page_count = %" PRIu64,
                      (uint64_t) fs.f_blocks * fs.f_frsize / 4 * 3 / PAGE_SIZE_DEFAULT);
        return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(db, err, "bound the catalog");
}

int schema_open(const char *folder, sqlite3 **ret, Error *err) {
        _cleanup_free_ char *path = format_new("%s/catalog.db", folder);
        int r;

        if (!path)
                return error_oom(err);
        if (sqlite3_open_v2(path, ret,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW,
                            NULL) != SQLITE_OK)
                return sqlite_error(*ret, err, "open the catalog");
        sqlite3_extended_result_codes(*ret, 0);
        r = prepare(*ret, err);
        return r < 0 ? r : size_limit(*ret, folder, err);
}
