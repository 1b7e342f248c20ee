/* A volume that is not there before its caller has filled it: a mount of it goes to them, and a pipe through which they
 * say that they are done. */

#include "broker/transfer.h"
#include "broker/volume.h"
#include "broker/watch.h"

#include <quarry/clock.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <unistd.h>

static void on_filled(Operation *op, const Error *err) {
        op->volume->volume.state = VOLUME_READY;
        op->volume->made_usec = clock_usec(CLOCK_REALTIME);
        op->volume->used_is_known = false; /* what was asked before says nothing of what came since */
        volume_create_settle(op);
        watch_volume_opened(op->manager->watch); /* it closes behind them */
}

static void hand_over(Operation *op, int mount_fd, int done_fd) {
        const Watcher *w = op->watchers;

        while (w && !w->on_fill)
                w = w->next;
        if (w) {
                w->on_fill(mount_fd, done_fd, w->userdata);
                return;
        }
        close(mount_fd);
        close(done_fd);
}

static void on_mounted(JobResult *result, int *mount_fd, const Error *err, void *userdata) {
        Operation *op = userdata;
        Error failure = {};
        int ends[2] = { -EBADF, -EBADF }, r;

        if (operation_outlives_worker(op, err) && operation_run_job(op, JOB_VOLUME_MOUNT, on_mounted, &failure) >= 0)
                return;
        if (!err && *mount_fd < 0) {
                error_set(&failure, ERROR_FAILED, EPROTO, "the worker mounted the volume, and did not hand it over");
                err = &failure;
        }
        if (err) {
                transfer_give_up(op, err);
                return;
        }
        op->volume->open = true;
        r = RET_NERRNO(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        if (r >= 0) {
                op->transfer_fd = ends[0];
                hand_over(op, TAKE_FD(*mount_fd), ends[1]);
                r = transfer_begin(op, on_filled);
        }
        if (r >= 0)
                return;
        error_errno(&failure, r, "cannot hand over the volume");
        transfer_give_up(op, &failure);
}

void volume_fill(Operation *op) {
        Error err = {};

        operation_forget_job(op); /* it has its key by now, and what it was made from is not asked for any more */
        volume_done(&op->job.source);
        op->job.source = (Volume) {};
        op->job.detached = true;
        op->job.mount = (MountSpec) { .has_giver = !op->caller.admin,
                                      .giver_uid = op->caller.admin ? 0 : op->caller.uid,
                                      .giver_gid = op->caller.admin ? 0 : op->caller.gid };
        if (operation_run_job(op, JOB_VOLUME_MOUNT, on_mounted, &err) < 0)
                transfer_give_up(op, &err);
}
