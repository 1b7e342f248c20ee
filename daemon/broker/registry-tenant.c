/* The tenants of a pool, by name. */

#include "broker/registry.h"

#include <quarry/text.h>

#include <search.h>
#include <string.h>

static int compare(const void *a, const void *b) {
        const Tenant *x = a, *y = b;

        return strcmp(x->name, y->name);
}

TenantEntry *registry_find_tenant(const PoolEntry *pool, const char *name) {
        TenantEntry **found;
        Tenant key = {};

        if (!buffer_format(key.name, sizeof(key.name), "%s", name))
                return NULL;
        found = tfind(&key, &pool->tenants, compare);
        return found ? *found : NULL;
}

TenantEntry *registry_put_tenant(PoolEntry *pool, Tenant *tenant, Error *err) {
        TenantEntry *entry = registry_find_tenant(pool, tenant->name);

        if (entry) {
                tenant_done(&entry->tenant);
        } else {
                entry = calloc(1, sizeof(*entry));
                if (!entry || !buffer_format(entry->tenant.name, sizeof(entry->tenant.name), "%s", tenant->name) ||
                    !tsearch(entry, &pool->tenants, compare)) {
                        free(entry);
                        error_oom(err);
                        return NULL;
                }
                entry->pool = pool;
        }
        entry->tenant = *tenant;
        *tenant = (Tenant) {};
        return entry;
}

void registry_remove_tenant(TenantEntry *entry) {
        tdelete(entry, &entry->pool->tenants, compare);
        tenant_done(&entry->tenant);
        free(entry);
}

void registry_forget_tenants(PoolEntry *pool) {
        while (pool->tenants)
                registry_remove_tenant(*(TenantEntry **) pool->tenants);
}

int registry_tenant_of(PoolEntry *pool, const Volume *volume, TenantEntry **ret, Error *err) {
        const char *name = volume->spec.tenant;
        Tenant tenant;

        *ret = NULL;
        /* What is being freed is nobody's any more: its tenant may be gone. */
        if (volume->spec.role == ROLE_TEMPLATE || volume->state == VOLUME_FREEING || streq(name, DEFAULT_TENANT))
                return 0;
        *ret = registry_find_tenant(pool, name);
        if (*ret)
                return 0;
        tenant_init(name, &tenant);
        *ret = registry_put_tenant(pool, &tenant, err);
        return *ret ? 0 : error_code(err);
}

typedef struct Walk {
        int (*on_tenant)(TenantEntry *entry, void *userdata);
        void *userdata;
        int r;
} Walk;

static void on_node(const void *node, VISIT visit, void *userdata) {
        Walk *walk = userdata;

        if ((visit == postorder || visit == leaf) && walk->r == 0)
                walk->r = walk->on_tenant(*(TenantEntry *const *) node, walk->userdata);
}

int registry_each_tenant(const PoolEntry *pool, int (*on_tenant)(TenantEntry *entry, void *userdata), void *userdata) {
        Walk walk = { .on_tenant = on_tenant, .userdata = userdata };

        twalk_r(pool->tenants, on_node, &walk);
        return walk.r;
}
