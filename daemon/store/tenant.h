#pragma once

#include <sqlite3.h>

#include <quarry/error.h>
#include <quarry/tenant.h>

/* The table of a pool's tenants. */

typedef struct TenantList {
        Tenant *list;
        size_t n;
} TenantList;

void tenant_list_done(TenantList *tenants);
int tenant_list_read(sqlite3 *db, TenantList *ret, Error *err);

/* Inserts or replaces the row of that name, or lets it go. */
int tenant_write(sqlite3 *db, const Tenant *tenant, bool goes, Error *err);
