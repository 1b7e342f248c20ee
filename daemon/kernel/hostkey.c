#include "kernel/hostkey.h"

#include "kernel/spawn.h"

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER "/var/lib/quarry"
#define CREDENTIAL "quarry.host-key"
#define OLD_CREDENTIAL "quarry.old-host-key"
#define COMMAND_TIMEOUT 30u /* seconds */
#define ENCODED_MAX 128u    /* bytes of a key as hex or base64, with some white space */

#define KEY_ID_SIZE ((HOST_KEY_ID_MAX - 1) / 2)

/* Locked, wiped on free, fenced by guard pages. */
static uint8_t *secret_new(size_t size) {
        return sodium_init() < 0 ? NULL : sodium_malloc(size);
}

void hostkey_free(uint8_t *key) {
        sodium_free(key);
}

void hostkey_passphrase_free(uint8_t *passphrase) {
        sodium_free(passphrase);
}

uint8_t *hostkey_passphrase_alloc(void) {
        return secret_new(VOLUME_PASSPHRASE_SIZE);
}

uint8_t *hostkey_passphrase_new(void) {
        uint8_t *passphrase = hostkey_passphrase_alloc();

        if (passphrase)
                randombytes_buf(passphrase, VOLUME_PASSPHRASE_SIZE);
        return passphrase;
}

/* --- the host key --------------------------------------------------------------------------------------- */

/* 32 raw bytes, or their hex or base64 form; white space around it is fine. */
static int key_decode(const char *text, size_t size, uint8_t **ret) {
        uint8_t *key = secret_new(HOST_KEY_SIZE);
        size_t n = 0;

        if (!key)
                return -ENOMEM;
        if (size == HOST_KEY_SIZE)
                memcpy(key, text, n = HOST_KEY_SIZE);
        else if (size > ENCODED_MAX)
                ;
        else if (sodium_hex2bin(key, HOST_KEY_SIZE, text, size, " \t\r\n", &n, NULL) < 0 || n != HOST_KEY_SIZE) {
                n = 0;
                if (sodium_base642bin(key, HOST_KEY_SIZE, text, size, " \t\r\n", &n, NULL,
                                      sodium_base64_VARIANT_ORIGINAL) < 0)
                        n = 0;
        }
        if (n != HOST_KEY_SIZE) {
                sodium_free(key);
                return -EINVAL;
        }
        *ret = key;
        return 0;
}

static int key_decode_from(const char *source, const char *text, size_t size, uint8_t **ret, Error *err) {
        int r;

        r = key_decode(text, size, ret);
        if (r == -EINVAL)
                return error_set(err, ERROR_FAILED, EINVAL,
                                 "the host key from %s is no key: %d bytes are needed, as they are or in hex or base64",
                                 source, HOST_KEY_SIZE);
        return r < 0 ? error_oom(err) : 0;
}

/* Reads at most size bytes into locked memory; one more tells that there are more. */
static int key_bytes_read(int fd, uint8_t *buf, size_t size, size_t *ret) {
        size_t have = 0;

        while (have < size) {
                ssize_t n = read(fd, buf + have, size - have);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                have += (size_t) n;
        }
        *ret = have;
        return 0;
}

static int key_from_fd(int fd, const char *source, uint8_t **ret, Error *err) {
        uint8_t *buf = secret_new(ENCODED_MAX + 1);
        size_t size = 0;
        int r;

        if (!buf)
                return error_oom(err);
        r = key_bytes_read(fd, buf, ENCODED_MAX + 1, &size);
        if (r < 0)
                r = error_errno(err, r, "cannot read the host key from %s", source);
        else
                r = key_decode_from(source, (const char *) buf, size, ret, err);
        sodium_free(buf);
        return r;
}

/* 1 with the key, 0 if the service was given no such credential. */
static int key_from_credential(const char *name, uint8_t **ret, Error *err) {
        const char *folder = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_MAX], source[64];
        int r;

        if (!folder || !buffer_format(path, sizeof(path), "%s/%s", folder, name))
                return 0;
        buffer_format(source, sizeof(source), "the credential %s", name);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot open %s", source);
        r = key_from_fd(fd, source, ret, err);
        return r < 0 ? r : 1;
}

static int key_from_command(char *const *command, uint8_t **ret, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        int r;

        r = spawn_run(command, COMMAND_TIMEOUT, &output);
        if (r == -ETIMEDOUT)
                return error_set(err, ERROR_FAILED, ETIMEDOUT, "KeyCommand= %s gave no key within %u seconds",
                                 command[0], COMMAND_TIMEOUT);
        if (r < 0)
                return error_errno(err, r, "cannot run KeyCommand= %s", command[0]);
        if (r > 0)
                return error_set(err, ERROR_FAILED, 0, "KeyCommand= %s ended with status %d: %s", command[0], r,
                                 isempty(output.err) ? "it says nothing" : output.err);
        return key_decode_from("KeyCommand=", output.out, output.out_size, ret, err);
}

