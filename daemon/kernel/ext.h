#pragma once

/* ext4 that is not mounted, through libext2fs: what else would take a process. Return >= 0 or -errno. */

#include <quarry/base.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>

/* Of the folder that users see. */
typedef struct ExtOwner {
        uid_t uid;
        gid_t gid;
        mode_t mode;
} ExtOwner;

/* Gives the filesystem of a copy a UUID of its own, and the folder of this name in its root an owner, unless NULL.
 * Durable on return; can be repeated. -EBUSY if it is mounted, -EUCLEAN if its journal is to be replayed first,
 * -EOPNOTSUPP if its groups have checksums that are made with the UUID, and nothing else has any (tune2fs makes them
 * anew), -ENOENT without such a folder. */
int ext_identify(const char *device, sd_id128_t uuid, const char *folder, const ExtOwner *owner);
