/* A header as a whole: its backup, as cryptsetup makes and reads them, and the way back. */

#include "kernel/luks-header.h"

#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include <systemd/sd-json.h>

int luks_header_write(const char *device, const uint8_t *header) {
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        fd = open(device, O_WRONLY | O_CLOEXEC | O_EXCL);
        if (fd < 0)
                return -errno;
        n = pwrite(fd, header, LUKS_HEADER_USED, 0);
        if (n != (ssize_t) LUKS_HEADER_USED)
                return n < 0 ? -errno : -EIO;
        return RET_NERRNO(fsync(fd));
}

int luks_header_backup(Luks *luks, int *ret) {
        _cleanup_free_ uint8_t *header = malloc(LUKS_HEADER_USED);
        _cleanup_close_ int fd = -EBADF;
        uint64_t metadata, keyslots;
        int r;

        if (!header)
                return -ENOMEM;
        r = luks_header_load(luks);
        if (r >= 0)
                r = crypt_get_metadata_size(luks->header, &metadata, &keyslots);
        luks_header_release(luks);
        if (r < 0)
                return r;
        if (2 * metadata + keyslots != LUKS_HEADER_USED)
                return -EOPNOTSUPP; /* not a header of ours */
        fd = open(luks->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (pread(fd, header, LUKS_HEADER_USED, 0) != (ssize_t) LUKS_HEADER_USED)
                return -EIO;
        r = secret_seal(header, LUKS_HEADER_USED);
        if (r < 0)
                return r;
        *ret = r;
        return 0;
}

int luks_backup_open(int fd, LuksBackup *ret) {
        _cleanup_free_ uint8_t *header = malloc(LUKS_HEADER_USED);
        _cleanup_close_ int copy = -EBADF;
        char path[32];
        int r;

        if (!header)
                return -ENOMEM;
        r = sealed_read(fd, header, LUKS_HEADER_USED);
        if (r < 0)
                return r;
        copy = memfd_create("luks2", MFD_CLOEXEC);
        if (copy < 0 || ftruncate(copy, LUKS_HEADER_SIZE + LUKS_SECTOR_SIZE) < 0 ||
            pwrite(copy, header, LUKS_HEADER_USED, 0) != (ssize_t) LUKS_HEADER_USED)
                return -EIO;
        buffer_format(path, sizeof(path), "/proc/self/fd/%d", copy);
        r = luks_load(path, &ret->luks);
        if (r < 0)
                return r;
        ret->header = TAKE_PTR(header);
        ret->fd = TAKE_FD(copy);
        return 0;
}

void luks_backup_done(LuksBackup *backup) {
        luks_free(backup->luks);
        free(backup->header);
        if (backup->fd >= 0)
                close(backup->fd);
        *backup = (LuksBackup) { .fd = -EBADF };
}

int luks_backup_restore(const LuksBackup *backup, const char *device) {
        return luks_header_write(device, backup->header);
}

/* Part 0 of the only one, without the list of keyslots that it is for, which may differ. */
static int part_of(struct crypt_device *header, const char *name, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *whole = NULL, *part = NULL;
        char *keyslots[] = { (char *) "keyslots", NULL };
        const char *json;
        int r;

        r = crypt_dump_json(header, &json, 0);
        if (r >= 0)
                r = sd_json_parse(json, 0, &whole, NULL, NULL);
        if (r < 0)
                return r;
        part = sd_json_variant_ref(sd_json_variant_by_key(sd_json_variant_by_key(whole, name), "0"));
        if (!part || sd_json_variant_elements(sd_json_variant_by_key(whole, name)) != 2)
                return -EINVAL;
        r = sd_json_variant_filter(&part, keyslots);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(part);
        return 0;
}

/* Whether two headers encrypt the same contents with the same key. */
static bool is_same(struct crypt_device *a, struct crypt_device *b) {
        static const char *const parts[] = { "digests", "segments" };

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *x = NULL, *y = NULL;

                if (part_of(a, parts[i], &x) < 0 || part_of(b, parts[i], &y) < 0 || !sd_json_variant_equal(x, y))
                        return false;
        }
        return true;
}

#define PBKDF2_ITERATIONS_MAX 50000000u /* some ten times what is measured for two seconds */
#define ARGON2_WORK_MAX (64 * GIB)      /* memory times iterations: a minute, where this host takes a second */

