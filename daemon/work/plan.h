#pragma once

/* Which steps a job takes, in order. */

#include "step/step.h"

/* NULL-terminated. */
const Step *const *plan_for(const Job *job);

/* Whether the job is about a pool that the root-owned list must know. */
bool plan_needs_pool(JobVerb verb);
