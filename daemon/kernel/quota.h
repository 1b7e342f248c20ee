#pragma once

/* How much the files of a directory may take together: a project quota, of ext4 and XFS. Each file has the number of
 * its project, and new ones that of the directory that they are made in. Return >= 0 or -errno. */

#include <quarry/base.h>

#include <sys/types.h>

/* fd: an open directory, may be O_PATH. */

/* Whether its filesystem keeps such limits now: 1, 0. */
int quota_is_kept(int fd);

/* The project of a directory; 0: none. -EOPNOTSUPP where there are no projects. */
int quota_project(int fd, uint32_t *ret);

/* Gives a project to the directory and to all that is in it on the same filesystem, and was of the project before;
 * 0: of none. Takes time for each file. -EEXIST: some of it has a third one. */
int quota_set_project(int fd, uint32_t before, uint32_t project);

/* Most bytes of a project; 0: no limit. */
int quota_set_limit(int fd, uint32_t project, uint64_t size);
/* Bytes that it takes; *ret_limit as above. A project that nobody ever had takes none. */
int quota_look(int fd, uint32_t project, uint64_t *ret_used, uint64_t *ret_limit);
