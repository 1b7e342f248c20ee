#include "kernel/hostkey.h"

#include "kernel/luks.h"
#include "kernel/spawn.h"

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#define CREDENTIAL "quarry.host-key"
#define COMMAND_TIMEOUT 30u /* seconds */
#define ENCODED_MAX 128u    /* bytes of a key as hex or base64, with some white space */

#define TOKEN_TYPE LUKS_TOKEN_TYPE
#define TOKEN_CIPHER "xchacha20-poly1305"
#define TOKEN_VERSION 1
#define KEY_ID_SIZE 16u
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define CIPHERTEXT_SIZE (VOLUME_PASSPHRASE_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)

_Static_assert(HOST_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the host key is the cipher's key");

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

uint8_t *hostkey_passphrase_new(void) {
        uint8_t *passphrase = secret_new(VOLUME_PASSPHRASE_SIZE);

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
static int key_from_credential(uint8_t **ret, Error *err) {
        const char *folder = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_MAX];
        int r;

        if (!folder || !buffer_format(path, sizeof(path), "%s/" CREDENTIAL, folder))
                return 0;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot open the credential " CREDENTIAL);
        r = key_from_fd(fd, "the credential " CREDENTIAL, ret, err);
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
static int key_file_check(int fd, Error *err) {
        struct stat status;
        int r;

        if (fstat(fd, &status) < 0)
                return error_errno(err, errno, "cannot look at " HOST_KEY_FILE);
        if (!S_ISREG(status.st_mode) || status.st_uid != 0 || (status.st_mode & 077) != 0) {
                r = error_set(err, ERROR_FAILED, EPERM,
                              HOST_KEY_FILE " must be a file of root that nobody else can read (mode %03o, uid %u)",
                              (unsigned) status.st_mode & 07777, (unsigned) status.st_uid);
                error_hint(err, "if nobody read it: chown root:root " HOST_KEY_FILE " && chmod 0400 " HOST_KEY_FILE);
                return r;
        }
        if (status.st_size != HOST_KEY_SIZE) {
                r = error_set(err, ERROR_FAILED, EINVAL, HOST_KEY_FILE " has %lld bytes, a host key has %d",
                              (long long) status.st_size, HOST_KEY_SIZE);
                error_hint(err, "restore it from a backup: volumes encrypted with it open with no other");
                return r;
        }
        return 0;
}

/* 1 with the key, 0 if there is no file. */
static int key_from_file(uint8_t **ret, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(HOST_KEY_FILE, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "cannot open " HOST_KEY_FILE);
        r = key_file_check(fd, err);
        if (r >= 0)
                r = key_from_fd(fd, HOST_KEY_FILE, ret, err);
        return r < 0 ? r : 1;
}

/* Makes the file whole and durable, or not at all. Of two that race, one wins: -EEXIST for the other. */
static int key_file_make(const uint8_t *key) {
        _cleanup_close_ int folder = -EBADF, fd = -EBADF;
        char path[64];
        int r;

        folder = open("/var/lib/quarry", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

int hostkey_load(char *const *key_command, bool create, uint8_t **ret, Error *err) {
        int r;

        r = key_from_credential(ret, err);
        if (r != 0)
                return r < 0 ? r : 0;
        if (key_command && key_command[0])
                return key_from_command(key_command, ret, err);
        r = key_from_file(ret, err);
        if (r == 0 && create) {
                r = key_make(err);
                if (r >= 0)
                        r = key_from_file(ret, err);
        }
        if (r == 0) {
                r = error_set(err, ERROR_WRONG_KEY, ENOKEY, "this host has no host key: " HOST_KEY_FILE " is missing");
                error_hint(err, "restore it from a backup: volumes encrypted with it open with no other");
        }
        return r < 0 ? r : 0;
}

/* --- the token ------------------------------------------------------------------------------------------ */

/* Tells one host key from another without telling anything about it. */
static void key_id_format(const uint8_t *key, char buf[static 2 * KEY_ID_SIZE + 1]) {
        static const char message[] = "quarry host key id";
        uint8_t id[KEY_ID_SIZE];

        crypto_generichash(id, sizeof(id), (const uint8_t *) message, sizeof(message) - 1, key, HOST_KEY_SIZE);
        sodium_bin2hex(buf, 2 * KEY_ID_SIZE + 1, id, sizeof(id));
}

/* A token copied into another volume's header does not open there. */
#define ASSOCIATED_SIZE (sizeof(TOKEN_TYPE) + UUID_TEXT_MAX + 1)
static unsigned long long associated_format(sd_id128_t volume, char buf[static ASSOCIATED_SIZE]) {
        char text[UUID_TEXT_MAX];

        buffer_format(buf, ASSOCIATED_SIZE, TOKEN_TYPE ":%s", uuid_format(volume, text));
        return strlen(buf);
}

static int token_build(const char *key_id, const uint8_t *nonce, const uint8_t *ciphertext, char **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        int r;

        r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("type", TOKEN_TYPE),
                           SD_JSON_BUILD_PAIR("keyslots", SD_JSON_BUILD_ARRAY(SD_JSON_BUILD_STRING("0"))),
                           SD_JSON_BUILD_PAIR_INTEGER("version", TOKEN_VERSION),
                           SD_JSON_BUILD_PAIR_STRING("cipher", TOKEN_CIPHER),
                           SD_JSON_BUILD_PAIR_STRING("key_id", key_id),
                           SD_JSON_BUILD_PAIR_BASE64("nonce", nonce, NONCE_SIZE),
                           SD_JSON_BUILD_PAIR_BASE64("ciphertext", ciphertext, CIPHERTEXT_SIZE));
        return r < 0 ? r : sd_json_variant_format(v, 0, ret);
}

int hostkey_wrap(const uint8_t *key, sd_id128_t volume, const uint8_t *passphrase, char **ret_json, Error *err) {
        uint8_t nonce[NONCE_SIZE], ciphertext[CIPHERTEXT_SIZE];
        char key_id[2 * KEY_ID_SIZE + 1], associated[ASSOCIATED_SIZE];
        unsigned long long n = associated_format(volume, associated);
        int r;

        key_id_format(key, key_id);
        randombytes_buf(nonce, sizeof(nonce));
        crypto_aead_xchacha20poly1305_ietf_encrypt(ciphertext, NULL, passphrase, VOLUME_PASSPHRASE_SIZE,
                                                   (const uint8_t *) associated, n, NULL, nonce, key);
        r = token_build(key_id, nonce, ciphertext, ret_json);
        return r < 0 ? error_errno(err, r, "cannot build the volume's token") : 0;
}

typedef struct Token {
        const char *type, *cipher, *key_id;
        uint64_t version;
        sd_json_variant *nonce, *ciphertext;
} Token;

static const sd_json_dispatch_field token_fields[] = {
        { "type", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, type), SD_JSON_MANDATORY },
        { "version", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Token, version), SD_JSON_MANDATORY },
        { "cipher", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, cipher), SD_JSON_MANDATORY },
        { "key_id", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Token, key_id), SD_JSON_MANDATORY },
        { "nonce", SD_JSON_VARIANT_STRING, sd_json_dispatch_variant_noref, offsetof(Token, nonce), SD_JSON_MANDATORY },
        { "ciphertext", SD_JSON_VARIANT_STRING, sd_json_dispatch_variant_noref, offsetof(Token, ciphertext),
          SD_JSON_MANDATORY },
        {},
};

