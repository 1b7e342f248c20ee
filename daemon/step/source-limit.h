#pragma once

#include "step/step.h"

/* bind.c: the source, open, if it may be one now. */
int source_find(StepContext *context, int *ret, Error *err);
/* source-limit.c: refuses when the volume's size is not kept. */
int source_limit_check(StepContext *context, int fd, Error *err);
