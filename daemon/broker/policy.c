#include "broker/policy.h"

#include <quarry/text.h>

#include <grp.h>

gid_t policy_admin_group(void) {
        struct group *group = getgrnam(ADMIN_GROUP);

        return group ? group->gr_gid : (gid_t) -1;
}

bool policy_is_admin(const Manager *m, uid_t uid, const gid_t *groups, size_t n_groups) {
        if (uid == 0)
                return true;
        if (m->admin_group == (gid_t) -1)
                return false;
        for (size_t i = 0; i < n_groups; i++)
                if (groups[i] == m->admin_group)
                        return true;
        return false;
}

bool policy_is_member(const Caller *caller, const TenantEntry *tenant) {
        if (id_set_has(&tenant->tenant.users, caller->uid))
                return true;
        for (size_t i = 0; i < caller->n_groups; i++)
                if (id_set_has(&tenant->tenant.groups, caller->groups[i]))
                        return true;
        return false;
}

bool policy_may_see_tenant(const Caller *caller, const TenantEntry *tenant) {
        return caller->admin || policy_is_member(caller, tenant);
}

bool policy_may_see_volume(const Caller *caller, const VolumeEntry *entry) {
        return caller->admin || (entry->tenant && policy_is_member(caller, entry->tenant));
}

typedef struct Search {
        const Caller *caller;
        char name[TENANT_NAME_MAX + 1]; /* the first that was found, */
        char other[TENANT_NAME_MAX + 1]; /* and another */
} Search;

static int on_tenant(TenantEntry *entry, void *userdata) {
        Search *search = userdata;
        bool is_first = search->name[0] == 0;

        if (!streq(entry->tenant.name, search->name) && policy_is_member(search->caller, entry))
                buffer_format(is_first ? search->name : search->other, TENANT_NAME_MAX + 1, "%s", entry->tenant.name);
        return search->other[0] != 0;
}

static void search(const Manager *m, const Caller *caller, Search *ret) {
        *ret = (Search) { .caller = caller };
        for (const PoolEntry *pool = m->registry.pools; pool && isempty(ret->other); pool = pool->next)
                (void) registry_each_tenant(pool, on_tenant, ret);
}

bool policy_first_tenant(const Manager *m, const Caller *caller, char ret[static TENANT_NAME_MAX + 1]) {
        Search found;

        search(m, caller, &found);
        buffer_format(ret, TENANT_NAME_MAX + 1, "%s", found.name);
        return !isempty(found.name);
}

bool policy_has_tenant(const Manager *m, const Caller *caller) {
        char name[TENANT_NAME_MAX + 1];

        return policy_first_tenant(m, caller, name);
}

int policy_tenant(const Manager *m, const Caller *caller, const char *named, const char *field,
                  char ret[static TENANT_NAME_MAX + 1], Error *err) {
        Search found = {};
        int r;

        if (isempty(named) && !caller->admin)
                search(m, caller, &found);
        if (!isempty(found.other)) {
                r = error_field(err, field, "you are a member of tenants %s, %s: say which is meant", found.name,
                                found.other);
                error_hint(err, "TENANT/NAME");
                return r;
        }
        buffer_format(ret, TENANT_NAME_MAX + 1, "%s",
                      !isempty(named)        ? named
                      : !isempty(found.name) ? found.name
                                             : DEFAULT_TENANT);
        return 0;
}

static int check_admin(const Caller *caller, const char *what, Error *err) {
        int r;

        if (caller->admin)
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "%s for administrators", what);
        error_hint(err, "run it as root or as a member of group " ADMIN_GROUP);
        return r;
}

int policy_may_administer_pools(const Caller *caller, Error *err) {
        return check_admin(caller, "pools are", err);
}

int policy_may_administer_tenants(const Caller *caller, Error *err) {
        return check_admin(caller, "changing tenants is", err);
}

int policy_may_administer_drivers(const Caller *caller, Error *err) {
        return check_admin(caller, "handing over sockets is", err);
}

int policy_may_administer_keys(const Caller *caller, Error *err) {
        return check_admin(caller, "the host key is", err);
}
