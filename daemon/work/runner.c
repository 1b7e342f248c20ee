#include "work/runner.h"

#include <quarry/failpoint.h>
#include <quarry/log.h>
#include <quarry/text.h>

/* Between what two steps do: where a job can be cut short. */
static int boundary(const StepContext *c, const char *step, const char *next, Error *err) {
        int r = failpoint("%s.%s.%s", job_verb_to_string(c->job->verb), step, next);

        return r < 0 ? error_errno(err, r, "stopped at a failpoint") : 0;
}

static int step_probe(const Step *step, StepContext *c, Error *err) {
        int r = boundary(c, step->name, "probe", err);

        return r < 0 ? r : step->probe(c, err);
}

static int step_run(const Step *step, StepContext *c, Error *err) {
        int r = boundary(c, step->name, "run", err);

        return r < 0 ? r : step->run(c, err);
}

static int step_undo(const Step *step, StepContext *c, Error *err) {
        int r = boundary(c, step->name, "undo", err);

        return r < 0 ? r : step->undo(c, err);
}

/* Undo goes on behind a failing undo: the less is left the better, but for what leads to what is left. Returns how many
 * failed; *ret is the first. */
static unsigned undo_all(const Step *const *done, unsigned n, StepContext *c, Error *ret) {
        unsigned failed = 0;

        while (n > 0) {
                const Step *step = done[--n];
                Error err = {};

                if (!step->undo || step_undo(step, c, &err) >= 0)
                        continue;
                log_error(step->name, "cannot undo: %s", err.text);
                if (failed++ == 0)
                        *ret = err;
                c->undo_failed = true;
        }
        return failed;
}

int runner_run(const Step *const *plan, StepContext *c, RunnerProgress on_progress, void *userdata, Error *err) {
        const Step *done[32];
        unsigned total = 0, n_done = 0;
        int r = 0;

        while (plan[total])
                total++;
        if (total > ELEMENTSOF(done))
                return error_set(err, ERROR_FAILED, E2BIG, "the plan has too many steps");

        for (unsigned i = 0; i < total; i++) {
                const Step *step = plan[i];

                r = step->probe ? step_probe(step, c, err) : 0;
                if (r > 0)
                        continue;
                if (r == 0) {
                        if (on_progress)
                                on_progress(step->name, i + 1, total, userdata);
                        r = step_run(step, c, err);
                }
                if (r < 0) {
                        buffer_format(err->step, sizeof(err->step), "%s", step->name);
                        break;
                }
                done[n_done++] = step;
        }
        if (r >= 0)
                r = boundary(c, "all", "done", err);
        if (r >= 0)
                return 0;

        Error undo = {};
        if (undo_all(done, n_done, c, &undo) > 0) {
                Error first = *err;

                err->undo_failed = true;
                buffer_format(err->text, sizeof(err->text), "%s; and then the undo failed: %s", first.text, undo.text);
        }
        return r;
}
