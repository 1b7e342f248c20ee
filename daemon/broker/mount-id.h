#pragma once

/* Whom container engines mounted a volume for: a set of IDs for each volume. They are files, which outlive quarryd and
 * not the boot. An engine may forget one, and mount twice with the same: so they say who may use a volume, and the
 * kernel who does. */

#include "broker/operation.h"

typedef struct MountIds MountIds;

int mount_ids_new(Manager *manager, MountIds **ret, Error *err);
void mount_ids_free(MountIds *ids);

/* An engine begins anew: what it does not mount again, and nobody uses, it has forgotten. So it may be when quarryd
 * does: who had asked it to mount something has not heard that it was. */
void mount_ids_activate(MountIds *ids);
/* An engine waits for a Mount, and no longer: it has forgotten nothing of what it mounted just before. */
void mount_ids_wait(MountIds *ids);
void mount_ids_waited(MountIds *ids);
/* Looks soon whether something is to be unmounted. */
void mount_ids_look_soon(MountIds *ids);

bool mount_ids_exist(sd_id128_t volume);
/* What is mounted at its standard place is to stay there whatever becomes of the IDs. */
void mount_ids_keep(sd_id128_t volume);
void mount_ids_clear(sd_id128_t volume);

/* For an operation that mounts a volume at its standard place for op->mount_id: it is noted before anything is
 * mounted, and given up if that fails. */
int mount_id_begin(Operation *operation, Error *err);
void mount_id_give_up(Operation *operation);

/* The volume of the tenant that is mounted for an ID, whatever it is called by now; NULL: there is none, or the ID is
 * one that Podman gives for every volume. */
VolumeEntry *mount_id_find(Manager *manager, const Caller *caller, const char *tenant, const char *id);
/* Nobody uses it for this ID any more; it is unmounted behind the last of them, unless somebody else mounted it. What
 * is busy then is unmounted when it is not. */
int volume_unmount_for(Manager *manager, const Caller *caller, VolumeEntry *entry, const char *id,
                       const Watcher *watcher, Error *err);
/* Removes it, also while it is mounted for IDs for which nobody uses it. */
int volume_remove_idle(Manager *manager, const Caller *caller, VolumeEntry *entry, const Watcher *watcher, Error *err);
