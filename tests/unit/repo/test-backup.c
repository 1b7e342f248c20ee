#include "../../../repo/backup.h"

#include "../members.h"
#include "memory-store.h"

#define ID "0123456789abcdef"
#define OTHER_ID "fedcba9876543210"

/* Of two segments, the second of which is zeros and smaller. */
static Backup full(void) {
        Backup b = { .id = ID,
                     .at_usec = 1795708800000000,
                     .host = "vm-1.example",
                     .spec = { .pool = "fast",
                               .tenant = "acme",
                               .name = "db",
                               .size = 1500 * MIB,
                               .fs = FILESYSTEM_XFS,
                               .key_source = KEY_SOURCE_HOST,
                               .uid = 999,
                               .gid = 998,
                               .mode = 02750 },
                     .volume = SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6),
                             .snapshot = SD_ID128_MAKE(6, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6), .device_size = 1504 * MIB,
                                                       .parent = OTHER_ID, .read = 1500 * MIB, .stored = 77,
                                                       .rule = strdup("daily \xc3\xbc keep 7"), .n_segments = 2,
                                                       .segments = calloc(2, sizeof(ContentId)) };
        Error err = {};

        b.segments[0].bytes[0] = 0xab;
        assert_int_equal(volume_spec_add_label(&b.spec, "app=db", &err), 0);
        assert_int_equal(volume_spec_add_label(&b.spec, "text=\"a\\b\" \xe2\x82\xac=", &err), 0);
        return b;
}

static Backup least(void) {
        return (Backup) { .id = OTHER_ID,
                          .host = "",
                          .device_size = MIB,
                          .n_segments = 1,
                          .spec = { .pool = "default",
                                    .tenant = "default",
                                    .name = "x",
                                    .size = MIB,
                                    .fs = FILESYSTEM_NONE,
                                    .mode = 0755 },
                          .segments = calloc(1, sizeof(ContentId)) };
}

static void assert_same(const Backup *a, const Backup *b) {
        char text[64];

        assert_string_equal(a->id, b->id);
        assert_true(a->at_usec == b->at_usec && a->read == b->read && a->stored == b->stored);
        assert_string_equal(a->host, b->host);
        assert_string_equal(a->spec.pool, b->spec.pool);
        assert_string_equal(a->spec.tenant, b->spec.tenant);
        assert_string_equal(a->spec.name, b->spec.name);
        assert_null(volume_spec_difference(&a->spec, &b->spec, text, sizeof(text)));
        assert_true(strv_equal(a->spec.labels, b->spec.labels));
        assert_true(sd_id128_equal(a->volume, b->volume) && sd_id128_equal(a->snapshot, b->snapshot));
        assert_true(a->device_size == b->device_size);
        assert_string_equal(a->parent, b->parent);
        assert_true(streq_ptr(a->rule, b->rule));
        assert_int_equal(a->n_segments, b->n_segments);
        assert_memory_equal(a->segments, b->segments, a->n_segments * sizeof(*a->segments));
}

static void comes_back(Backup b) {
        _cleanup_free_ char *text = NULL;
        Backup back = {};
        Error err = {};

        assert_int_equal(backup_to_json(&b, &text), 0);
        if (backup_from_json(text, &back, &err) < 0)
                fail_msg("%s: %s", text, err.text);
        assert_same(&b, &back);
        backup_done(&back);
        backup_done(&b);
}

static void test_as_text_and_back(void **state) {
        comes_back(full());
        comes_back(least());
}

static void test_of_no_bytes_there_is_none(void **state) {
        assert_int_equal(backup_count_segments(0), 0);
        assert_int_equal(backup_count_segments(1), 1);
        assert_int_equal(backup_count_segments(SEGMENT_SIZE), 1);
        assert_int_equal(backup_count_segments(SEGMENT_SIZE + 1), 2);
}

static void test_the_last_chunk_is_smaller(void **state) {
        const Backup b = { .device_size = CHUNK_SIZE + 5 };

        assert_int_equal(backup_chunk_size(&b, 0), CHUNK_SIZE);
        assert_int_equal(backup_chunk_size(&b, 1), 5);
}

