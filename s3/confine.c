#include "confine.h"

#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define NOBODY 65534
#define DESCRIPTORS_MAX 64
#ifdef __SANITIZE_ADDRESS__ /* which keeps much memory for itself, and looks into the process for leaks at its end */
#define HAS_SANITIZER true
#else
#define HAS_SANITIZER false
#endif
#define MEMORY_MAX (UINT64_C(512) << 20) /* of which the library for TLS and its threads take most */

static int limit(int resource, rlim_t value, Error *err) {
        if (setrlimit(resource, &(struct rlimit) { value, value }) < 0)
                return error_errno(err, errno, "cannot set a limit");
        return 0;
}

static int set_limits(Error *err) {
        int r;

        r = limit(RLIMIT_CORE, 0, err);
        if (r >= 0)
                r = limit(RLIMIT_FSIZE, 0, err);
        if (r >= 0)
                r = limit(RLIMIT_NOFILE, DESCRIPTORS_MAX, err);
        if (r >= 0 && !HAS_SANITIZER)
                r = limit(RLIMIT_DATA, MEMORY_MAX, err);
        return r;
}

static int drop_user(Error *err) {
        if (geteuid() == 0 &&
            (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
                return error_errno(err, errno, "cannot become user nobody");
        return 0;
}

/* Also those that somebody else than root was given. */
static int drop_capabilities(Error *err) {
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &head, none) < 0)
                return error_errno(err, errno, "cannot give up capabilities");
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_errno(err, errno, "cannot forbid new privileges");
        return 0;
}

int confine(Error *err) {
        pid_t parent = getppid();
        int r;

        r = set_limits(err);
        if (r >= 0)
                r = drop_user(err);
        if (r >= 0)
                r = drop_capabilities(err);
        if (r < 0)
                return r;
        /* What becomes another user loses the first of these. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, HAS_SANITIZER) < 0)
                return error_errno(err, errno, "cannot hide its memory");
        if (getppid() != parent)
                return error_set(err, ERROR_FAILED, ECHILD, "who started it has ended");
        return 0;
}
