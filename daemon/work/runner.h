#pragma once

/* Runs a plan: each step in order; when one fails, what was done is undone in reverse. */

#include "step/step.h"

/* Called before each step that is run; position counts from 1. May be NULL. */
typedef void (*RunnerProgress)(const char *step, unsigned position, unsigned total, void *userdata);

/* plan: NULL-terminated. On failure err holds the step that failed; if an undo failed too, it says so
 * (undo_failed), and its text has both. */
int runner_run(const Step *const *plan, StepContext *context, RunnerProgress on_progress, void *userdata, Error *err);
