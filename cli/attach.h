#pragma once

/* Only here, and where mounts are taken away, does the command use rights of its own on the kernel: a mount that the
 * daemon made is attached by the caller's. */

#include <quarry/mount.h>

typedef struct Attachment {
        MountSpec spec;
        const char *userns;   /* of which process, or NULL; then spec.userns is set, too */
        const char *key_file; /* of the passphrase; NULL: it is asked for if need be */
} Attachment;

/* Mounts a volume at target, a directory, or with NULL at its standard place, and returns where. That it is mounted
 * there already, in the same way, is success. */
int attach_volume(const char *name, const char *target, const Attachment *how, char **ret_path, Error *err);

/* Mounts a volume nowhere: *ret_fd is its root directory, and it is unmounted behind whoever has that open. */
int attach_open(const char *name, const Attachment *how, int *ret_fd, Error *err);

/* The rules that can be judged without mounting anything. */
int attach_check(const char *name, const char *target, const Attachment *how, Error *err);

/* Gives the mount of the volume at target other options: all of them anew. */
int attach_again(const char *name, const char *target, const Attachment *how, Error *err);
