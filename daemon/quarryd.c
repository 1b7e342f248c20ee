/* quarryd, the broker: user quarry, no capabilities. Sockets, policy, catalog, queue. */

#include "broker/manager.h"
#include "front/server.h"

#include <quarry/log.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define DESCRIPTORS_WANTED 16384u

/* A soft limit that is too low would make accept() fail, and then nobody is served any more. */
static void raise_descriptor_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_WANTED)
                return;
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(Error *err) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(manager_freep) Manager *manager = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        int r;

        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_event_set_signal_exit(event, true);
        if (r >= 0)
                r = sd_event_set_watchdog(event, true);
        if (r < 0)
                return error_errno(err, r, "cannot set up the event loop");
        r = manager_new(event, &manager, err);
        if (r >= 0)
                r = server_new(manager, &server, err);
        if (r >= 0)
                r = manager_start(manager, err);
        if (r < 0)
                return r;
        (void) sd_notify(false, "READY=1");
        r = sd_event_loop(event);
        (void) sd_notify(false, "STOPPING=1");
        return r < 0 ? error_errno(err, r, "the event loop failed") : 0;
}

int main(int argc, char *argv[]) {
        sigset_t child = {};
        Error err = {};

        log_open("quarryd");
        umask(0077);
        /* Passphrases pass through as descriptors. */
        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit) {});
        (void) signal(SIGPIPE, SIG_IGN);
        (void) sigaddset(&child, SIGCHLD); /* the event loop's */
        (void) sigprocmask(SIG_BLOCK, &child, NULL);
        raise_descriptor_limit();

        if (run(&err) < 0) {
                log_failure("quarryd", &err, "cannot go on");
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}
