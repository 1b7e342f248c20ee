#pragma once

/* A store in a directory, of this host or of a filesystem that is mounted. */

#include "store.h"

#define STORE_PATH_MAX (STORE_NAME_MAX + 8)

/* path: absolute. */
int store_directory_new(const char *path, bool make, Store **ret, Error *err);
