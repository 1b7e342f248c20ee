#include "work/close.h"

#include "step/pool-list.h"
#include "work/host.h"
#include "work/lock.h"
#include "work/plan.h"
#include "work/runner.h"

#include <quarry/job.h>
#include <quarry/log.h>

static void on_progress(const char *step, unsigned position, unsigned total, void *userdata) {
        log_debug(userdata, "%s", step);
}

static int close_one(PoolInfo *pool, const Config *config, const char *host, Error *err) {
        _cleanup_close_ int lock = -EBADF; /* first, so that it is given up last */
        Job job = { .verb = JOB_POOL_CLOSE, .pool = pool->uuid };
        _cleanup_(job_result_done) JobResult result = {};
        _cleanup_(step_context_done) StepContext context = {
                .job = &job,
                .config = config,
                .host = host,
                .key_fd = -EBADF,
                .result = &result,
                .mount_fd = -EBADF,
                .second_fd = -EBADF,
        };
        int r;

        r = lock_take(&job, &lock, err);
        if (r >= 0)
                r = pool_list_find(pool->uuid, &context.pool, err);
        return r < 0 ? r : runner_run(plan_for(&job), &context, on_progress, pool->name, err);
}

int close_pools(const Config *config, Error *err) {
        _cleanup_(job_result_done) JobResult list = {};
        char host[UUID_TEXT_MAX];
        int r;

        r = host_identity(host, err);
        if (r >= 0)
                r = pool_list_read(&list, err);
        for (size_t i = 0; r >= 0 && i < list.n_pools; i++) {
                Error failure = {};

                if (close_one(&list.pools[i], config, host, &failure) < 0)
                        log_failure(list.pools[i].name, &failure, "cannot close the pool");
                else
                        log_info(list.pools[i].name, "closed");
        }
        return r;
}