static void refused(const char *text) {
        Backup b = { .read = 77 };
        Error err = {};

        assert_row(backup_from_json(text, &b, &err) == -EBADMSG, text);
        assert_row(err.kind == ERROR_FAILED && streq(err.text, "the description of a backup is damaged"), text);
        assert_row(b.read == 77 && !b.rule && !b.segments && !b.spec.labels, text);
}

static char *text_of(Backup b) {
        char *text = NULL;

        assert_int_equal(backup_to_json(&b, &text), 0);
        backup_done(&b);
        return text;
}

/* What may be left out, or be any text. */
static const char *const lenient[] = { "labels", "keySource", "parent", "rule", "host" };

static void test_each_member_counts(void **state) {
        static const char *const others[] = { NULL, "null", "\"z\\u0007\"", "true", "-1", "1.5", "[7]", "{}" };
        static const char *const numbers[] = { "-1", "1.5", "\"1\"", "1e300", "18446744073709551616", "[]" };
        _cleanup_free_ char *text = text_of(full());
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;

        assert_true(sd_json_parse(text, 0, &v, NULL, NULL) >= 0);
        for (size_t i = 0; i < sd_json_variant_elements(v); i += 2) {
                const char *name = sd_json_variant_string(sd_json_variant_by_index(v, i));
                bool is_number = sd_json_variant_is_unsigned(sd_json_variant_by_index(v, i + 1)), is_lenient = false;

                for (size_t j = 0; j < ELEMENTSOF(lenient); j++)
                        is_lenient = is_lenient || streq(name, lenient[j]);
                for (size_t j = is_lenient ? 2 : 0; j < ELEMENTSOF(others); j++) {
                        _cleanup_free_ char *changed = member_replace(text, name, others[j]);
                        refused(changed);
                }
                for (size_t j = 0; is_number && j < ELEMENTSOF(numbers); j++) {
                        _cleanup_free_ char *changed = member_replace(text, name, numbers[j]);
                        refused(changed);
                }
        }
}

static void test_what_is_no_text_of_a_backup(void **state) {
        _cleanup_free_ char *text = text_of(least());

        refused("");
        refused("7");
        refused("[]");
        refused("{}");
        refused("null");
        for (size_t n = 0; n < strlen(text); n++) {
                _cleanup_free_ char *cut = strndup(text, n);
                refused(cut);
        }
}

static void test_what_is_hostile_is_refused(void **state) {
        static const struct {
                const char *name, *value;
        } rows[] = {
                { "version", "0" },
                { "version", "2" },
                { "id", "\"0123456789abcde\"" },
                { "id", "\"0123456789abcdef0\"" },
                { "id", "\"0123456789ABCDEF\"" },
                { "id", "\"../../../../etc/\"" },
                { "parent", "\"\"" },
                { "parent", "\"../../../../etc/\"" },
                { "host", "\"a\\nb\"" },
                { "host", "\"a\\u001b[2J\"" },
                { "host", "\"a\\u0000b\"" },
                { "host", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"" },
                { "pool", "\"\"" },
                { "pool", "\"../x\"" },
                { "tenant", "\"\"" },
                { "tenant", "\".\"" },
                { "tenant", "\"a\\nb\"" },
                { "volume", "\"\"" },
                { "volume", "\"..\"" },
                { "volume", "\"a/b\"" },
                { "volume", "\"a@b\"" },
                { "volume", "\"a\\u001bb\"" },
                { "filesystem", "\"btrfs\"" },
                { "keySource", "\"tpm\"" },
                { "keySource", "\"\"" },
                { "volumeUuid", "\"here\"" },
                { "rule", "\"a\\rb\"" },
                { "mode", "4294967295" },
                { "mode", "4096" },
                { "uid", "4294967296" },
                { "uid", "4294967295" },
                { "gid", "4294967295" },
                { "labels", "[\"none\"]" },
                { "labels", "[\"a=1\", \"a=2\"]" },
                { "labels", "[\"a\\n=1\"]" },
                { "labels", "[\"a=1\\u0007\"]" },
                { "labels", "\"a=1\"" },
                { "sizeBytes", "0" },
                { "sizeBytes", "1" },
                { "sizeBytes", "1571815424" }, /* of another number of MiB than the device */
                { "sizeBytes", "18446744073709551615" },
                { "deviceBytes", "0" },
                { "deviceBytes", "1577058303" },
                { "deviceBytes", "1577058305" },
                { "deviceBytes", "1572864000" }, /* without the header */
                { "deviceBytes", "18446744073709551615" },
                { "segments", "[]" },
                { "segments", "[\"\"]" },
                { "segments", "[\"\",\"\",\"\"]" },
                { "segments", "[\"\",7]" },
                { "segments", "[\"\",null]" },
                { "segments", "[\"\",\"ab\"]" },
                { "segments", "[\"\",\"../../../../../../../../../../../../../../../../../../../../../x\"]" },
        };
        _cleanup_free_ char *text = text_of(full());

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                _cleanup_free_ char *changed = NULL;

                if (sd_json_parse(rows[i].value, 0, &v, NULL, NULL) < 0)
                        continue; /* the reader of JSON refuses it already */
                changed = member_replace(text, rows[i].name, rows[i].value);
                refused(changed);
        }
}

