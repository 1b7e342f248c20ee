#include "../../../repo/backup.h"

#include "memory-store.h"

#include <sodium.h>

static Repository *repository;

static void put_child(unsigned number, unsigned parent) {
        static ContentId segment;
        Backup b = { .at_usec = number,
                     .device_size = MIB,
                     .n_segments = 1,
                     .segments = &segment,
                     .spec = { .pool = "default",
                               .tenant = "default",
                               .name = "x",
                               .size = MIB,
                               .fs = FILESYSTEM_NONE,
                               .mode = 0755 } };
        Error err = {};

        buffer_format(b.id, sizeof(b.id), "%016x", number);
        buffer_format(b.parent, sizeof(b.parent), "%016x", parent);
        assert_int_equal(backup_put(repository, &b, &err), 0);
}

static void put_verdict(unsigned number, bool sound) {
        BackupProof p = { .at_usec = 1, .sound = sound, .text = (char *) "seen" };
        Error err = {};

        buffer_format(p.backup, sizeof(p.backup), "%016x", number);
        assert_int_equal(backup_put_proof(repository, &p, &err), 0);
}

static void doubted_are(const char *wanted) {
        BackupList list;
        Error err = {};

        assert_int_equal(backup_list(repository, &list, &err), 0);
        assert_int_equal(list.n, strlen(wanted));
        for (size_t i = 0; i < list.n; i++)
                assert_int_equal(list.doubted[i], wanted[i] == '?');
        backup_list_done(&list);
}

static void test_what_builds_on_a_damaged_one_is_doubted(void **state) {
        Memory memory = {};

        repository = memory_repository(&memory);
        put_child(1, 99); /* which is gone */
        put_child(2, 1);
        put_child(3, 2);
        put_child(4, 3);
        put_child(5, 77);
        doubted_are(".....");
        put_verdict(2, false);
        doubted_are(".???.");
        put_verdict(3, true);
        doubted_are(".?...");
        put_child(6, 7); /* nobody makes such, but who writes to the repository */
        put_child(7, 6);
        doubted_are(".?.....");
        put_verdict(7, false);
        doubted_are(".?...??");
        assert_int_equal(memory_count(&memory, "backups/"), 7);
        repository_free(repository);
        memory_done(&memory);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_builds_on_a_damaged_one_is_doubted),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
