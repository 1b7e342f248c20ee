#pragma once

/* What is told of an update beside its verb. */

#include "broker/operation.h"

#define AUDIT_CHANGES_MAX 512u

/* "--label app=web --uid 1000"; numbers are ids and bytes. NULL: nothing but what the verb says. */
const char *audit_changes(const Operation *operation, char buf[static AUDIT_CHANGES_MAX]);