static void test_what_a_later_quarry_adds_is_no_damage(void **state) {
        _cleanup_free_ char *text = text_of(least()), *more = member_replace(text, "more", "[1]");
        Backup b = {};
        Error err = {};

        assert_int_equal(backup_from_json(more, &b, &err), 0);
        backup_done(&b);
}

static void test_a_device_larger_than_any(void **state) {
        _cleanup_free_ char *text = text_of(least());
        _cleanup_free_ char *one = member_replace(text, "sizeBytes", "562949953421312");
        _cleanup_free_ char *both = member_replace(one, "deviceBytes", "562949953421312");

        refused(both);
}

/* --- proofs ----------------------------------------------------------------------------------------------- */

#define PROOF "{\"backup\":\"" ID "\",\"atUsec\":5,\"sound\":true,\"text\":\"12 files\"}"

static void proof_refused(const char *text) {
        BackupProof p = { .at_usec = 77 };
        Error err = {};

        assert_row(backup_proof_from_json(text, &p, &err) == -EBADMSG, text);
        assert_row(streq(err.text, "the proof of a backup is damaged"), text);
        assert_row(p.at_usec == 77 && !p.text, text);
}

/* A text may be any. */
static void proof_refused_but_for_text(const char *text) {
        if (!strstr(text, "\"text\":\"zz\""))
                proof_refused(text);
}

static void test_proofs(void **state) {
        BackupProof p = {};
        Error err = {};

        assert_int_equal(backup_proof_from_json(PROOF, &p, &err), 0);
        assert_string_equal(p.backup, ID);
        assert_int_equal(p.at_usec, 5);
        assert_true(p.sound);
        assert_string_equal(p.text, "12 files");
        backup_proof_done(&p);
        for (size_t n = 0; n < strlen(PROOF); n++) {
                _cleanup_free_ char *cut = strndup(PROOF, n);
                proof_refused(cut);
        }
        proof_refused("7");
        proof_refused("[]");
        proof_refused("{\"backup\":\"../../../../etc/\",\"atUsec\":5,\"sound\":true,\"text\":\"\"}");
        proof_refused("{\"backup\":\"" ID "\",\"atUsec\":5,\"sound\":true,\"text\":\"\\u001b[2J\"}");
        proof_refused("{\"backup\":\"" ID "\",\"atUsec\":5,\"sound\":1,\"text\":\"\"}");
}

static void test_each_member_of_a_proof_counts(void **state) {
        static const char *const bools[] = { "\"true\"", "1", "null" };

        for (size_t i = 0; i < ELEMENTSOF(bools); i++) {
                _cleanup_free_ char *changed = member_replace(PROOF, "sound", bools[i]);
                proof_refused(changed);
        }
        for (size_t i = 0; i < 4; i++) {
                static const char *const names[] = { "backup", "atUsec", "sound", "text" };
                _cleanup_free_ char *left_out = member_replace(PROOF, names[i], NULL);
                _cleanup_free_ char *other = member_replace(PROOF, names[i], "[7]");

                proof_refused_but_for_text(left_out);
                proof_refused_but_for_text(other);
        }
}