static int bytes_decode(sd_json_variant *v, uint8_t *buf, size_t size) {
        _cleanup_free_ void *bytes = NULL;
        size_t n;
        int r;

        r = sd_json_variant_unbase64(v, &bytes, &n);
        if (r < 0)
                return r;
        if (n != size)
                return -EBADMSG;
        memcpy(buf, bytes, size);
        return 0;
}

static int token_decrypt(const Token *token, const uint8_t *key, sd_id128_t volume, uint8_t *passphrase) {
        uint8_t nonce[NONCE_SIZE], ciphertext[CIPHERTEXT_SIZE];
        char associated[ASSOCIATED_SIZE];
        unsigned long long n = associated_format(volume, associated);

        if (bytes_decode(token->nonce, nonce, sizeof(nonce)) < 0 ||
            bytes_decode(token->ciphertext, ciphertext, sizeof(ciphertext)) < 0 ||
            crypto_aead_xchacha20poly1305_ietf_decrypt(passphrase, NULL, NULL, ciphertext, sizeof(ciphertext),
                                                       (const uint8_t *) associated, n, nonce, key) < 0)
                return -EBADMSG;
        return 0;
}

static int token_damaged(sd_id128_t volume, Error *err) {
        char text[UUID_TEXT_MAX];

        return error_set(err, ERROR_FAILED, EBADMSG,
                         "the token with the wrapped key in the header of volume %s is damaged, or of another volume",
                         uuid_format(volume, text));
}

int hostkey_unwrap(const uint8_t *key, sd_id128_t volume, const char *json, uint8_t **ret_passphrase, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        char key_id[2 * KEY_ID_SIZE + 1];
        uint8_t *passphrase;
        Token token = {};

        if (sd_json_parse(json, 0, &v, NULL, NULL) < 0 ||
            sd_json_dispatch(v, token_fields, SD_JSON_ALLOW_EXTENSIONS, &token) < 0 || !streq(token.type, TOKEN_TYPE))
                return token_damaged(volume, err);
        if (token.version != TOKEN_VERSION || !streq(token.cipher, TOKEN_CIPHER))
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "the volume's token has version %llu and cipher %s: made by a newer quarry",
                                 (unsigned long long) token.version, token.cipher);
        key_id_format(key, key_id);
        if (!streq(token.key_id, key_id)) {
                int r = error_set(err, ERROR_WRONG_KEY, EKEYREJECTED,
                                  "the volume was encrypted with another host key (%s, this host's is %s)",
                                  token.key_id, key_id);
                error_hint(err, "restore the host key that it was made with to " HOST_KEY_FILE);
                return r;
        }

        passphrase = secret_new(VOLUME_PASSPHRASE_SIZE);
        if (!passphrase)
                return error_oom(err);
        if (token_decrypt(&token, key, volume, passphrase) < 0) {
                sodium_free(passphrase);
                return token_damaged(volume, err);
        }
        *ret_passphrase = passphrase;
        return 0;
}
