#pragma once

/* What other verbs need of tenants. */

#include "table.h"

extern const Column tenant_columns[];