/* --- in a repository -------------------------------------------------------------------------------------- */

static Memory memory;
static Repository *repository;

static int setup(void **state) {
        repository = memory_repository(&memory);
        return 0;
}

static int teardown(void **state) {
        repository_free(repository);
        memory_done(&memory);
        return 0;
}

static int put_one(Error *err) {
        Backup b = full();
        int r = backup_put(repository, &b, err);

        backup_done(&b);
        return r;
}

static int put_proof(uint64_t at_usec, Error *err) {
        const BackupProof p = { .backup = ID, .at_usec = at_usec, .sound = true, .text = (char *) "compared" };

        return backup_put_proof(repository, &p, err);
}

static int remove_one(Error *err) {
        Backup b = full();
        int r = backup_remove(repository, &b, err);

        backup_done(&b);
        return r;
}

static void put(Backup b, uint64_t at_usec) {
        Error err = {};

        b.at_usec = at_usec;
        assert_int_equal(backup_put(repository, &b, &err), 0);
        backup_done(&b);
}

/* Some object of this kind. */
static size_t find(const char *prefix) {
        size_t i = 0;

        while (i < memory.n && !startswith(memory.objects[i].name, prefix))
                i++;
        assert_true(i < memory.n);
        return i;
}

static BackupList list_all(void) {
        BackupList list = {};
        Error err = {};

        if (backup_list(repository, &list, &err) < 0)
                fail_msg("%s", err.text);
        return list;
}

static void test_put_listed_got_and_removed(void **state) {
        Backup b = {}, want = full();
        BackupList list = list_all();
        Error err = {};

        assert_int_equal(list.n, 0);
        backup_list_done(&list);
        put(full(), 9);
        put(least(), 5);
        list = list_all();
        assert_int_equal(list.n, 2);
        assert_string_equal(list.list[0].id, OTHER_ID); /* the oldest first */
        assert_null(backup_list_proof(&list, ID));
        backup_list_done(&list);
        assert_int_equal(backup_get(repository, ID, &b, &err), 1);
        want.at_usec = 9;
        assert_same(&b, &want);
        backup_done(&b);
        backup_done(&want);
        assert_int_equal(remove_one(&err), 0);
        assert_int_equal(backup_get(repository, ID, &b, &err), 0);
        assert_int_equal(remove_one(&err), 0); /* one that is not there is no error */
        list = list_all();
        assert_int_equal(list.n, 1);
        backup_list_done(&list);
}

static void test_of_the_same_moment_the_order_is_always_the_same(void **state) {
        BackupList list;

        put(least(), 5);
        put(full(), 5);
        list = list_all();
        assert_string_equal(list.list[0].id, ID);
        backup_list_done(&list);
}

static void test_damage_hides_no_other(void **state) {
        BackupList list;
        Error err = {};
        size_t i;

        put(full(), 5);
        put(least(), 6);
        assert_int_equal(put_proof(7, &err), 0);
        i = find("backups/" ID);
        memory.objects[i].data[memory.objects[i].size / 2] ^= 1;
        i = find("proofs/");
        memory.objects[i].data[memory.objects[i].size / 2] ^= 1;
        list = list_all();
        assert_int_equal(list.n, 1);
        assert_int_equal(list.n_damaged, 1);
        assert_non_null(strstr(list.damage.text, ID));
        assert_null(backup_list_proof(&list, ID));
        backup_list_done(&list);
}

static void test_a_later_proof_takes_the_place_of_an_earlier(void **state) {
        const BackupProof other = { .backup = OTHER_ID, .at_usec = 1 };
        BackupList list;
        Error err = {};

        put(full(), 5);
        assert_int_equal(backup_put_proof(repository, &other, &err), 0);
        assert_int_equal(put_proof(7, &err), 0);
        assert_int_equal(put_proof(8, &err), 0);
        assert_int_equal(memory_count(&memory, "proofs/"), 2);
        list = list_all();
        assert_int_equal(backup_list_proof(&list, ID)->at_usec, 8);
        assert_string_equal(backup_list_proof(&list, OTHER_ID)->text, "");
        backup_list_done(&list);
        assert_int_equal(remove_one(&err), 0);
        assert_int_equal(memory_count(&memory, "proofs/"), 1);
}

