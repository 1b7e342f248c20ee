#pragma once

/* Who works in a repository: many at a time, or one alone, who removes what no backup needs. An object each, which says
 * until when it counts: whoever is killed keeps nobody out for long, and one of this host not at all. */

#include "repository.h"

typedef struct RepositoryLock RepositoryLock;

typedef enum RepositoryUse {
        REPOSITORY_READ, /* also where nothing can be put: then nobody sees it, and what it reads may go meanwhile, */
        REPOSITORY_WRITE, /* never the last bit of room, */
        REPOSITORY_ALONE, /* which is for this one: else a full repository stays full */
} RepositoryUse;

/* what: "quarry backup run db", for whoever is kept out. Fails at once (ERROR_VOLUME_BUSY, with who it is) if somebody
 * is there who wants it alone, or alone and somebody is there. The repository is borrowed. */
int repository_lock(Repository *r, RepositoryUse use, const char *what, RepositoryLock **ret, Error *err);
void repository_unlock(RepositoryLock *lock);
DEFINE_CLEANUP(RepositoryLock *, repository_unlock)

/* To be called every now and then by who takes long. Does nothing until it is time. */
int repository_lock_renew(RepositoryLock *lock, Error *err);

/* Whether it counted until now. What was put there before this is safe from whoever comes; if it did not, somebody who
 * was alone may have removed what that needs. */
int repository_lock_check(RepositoryLock *lock, Error *err);