/* A file that others could have read or written holds no secret. */
static int key_file_check(int fd, const char *path, Error *err) {
        struct stat status;
        int r;

        if (fstat(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at %s", path);
        if (!S_ISREG(status.st_mode) || status.st_uid != 0 || (status.st_mode & 077) != 0) {
                r = error_set(err, ERROR_FAILED, EPERM,
                              "%s must be a file of root that nobody else can read (mode %03o, uid %u)", path,
                              (unsigned) status.st_mode & 07777, (unsigned) status.st_uid);
                error_hint(err, "if nobody read it: chown root:root %s && chmod 0400 %s", path, path);
                return r;
        }
        if (status.st_size != HOST_KEY_SIZE) {
                r = error_set(err, ERROR_FAILED, EINVAL, "%s has %lld bytes, a host key has %d", path,
                              (long long) status.st_size, HOST_KEY_SIZE);
                error_hint(err, "restore it from a backup: volumes encrypted with it open with no other");
                return r;
        }
        return 0;
}

/* 1 with the key, 0 if there is no file. */
static int key_from_file(const char *path, uint8_t **ret, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot open %s", path);
        r = key_file_check(fd, path, err);
        if (r >= 0)
                r = key_from_fd(fd, path, ret, err);
        return r < 0 ? r : 1;
}

/* Makes the file whole and durable, or not at all. Of two that race, one wins: -EEXIST for the other. */
static int key_file_make(const uint8_t *key) {
        _cleanup_close_ int folder = -EBADF, fd = -EBADF;
        char path[64];
        int r;

        folder = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
                return -errno;
        fd = openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0400);
        if (fd < 0)
                return -errno;
        r = write_all(fd, key, HOST_KEY_SIZE);
        if (r < 0)
                return r;
        if (fchmod(fd, 0400) < 0 || fsync(fd) < 0)
                return -errno;
        buffer_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, path, AT_FDCWD, HOST_KEY_FILE, AT_SYMLINK_FOLLOW) < 0)
                return -errno;
        return RET_NERRNO(fsync(folder));
}

static int key_make(Error *err) {
        uint8_t *key = secret_new(HOST_KEY_SIZE);
        int r;

        if (!key)
                return error_oom(err);
        randombytes_buf(key, HOST_KEY_SIZE);
        r = key_file_make(key);
        sodium_free(key);
        return r < 0 && r != -EEXIST ? error_errno(err, r, "cannot make " HOST_KEY_FILE) : 0;
}

static int no_key(Error *err) {
        int r = error_set(err, ERROR_WRONG_KEY, ENOKEY, "this host has no host key: " HOST_KEY_FILE " is missing");

        error_hint(err, "restore it from a backup: volumes encrypted with it open with no other");
        return r;
}

static int current_load(char *const *key_command, bool create, uint8_t **ret, HostKeySource *ret_source, Error *err) {
        int r;

        *ret_source = HOST_KEY_FROM_CREDENTIAL;
        r = key_from_credential(CREDENTIAL, ret, err);
        if (r != 0)
                return r < 0 ? r : 0;
        *ret_source = HOST_KEY_FROM_COMMAND;
        if (key_command && key_command[0])
                return key_from_command(key_command, ret, err);
        *ret_source = HOST_KEY_FROM_FILE;
        r = key_from_file(HOST_KEY_FILE, ret, err);
        if (r == 0 && create) {
                r = key_make(err);
                if (r >= 0)
                        r = key_from_file(HOST_KEY_FILE, ret, err);
        }
        return r < 0 ? r : r == 0 ? no_key(err) : 0;
}

int hostkey_load(char *const *key_command, bool create, uint8_t **ret, Error *err) {
        HostKeySource source;

        return current_load(key_command, create, ret, &source, err);
}

void hostkey_derive(const uint8_t *key, const char *purpose, uint8_t ret[static HOST_KEY_SIZE]) {
        (void) crypto_generichash(ret, HOST_KEY_SIZE, (const uint8_t *) purpose, strlen(purpose), key, HOST_KEY_SIZE);
}

