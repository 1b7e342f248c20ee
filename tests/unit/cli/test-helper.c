/* The options of a line of fstab, and what mount(8) makes of a volume's name. */

#include "../../../cli/helper.h"

#include <quarry/text.h>

#include "../unit.h"

static void test_options(void **state) {
        static const struct {
                const char *list, *refused; /* part of the sentence, or NULL */
                unsigned options;
                bool sloppy, remount;
                size_t n_idmap;
                const char *context, *key_file;
        } rows[] = {
                { "", NULL, 0 },
                { "defaults", NULL, 0 },
                { "rw,noexec,nosuid,nodev", NULL, MOUNT_NOEXEC },
                { "ro,,noatime,", NULL, MOUNT_READ_ONLY | MOUNT_NOATIME },
                { "defaults,noauto,nofail,_netdev,user=alice,users,async,comment=ours", NULL, 0 },
                { "x-systemd.automount,x-systemd.requires=a.service,X-mount.mkdir=0755,ro", NULL, MOUNT_READ_ONLY },
                { "remount,ro", NULL, MOUNT_READ_ONLY, .remount = true },
                { "idmap=1000:1000:1,idmap=100000:100000:65536", NULL, 0, .n_idmap = 2 },
                { "idmap=1:2", "is no range of ids", 0 },
                { "context=\"system_u:object_r:t:s0:c1,c2\",ro", NULL, MOUNT_READ_ONLY,
                  .context = "system_u:object_r:t:s0:c1,c2" },
                { "context=t", "is no SELinux context", 0 },
                { "key-file=/etc/quarry/vault.key,ro", NULL, MOUNT_READ_ONLY, .key_file = "/etc/quarry/vault.key" },
                { "key-file=vault.key", "a path from the root", 0 },
                { "key-file=-", "a path from the root", 0 },
                { "ro,discard", "\"discard\" is no mount option that is known here: rw, ro", 0 },
                { "ro,discard,data=journal", NULL, MOUNT_READ_ONLY, .sloppy = true },
                { "ro,rw", "ro and rw contradict", 0, .sloppy = true },
                { "nofai", "is no mount option", 0 },
                { "automatic", "is no mount option", 0 },
                { "x-,x", "\"x\" is no mount option", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *list = strdup(rows[i].list);
                Attachment how = {};
                bool remount = false;
                Error err = {};
                int r = helper_take_options(list, rows[i].sloppy, &how, &remount, &err);

                assert_row((r < 0) == !!rows[i].refused, rows[i].list);
                if (r < 0) {
                        assert_int_equal(err.kind, ERROR_BAD_REQUEST);
                        assert_row(strstr(err.text, rows[i].refused), err.text);
                        continue;
                }
                assert_int_equal(how.spec.options, rows[i].options);
                assert_row(remount == rows[i].remount, rows[i].list);
                assert_int_equal(how.spec.n_idmap, rows[i].n_idmap);
                assert_string_equal(how.spec.context, rows[i].context ?: "");
                assert_row(streq_ptr(how.key_file, rows[i].key_file), rows[i].list);
        }
}

static void test_reference(void **state) {
        static const struct {
                const char *spec, *folder, *reference;
        } rows[] = {
                { "db", "/", "db" },
                { "fast:acme/db@s", "/srv", "fast:acme/db@s" },
                { "/home", "/", "home" },
                { "/acme/db", "/", "acme/db" },
                { "/root/db", "/root", "db" },
                { "/rootdb", "/root", "/rootdb" },
                { "/root", "/root", "/root" },
                { "/", "/", "/" },
                { "/usr/bin", "/root", "/usr/bin" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_string_equal(helper_reference(rows[i].spec, rows[i].folder), rows[i].reference);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_reference),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
