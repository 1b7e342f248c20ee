#include "memory-store.h"

static void test_made_and_opened_by_passphrase(void **state) {
        Memory m = {};
        Repository *r = memory_repository(&m);
        sd_id128_t uuid = repository_uuid(r);
        Error err = {};

        assert_string_equal(repository_host_key(r), "");
        repository_free(r);
        assert_int_equal(repository_open(memory_store(&m), &cheap_key, &r, &err), 0);
        assert_true(sd_id128_equal(repository_uuid(r), uuid));
        repository_free(r);
        memory_done(&m);
}

static int opens(Memory *m, const RepositoryKeySource *keys, Error *err) {
        Repository *r = NULL;
        int n;

        *err = (Error) {};
        n = repository_open(memory_store(m), keys, &r, err);
        assert_true((n >= 0) == !!r);
        repository_free(r);
        return n;
}

static void test_wrong_passphrase(void **state) {
        RepositoryKeySource wrong = cheap_key;
        Memory m = {};
        Error err;

        repository_free(memory_repository(&m));
        wrong.passphrase = "Correct horse";
        assert_int_equal(opens(&m, &wrong, &err), -EKEYREJECTED);
        assert_int_equal(err.kind, ERROR_WRONG_KEY);
        wrong.passphrase = NULL;
        assert_int_equal(opens(&m, &wrong, &err), -EKEYREJECTED);
        assert_string_equal(err.text, "the repository has no key of this kind");
        memory_done(&m);
}

static int host(sd_id128_t repository, const char *id, uint8_t *ret, char *ret_id, Error *err) {
        if (id && !startswith(id, "0123"))
                return error_set(err, ERROR_WRONG_KEY, ENOKEY, "there is no such host key");
        memset(ret, repository.bytes[0], REPOSITORY_KEY_SIZE);
        buffer_format(ret_id, HOST_KEY_ID_MAX, "%s", "0123456789abcdef0123456789abcdef");
        return 0;
}

static void test_each_key_opens_it(void **state) {
        static const RepositoryKeySource by_host = { .host = host };
        _cleanup_free_ char *text = NULL;
        Repository *r = NULL;
        Memory m = {};
        Error err = {};

        assert_int_equal(repository_make(memory_store(&m), &by_host, &r, &err), 0);
        assert_string_equal(repository_host_key(r), "0123456789abcdef0123456789abcdef");
        assert_int_equal(repository_put_text(r, "kind/name", "a text", &err), 0);
        assert_int_equal(repository_add_key(r, &cheap_key, false, &err), 0);
        repository_free(r);
        assert_int_equal(opens(&m, &by_host, &err), 0);
        assert_int_equal(repository_open(memory_store(&m), &cheap_key, &r, &err), 0);
        assert_int_equal(repository_get_text(r, "kind/name", &text, &err), 1);
        assert_string_equal(text, "a text");
        repository_free(r);
        memory_done(&m);
}

static void test_a_damaged_key_hides_no_other(void **state) {
        Repository *r;
        Memory m = {};
        Error err = {};

        r = memory_repository(&m);
        assert_int_equal(repository_add_key(r, &cheap_key, false, &err), 0);
        repository_free(r);
        assert_int_equal(memory_count(&m, "keys/"), 2);
        for (size_t i = 0, left = 1; i < m.n; i++)
                if (startswith(m.objects[i].name, "keys/") && left-- > 0)
                        memset(m.objects[i].data, '}', m.objects[i].size);
        assert_int_equal(opens(&m, &cheap_key, &err), 0);
        for (size_t i = 0; i < m.n; i++)
                if (startswith(m.objects[i].name, "keys/"))
                        memset(m.objects[i].data, '}', m.objects[i].size);
        assert_int_equal(opens(&m, &cheap_key, &err), -EBADMSG);
        memory_done(&m);
}

static void test_there_is_none_or_one_already(void **state) {
        Repository *r = NULL;
        Memory m = {};
        Error err;
        size_t n;

        assert_int_equal(opens(&m, &cheap_key, &err), -ENOENT);
        assert_int_equal(err.kind, ERROR_FAILED);
        repository_free(memory_repository(&m));
        n = m.n;
        err = (Error) {};
        assert_int_equal(repository_make(memory_store(&m), &cheap_key, &r, &err), -EEXIST);
        assert_int_equal(err.kind, ERROR_VOLUME_EXISTS);
        assert_null(r);
        assert_int_equal(m.n, n);
        assert_int_equal(opens(&m, &cheap_key, &err), 0);
        memory_done(&m);
}

