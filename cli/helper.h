#pragma once

/* mount.quarry: what mount(8), and with it systemd, runs for the type quarry. */

#include "attach.h"

#define HELPER_NAME "mount.quarry"

/* Returns the exit status, as mount(8) has them. */
int helper_run(int argc, char **argv);

/* Of a list as in fstab(5): what is for mount(8), systemd and others is passed over. *list is cut into pieces, to which
 * *how then points. sloppy: what is not known is passed over, too. *ret_remount: another mount is not wanted, but other
 * options of the one that is there. */
int helper_take_options(char *list, bool sloppy, Attachment *how, bool *ret_remount, Error *err);

/* What mount(8) takes for a path below the current folder, because there is one of that name, is the name that was
 * typed. Returns a part of spec. */
const char *helper_reference(const char *spec, const char *folder);
