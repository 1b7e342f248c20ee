/* When calendar expressions elapse. */

#include "step/step.h"

#include "kernel/calendar.h"

#include <quarry/text.h>

static int calendar_run(StepContext *c, Error *err) {
        const JobCalendar *calendar = &c->job->calendar;
        size_t n = strv_length(calendar->expressions);
        int r;

        c->result->elapses = calloc(n, sizeof(*c->result->elapses));
        if (!c->result->elapses)
                return error_oom(err);
        r = calendar_next(calendar->expressions, calendar->base_usec, c->result->elapses, err);
        if (r >= 0)
                c->result->n_elapses = n;
        return r;
}

const Step step_calendar = { "asking systemd about calendar expressions", NULL, calendar_run, NULL };
