#include "broker/find.h"

#include "broker/policy.h"

#include <quarry/text.h>

int find_check(const Manager *m, Error *err) {
        if (m->failure.kind == ERROR_NONE || m->registry.pools)
                return 0;
        *err = m->failure;
        return error_code(err);
}

static int no_pool(Manager *m, const char *name, Error *err) {
        int r;

        r = find_check(m, err);
        if (r < 0)
                return r;
        if (!m->registry.pools) {
                r = error_set(err, ERROR_NO_POOL, ENXIO, "there is no pool yet");
                error_hint(err, "quarry pool create default --file /var/lib/quarry/default.img --size 10G");
                return r;
        }
        r = error_set(err, ERROR_NO_SUCH_POOL, ENXIO, "there is no pool %s", name);
        error_hint(err, "quarry pool ls");
        return r;
}

static const PoolEntry *inactive_pool(const Manager *m) {
        for (const PoolEntry *p = m->registry.pools; p; p = p->next)
                if (p->state != POOL_ACTIVE)
                        return p;
        return NULL;
}

/* The answer for a name that is of no volume, and for one that is of somebody else's. Who is whose member is only known
 * of pools that are active. */
static int no_volume(const Manager *m, const Caller *caller, const char *reference, Error *err) {
        if (!caller->admin && inactive_pool(m))
                return error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV,
                                 "whether there is a volume %s for you cannot be told: a pool is not active",
                                 reference);
        error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no volume %s", reference);
        error_hint(err, "quarry ls");
        return error_code(err);
}

static int by_uuid(Manager *m, const Caller *caller, sd_id128_t uuid, const char *text, VolumeEntry **ret, Error *err) {
        VolumeEntry *entry = registry_find_uuid(&m->registry, uuid);

        if (!entry || entry->volume.spec.role == ROLE_TEMPLATE || entry->volume.state == VOLUME_FREEING ||
            !policy_may_see_volume(caller, entry))
                return no_volume(m, caller, text, err);
        *ret = entry;
        return 0;
}

/* For an administrator, who may know what there is. */
static int tell_missing(Manager *m, const Reference *ref, const char *text, const PoolEntry *pool, Error *err) {
        int r;

        /* "There is none" is only said when every pool that could hold it has been asked. */
        for (PoolEntry *p = m->registry.pools; p; p = p->next)
                if ((!pool || p == pool) && p->state != POOL_ACTIVE) {
                        r = pool_entry_check(p, err);
                        error_prefix(err, "volume %s is in none of the pools that are active", text);
                        return r;
                }
        r = error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no %s %s",
                      isempty(ref->snapshot) ? "volume" : "snapshot", text);
        if (!m->registry.pools)
                error_hint(err, "there is no pool either; quarry pool create --help");
        else
                error_hint(err, isempty(ref->snapshot) ? "quarry ls" : "quarry ls --type snapshot");
        return r;
}

/* Pools that come from elsewhere may have the same name twice: the one that the caller may see is meant. */
static VolumeEntry *find_visible(const Manager *m, const Caller *caller, const PoolEntry *pool, const char *tenant,
                                 const char *name) {
        for (PoolEntry *p = m->registry.pools; p; p = p->next) {
                VolumeEntry *entry = !pool || p == pool ? registry_find_in_pool(p, tenant, name) : NULL;

                if (entry && policy_may_see_volume(caller, entry))
                        return entry;
        }
        return NULL;
}