void hostkey_id(const uint8_t *key, char buf[static HOST_KEY_ID_MAX]) {
        static const char message[] = "quarry host key id";
        uint8_t id[KEY_ID_SIZE];

        crypto_generichash(id, sizeof(id), (const uint8_t *) message, sizeof(message) - 1, key, HOST_KEY_SIZE);
        sodium_bin2hex(buf, HOST_KEY_ID_MAX, id, sizeof(id));
}

/* --- older ones ------------------------------------------------------------------------------------------- */

#define KEPT_PATH_MAX (sizeof(HOST_KEY_FILE) + 1 + HOST_KEY_ID_MAX)

static void kept_path(const char *id, char buf[static KEPT_PATH_MAX]) {
        buffer_format(buf, KEPT_PATH_MAX, HOST_KEY_FILE ".%s", id);
}

/* The key of this id from one of the places where older ones are: 1, or 0. */
static int older_find(const char *id, uint8_t **ret) {
        char path[KEPT_PATH_MAX];

        kept_path(id, path);
        for (int i = 0; i < 3; i++) {
                char found[HOST_KEY_ID_MAX];
                uint8_t *key;
                int r;

                r = i == 0   ? key_from_file(path, &key, NULL)
                    : i == 1 ? key_from_file(HOST_KEY_FILE, &key, NULL)
                             : key_from_credential(OLD_CREDENTIAL, &key, NULL);
                if (r <= 0)
                        continue;
                hostkey_id(key, found);
                if (streq(found, id)) {
                        *ret = key;
                        return 1;
                }
                hostkey_free(key);
        }
        return 0;
}

int hostkey_other(const char *wanted, const char *have, Error *err) {
        int r = error_set(err, ERROR_WRONG_KEY, EKEYREJECTED,
                          "the volume was encrypted with another host key (%s, this host's is %s)", wanted, have);

        error_hint(err,
                   "restore that host key as " HOST_KEY_FILE ", on a host that has no volumes by another; or give the "
                   "passphrase that it has beside it");
        return r;
}

int hostkey_find(char *const *key_command, const char *id, uint8_t **ret, Error *err) {
        char have[HOST_KEY_ID_MAX];
        uint8_t *key;
        int r;

        r = hostkey_load(key_command, false, &key, err);
        if (r >= 0) {
                hostkey_id(key, have);
                if (streq(have, id)) {
                        *ret = key;
                        return 0;
                }
                hostkey_free(key);
        }
        if (older_find(id, ret) > 0)
                return 0;
        return r < 0 ? r : hostkey_other(id, have, err);
}

typedef struct List {
        HostKey *keys;
        size_t n;
} List;

static int list_add_id(List *list, const char *id, HostKeySource source) {
        HostKey *keys;

        for (size_t i = 0; i < list->n; i++)
                if (streq(list->keys[i].id, id))
                        return 0;
        keys = reallocarray(list->keys, list->n + 1, sizeof(*keys));
        if (!keys)
                return -ENOMEM;
        list->keys = keys;
        keys[list->n] = (HostKey) { .source = source };
        buffer_format(keys[list->n++].id, HOST_KEY_ID_MAX, "%s", id);
        return 0;
}

static int list_add(List *list, const uint8_t *key, HostKeySource source) {
        char id[HOST_KEY_ID_MAX];

        hostkey_id(key, id);
        return list_add_id(list, id, source);
}

/* One that a power cut left written over is still to be destroyed, by its name. Any other that is not what it is called
 * is nobody's. */
static int list_add_kept(List *list, const char *name) {
        char path[KEPT_PATH_MAX], found[HOST_KEY_ID_MAX];
        const char *id = startswith(name, "host-key.");
        uint8_t *key;
        bool is_one;

        if (!id || !host_key_id_is_valid(id))
                return 0;
        kept_path(id, path);
        if (key_from_file(path, &key, NULL) <= 0)
                return 0;
        hostkey_id(key, found);
        is_one = streq(found, id) || sodium_is_zero(key, HOST_KEY_SIZE);
        hostkey_free(key);
        return is_one ? list_add_id(list, id, HOST_KEY_KEPT) : 0;
}

static int list_older(List *list) {
        struct dirent *entry;
        uint8_t *key;
        DIR *folder;
        int r = 0;

        if (key_from_file(HOST_KEY_FILE, &key, NULL) > 0) {
                r = list_add(list, key, HOST_KEY_FROM_FILE);
                hostkey_free(key);
        }
        if (r >= 0 && key_from_credential(OLD_CREDENTIAL, &key, NULL) > 0) {
                r = list_add(list, key, HOST_KEY_OLD_CREDENTIAL);
                hostkey_free(key);
        }
        folder = r < 0 ? NULL : opendir(FOLDER);
        if (!folder)
                return r < 0 ? r : -errno;
        while (r >= 0 && (entry = readdir(folder)))
                r = list_add_kept(list, entry->d_name);
        closedir(folder);
        return r;
}

