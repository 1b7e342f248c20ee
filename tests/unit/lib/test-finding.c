#include <quarry/finding.h>
#include <quarry/text.h>

#include "../unit.h"

static const sd_id128_t id = SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);

static void test_kinds(void **state) {
        for (FindingKind kind = 0; kind < _FINDING_KIND_MAX; kind++)
                assert_int_equal(finding_kind_from_string(finding_kind_to_string(kind)), kind);
        assert_int_equal(finding_kind_from_string("no such kind"), -EINVAL);
        assert_int_equal(finding_kind_from_string(NULL), -EINVAL);
        assert_true(finding_kind_is_fixable(FINDING_STRAY_DEVICE));
        assert_false(finding_kind_is_fixable(FINDING_THIN_WITHOUT_VOLUME)); /* there may be something in it */
        assert_false(finding_kind_is_fixable(_FINDING_KIND_MAX));
}

static void test_comes_back_as_it_went(void **state) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        _cleanup_(finding_list_done) FindingList list = {}, back = {};
        Finding *f;

        f = finding_add(&list, FINDING_HOST_KEY, "key", "it is %d years old", 7);
        assert_non_null(f);
        f->uuid = f->pool = id;
        f->fixed = true;
        finding_hint(f, "first");
        finding_hint(f, "run %s", "this");
        assert_non_null(finding_add(&list, FINDING_STRAY_MOUNT, "/a\nb", "\033[31mred"));
        finding_hint(NULL, "to whom?");

        assert_true(finding_list_to_json(&list, &v) >= 0);
        assert_int_equal(finding_list_from_json(v, &back), 0);
        assert_int_equal(back.n, 2);
        f = &back.items[0];
        assert_int_equal(f->kind, FINDING_HOST_KEY);
        assert_string_equal(f->text, "it is 7 years old");
        assert_string_equal(f->hint, "run this");
        assert_true(sd_id128_equal(f->uuid, id) && sd_id128_equal(f->pool, id) && f->fixed);
        f = &back.items[1];
        assert_string_equal(f->object, "/a?b");
        assert_string_equal(f->text, "?[31mred");
        assert_null(f->hint);
        assert_true(sd_id128_is_null(f->uuid) && !f->fixed);
}

static void test_an_empty_list_is_none(void **state) {
        sd_json_variant *v = NULL;
        FindingList list = {};

        assert_true(finding_list_to_json(&list, &v) >= 0);
        assert_null(v);
        assert_int_equal(finding_list_from_json(NULL, &list), 0);
        assert_int_equal(list.n, 0);
}

static bool is_not(const Finding *finding, void *userdata) {
        return !streq(finding->object, userdata);
}

static void test_lists_are_joined_and_filtered(void **state) {
        _cleanup_(finding_list_done) FindingList list = {}, other = {};

        assert_int_equal(finding_join(&list, &other), 0);
        finding_add(&list, FINDING_POOL_FULL, "a", "-");
        finding_add(&other, FINDING_POOL_FULL, "b", "-");
        finding_add(&other, FINDING_POOL_FULL, "c", "-");
        assert_int_equal(finding_join(&list, &other), 0);
        assert_int_equal(other.n, 0);
        finding_filter(&list, is_not, (void *) "b");
        assert_int_equal(list.n, 2);
        assert_string_equal(list.items[0].object, "a");
        assert_string_equal(list.items[1].object, "c");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kinds),
                cmocka_unit_test(test_comes_back_as_it_went),
                cmocka_unit_test(test_an_empty_list_is_none),
                cmocka_unit_test(test_lists_are_joined_and_filtered),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