/* A name that looks like a UUID is a name first: Docker's rule allows it. */
int find_volume(Manager *m, const Caller *caller, const char *reference, VolumeEntry **ret, Error *err) {
        char name[FULL_NAME_MAX + 1], tenant[TENANT_NAME_MAX + 1];
        Reference ref;
        VolumeEntry *entry;
        PoolEntry *pool = NULL;
        bool is_uuid;
        sd_id128_t uuid;
        int r;

        r = reference_parse(reference, "volume", &ref, err);
        if (r < 0)
                return r;
        is_uuid = isempty(ref.tenant) && isempty(ref.pool) && isempty(ref.snapshot) &&
                  strlen(ref.name) == UUID_TEXT_MAX - 1 && sd_id128_from_string(ref.name, &uuid) >= 0;
        r = policy_tenant(m, caller, ref.tenant, "volume", tenant, err);
        if (r < 0 && is_uuid) { /* of several tenants it is a UUID, whichever of them the volume is of */
                *err = (Error) {};
                return by_uuid(m, caller, uuid, reference, ret, err);
        }
        if (r >= 0 && caller->admin)
                r = find_check(m, err);
        if (r < 0)
                return r;
        full_name_format(ref.name, ref.snapshot, name);
        if (*ref.pool) {
                pool = registry_find_pool(&m->registry, ref.pool);
                if (!pool)
                        return caller->admin ? no_pool(m, ref.pool, err) : no_volume(m, caller, reference, err);
        }
        entry = find_visible(m, caller, pool, tenant, name);
        if (entry) {
                *ret = entry;
                return 0;
        }
        if (is_uuid)
                return by_uuid(m, caller, uuid, reference, ret, err);
        return caller->admin ? tell_missing(m, &ref, reference, pool, err) : no_volume(m, caller, reference, err);
}

/* --- where a new volume goes ------------------------------------------------------------------------------ */

/* When the caller does not say: the pool named in the configuration, else "default", else the only one. */
static int pool_of_default_tenant(Manager *m, const char *name, PoolEntry **ret, Error *err) {
        const char *wanted = *name ? name : m->config.default_pool;
        PoolEntry *pool;

        pool = registry_find_pool(&m->registry, wanted);
        if (!pool && !*name && streq(wanted, DEFAULT_POOL) && m->registry.pools && !m->registry.pools->next)
                pool = m->registry.pools;
        if (!pool)
                return no_pool(m, wanted, err);
        *ret = pool;
        return 0;
}

static int no_tenant(Manager *m, const Caller *caller, const char *tenant, const char *pool, Error *err) {
        const PoolEntry *inactive = inactive_pool(m);
        int r;

        if (!caller->admin && !inactive) {
                r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "user %u may not create volumes of tenant %s%s%s",
                              caller->uid, tenant, *pool ? " in pool " : "", pool);
                error_hint(err, "see whose member you are: quarry tenant ls; others take root or group " ADMIN_GROUP);
                return r;
        }
        if (!caller->admin)
                return error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV,
                                 "whether you are a member of tenant %s cannot be told: a pool is not active", tenant);
        r = find_check(m, err);
        if (r < 0)
                return r;
        if (!m->registry.pools || (*pool && !registry_find_pool(&m->registry, pool)))
                return no_pool(m, pool, err);
        if (inactive) {
                r = pool_entry_check(inactive, err);
                error_prefix(err, "tenant %s is in none of the pools that are active", tenant);
                return r;
        }
        r = error_set(err, ERROR_NO_SUCH_TENANT, ESRCH, "there is no tenant %s%s%s", tenant, *pool ? " in pool " : "",
                      pool);
        error_hint(err, "quarry tenant create %s%s%s", tenant, *pool ? " --pool " : "", pool);
        return r;
}

/* A tenant lives in one pool or in several: then the default one is meant when the caller does not say. */
static int tenant_of_name(Manager *m, const Caller *caller, const char *tenant, const char *pool, TenantEntry **ret,
                          Error *err) {
        TenantEntry *found = NULL;
        unsigned n = 0;

        for (PoolEntry *p = m->registry.pools; p; p = p->next) {
                TenantEntry *entry = registry_find_tenant(p, tenant);

                if (!entry || !policy_may_see_tenant(caller, entry) || (*pool && !streq(pool, p->info.name)))
                        continue;
                if (!found || streq(p->info.name, m->config.default_pool))
                        found = entry;
                n++;
        }
        if (!found)
                return no_tenant(m, caller, tenant, pool, err);
        if (n > 1 && !streq(found->pool->info.name, m->config.default_pool))
                return error_field(err, "pool", "tenant %s is in several pools: say which, POOL:%s/NAME", tenant,
                                   tenant);
        *ret = found;
        return 0;
}

