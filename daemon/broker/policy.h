#pragma once

/* Who may do what. To others than its tenant's members, and administrators, a volume does not exist: they get the
 * answer that they would get for a wrong name. */

#include "broker/manager.h"

#include <quarry/error.h>

gid_t policy_admin_group(void); /* of ADMIN_GROUP; (gid_t) -1 if there is none */

/* root, and members of the group quarry-admin. groups: all of the caller's. */
bool policy_is_admin(const Manager *manager, uid_t uid, const gid_t *groups, size_t n_groups);

bool policy_is_member(const Caller *caller, const TenantEntry *tenant);
/* Of any; and the name of the first. */
bool policy_has_tenant(const Manager *manager, const Caller *caller);
bool policy_first_tenant(const Manager *manager, const Caller *caller, char ret[static TENANT_NAME_MAX + 1]);

bool policy_may_see_tenant(const Caller *caller, const TenantEntry *tenant);
bool policy_may_see_volume(const Caller *caller, const VolumeEntry *entry);

/* Whose name space a name is in that was given with this tenant, or without one, "": then it is that of the only
 * tenant that the caller is a member of, and for administrators and everybody else the default one.
 * ERROR_BAD_REQUEST for the request's field if there are several. */
int policy_tenant(const Manager *manager, const Caller *caller, const char *named, const char *field,
                  char ret[static TENANT_NAME_MAX + 1], Error *err);

int policy_may_administer_pools(const Caller *caller, Error *err);
int policy_may_administer_tenants(const Caller *caller, Error *err);
int policy_may_administer_drivers(const Caller *caller, Error *err);
int policy_may_administer_keys(const Caller *caller, Error *err); /* the host's */