static void test_damaged_format(void **state) {
        static const char *const head = "{\"format\":\"quarry repository\",\"version\":1";
        static const struct {
                const char *text;
                ErrorKind kind;
        } rows[] = {
                { "", ERROR_FAILED },
                { "{", ERROR_FAILED },
                { "[]", ERROR_FAILED },
                { "{}", ERROR_FAILED },
                { "{\"format\":\"quarry repository\"}", ERROR_FAILED },
                { "{\"format\":7,\"uuid\":\"00000000-0000-0000-0000-000000000001\"}", ERROR_FAILED },
                { "{\"format\":\"other\",\"uuid\":\"00000000-0000-0000-0000-000000000001\"}", ERROR_FAILED },
                { "{\"format\":\"quarry repository\",\"uuid\":\"here\"}", ERROR_FAILED },
                { "{\"format\":\"quarry repository\",\"version\":2,\"uuid\":\"00000000-0000-0000-0000-000000000001\","
                  "\"chunkBytes\":262144,\"segmentChunks\":4096}",
                  ERROR_NOT_SUPPORTED },
                { "{\"format\":\"quarry repository\",\"version\":1,\"uuid\":\"00000000-0000-0000-0000-000000000001\","
                  "\"chunkBytes\":4096,\"segmentChunks\":4096}",
                  ERROR_NOT_SUPPORTED },
                { "{\"format\":\"quarry repository\",\"version\":1,\"uuid\":\"00000000-0000-0000-0000-000000000001\","
                  "\"chunkBytes\":262144}",
                  ERROR_NOT_SUPPORTED },
        };
        Memory m = {};
        size_t format;
        Error err;

        repository_free(memory_repository(&m));
        format = memory_find(&m, "repository/format");
        assert_true(memmem(m.objects[format].data, m.objects[format].size, head, strlen(head)));
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                free(m.objects[format].data);
                m.objects[format].data = (uint8_t *) strdup(rows[i].text);
                m.objects[format].size = strlen(rows[i].text);
                assert_row(opens(&m, &cheap_key, &err) < 0 && err.kind == rows[i].kind, rows[i].text);
                assert_row(!strstr(err.text, "passphrase"), rows[i].text);
        }
        memory_done(&m);
}

/* --- contents --------------------------------------------------------------------------------------------- */

static void test_content_is_stored_once(void **state) {
        static const uint8_t zeros[CHUNK_SIZE];
        Memory m = {};
        Repository *r = memory_repository(&m);
        uint64_t stored = 77;
        ContentId one, other, none;
        Error err = {};

        assert_int_equal(repository_put_content(r, "contents", 8, false, &one, &stored, &err), 0);
        assert_true(stored > 8);
        assert_int_equal(repository_put_content(r, "contents", 8, false, &other, &stored, &err), 0);
        assert_int_equal(stored, 0);
        assert_true(content_id_equal(&one, &other));
        assert_int_equal(memory_count(&m, "data/"), 1);
        assert_int_equal(repository_put_content(r, "contentS", 8, false, &other, NULL, &err), 0);
        assert_false(content_id_equal(&one, &other));
        assert_int_equal(memory_count(&m, "data/"), 2);
        stored = 77;
        assert_int_equal(repository_put_content(r, zeros, sizeof(zeros), false, &none, &stored, &err), 0);
        assert_true(content_id_is_zeros(&none) && stored == 0);
        assert_int_equal(memory_count(&m, "data/"), 2);
        repository_free(r);
        memory_done(&m);
}

static int gets(Repository *r, const ContentId *id, size_t size, const char *expected) {
        char buf[64] = "untouched";
        Error err = {};
        int n = repository_get_content(r, id, buf, size, &err);

        if (n >= 0)
                assert_memory_equal(buf, expected, size);
        else
                assert_int_equal(err.kind, ERROR_FAILED);
        return n;
}

static void test_get_proves(void **state) {
        Memory m = {};
        Repository *r = memory_repository(&m);
        char name[STORE_NAME_MAX], other_name[STORE_NAME_MAX];
        ContentId id, other, none = {};
        Error err = {};
        size_t i;

        assert_int_equal(repository_put_content(r, "contents", 8, false, &id, NULL, &err), 0);
        assert_int_equal(repository_put_content(r, "others..", 8, false, &other, NULL, &err), 0);
        assert_int_equal(gets(r, &id, 8, "contents"), 0);
        assert_int_equal(gets(r, &none, 8, "\0\0\0\0\0\0\0\0"), 0);
        assert_int_equal(gets(r, &id, 7, NULL), -EBADMSG);
        assert_int_equal(gets(r, &id, 9, NULL), -EBADMSG);

        content_object_name(&id, name);
        content_object_name(&other, other_name);
        i = memory_find(&m, name);
        for (size_t byte = 0; byte < m.objects[i].size; byte++) {
                m.objects[i].data[byte] ^= 0x80;
                assert_int_equal(gets(r, &id, 8, NULL), -EBADMSG);
                m.objects[i].data[byte] ^= 0x80;
        }
        buffer_format(m.objects[memory_find(&m, other_name)].name, STORE_NAME_MAX, "data/x");
        buffer_format(m.objects[i].name, STORE_NAME_MAX, "%s", other_name); /* as who has the place may do */
        assert_int_equal(gets(r, &other, 8, NULL), -EBADMSG);
        assert_int_equal(gets(r, &id, 8, NULL), -EBADMSG);
        repository_free(r);
        memory_done(&m);
}