int find_place(Manager *m, const Caller *caller, const char *tenant, const char *pool, PoolEntry **ret_pool,
               TenantEntry **ret_tenant, Error *err) {
        TenantEntry *entry = NULL;
        PoolEntry *place = NULL;
        int r;

        if (streq(tenant, DEFAULT_TENANT))
                r = caller->admin ? pool_of_default_tenant(m, pool, &place, err)
                                  : no_tenant(m, caller, tenant, pool, err);
        else {
                r = tenant_of_name(m, caller, tenant, pool, &entry, err);
                place = r >= 0 ? entry->pool : NULL;
        }
        if (r >= 0)
                r = pool_entry_check_changes(place, err);
        if (r >= 0 && entry && entry->goes)
                r = error_set(err, ERROR_TENANT_BUSY, EBUSY, "tenant %s is being removed", tenant);
        if (r < 0)
                return r;
        *ret_pool = place;
        *ret_tenant = entry;
        return 0;
}

int find_tenant_anywhere(const Manager *m, const Caller *caller, const char *name, Error *err) {
        if (caller->admin && (streq(name, DEFAULT_TENANT) || inactive_pool(m)))
                return 0;
        for (PoolEntry *p = m->registry.pools; p; p = p->next) {
                const TenantEntry *entry = registry_find_tenant(p, name);

                if (entry && policy_may_see_tenant(caller, entry))
                        return 0;
        }
        if (inactive_pool(m))
                return error_set(err, ERROR_POOL_UNAVAILABLE, ENODEV,
                                 "whether you are a member of tenant %s cannot be told: a pool is not active", name);
        error_set(err, ERROR_NO_SUCH_TENANT, ESRCH, "there is no tenant %s", name);
        error_hint(err, "quarry tenant ls");
        return error_code(err);
}

int find_tenant(Manager *m, const Caller *caller, const char *name, const char *pool, TenantEntry **ret, Error *err) {
        unsigned n = 0;
        int r;

        r = tenant_name_check(name, "name", err);
        if (r >= 0 && !isempty(pool))
                r = pool_name_check(pool, "pool", err);
        if (r < 0)
                return r;
        if (streq(name, DEFAULT_TENANT) && caller->admin)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "tenant " DEFAULT_TENANT " is root's: it has no members and no limits");
        for (PoolEntry *p = m->registry.pools; p && isempty(pool); p = p->next) {
                const TenantEntry *entry = registry_find_tenant(p, name);

                n += entry && policy_may_see_tenant(caller, entry);
        }
        if (n > 1)
                return error_field(err, "pool", "tenant %s is in %u pools: say which, --pool", name, n);
        r = tenant_of_name(m, caller, name, pool, ret, err);
        if (r < 0 && (err->kind == ERROR_PERMISSION_DENIED || err->kind == ERROR_NO_SUCH_TENANT)) {
                *err = (Error) {};
                r = error_set(err, ERROR_NO_SUCH_TENANT, ESRCH, "there is no tenant %s%s%s", name,
                              isempty(pool) ? "" : " in pool ", pool);
                error_hint(err, "quarry tenant ls");
        }
        return r;
}

int find_pool(Manager *m, const Caller *caller, const char *name, PoolEntry **ret, Error *err) {
        PoolEntry *pool;
        int r;

        r = policy_may_administer_pools(caller, err);
        if (r < 0)
                return r;
        if (!pool_name_is_valid(name))
                return error_field(err, "name",
                                   "'%.40s' is no pool name: 1 to 32 of a-z 0-9 -, beginning with a letter", name);
        pool = registry_find_pool(&m->registry, name);
        if (!pool)
                return no_pool(m, name, err);
        *ret = pool;
        return 0;
}
