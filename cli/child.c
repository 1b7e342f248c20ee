#include "child.h"

#include <quarry/fd.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 4

/* As shells have it for what cannot be run. */
#define EXIT_NOT_RUN 127

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static volatile sig_atomic_t caught;
static volatile pid_t children[CHILDREN_MAX];

static void on_signal(int number) {
        caught = number;
        for (size_t i = 0; i < CHILDREN_MAX; i++)
                if (children[i] > 0)
                        (void) kill(children[i], SIGTERM);
}

/* One that was ignored when this began, as nohup has it, stays so. */
void child_catch_signals(void) {
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;

        for (size_t i = 0; i < ELEMENTSOF(ending); i++)
                if (sigaction(ending[i], NULL, &before) >= 0 && before.sa_handler != SIG_IGN)
                        (void) sigaction(ending[i], &action, NULL);
        (void) signal(SIGCHLD, SIG_DFL); /* ignored, as some leave it behind, it would hide how a child ended */
}

int child_caught(void) {
        return caught;
}

void child_end_by_signal(void) {
        if (!caught)
                return;
        (void) signal(caught, SIG_DFL);
        (void) raise(caught);
}

/* Whatever is not passed on was opened to be closed here. Where this process is killed, its children end, too. */
__attribute__((noreturn)) static void become(const char *program, char *const *arguments, int in, int out,
                                             int complaints) {
        int from = in < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : in;

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (from >= 0 && dup2(from, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
            (complaints < 0 || dup2(complaints, STDERR_FILENO) >= 0))
                (void) execv(program, arguments);
        dprintf(STDERR_FILENO, "quarry: cannot run %s: %s\n", program, strerror(errno));
        _exit(EXIT_NOT_RUN);
}

static int start(const char *program, char *const *arguments, int in, int out, int complaints, pid_t *ret, Error *err) {
        sigset_t signals, before;
        size_t i = 0;
        pid_t pid;

        sigemptyset(&signals);
        for (size_t j = 0; j < ELEMENTSOF(ending); j++)
                sigaddset(&signals, ending[j]);
        (void) sigprocmask(SIG_BLOCK, &signals, &before); /* until it is noted as a child */
        while (i < CHILDREN_MAX && children[i] > 0)
                i++;
        pid = i < CHILDREN_MAX ? fork() : -1;
        if (pid == 0) {
                for (size_t j = 0; j < ELEMENTSOF(ending); j++)
                        if (signal(ending[j], SIG_DFL) == SIG_IGN)
                                (void) signal(ending[j], SIG_IGN);
                (void) sigprocmask(SIG_SETMASK, &before, NULL);
                become(program, arguments, in, out, complaints);
        }
        if (pid > 0)
                children[i] = pid;
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        if (pid < 0)
                return error_errno(err, EAGAIN, "cannot start another process");
        *ret = pid;
        return 0;
}

int child_start(const char *program, char *const *arguments, int in, int out, pid_t *ret, Error *err) {
        return start(program, arguments, in, out, -EBADF, ret, err);
}

int child_wait(pid_t pid) {
        int status = W_EXITCODE(EXIT_FAILURE, 0); /* unless the kernel says otherwise */

        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        for (size_t i = 0; i < CHILDREN_MAX; i++)
                if (children[i] == pid)
                        children[i] = 0;
        return status;
}

int child_run_silently(const char *program, char *const *arguments, Error *err) {
        _cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        int r, status;
        pid_t pid;

        if (null < 0)
                return error_errno(err, errno, "cannot open /dev/null");
        r = start(program, arguments, -EBADF, null, null, &pid, err);
        if (r < 0)
                return r;
        status = child_wait(pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_NOT_RUN)
                return error_errno(err, ENOEXEC, "cannot run %s", program);
        return WEXITSTATUS(status);
}
