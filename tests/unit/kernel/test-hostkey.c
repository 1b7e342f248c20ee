#include "kernel/hostkey.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <stdio.h>
#include <sys/stat.h>

#include <systemd/sd-json.h>

#include "../unit.h"

static const sd_id128_t volume = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);
static const sd_id128_t other = SD_ID128_MAKE(fe, dc, ba, 98, 76, 54, 32, 10, fe, dc, ba, 98, 76, 54, 32, 10);

/* What KeyCommand= gives: set by the tests. */
static struct {
        int status;
        const char *out;
        size_t size;
        unsigned timeout;
        char *program;
} command;

int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret);
int __wrap_spawn_run(char *const argv[], unsigned timeout_seconds, SpawnOutput *ret) {
        command.timeout = timeout_seconds;
        command.program = argv[0];
        if (command.status < 0)
                return command.status;
        ret->out = malloc(command.size + 1);
        assert_non_null(ret->out);
        memcpy(ret->out, command.out, command.size);
        ret->out[command.size] = 0;
        ret->out_size = command.size;
        ret->err = strdup("vault is sealed");
        return command.status;
}

static const char raw_key[] = "0123456789abcdef0123456789ABCDEF";
#define HEX_KEY "3031323334353637383961626364656630313233343536373839414243444546"
#define BASE64_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY="

static int key_by_command(const char *out, size_t size, uint8_t **ret, Error *err) {
        char *argv[] = { (char *) "get-key", NULL };

        command.out = out;
        command.size = size;
        return hostkey_load(argv, true, ret, err);
}

static void test_key_command(void **state) {
        static const char *const good[] = { HEX_KEY,         HEX_KEY "\n",           BASE64_KEY,
                                            BASE64_KEY "\n", " " BASE64_KEY " \r\n", raw_key };
        static const char *const bad[] = { "",
                                           "\n",
                                           "x",
                                           HEX_KEY "00",
                                           (BASE64_KEY BASE64_KEY),
                                           "0123456789abcdef0123456789ABCDEFG",
                                           HEX_KEY "\n" HEX_KEY "\n",
                                           "ZZ" HEX_KEY };
        Error err = {};
        uint8_t *key;

        command.status = 0;
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                assert_row(key_by_command(good[i], strlen(good[i]), &key, &err) == 0, good[i]);
                assert_memory_equal(key, raw_key, HOST_KEY_SIZE);
                hostkey_free(key);
        }
        assert_int_equal(command.timeout, 30);
        assert_string_equal(command.program, "get-key");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_row(key_by_command(bad[i], strlen(bad[i]), &key, &err) < 0, bad[i]);
                assert_non_null(strstr(err.text, "is no key"));
                assert_null(isempty(bad[i]) || streq(bad[i], "x") || streq(bad[i], "\n") ? NULL
                                                                                         : strstr(err.text, bad[i]));
        }
}

static void test_key_command_fails(void **state) {
        Error err = {};
        uint8_t *key;

        command.status = -ETIMEDOUT;
        assert_int_equal(key_by_command("", 0, &key, &err), -ETIMEDOUT);
        assert_non_null(strstr(err.text, "30 seconds"));
        command.status = 3;
        assert_true(key_by_command("", 0, &key, &err) < 0);
        assert_non_null(strstr(err.text, "status 3: vault is sealed"));
        command.status = -ENOENT;
        assert_true(key_by_command("", 0, &key, &err) < 0);
        command.status = 0;
}

static void credential_write(const char *text, size_t size) {
        FILE *file = fopen("/tmp/quarry-test-credentials/quarry.host-key", "we");

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        fclose(file);
}

