#include "work/maps.h"

#include "step/pool-list.h"
#include "step/step.h"
#include "work/lock.h"

#include <quarry/fd.h>
#include <quarry/log.h>

void maps_let_go(sd_id128_t pool, const char *name) {
        _cleanup_close_ int lock = -EBADF;

        if (lock_try_maps(pool, &lock) >= 0)
                pool_drop_snapshot(pool, name);
}

void maps_let_go_all(void) {
        _cleanup_(job_result_done) JobResult list = {};
        Error err = {};

        if (pool_list_read(&list, &err) < 0)
                log_failure("pools", &err, "cannot look for what workers left");
        for (size_t i = 0; i < list.n_pools; i++)
                maps_let_go(list.pools[i].uuid, list.pools[i].name);
}
