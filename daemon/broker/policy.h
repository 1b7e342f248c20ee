#pragma once

/* Who may do what. To others than its tenant's members a volume does not exist: they get the answer that they
 * would get for a wrong name. */

#include "broker/manager.h"

#include <quarry/error.h>

gid_t policy_admin_group(void); /* of ADMIN_GROUP; (gid_t) -1 if there is none */

/* root, and members of the group quarry-admin. groups: all of the caller's. */
bool policy_is_admin(const Manager *manager, uid_t uid, const gid_t *groups, size_t n_groups);

/* The answer for a name that is of no volume, and for one that is of somebody else's. */
int policy_no_volume(const char *reference, Error *err);
int policy_may_see_volume(const Caller *caller, const char *tenant, const char *name, Error *err);
int policy_may_create_volume(const Caller *caller, const char *tenant, Error *err);
bool policy_may_list_tenant(const Caller *caller, const char *tenant);
int policy_may_administer_pools(const Caller *caller, Error *err);