static void test_names_of_contents_are_the_repositorys(void **state) {
        Memory m = {}, other = {};
        Repository *r = memory_repository(&m), *s = memory_repository(&other);
        ContentId one, two;

        repository_name_content(r, "contents", 8, &one);
        repository_name_content(s, "contents", 8, &two);
        assert_false(content_id_equal(&one, &two));
        repository_free(r);
        repository_free(s);
        memory_done(&m);
        memory_done(&other);
}

static void test_ids_as_text(void **state) {
        ContentId id = { .bytes = { 0xab, [31] = 0x01 } }, back;
        char text[CONTENT_ID_TEXT_MAX], longer[CONTENT_ID_TEXT_MAX + 1];

        assert_int_equal(content_id_parse(content_id_format(&id, text), &back), 0);
        assert_true(content_id_equal(&id, &back));
        assert_int_equal(content_id_parse("", &back), -EINVAL);
        assert_int_equal(content_id_parse(text + 1, &back), -EINVAL);
        buffer_format(longer, sizeof(longer), "%s0", text);
        assert_int_equal(content_id_parse(longer, &back), -EINVAL);
        text[63] = 'g';
        assert_int_equal(content_id_parse(text, &back), -EINVAL);
        text[0] = ' ';
        assert_int_equal(content_id_parse(text, &back), -EINVAL);
}

/* --- texts ------------------------------------------------------------------------------------------------ */

static void test_texts(void **state) {
        Memory m = {};
        Repository *r = memory_repository(&m);
        _cleanup_free_ char *text = NULL, *empty = NULL, *none = NULL;
        Error err = {};
        size_t i;

        assert_int_equal(repository_put_text(r, "kind/one", "a secret text", &err), 0);
        assert_int_equal(repository_put_text(r, "kind/empty", "", &err), 0);
        assert_int_equal(repository_get_text(r, "kind/one", &text, &err), 1);
        assert_string_equal(text, "a secret text");
        assert_int_equal(repository_get_text(r, "kind/empty", &empty, &err), 1);
        assert_string_equal(empty, "");
        assert_int_equal(repository_get_text(r, "kind/none", &none, &err), 0);
        i = memory_find(&m, "kind/one");
        assert_null(memmem(m.objects[i].data, m.objects[i].size, "secret", 6));
        buffer_format(m.objects[i].name, STORE_NAME_MAX, "kind/other");
        assert_int_equal(repository_get_text(r, "kind/other", &none, &err), -EBADMSG);
        assert_null(none);
        repository_free(r);
        memory_done(&m);
}

/* --- a store that fails ----------------------------------------------------------------------------------- */

static Memory failing;

static void prepare(void) {
        memory_done(&failing);
}

static int make(Error *err) {
        Repository *r = NULL;
        int n = repository_make(memory_store(&failing), &cheap_key, &r, err);

        assert_true((n >= 0) == !!r);
        repository_free(r);
        return n;
}

static void check(bool done) {
        Error err;
        int r = opens(&failing, &cheap_key, &err);

        if (done)
                assert_int_equal(r, 0);
        if (r < 0) {
                assert_int_equal(r, -ENOENT); /* and can be made */
                err = (Error) {};
                assert_int_equal(make(&err), 0);
                assert_int_equal(opens(&failing, &cheap_key, &err), 0);
        }
}

static void test_it_is_made_whole_or_not_at_all(void **state) {
        fail_each(&failing, prepare, make, check);
        memory_done(&failing);
}

static void prepare_open(void) {
        memory_done(&failing);
        repository_free(memory_repository(&failing));
}

static int open_it(Error *err) {
        return opens(&failing, &cheap_key, err);
}

static void check_open(bool done) {
}

static void test_what_the_store_says_is_passed_on_by_open(void **state) {
        fail_each(&failing, prepare_open, open_it, check_open);
        memory_done(&failing);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_made_and_opened_by_passphrase),
                cmocka_unit_test(test_wrong_passphrase),
                cmocka_unit_test(test_each_key_opens_it),
                cmocka_unit_test(test_a_damaged_key_hides_no_other),
                cmocka_unit_test(test_there_is_none_or_one_already),
                cmocka_unit_test(test_damaged_format),
                cmocka_unit_test(test_content_is_stored_once),
                cmocka_unit_test(test_get_proves),
                cmocka_unit_test(test_names_of_contents_are_the_repositorys),
                cmocka_unit_test(test_ids_as_text),
                cmocka_unit_test(test_texts),
                cmocka_unit_test(test_it_is_made_whole_or_not_at_all),
                cmocka_unit_test(test_what_the_store_says_is_passed_on_by_open),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
