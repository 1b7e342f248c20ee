#pragma once

/* Files and descriptors. All return >= 0 or -errno. */

#include <quarry/base.h>

#include <sys/types.h>

#define SECRET_SIZE_MAX 8192u /* bytes of a passphrase; cryptsetup reads as much from a key file by default */

/* Reads a whole file of at most max bytes into a new NUL-terminated buffer (for /proc and small files,
 * whose size stat() does not know). -EFBIG if it is larger. ret_size may be NULL. */
int file_read(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size);

/* Writes a file so that after a power cut it is there whole or not at all: temporary file, fsync,
 * rename, fsync of the folder. */
int file_write_atomic(int dir_fd, const char *path, const void *data, size_t size, mode_t mode);

/* A memfd that holds data, sealed against every change, close-on-exec. Returns the descriptor. */
int secret_seal(const void *data, size_t size);

/* Reads a secret from a sealed memfd: refuses (-EPERM) a descriptor that is no memfd or is not sealed,
 * since its sender could change it between check and use; -EFBIG above SECRET_SIZE_MAX, -ENODATA when
 * empty. The buffer is NUL-terminated and locked in memory; free it with secret_free(). */
int secret_read(int fd, char **ret, size_t *ret_size);

/* Reads what is no secret, and has just this size, from a sealed memfd; refuses as above. */
int sealed_read(int fd, void *buf, size_t size);

/* Wipes and frees. Both may be given NULL. */
void secret_free(char *secret, size_t size);

/* Loops over short writes. */
int write_all(int fd, const void *data, size_t size);