static void test_credential(void **state) {
        static char large[200];
        Error err = {};
        uint8_t *key;

        assert_true(mkdir("/tmp/quarry-test-credentials", 0700) >= 0 || errno == EEXIST);
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/tmp/quarry-test-credentials", 1), 0);
        /* It comes before the command. */
        credential_write(raw_key, HOST_KEY_SIZE);
        assert_int_equal(key_by_command("x", 1, &key, &err), 0);
        assert_memory_equal(key, raw_key, HOST_KEY_SIZE);
        hostkey_free(key);
        credential_write(BASE64_KEY, strlen(BASE64_KEY));
        assert_int_equal(hostkey_load(NULL, false, &key, &err), 0);
        assert_memory_equal(key, raw_key, HOST_KEY_SIZE);
        hostkey_free(key);
        memset(large, 'a', sizeof(large));
        credential_write(large, sizeof(large));
        assert_true(hostkey_load(NULL, false, &key, &err) < 0);
        assert_non_null(strstr(err.text, "the credential quarry.host-key"));
        /* Not given: the next source. */
        assert_int_equal(unlink("/tmp/quarry-test-credentials/quarry.host-key"), 0);
        assert_int_equal(key_by_command(raw_key, HOST_KEY_SIZE, &key, &err), 0);
        hostkey_free(key);
        assert_int_equal(rmdir("/tmp/quarry-test-credentials"), 0);
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void test_wrap_and_unwrap(void **state) {
        _cleanup_free_ char *json = NULL, *again = NULL;
        uint8_t *key, *passphrase = hostkey_passphrase_new(), *back;
        Error err = {};

        assert_non_null(passphrase);
        assert_int_equal(key_by_command(raw_key, HOST_KEY_SIZE, &key, &err), 0);
        assert_int_equal(hostkey_wrap(key, volume, passphrase, 0, &json, &err), 0);
        assert_int_equal(hostkey_wrap(key, volume, passphrase, 0, &again, &err), 0);
        assert_string_not_equal(json, again); /* a nonce is never used twice */
        assert_int_equal(hostkey_unwrap(key, volume, json, &back, &err), 0);
        assert_memory_equal(back, passphrase, VOLUME_PASSPHRASE_SIZE);
        hostkey_passphrase_free(back);

        /* Into another volume's header it cannot be carried. */
        assert_int_equal(hostkey_unwrap(key, other, json, &back, &err), -EBADMSG);
        assert_int_equal(err.kind, ERROR_FAILED);
        key[0] ^= 1;
        assert_int_equal(hostkey_unwrap(key, volume, json, &back, &err), -EKEYREJECTED);
        assert_int_equal(err.kind, ERROR_WRONG_KEY);
        hostkey_free(key);
        hostkey_passphrase_free(passphrase);
}

static void test_token_is_what_luks_wants(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_free_ char *json = NULL;
        uint8_t *key, *passphrase = hostkey_passphrase_new();
        Error err = {};

        assert_int_equal(key_by_command(raw_key, HOST_KEY_SIZE, &key, &err), 0);
        assert_int_equal(hostkey_wrap(key, volume, passphrase, 0, &json, &err), 0);
        assert_int_equal(sd_json_parse(json, 0, &v, NULL, NULL), 0);
        assert_string_equal(sd_json_variant_string(sd_json_variant_by_key(v, "type")), "quarry-host-key");
        assert_string_equal(sd_json_variant_string(sd_json_variant_by_index(sd_json_variant_by_key(v, "keyslots"), 0)),
                            "0");
        assert_int_equal(sd_json_variant_unsigned(sd_json_variant_by_key(v, "version")), 1);
        assert_string_equal(sd_json_variant_string(sd_json_variant_by_key(v, "cipher")), "xchacha20-poly1305");
        assert_int_equal(strlen(sd_json_variant_string(sd_json_variant_by_key(v, "key_id"))), 32);
        hostkey_free(key);
        hostkey_passphrase_free(passphrase);
}

/* Every single changed byte is found: none opens, none crashes. */
static void test_tampering(void **state) {
        _cleanup_free_ char *json = NULL;
        uint8_t *key, *passphrase = hostkey_passphrase_new(), *back;
        Error err = {};

        assert_int_equal(key_by_command(raw_key, HOST_KEY_SIZE, &key, &err), 0);
        assert_int_equal(hostkey_wrap(key, volume, passphrase, 0, &json, &err), 0);
        size_t from = (size_t) (strstr(json, "\"nonce\":\"") + 9 - json), end = strlen(json);
        for (size_t i = from; i < end; i++) {
                char was = json[i];

                json[i] = was == 'A' ? 'B' : 'A';
                int r = hostkey_unwrap(key, volume, json, &back, &err);
                if (r >= 0) { /* the unused bits of base64's last letter */
                        assert_memory_equal(back, passphrase, VOLUME_PASSPHRASE_SIZE);
                        hostkey_passphrase_free(back);
                        fail_msg("changed byte %zu of %s went unnoticed", i, json);
                }
                json[i] = was;
        }
        for (size_t i = 0; i < end; i++) {
                char was = json[i];

                json[i] = 0;
                assert_true(hostkey_unwrap(key, volume, json, &back, &err) < 0);
                json[i] = was;
        }
        assert_int_equal(hostkey_unwrap(key, volume, "[]", &back, &err), -EBADMSG);
        assert_int_equal(
                hostkey_unwrap(
                        key, volume,
                        "{\"type\":\"quarry-host-key\",\"version\":2,\"cipher\":\"x\",\"key_id\":\"\",\"nonce\":\"\",\"ciphertext\":\"\"}",
                        &back, &err),
                -EOPNOTSUPP);
        hostkey_free(key);
        hostkey_passphrase_free(passphrase);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_key_command),
                cmocka_unit_test(test_key_command_fails),
                cmocka_unit_test(test_credential),
                cmocka_unit_test(test_wrap_and_unwrap),
                cmocka_unit_test(test_token_is_what_luks_wants),
                cmocka_unit_test(test_tampering),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
