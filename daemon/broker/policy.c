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

bool policy_may_list_tenant(const Caller *caller, const char *tenant) {
        return caller->admin;
}

int policy_no_volume(const char *reference, Error *err) {
        error_set(err, ERROR_NO_SUCH_VOLUME, ENOENT, "there is no volume %s", reference);
        error_hint(err, "quarry ls");
        return error_code(err);
}

int policy_may_see_volume(const Caller *caller, const char *tenant, const char *name, Error *err) {
        char reference[TENANT_NAME_MAX + FULL_NAME_MAX + 2];

        if (policy_may_list_tenant(caller, tenant))
                return 0;
        buffer_format(reference, sizeof(reference), "%s/%s", tenant, name);
        return policy_no_volume(reference, err);
}

int policy_may_create_volume(const Caller *caller, const char *tenant, Error *err) {
        int r;

        if (policy_may_list_tenant(caller, tenant))
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "user %u may not create volumes of tenant %s", caller->uid,
                      tenant);
        error_hint(err, "run it as root or as a member of group " ADMIN_GROUP);
        return r;
}

int policy_may_administer_pools(const Caller *caller, Error *err) {
        int r;

        if (caller->admin)
                return 0;
        r = error_set(err, ERROR_PERMISSION_DENIED, EPERM, "pools are for administrators");
        error_hint(err, "run it as root or as a member of group " ADMIN_GROUP);
        return r;
}
