#pragma once

/* Where bind volumes are mounted. Their mounts look like any other of the filesystem that their source is on: what
 * tells is which directory of it they show. */

#include "broker/registry.h"

#include <quarry/mountinfo.h>

typedef struct MountList {
        MountEntry *list;
        size_t n;
} MountList;

typedef struct SourceList {
        VolumeEntry **list; /* bind volumes, by their sources */
        size_t n;
} SourceList;

void source_list_done(SourceList *sources);
int source_list_add(SourceList *sources, VolumeEntry *entry); /* -ENOMEM */
void source_list_sort(SourceList *sources);

/* Calls back for each volume that is mounted there, until it returns a negative number, which is returned. */
int source_list_find(const SourceList *sources, Registry *registry, const MountList *mounts, const MountEntry *mount,
                     int (*on_found)(VolumeEntry *entry, const MountEntry *mount, void *userdata), void *userdata);
