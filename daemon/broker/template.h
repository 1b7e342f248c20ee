#pragma once

/* Templates: formatted volumes that nobody sees, of which plain volumes of the same filesystem, size and mkfs options
 * begin as copies. One is made, in the background, when the same is asked for a second time; only so many are kept, and
 * none in a pool that has little room or no volumes. */

#include "broker/operation.h"

/* The template for a volume, which stays until it is given back; NULL if there is none. */
VolumeEntry *template_take(PoolEntry *pool, const VolumeSpec *spec);
void template_give_back(Manager *manager, sd_id128_t uuid);

/* A volume of this kind was made without a template. */
void template_note_demand(Manager *manager, PoolEntry *pool, const VolumeSpec *spec);

/* It cannot be used any more. */
void template_discard(Manager *manager, VolumeEntry *entry);

/* The pool has no volumes any more, or little room. */
void template_discard_all(Manager *manager, PoolEntry *pool);
