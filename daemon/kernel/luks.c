#include "kernel/luks-header.h"

#include "kernel/dm.h"
#include "kernel/sysfs.h"

#include <quarry/fd.h>
#include <quarry/log.h>
#include <quarry/pool.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define KDF_TIME_MS 1000u
#define PBKDF2_ITERATIONS_MIN 1000u

static void on_log(int level, const char *text, void *userdata) {
        log_debug(NULL, "libcryptsetup: %.*s", (int) strcspn(text, "\n"), text);
}

void luks_init(void) {
        dm_init();
        crypt_set_log_callback(NULL, on_log, NULL);
        crypt_token_external_disable(); /* a header must not choose which code is loaded */
}

void luks_header_release(Luks *luks) {
        crypt_free(luks->header);
        luks->header = NULL;
}

int luks_header_load(Luks *luks) {
        int r;

        if (luks->header)
                return 0;
        r = crypt_init(&luks->header, luks->path);
        if (r >= 0)
                r = crypt_load(luks->header, CRYPT_LUKS2, NULL);
        /* Nothing authenticates the header's cipher: who can write the disk must not turn the encryption off. */
        if (r >= 0 && startswith(crypt_get_cipher(luks->header) ?: "", "cipher_null"))
                r = -EOPNOTSUPP;
        if (r < 0)
                luks_header_release(luks);
        return r;
}

void luks_free(Luks *luks) {
        if (!luks)
                return;
        crypt_safe_free(luks->key);
        luks_header_release(luks);
        free(luks->path);
        free(luks);
}

static int luks_new(const char *device, Luks **ret) {
        Luks *luks;

        luks = calloc(1, sizeof(*luks));
        if (!luks)
                return -ENOMEM;
        luks->path = strdup(device);
        if (!luks->path) {
                free(luks);
                return -ENOMEM;
        }
        *ret = luks;
        return 0;
}

/* --- header --------------------------------------------------------------------------------------------- */

struct crypt_pbkdf_type luks_pbkdf(const LuksKdf *kdf) {
        if (!kdf->argon2)
                return (struct crypt_pbkdf_type) {
                        .type = CRYPT_KDF_PBKDF2,
                        .hash = "sha256",
                        .iterations = PBKDF2_ITERATIONS_MIN,
                        .flags = CRYPT_PBKDF_NO_BENCHMARK,
                };
        /* One lane: several workers derive keys beside each other. */
        return (struct crypt_pbkdf_type) {
                .type = CRYPT_KDF_ARGON2ID,
                .hash = "sha256",
                .time_ms = KDF_TIME_MS,
                .iterations = (uint32_t) kdf->iterations,
                .max_memory_kb = (uint32_t) (kdf->memory / 1024),
                .parallel_threads = 1,
                .flags = kdf->iterations ? CRYPT_PBKDF_NO_BENCHMARK : 0,
        };
}

static int header_make(Luks *luks, sd_id128_t uuid, const LuksKdf *kdf) {
        struct crypt_pbkdf_type pbkdf = luks_pbkdf(kdf);
        struct crypt_params_luks2 params = { .pbkdf = &pbkdf, .sector_size = LUKS_SECTOR_SIZE };
        char text[UUID_TEXT_MAX];
        int r;

        r = crypt_set_metadata_size(luks->header, LUKS_METADATA_SIZE, LUKS_KEYSLOTS_SIZE);
        if (r >= 0)
                r = crypt_set_data_offset(luks->header, LUKS_HEADER_SIZE / 512);
        if (r >= 0)
                r = crypt_format(luks->header, CRYPT_LUKS2, "aes", "xts-plain64", uuid_format(uuid, text), luks->key,
                                 LUKS_KEY_SIZE, &params);
        return r;
}

static int header_copy(int memory_fd, const char *device) {
        _cleanup_free_ uint8_t *header = NULL;

        header = malloc(LUKS_HEADER_USED);
        if (!header)
                return -ENOMEM;
        if (pread(memory_fd, header, LUKS_HEADER_USED, 0) != (ssize_t) LUKS_HEADER_USED)
                return -EIO;
        return luks_header_write(device, header);
}

