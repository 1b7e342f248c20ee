#pragma once

/* What status and df look at: everything that the caller may see, with how full it is. */

#include "table.h"

typedef struct Overview {
        sd_json_variant *pools;   /* none for who is no administrator */
        sd_json_variant *tenants; /* of a member: the own ones */
        sd_json_variant *volumes; /* and snapshots */
        sd_json_variant *missing; /* pools that cannot be asked; NULL: none */
} Overview;

/* Whether the caller is an administrator. */
bool overview_sees_all(void);

void overview_done(Overview *overview);

/* fields: which members of volumes. ERROR_PERMISSION_DENIED for who may see nothing: empty lists would look as if all
 * were well. */
int overview_ask(const char *const *fields, Overview *ret, Error *err);

/* Which columns say how it stands with a pool. */
extern const Column overview_pool_columns[];

#define OVERVIEW_EMPTY "No pools yet. How to make one: quarry help pool create"

/* "5h" or "12d" until the pool is full, if it fills as within the last day; NULL: that is not foreseen. To be freed. */
char *overview_full_in(sd_json_variant *pool);

/* What the tenant has of what is limited by this, and the limit; false if it has no such limit. */
bool overview_limit(sd_json_variant *tenant, const char *limit, uint64_t *ret_use, uint64_t *ret_limit);
