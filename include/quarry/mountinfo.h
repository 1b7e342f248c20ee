#pragma once

/* /proc/PID/mountinfo, proc_pid_mountinfo(5). */

#include <quarry/base.h>

#include <sys/types.h>

typedef struct MountEntry {
        unsigned id;
        dev_t device;       /* of the filesystem */
        const char *root;   /* these point into the text and are unescaped in place */
        const char *target;
        const char *options; /* of the mount point: "rw,nosuid,..." */
        const char *fstype;
        const char *source;
        const char *super_options; /* of the filesystem: "rw,errors=continue" */
} MountEntry;

/* The mounts of our own mount namespace, as text for mountinfo_next(). The caller frees *ret. -errno. */
int mountinfo_read(char **ret);

/* Takes the next entry off *text, which is changed. Returns 1, 0 at the end, -EINVAL for a line that is
 * no mountinfo (skipped: the next call goes on behind it). */
int mountinfo_next(char **text, MountEntry *ret);

/* Whether a comma-separated list of options holds this one. */
bool mount_options_contain(const char *options, const char *option);

/* The SELinux context that a filesystem is mounted with, by its own options; "" if it has none. False if it does not
 * fit. */
bool mount_context(const char *super_options, char *buf, size_t size);