/* The library writes the header several times, and each time to both of its copies, and waits for the disk, and clears
 * all that is in front of the contents: so it is made in memory, and written once. Nothing in it is secret without the
 * passphrase. */
int luks_format(const char *device, sd_id128_t uuid, const LuksKdf *kdf, const void *passphrase, size_t size,
                const char *token, Luks **ret) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        _cleanup_close_ int fd = -EBADF;
        char path[32];
        int r;

        r = luks_new(device, &luks);
        if (r < 0)
                return r;
        luks->key = crypt_safe_alloc(LUKS_KEY_SIZE);
        if (!luks->key)
                return -ENOMEM;
        if (getrandom(luks->key, LUKS_KEY_SIZE, 0) != LUKS_KEY_SIZE)
                return -EIO;
        fd = memfd_create("luks2", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, LUKS_HEADER_SIZE + LUKS_SECTOR_SIZE) < 0)
                return -errno;
        buffer_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = crypt_init(&luks->header, path);
        if (r >= 0)
                r = header_make(luks, uuid, kdf);
        if (r >= 0)
                r = crypt_keyslot_add_by_volume_key(luks->header, 0, luks->key, LUKS_KEY_SIZE, passphrase, size);
        if (r >= 0 && token)
                r = crypt_token_json_set(luks->header, CRYPT_ANY_TOKEN, token);
        luks_header_release(luks);
        if (r >= 0)
                r = header_copy(fd, device);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(luks);
        return 0;
}

int luks_load(const char *device, Luks **ret) {
        _cleanup_(luks_freep) Luks *luks = NULL;
        int r;

        r = luks_new(device, &luks);
        if (r >= 0)
                r = luks_header_load(luks);
        if (r < 0)
                return r;
        luks_header_release(luks);
        *ret = TAKE_PTR(luks);
        return 0;
}

static int key_derive(Luks *luks, const void *passphrase, size_t size) {
        size_t key_size = LUKS_KEY_SIZE;
        char *key;
        int r;

        if (crypt_get_volume_key_size(luks->header) != LUKS_KEY_SIZE)
                return -EOPNOTSUPP; /* not a header of ours */
        key = crypt_safe_alloc(LUKS_KEY_SIZE);
        if (!key)
                return -ENOMEM;
        r = crypt_volume_key_get(luks->header, CRYPT_ANY_SLOT, key, &key_size, passphrase, size);
        if (r < 0) {
                crypt_safe_free(key);
                return r;
        }
        crypt_safe_free(luks->key);
        luks->key = key;
        return r;
}

int luks_unlock(Luks *luks, const void *passphrase, size_t size) {
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = key_derive(luks, passphrase, size);
        luks_header_release(luks);
        return r;
}

int luks_uuid_set(Luks *luks, sd_id128_t uuid) {
        char text[UUID_TEXT_MAX];
        int r;

        r = luks_header_load(luks);
        if (r >= 0)
                r = crypt_set_uuid(luks->header, uuid_format(uuid, text));
        luks_header_release(luks);
        return r;
}

int luks_uuid_get(Luks *luks, sd_id128_t *ret) {
        const char *text;
        int r;

        r = luks_header_load(luks);
        if (r < 0)
                return r;
        text = crypt_get_uuid(luks->header);
        r = text ? sd_id128_from_string(text, ret) : -EBADMSG;
        luks_header_release(luks);
        return r;
}

/* --- mapping -------------------------------------------------------------------------------------------- */

int luks_open(Luks *luks, const char *name, bool read_only, dev_t *ret) {
        DmInfo info;
        int r;

        if (!luks->key)
                return -ENOKEY;
        r = luks_header_load(luks);
        if (r < 0)
                return r;
        r = crypt_activate_by_volume_key(luks->header, name, luks->key, LUKS_KEY_SIZE,
                                         CRYPT_ACTIVATE_ALLOW_DISCARDS | CRYPT_ACTIVATE_PRIVATE |
                                                 (read_only ? CRYPT_ACTIVATE_READONLY : 0));
        luks_header_release(luks);
        /* The library handed the volume key to dm-crypt by our thread's keyring; we live on, and the key
         * shall not outlive the mapping. */
        (void) syscall(SYS_keyctl, KEYCTL_CLEAR, KEY_SPEC_THREAD_KEYRING);
        if (r >= 0)
                r = dm_info(name, &info);
        if (r < 0)
                return r;
        *ret = info.device;
        return 0;
}

