#pragma once

/* Loop devices, for pools in a file. Return >= 0 or -errno; -ELOOP where a symbolic link stands in the file's place or
 * on the way to it: whose it is could lead us to another file. */

#include <quarry/base.h>

/* Makes a sparse file of so many bytes, mode 0600; nothing is left of a failure. -EEXIST. */
int loop_file_make(const char *file, uint64_t size);

/* Removes it again; a missing one is fine. */
int loop_file_remove(const char *file);

/* Makes it, and the loop device that has it, larger; as large already is fine. */
int loop_file_grow(const char *file, uint64_t size);
int loop_file_size(const char *file, uint64_t *ret);
/* Attaches the file, or finds the loop device that has it already. *ret_device: "/dev/loopN". */
int loop_attach(const char *file, char **ret_device);

/* Takes it away again; -ENXIO if the file is not attached. */
int loop_detach(const char *file);