static bool is_bearable(const struct crypt_pbkdf_type *pbkdf, const LuksKdf *own) {
        uint64_t memory = (uint64_t) pbkdf->max_memory_kb * 1024, work = own->memory * own->iterations;

        if (streq_ptr(pbkdf->type, CRYPT_KDF_PBKDF2))
                return pbkdf->iterations <= PBKDF2_ITERATIONS_MAX;
        return memory <= own->memory && memory * pbkdf->iterations <= (work > ARGON2_WORK_MAX ? work : ARGON2_WORK_MAX);
}

static bool has_one_as_costly(struct crypt_device *header, const struct crypt_pbkdf_type *pbkdf) {
        for (int i = 0; i < (int) KEYSLOTS_MAX; i++) {
                struct crypt_pbkdf_type other = {};

                if (crypt_keyslot_status(header, i) >= CRYPT_SLOT_ACTIVE &&
                    crypt_keyslot_get_pbkdf(header, i, &other) >= 0 && streq_ptr(other.type, pbkdf->type) &&
                    other.max_memory_kb >= pbkdf->max_memory_kb && other.iterations >= pbkdf->iterations)
                        return true;
        }
        return false;
}

/* Who opens it would do with the host as the header says: what the present one does (NULL: it is not known), or this
 * host for a passphrase of its own, and no more. */
static const char *kdf_check(struct crypt_device *header, struct crypt_device *present, const LuksKdf *own) {
        for (int i = 0; i < (int) KEYSLOTS_MAX; i++) {
                struct crypt_pbkdf_type pbkdf = {};

                if (crypt_keyslot_status(header, i) < CRYPT_SLOT_ACTIVE)
                        continue;
                if (crypt_keyslot_get_pbkdf(header, i, &pbkdf) < 0)
                        return "it has a keyslot that cannot be read";
                if (!is_bearable(&pbkdf, own) && (!present || !has_one_as_costly(present, &pbkdf)))
                        return "a keyslot of it takes more memory than quarry.conf(5) allows, or much more time";
        }
        return NULL;
}

/* All of the device, by its sectors' numbers alone: the kernel's part of libcryptsetup looks at these, and
 * crypt_get_*() does not say them. */
static bool is_segment_whole(struct crypt_device *header) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *segment = NULL;

        return part_of(header, "segments", &segment) >= 0 && streq(json_string(segment, "size"), "dynamic") &&
               streq(json_string(segment, "iv_tweak"), "0") && !sd_json_variant_by_key(segment, "integrity");
}

/* How it encrypts, and where. */
static const char *form_check(struct crypt_device *header) {
        uint64_t metadata = 0, keyslots = 0;
        uint32_t requirements = 0;

        if (!streq_ptr(crypt_get_cipher(header), "aes") || !streq_ptr(crypt_get_cipher_mode(header), "xts-plain64") ||
            crypt_get_volume_key_size(header) != LUKS_KEY_SIZE || crypt_get_sector_size(header) != LUKS_SECTOR_SIZE ||
            crypt_get_data_offset(header) * 512 != LUKS_HEADER_SIZE || crypt_get_iv_offset(header) != 0 ||
            !is_segment_whole(header))
                return "it encrypts in another way than quarry's volumes are";
        if (crypt_get_metadata_size(header, &metadata, &keyslots) < 0 || 2 * metadata + keyslots != LUKS_HEADER_USED)
                return "its parts have other sizes than those of quarry's volumes";
        if (crypt_persistent_flags_get(header, CRYPT_FLAGS_REQUIREMENTS, &requirements) < 0 || requirements != 0)
                return "something was under way when it was made";
        return NULL;
}

const char *luks_header_check(Luks *luks, const LuksKdf *own) {
        const char *why;

        if (luks_header_load(luks) < 0)
                return "it cannot be read";
        why = form_check(luks->header) ?: kdf_check(luks->header, NULL, own);
        luks_header_release(luks);
        return why;
}

const char *luks_backup_check(const LuksBackup *backup, Luks *present, sd_id128_t uuid, const LuksKdf *own) {
        struct crypt_device *header, *was;
        const char *why = NULL;
        char text[UUID_TEXT_MAX];

        if (luks_header_load(backup->luks) < 0)
                return "it cannot be read";
        header = backup->luks->header;
        was = present && luks_header_load(present) >= 0 ? present->header : NULL;
        if (!streq_ptr(crypt_get_uuid(header), uuid_format(uuid, text)))
                why = "it is of another volume";
        else
                why = form_check(header);
        if (!why && was && !is_same(header, was))
                why = "it is of other contents, of an earlier volume of the same UUID";
        else if (!why)
                why = kdf_check(header, was, own);
        if (was)
                luks_header_release(present);
        luks_header_release(backup->luks);
        return why;
}
