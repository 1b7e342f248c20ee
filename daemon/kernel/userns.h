#pragma once

/* User namespaces, user_namespaces(7): here only as the map of a mount. Return >= 0 or -errno. */

#include <quarry/mount.h>

/* Whether this kernel has them, and the host allows any. */
bool userns_can_be_made(void);
/* One that nobody is in, whose ids from 0 on are those of the ranges in turn. Returns the descriptor. -ENOSPC, -EPERM
 * if this host lets nobody have one. */
int userns_make(const IdRange *ranges, size_t n);

/* Whose the user namespace is that a descriptor of somebody else stands for. -EINVAL if it stands for none, -EPERM for
 * the host's own. Nothing that the descriptor leads to is asked before it is known to be one: it may never answer. */
int userns_owner(int fd, uid_t *ret);

/* That of the process which a pidfd stands for. Returns the descriptor; -EINVAL if it stands for none, -ENOTTY if the
 * kernel does not tell. */
int userns_of_process(int pidfd);
