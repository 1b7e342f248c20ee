#pragma once

/* LUKS2 through libcryptsetup. Secrets are given as bytes and never kept. Return >= 0 or -errno. */

#include <quarry/base.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>

/* A header, with the volume key in memory after format or unlock. Between calls it does not hold the device
 * open: the device can be closed while it lives. */
typedef struct Luks Luks;

typedef struct LuksKdf {
        bool argon2;            /* false: PBKDF2 at its minimum, for passphrases that are random already */
        uint64_t memory;        /* argon2: bytes */
        uint64_t iterations;    /* argon2: 0 to measure about a second */
} LuksKdf;

#define LUKS_CIPHER "aes-xts-plain64"
#define LUKS_KEY_BITS 512
#define LUKS_SECTOR_SIZE 4096

/* Once per process. */
void luks_init(void);

void luks_free(Luks *luks);
DEFINE_CLEANUP(Luks *, luks_free)

/* Writes a LUKS2 header of LUKS_HEADER_SIZE (quarry/volume.h), of which much is left as it is, with one keyslot and
 * this token (see below; NULL for none), and waits for the disk. The volume key stays in memory, so that luks_open()
 * needs no second key derivation. uuid becomes the header's. */
int luks_format(const char *device, sd_id128_t uuid, const LuksKdf *kdf, const void *passphrase, size_t size,
                const char *token, Luks **ret);

/* Reads a header. -EINVAL or -ENOENT-like if there is none. */
int luks_load(const char *device, Luks **ret);

/* Derives the volume key. -EPERM (as libcryptsetup) if the passphrase opens no keyslot. */
int luks_unlock(Luks *luks, const void *passphrase, size_t size);

/* Activates the mapping `name` with the key in memory: 4096-byte sectors, discards allowed, private (udev
 * leaves it alone), perhaps read-only. -EEXIST if the name is taken, -ENOKEY without key in memory. */
int luks_open(Luks *luks, const char *name, bool read_only, dev_t *ret);

/* Gives the mapping `name`, which may be in use, another size. The kernel wants the key for that once more: -ENOKEY
 * without it in memory. */
int luks_resize(Luks *luks, const char *name, uint64_t size);

/* Takes a mapping away. -EBUSY after a bounded retry, -ENXIO if there is none, -EBADF if it is not the one of the
 * volume that the name tells: no LUKS2, or over another device. */
int luks_close(const char *name);
/* Has the kernel take it away when its last user closes it. */
int luks_close_deferred(const char *name);

/* Which device a mapping sits on; a mapping is reused only if it is the one expected. -ENXIO if none, -EBADF as
 * above. */
int luks_backing(const char *name, dev_t *ret_backing, dev_t *ret_device);

/* Our token in the header: a JSON object with "type" TOKEN_TYPE. get: -ENOENT if there is none. */
#define LUKS_TOKEN_TYPE "quarry-host-key"
int luks_token_set(Luks *luks, const char *json);
int luks_token_get(Luks *luks, char **ret_json);

/* Gives the header of a copy, which is not open, another UUID. */
int luks_uuid_set(Luks *luks, sd_id128_t uuid);

/* Destroys every keyslot: nobody can open the contents afterwards. */
int luks_destroy_keyslots(Luks *luks);
