#pragma once

/* LUKS2 through libcryptsetup. Secrets are given as bytes and never kept. Return >= 0 or -errno. */

#include <quarry/base.h>
#include <quarry/key.h>

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

/* Derives the volume key. Returns the keyslot; -EPERM (as libcryptsetup) if the passphrase opens none. */
int luks_unlock(Luks *luks, const void *passphrase, size_t size);

/* Activates the mapping `name` with the key in memory: 4096-byte sectors, discards allowed, private (udev
 * leaves it alone), perhaps read-only. -EEXIST if the name is taken, -ENOKEY without key in memory. */
int luks_open(Luks *luks, const char *name, bool read_only, dev_t *ret);

/* Gives the mapping `name`, which may be in use, another size. The kernel wants the key for that once more: -ENOKEY
 * without it in memory. */
int luks_resize(Luks *luks, const char *name, uint64_t size);

/* Gives a mapping that was suspended, and whose key was wiped, its key again, and lets it go on. -ENOKEY as above. */
int luks_resume(Luks *luks, const char *name);

/* Takes a mapping away. -EBUSY after a bounded retry, -ENXIO if there is none, -EBADF if it is not the one of the
 * volume that the name tells: no LUKS2, or over another device. */
int luks_close(const char *name);
/* Has the kernel take it away when its last user closes it. */
int luks_close_deferred(const char *name);

/* Which device a mapping sits on; a mapping is reused only if it is the one expected. -ENXIO if none, -EBADF as
 * above. */
int luks_backing(const char *name, dev_t *ret_backing, dev_t *ret_device);

/* Our token in the header: a JSON object with "type" TOKEN_TYPE. set: NULL takes it away. get: -ENOENT if there is
 * none; *ret_slot is the keyslot that it opens, -1: none yet, or none any more. */
#define LUKS_TOKEN_TYPE "quarry-host-key"
int luks_token_set(Luks *luks, const char *json);
int luks_token_get(Luks *luks, char **ret_json, int *ret_slot);
int luks_token_assign(Luks *luks, int slot);

/* The keyslots, and for how many more there is room. */
int luks_keys_look(Luks *luks, VolumeKeys *ret);
/* With the key in memory (-ENOKEY without): returns the new slot. */
int luks_keyslot_add(Luks *luks, const LuksKdf *kdf, const void *passphrase, size_t size);
/* Destroys one, and the tokens that open no other. */
int luks_keyslot_remove(Luks *luks, int slot);
/* Those whose removal was cut short, which opened nothing any more: how many there were. */
int luks_removals_finish(Luks *luks);

/* Gives the header of a copy, which is not open, another UUID. */
int luks_uuid_get(Luks *luks, sd_id128_t *ret);
int luks_uuid_set(Luks *luks, sd_id128_t uuid);

/* Destroys every keyslot: nobody can open the contents afterwards. */
int luks_destroy_keyslots(Luks *luks);

/* The header as "cryptsetup luksHeaderBackup" writes it, in a sealed memfd. -EOPNOTSUPP if it is none of ours. */
int luks_header_backup(Luks *luks, int *ret);

/* One that somebody brings, in a sealed memfd: whatever it holds, nothing is done with it before it was checked. */
typedef struct LuksBackup {
        uint8_t *header;
        int fd;
        Luks *luks;
} LuksBackup;

/* -EPERM if it is in no sealed memfd, -EFBIG if it is too large, -ENODATA if it is too small, another if it is no
 * header. */
int luks_backup_open(int fd, LuksBackup *ret);
void luks_backup_done(LuksBackup *backup);
/* Why it cannot be that of a volume of ours; NULL if it can. own: what a passphrase may take of this host. */
const char *luks_header_check(Luks *luks, const LuksKdf *own);
/* Why it is not for the volume of this header UUID, whose header is `present` as far as that can be read (NULL); NULL
 * if it is. */
const char *luks_backup_check(const LuksBackup *backup, Luks *present, sd_id128_t uuid, const LuksKdf *own);
/* Writes it, and waits for the disk. Nobody may use the device. */
int luks_backup_restore(const LuksBackup *backup, const char *device);