static void test_segments(void **state) {
        static ContentId ids[SEGMENT_CHUNKS], back[SEGMENT_CHUNKS];
        Backup b = full();
        Error err = {};

        ids[7].bytes[3] = 9;
        assert_int_equal(repository_put_content(repository, ids, sizeof(ids), false, &b.segments[0], NULL, &err), 0);
        assert_int_equal(backup_get_segment(repository, &b, 0, back, &err), 0);
        assert_memory_equal(ids, back, sizeof(ids));
        for (size_t n = 1; n < 4; n++) { /* zeros, and behind its end */
                assert_int_equal(backup_get_segment(repository, &b, n, back, &err), 0);
                assert_true(content_id_is_zeros(&back[7]));
        }
        backup_done(&b);
}

/* --- a store that fails ----------------------------------------------------------------------------------- */

static void prepare_none(void) {
        Error err = {};

        assert_int_equal(remove_one(&err), 0);
        assert_int_equal(memory_count(&memory, "backups/") + memory_count(&memory, "proofs/"), 0);
}

static void prepare_proven(void) {
        Error err = {};

        assert_int_equal(remove_one(&err), 0);
        assert_int_equal(put_one(&err), 0);
        assert_int_equal(put_proof(1, &err), 0);
}

/* Whole or absent. */
static bool is_there(void) {
        Backup b = {}, want = full();
        Error err = {};
        int r = backup_get(repository, ID, &b, &err);

        assert_true(r >= 0);
        if (r > 0)
                assert_same(&b, &want);
        backup_done(&b);
        backup_done(&want);
        return r > 0;
}

static void check_put(bool done) {
        assert_true(is_there() || !done);
}

static void check_removed(bool done) {
        assert_false(is_there() && done);
        if (done)
                assert_int_equal(memory_count(&memory, "proofs/"), 0);
}

static void test_put_fails(void **state) {
        fail_each(&memory, prepare_none, put_one, check_put);
}

static void test_remove_fails(void **state) {
        fail_each(&memory, prepare_proven, remove_one, check_removed);
}

static int put_later_proof(Error *err) {
        return put_proof(2, err);
}

static void check_proof(bool done) {
        BackupList list = list_all();
        const BackupProof *p = backup_list_proof(&list, ID);

        assert_non_null(p);
        assert_true(p->sound && (p->at_usec == 2 || (!done && p->at_usec == 1)));
        assert_string_equal(p->text, "compared");
        backup_list_done(&list);
}

static void test_put_proof_fails(void **state) {
        fail_each(&memory, prepare_proven, put_later_proof, check_proof);
}

static int list_and_forget(Error *err) {
        BackupList list = {};
        int r = backup_list(repository, &list, err);

        if (r >= 0)
                assert_true(list.n == 1 && list.n_proofs == 1 && list.n_damaged == 0);
        else
                assert_true(!list.list && !list.proofs);
        backup_list_done(&list);
        return r;
}

static void check_nothing(bool done) {
}

static void test_list_fails(void **state) {
        fail_each(&memory, prepare_proven, list_and_forget, check_nothing);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_as_text_and_back),
                cmocka_unit_test(test_of_no_bytes_there_is_none),
                cmocka_unit_test(test_the_last_chunk_is_smaller),
                cmocka_unit_test(test_each_member_counts),
                cmocka_unit_test(test_what_is_no_text_of_a_backup),
                cmocka_unit_test(test_what_is_hostile_is_refused),
                cmocka_unit_test(test_what_a_later_quarry_adds_is_no_damage),
                cmocka_unit_test(test_a_device_larger_than_any),
                cmocka_unit_test(test_proofs),
                cmocka_unit_test(test_each_member_of_a_proof_counts),
                cmocka_unit_test_setup_teardown(test_put_listed_got_and_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_of_the_same_moment_the_order_is_always_the_same, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damage_hides_no_other, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_later_proof_takes_the_place_of_an_earlier, setup, teardown),
                cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
                cmocka_unit_test_setup_teardown(test_put_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_remove_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_put_proof_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_list_fails, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
