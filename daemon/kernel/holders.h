#pragma once

/* Who uses a block device or a mount: for the sentence "in use by ...". Walks /proc, so only on the way to an error. */

#include <quarry/base.h>

#include <sys/types.h>

/* Mounts in every mount namespace, processes with open files, working directories or mappings on the
 * filesystems mounted from these devices, processes that opened the devices themselves, dm and loop devices
 * on top, swap; container ids and units from the cgroup path. Formats the first few, and how many more, for
 * people: "mounted at /srv/db; used by postgres (pid 4711, container 3f2a...)". Returns how many were found
 * (0: none, buf is ""), or -errno. */
int holders_describe(const dev_t *devices, size_t n_devices, char *buf, size_t size);

/* The same for what keeps one mount of this process's namespace from being taken away, whose filesystem has others. */
int holders_describe_mount(const char *target, char *buf, size_t size);

/* What /proc/PID/cgroup says of a process: "container 3f2a91c04b7e", "postgresql.service", or "" for a
 * session of a person. */
#define HOLDERS_CGROUP_MAX 128
void holders_cgroup(const char *cgroup, char buf[static HOLDERS_CGROUP_MAX]);
