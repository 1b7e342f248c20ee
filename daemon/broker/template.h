#pragma once

/* Templates: formatted volumes that nobody sees, of which plain volumes of the same filesystem, size and mkfs options
 * begin as copies. One is made, in the background, when the same is asked for a second time; only so many are kept, and
 * none in a pool that has little room or no volumes.
 *
 * Of kinds that are asked for again and again one more volume is made ahead, also encrypted with the host's key: the
 * next that is asked for takes it as it is. To the catalog it is a template until then. */

#include "broker/operation.h"

/* The template for a volume, which stays until it is given back; NULL if there is none. */
VolumeEntry *template_take(PoolEntry *pool, const VolumeSpec *spec);
void template_give_back(Manager *manager, sd_id128_t uuid);

/* A volume that was made ahead and is what is asked for; NULL if there is none. See registry_turn_template(). */
VolumeEntry *template_find_ahead(Manager *manager, PoolEntry *pool, const VolumeSpec *spec);

/* A volume of this kind was made. */
void template_note_demand(Manager *manager, PoolEntry *pool, const VolumeSpec *spec);

/* It cannot be used any more. */
void template_discard(Manager *manager, VolumeEntry *entry);

/* The pool has no volumes any more, or little room. */
void template_discard_all(Manager *manager, PoolEntry *pool);
