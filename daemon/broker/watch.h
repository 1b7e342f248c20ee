#pragma once

/* Who mounts what, by /proc/self/mountinfo: the kernel's word, followed as it changes. A volume that nobody has
 * mounted any more is closed without anybody asking. */

#include "broker/manager.h"

int watch_new(Manager *manager, Watch **ret, Error *err);
void watch_free(Watch *watch);

/* Looks now: afterwards every VolumeEntry.holds is as the kernel says. */
void watch_look(Watch *watch);

/* A volume was opened; its mount may come later (it was handed over detached) or never. */
void watch_volume_opened(Watch *watch);