/* The library only loads the key; the table is the one that the mapping has, and calls the key by its name. */
int luks_resize(Luks *luks, const char *name, uint64_t size) {
        int r;

        if (!luks->key)
                return -ENOKEY;
        r = luks_header_load(luks);
        if (r < 0)
                return r;
        r = crypt_activate_by_volume_key(luks->header, NULL, luks->key, LUKS_KEY_SIZE, CRYPT_ACTIVATE_KEYRING_KEY);
        if (r >= 0)
                r = dm_resize(name, "crypt", size);
        luks_header_release(luks);
        (void) syscall(SYS_keyctl, KEYCTL_CLEAR, KEY_SPEC_THREAD_KEYRING);
        return r;
}

int luks_resume(Luks *luks, const char *name) {
        int r;

        if (!luks->key)
                return -ENOKEY;
        r = luks_header_load(luks);
        if (r < 0)
                return r;
        r = crypt_resume_by_volume_key(luks->header, name, luks->key, LUKS_KEY_SIZE);
        luks_header_release(luks);
        (void) syscall(SYS_keyctl, KEYCTL_CLEAR, KEY_SPEC_THREAD_KEYRING);
        return r < 0 ? r : 0;
}

/* Whether all that a mapping sits on is the volume's thin device; one that was never given a table sits on nothing. */
static int check_below(dev_t mapping, sd_id128_t volume) {
        _cleanup_free_ dev_t *below = NULL;
        size_t n = 0;
        int r;

        r = sysfs_links(mapping, "slaves", &below, &n);
        for (size_t i = 0; i < n && r >= 0; i++) {
                char uuid[SYSFS_VALUE_MAX], kind[8];
                sd_id128_t pool, id;

                if (sysfs_read(below[i], "dm/uuid", uuid) < 0 || kernel_uuid_parse(uuid, &pool, kind, &id) < 0 ||
                    !streq(kind, "thin") || !sd_id128_equal(id, volume))
                        r = -EBADF;
        }
        return r == -ENOENT ? -ENXIO : r; /* gone meanwhile */
}

/* A mapping of ours is one of LUKS2 over the volume's thin device; others of the same name are not touched. Whose
 * header it was says nothing: a snapshot has that of its origin. */
static int mapping_info(const char *name, DmInfo *ret) {
        sd_id128_t volume;
        int r;

        r = dm_info(name, ret);
        if (r < 0)
                return r;
        if (!startswith(ret->uuid, "CRYPT-LUKS2-") || volume_uuid_from_kernel_name(name, &volume) < 0)
                return -EBADF;
        return check_below(ret->device, volume);
}

/* By device-mapper alone: it needs no header, which may be damaged or destroyed by now. */
int luks_close(const char *name) {
        DmInfo info;
        int r;

        r = mapping_info(name, &info);
        return r < 0 ? r : dm_remove(name);
}

int luks_close_deferred(const char *name) {
        DmInfo info;
        int r;

        r = mapping_info(name, &info);
        return r < 0 ? r : dm_remove_deferred(name);
}

int luks_backing(const char *name, dev_t *ret_backing, dev_t *ret_device) {
        _cleanup_free_ dev_t *below = NULL;
        size_t n = 0;
        DmInfo info;
        int r;

        r = mapping_info(name, &info);
        if (r >= 0)
                r = sysfs_links(info.device, "slaves", &below, &n);
        if (r < 0)
                return r;
        if (n != 1)
                return -ENXIO; /* created, but never given a table */
        *ret_backing = below[0];
        *ret_device = info.device;
        return 0;
}
