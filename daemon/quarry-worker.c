/* quarry-worker: root, started by systemd for each connection of the broker, runs one job at a time. With
 * --close-pools, by quarry-pools.service when the host stops. With --thaw, behind the end of each worker. */

#include "kernel/dm.h"
#include "kernel/luks.h"
#include "step/freeze.h"
#include "work/close.h"
#include "work/maps.h"
#include "work/serve.h"

#include <quarry/config.h>
#include <quarry/log.h>
#include <quarry/text.h>

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

static int run(const char *option, Error *err) {
        _cleanup_(config_done) Config config = {};
        bool close = streq(option, "--close-pools");
        struct passwd *user;
        int r;

        if (streq(option, "--thaw")) {
                dm_init();
                r = freeze_thaw_abandoned(err);
                maps_let_go_all();
                return r;
        }
        if (!close && sd_listen_fds(true) != 1)
                return error_set(err, ERROR_FAILED, 0,
                                 "quarry-worker is started by systemd through quarry-worker.socket");
        r = config_load(CONFIG_FILE, &config, err);
        if (r < 0)
                return r;
        dm_init();
        luks_init();
        if (close)
                return close_pools(&config, err);
        user = getpwnam(SERVICE_USER);
        if (!user)
                return error_set(err, ERROR_FAILED, ENOENT, "there is no user " SERVICE_USER);
        return serve_connection(SD_LISTEN_FDS_START, user->pw_uid, &config, err);
}

int main(int argc, char *argv[]) {
        Error err = {};

        log_open("quarry-worker");
        umask(0022);
        /* Keys pass through this memory: no core dump, no debugger of another user. */
        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit) {});
        (void) signal(SIGPIPE, SIG_IGN);

        if (run(argc == 2 ? argv[1] : "", &err) < 0) {
                log_failure("quarry-worker", &err, "cannot serve");
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}
