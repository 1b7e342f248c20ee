#pragma once

/* The source of a bind volume: a directory of the host that somebody named. Opened without following a link, so that
 * nobody leads us elsewhere, whatever they rename meanwhile. Return >= 0 or -errno. */

#include <quarry/job.h>

/* By way of the first of the roots that it is, or lies below. Returns an O_PATH descriptor. -EXDEV: it lies below none
 * of them; -ELOOP: a part of its path is a symbolic link; -ENOTDIR: it, or a part of its path, is no directory. */
int source_open(char *const *roots, const char *path);

/* The same with the rights of a member, who may read it, and unless read_only write. -EACCES if these do not suffice,
 * whatever is there. */
int source_open_as(const JobMember *member, char *const *roots, const char *path, bool read_only);

/* What a directory is, whatever its path: its inode number, and when it was made. Another one that takes its place,
 * also that beneath a disk which is not mounted, is something else. */
int source_identify(int fd, char buf[static SOURCE_ID_MAX]);

/* Whether something is mounted there: 1, 0. */
int source_is_mount_point(int fd);
