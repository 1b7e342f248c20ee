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

static int by_uuid(Manager *m, const Caller *caller, sd_id128_t uuid, const char *text, VolumeEntry **ret, Error *err) {
        VolumeEntry *entry = registry_find_uuid(&m->registry, uuid);

        if (!entry || entry->volume.spec.role == ROLE_TEMPLATE || entry->volume.state == VOLUME_FREEING ||
            !policy_may_list_tenant(caller, entry->volume.spec.tenant))
                return policy_no_volume(text, err);
        *ret = entry;
        return 0;
}

/* A name that looks like a UUID is a name first: Docker's rule allows it. */
int find_volume(Manager *m, const Caller *caller, const char *reference, VolumeEntry **ret, Error *err) {
        char name[FULL_NAME_MAX + 1];
        const char *tenant;
        Reference ref;
        VolumeEntry *entry;
        PoolEntry *pool = NULL;
        sd_id128_t uuid;
        int r;

        r = reference_parse(reference, "volume", &ref, err);
        if (r < 0)
                return r;
        tenant = isempty(ref.tenant) ? DEFAULT_TENANT : ref.tenant;
        full_name_format(ref.name, ref.snapshot, name);
        r = policy_may_see_volume(caller, tenant, name, err);
        if (r >= 0)
                r = find_check(m, err);
        if (r < 0)
                return r;
        if (*ref.pool) {
                pool = registry_find_pool(&m->registry, ref.pool);
                if (!pool)
                        return no_pool(m, ref.pool, err);
        }
        entry = pool ? registry_find_in_pool(pool, tenant, name) : registry_find_anywhere(&m->registry, tenant, name);
        if (entry) {
                *ret = entry;
                return 0;
        }
        if (isempty(ref.tenant) && !pool && isempty(ref.snapshot) && strlen(ref.name) == UUID_TEXT_MAX - 1 &&
            sd_id128_from_string(ref.name, &uuid) >= 0)
                return by_uuid(m, caller, uuid, reference, ret, err);
        /* "There is none" is only said when every pool that could hold it has been asked. */
        for (PoolEntry *p = m->registry.pools; p; p = p->next)
                if ((!pool || p == pool) && p->state != POOL_ACTIVE) {
                        r = pool_entry_check(p, err);
                        error_prefix(err, "volume %s is in none of the pools that are active", reference);
                        return r;
                }
        r = error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no %s %s",
                      isempty(ref.snapshot) ? "volume" : "snapshot", reference);
        if (!m->registry.pools)
                error_hint(err, "there is no pool either; quarry pool create --help");
        else
                error_hint(err, isempty(ref.snapshot) ? "quarry ls" : "quarry ls --type snapshot");
        return r;
}

/* Where a new volume goes when the caller does not say: the pool named in the configuration, else "default",
 * else the only one. */
int find_pool_for_volume(Manager *m, const char *name, PoolEntry **ret, Error *err) {
        const char *wanted = *name ? name : m->config.default_pool;
        PoolEntry *pool;
        int r;

        pool = registry_find_pool(&m->registry, wanted);
        if (!pool && !*name && streq(wanted, DEFAULT_POOL) && m->registry.pools && !m->registry.pools->next)
                pool = m->registry.pools;
        if (!pool)
                return no_pool(m, wanted, err);
        r = pool_entry_check_changes(pool, err);
        if (r < 0)
                return r;
        *ret = pool;
        return 0;
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
