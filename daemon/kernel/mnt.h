#pragma once

/* Mounts by descriptor: fsopen(2), fsmount(2), open_tree(2), move_mount(2). Return >= 0 or -errno. */

#include <quarry/mount.h>

#include <sys/types.h>

/* Mounts the filesystem on a device, detached, nosuid and nodev. Read-only is the mount (not the superblock, which
 * others may share); of an image the superblock too: it may replay its journal, and then nothing changes any more; of
 * one that is fixed not even that, for which it must have been frozen when it was made. XFS is not asked for the UUID
 * that images have in common with their origin. message, if not NULL, receives the kernel's own words on failure
 * (fscontext log), or "". Returns the descriptor. */
typedef enum MntAccess { MNT_WRITABLE, MNT_READ_ONLY, MNT_IMAGE, MNT_FIXED } MntAccess;
int mnt_filesystem(const char *device, const char *fstype, MntAccess access, char *message, size_t size);

/* The same with a SELinux context for all files in it; NULL or empty: none. It is the superblock's: while the
 * filesystem is mounted, the one that it has is the only one that it can be mounted with (-EEXIST), and the one that it
 * gets without any. -EOPNOTSUPP if the kernel runs without SELinux. */
int mnt_filesystem_labelled(const char *device, const char *fstype, MntAccess access, const char *context,
                            char *message, size_t size);

/* The one that the filesystem on a device is mounted with: 1; or "": 0. */
int mnt_context_of(const char *device, char buf[static MOUNT_CONTEXT_MAX + 1]);

/* The same with noexec: for the catalog. */
int mnt_filesystem_noexec(const char *device, const char *fstype, char *message, size_t size);

/* A detached mount of a folder inside a mount: what users see. Returns the descriptor. */
int mnt_subtree(int mount_fd, const char *folder);

/* Lets a mount have exactly these options (MOUNT_*), without suid and dev in any case. */
int mnt_set_options(int mount_fd, unsigned options);
/* Lets a detached mount show the ids that a user namespace has for those of the filesystem. -EINVAL if the filesystem
 * cannot, or no id is mapped. */
int mnt_set_owners(int mount_fd, int userns_fd);
/* A detached mount like this one, which is gone behind that, and whose options nobody takes away who has it in
 * namespaces of his own. Returns the descriptor. */
int mnt_lock(int mount_fd);

/* A detached mount of an open folder of this mount namespace, nosuid and nodev, and without what is mounted in it.
 * Returns the descriptor. */
int mnt_folder(int fd);

/* The kernel's own words about what failed on a descriptor of fsopen(2). */
void mnt_context_message(int context, char *message, size_t size);

/* A detached mount of what is mounted at target, with the same attributes, and without what is mounted in it. Returns
 * the descriptor. */
int mnt_clone(const char *target);

/* Attaches a detached mount to an existing folder. */
int mnt_attach(int mount_fd, const char *target);

/* Unmounts exactly what is mounted at target, without following a link. -EINVAL if nothing is, -EBUSY. */
int mnt_unmount(const char *target);
/* The same, but who uses it keeps it: the filesystem goes with its last user. Never -EBUSY. */
int mnt_unmount_lazy(const char *target);

/* Makes the folder (and its parents below base, mode 0755), sets its immutable flag, so that nobody can
 * write into it while nothing is mounted there. Existing: checked that it is an empty immutable folder. */
int mnt_point_make(const char *base, const char *target);
/* Clears the flag and removes it; a missing one is fine. */
int mnt_point_remove(const char *target);

/* Whether a detached mount shows the owner of its root as the mount at target does, which is of the same folder: 1, 0.
 */
int mnt_has_same_owner(int mount_fd, const char *target);

/* How many mounts of the device this mount namespace has; *ret_fd (may be NULL): the root of one of them, open,
 * or -EBADF. */
int mnt_count(dev_t device, int *ret_fd);

/* Whether all that this mount namespace has of the device shows its filesystem whole, and there is some. */
int mnt_is_whole(dev_t device);

/* Whether something is mounted below (not at) the path: 1 with where that is, which the caller frees; 0. */
int mnt_find_below(const char *path, char **ret);

/* Whether a device is mounted at target now (top-most mount). 1 with *ret_device and *ret_options (MOUNT_*), 0. */
int mnt_point_device(const char *target, dev_t *ret_device, unsigned *ret_options);
