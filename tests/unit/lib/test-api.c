#include <quarry/api.h>
#include <quarry/error.h>
#include <quarry/pool.h>
#include <quarry/text.h>
#include <quarry/volume.h>
#include <quarry/worker-api.h>

#include "../unit.h"

/* The words of an enum in the interface's text: "type NAME(\n\tword,\n\tword\n)", comments left out. */
static char **enum_words(const sd_varlink_interface *interface, const char *name) {
        _cleanup_free_ char *text = NULL, *start = format_new("type %s(\n", name);
        char **words = NULL;

        assert_true(sd_varlink_idl_format(interface, &text) >= 0);
        char *p = strstr(text, start);
        assert_non_null(p);
        p += strlen(start);
        for (char *line; (line = strsep(&p, "\n")) && !streq(line, ")");) {
                line += strspn(line, "\t");
                line[strcspn(line, ",")] = 0;
                if (*line != '#')
                        assert_int_equal(strv_append(&words, line), 0);
        }
        return words;
}

/* From first on; FIRST is not 0 where "none" is said by leaving the field away. */
#define assert_words(interface, name, to_string, first, max)                          \
        do {                                                                          \
                _cleanup_strv_ char **words = enum_words(interface, name);            \
                assert_int_equal(strv_length(words), (max) - (first));                \
                for (int i = (first); i < (int) (max); i++)                           \
                        assert_row(strv_contains(words, to_string(i)), to_string(i)); \
        } while (0)

static void test_enums_have_the_words_of_the_code(void **state) {
        assert_words(&vl_interface_io_quarry_Volume, "Filesystem", filesystem_to_string, 0, _FILESYSTEM_MAX);
        assert_words(&vl_interface_io_quarry_Volume, "KeySource", key_source_to_string, 1, _KEY_SOURCE_MAX);
        assert_words(&vl_interface_io_quarry_Volume, "VolumeState", volume_state_to_string, 0, _VOLUME_STATE_MAX);
        assert_words(&vl_interface_io_quarry_Pool, "PoolState", pool_state_to_string, 0, _POOL_STATE_MAX);
        assert_words(&vl_interface_io_quarry_Pool, "PoolOrigin", pool_origin_to_string, 0, _POOL_ORIGIN_MAX);
}

static void test_every_error_is_declared(void **state) {
        static const sd_varlink_interface *const interfaces[] = {
                &vl_interface_io_quarry_Volume,
                &vl_interface_io_quarry_Pool,
                &vl_interface_io_quarry_Worker,
        };

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++) {
                _cleanup_free_ char *text = NULL;

                assert_true(sd_varlink_idl_format(interfaces[i], &text) >= 0);
                for (ErrorKind kind = ERROR_NONE + 1; kind < _ERROR_KIND_MAX; kind++) {
                        _cleanup_free_ char *line = format_new("\nerror %s(\n", error_kind_name(kind));

                        assert_row(strstr(text, line), line);
                }
        }
}

static void test_names(void **state) {
        assert_string_equal(vl_interface_io_quarry_Volume.name, API_VOLUME);
        assert_string_equal(vl_interface_io_quarry_Pool.name, API_POOL);
        assert_non_null(startswith(WORKER_METHOD_RUN, vl_interface_io_quarry_Worker.name));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enums_have_the_words_of_the_code),
                cmocka_unit_test(test_every_error_is_declared),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