int hostkey_list(char *const *key_command, HostKey **ret, size_t *ret_n, Error *err) {
        List list = {};
        HostKeySource source;
        uint8_t *key;
        int r;

        r = current_load(key_command, false, &key, &source, err);
        if (r < 0)
                return r;
        r = list_add(&list, key, source);
        hostkey_free(key);
        if (r >= 0)
                r = list_older(&list);
        if (r < 0) {
                free(list.keys);
                return error_errno(err, r, "cannot look for older host keys");
        }
        *ret = list.keys;
        *ret_n = list.n;
        return 0;
}

/* --- a new one -------------------------------------------------------------------------------------------- */

/* The present key has its second name before it loses the first. */
static int keep(const uint8_t *key, Error *err) {
        char id[HOST_KEY_ID_MAX], path[KEPT_PATH_MAX];
        _cleanup_close_ int folder = -EBADF;
        uint8_t *kept;
        int r;

        hostkey_id(key, id);
        kept_path(id, path);
        if (link(HOST_KEY_FILE, path) < 0 && errno != EEXIST)
                return error_errno(err, errno, "cannot keep the host key as %s", path);
        r = key_from_file(path, &kept, err);
        if (r < 0)
                return r;
        if (r == 0 || memcmp(kept, key, HOST_KEY_SIZE) != 0)
                r = error_set(err, ERROR_FAILED, EEXIST, "%s is there, and is not the host key", path);
        hostkey_free(kept);
        if (r < 0)
                return r;
        folder = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0 || fsync(folder) < 0)
                return error_errno(err, errno, "cannot keep the host key as %s", path);
        return 0;
}

static int replace(Error *err) {
        uint8_t *key = secret_new(HOST_KEY_SIZE);
        int r;

        if (!key)
                return error_oom(err);
        randombytes_buf(key, HOST_KEY_SIZE);
        r = file_write_atomic(AT_FDCWD, HOST_KEY_FILE, key, HOST_KEY_SIZE, 0400);
        hostkey_free(key);
        return r < 0 ? error_errno(err, r, "cannot write " HOST_KEY_FILE) : 0;
}

static int not_ours(HostKeySource source, Error *err) {
        int r = error_set(err, ERROR_NOT_SUPPORTED, EROFS, "the host key comes from %s, where quarry cannot write",
                          source == HOST_KEY_FROM_CREDENTIAL ? "the credential " CREDENTIAL : "KeyCommand=");

        error_hint(err, "change it there, leave the old one as " HOST_KEY_FILE " or as credential " OLD_CREDENTIAL
                        ", then: quarry key rotate");
        return r;
}

int hostkey_rotate(char *const *key_command, const char *from, Error *err) {
        char id[HOST_KEY_ID_MAX];
        HostKeySource source;
        uint8_t *key;
        int r;

        r = current_load(key_command, false, &key, &source, err);
        if (r < 0)
                return r;
        hostkey_id(key, id);
        if (source != HOST_KEY_FROM_FILE)
                r = not_ours(source, err);
        else if (streq(id, from)) { /* else that was done already */
                r = keep(key, err);
                if (r >= 0)
                        r = replace(err);
        }
        hostkey_free(key);
        return r;
}

/* What is left of it under another name is not to be written over: it may be the present one. */
static int kept_destroy(const char *path) {
        static const uint8_t nothing[HOST_KEY_SIZE];
        _cleanup_close_ int folder = -EBADF, fd = -EBADF;
        struct stat status;

        fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &status) < 0)
                return -errno;
        if (status.st_nlink == 1 && S_ISREG(status.st_mode) &&
            (pwrite(fd, nothing, sizeof(nothing), 0) != sizeof(nothing) || fsync(fd) < 0))
                return -EIO;
        folder = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0 || unlink(path) < 0 || fsync(folder) < 0)
                return -errno;
        return 0;
}

int hostkey_retire(char *const *key_command, const char *id, Error *err) {
        char path[KEPT_PATH_MAX], have[HOST_KEY_ID_MAX];
        uint8_t *key;
        int r;

        r = hostkey_load(key_command, false, &key, err);
        if (r < 0)
                return r;
        hostkey_id(key, have);
        hostkey_free(key);
        if (streq(have, id))
                return error_set(err, ERROR_FAILED, EINVAL, "host key %s is the present one", id);
        kept_path(id, path);
        r = kept_destroy(path);
        return r < 0 ? error_errno(err, r, "cannot destroy %s", path) : 0;
}
