#include "store/tenant.h"

#include "store/schema.h"
#include "store/table.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                         \
        "name, users, groups, schedule, schedule_since_usec, created_usec, max_volumes, max_snapshots," \
        " max_size, max_used, max_tmpfs"
#define SELECT "SELECT " COLUMNS " FROM tenant"
#define REPLACE "INSERT OR REPLACE INTO tenant (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
#define FIRST_LIMIT 6 /* column of the first limit; the others follow in their order */

void tenant_list_done(TenantList *tenants) {
        for (size_t i = 0; i < tenants->n; i++)
                tenant_done(&tenants->list[i]);
        free(tenants->list);
        *tenants = (TenantList) {};
}

/* One number a line. */
static int ids_split(const char *text, IdSet *ret) {
        _cleanup_free_ char *copy = strdup(text);
        char *rest = copy, *line;
        uint64_t id;
        int r = copy ? 0 : -ENOMEM;

        while (r >= 0 && (line = strsep(&rest, "\n")))
                if (*line) {
                        r = number_parse(line, &id);
                        if (r >= 0)
                                r = id < UINT32_MAX ? id_set_add(ret, (uint32_t) id) : -ERANGE;
                }
        return r;
}

static char *ids_join(const IdSet *set) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < set->n; i++)
                fprintf(f, "%" PRIu32 "\n", set->list[i]);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static int limit_read(sqlite3_stmt *s, int column, uint64_t *ret) {
        sqlite3_int64 value = sqlite3_column_int64(s, column);

        if (sqlite3_column_type(s, column) == SQLITE_NULL)
                return 0;
        if (value < 0)
                return -ERANGE;
        *ret = (uint64_t) value;
        return 0;
}

static int row_read(sqlite3_stmt *s, Tenant *ret) {
        const char *schedule = table_text_or_null(s, 3);
        int r;

        if (!tenant_name_is_valid(table_text(s, 0)) || sqlite3_column_int64(s, 4) < 0 || sqlite3_column_int64(s, 5) < 0)
                return -EINVAL;
        tenant_init(table_text(s, 0), ret);
        r = ids_split(table_text(s, 1), &ret->users);
        if (r >= 0)
                r = ids_split(table_text(s, 2), &ret->groups);
        for (int i = 0; i < _TENANT_LIMIT_MAX && r >= 0; i++)
                r = limit_read(s, FIRST_LIMIT + i, &ret->limits[i]);
        ret->schedule = schedule ? strdup(schedule) : NULL;
        if (schedule && !ret->schedule)
                r = -ENOMEM;
        ret->schedule_since = (uint64_t) sqlite3_column_int64(s, 4);
        ret->created_usec = (uint64_t) sqlite3_column_int64(s, 5);
        return r;
}

static int on_row(sqlite3_stmt *s, void *userdata) {
        TenantList *tenants = userdata;
        Tenant tenant = {};
        int r;

        r = row_read(s, &tenant);
        if (r >= 0)
                r = table_list_grow(&tenants->list, tenants->n, sizeof(*tenants->list));
        if (r < 0) {
                tenant_done(&tenant);
                return r;
        }
        tenants->list[tenants->n++] = tenant;
        return 0;
}

int tenant_list_read(sqlite3 *db, TenantList *ret, Error *err) {
        TenantList tenants = {};
        int r;

        r = table_each_row(db, SELECT, "tenants", on_row, &tenants, err);
        if (r < 0) {
                tenant_list_done(&tenants);
                return r;
        }
        *ret = tenants;
        return 0;
}

int tenant_write(sqlite3 *db, const Tenant *tenant, bool goes, Error *err) {
        _cleanup_free_ char *users = ids_join(&tenant->users), *groups = ids_join(&tenant->groups);
        sqlite3_stmt *s = NULL;

        if (!users || !groups)
                return error_oom(err);
        if (sqlite3_prepare_v2(db, goes ? "DELETE FROM tenant WHERE name = ?1" : REPLACE, -1, &s, NULL) != SQLITE_OK)
                return sqlite_error(db, err, "write the catalog");
        sqlite3_bind_text(s, 1, tenant->name, -1, SQLITE_STATIC);
        if (goes)
                return table_finish(db, s, err);
        sqlite3_bind_text(s, 2, users, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 3, groups, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 4, tenant->schedule, -1, SQLITE_STATIC); /* NULL binds NULL */
        sqlite3_bind_int64(s, 5, (sqlite3_int64) tenant->schedule_since);
        sqlite3_bind_int64(s, 6, (sqlite3_int64) tenant->created_usec);
        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                if (tenant->limits[i] != TENANT_UNLIMITED)
                        sqlite3_bind_int64(s, FIRST_LIMIT + 1 + i, (sqlite3_int64) tenant->limits[i]);
        return table_finish(db, s, err);
}
