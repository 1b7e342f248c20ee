#include <quarry/text.h>
#include <quarry/volume.h>

#include "../unit.h"

static VolumeSpec spec_make(void) {
        return (VolumeSpec) { .tenant = DEFAULT_TENANT, .name = "db", .size = GIB, .mode = 0755 };
}

static void test_words(void **state) {
        for (Filesystem fs = 0; fs < _FILESYSTEM_MAX; fs++)
                assert_int_equal(filesystem_from_string(filesystem_to_string(fs)), fs);
        for (KeySource s = 0; s < _KEY_SOURCE_MAX; s++)
                assert_int_equal(key_source_from_string(key_source_to_string(s)), s);
        for (VolumeState s = 0; s < _VOLUME_STATE_MAX; s++)
                assert_int_equal(volume_state_from_string(volume_state_to_string(s)), s);
        assert_int_equal(filesystem_from_string("ext4"), FILESYSTEM_EXT4);
        assert_int_equal(filesystem_from_string("btrfs"), -EINVAL);
        assert_int_equal(filesystem_from_string("EXT4"), -EINVAL);
        assert_int_equal(filesystem_from_string(""), -EINVAL);
        assert_int_equal(filesystem_from_string(NULL), -EINVAL);
        assert_int_equal(key_source_from_string("hos"), -EINVAL);
        assert_int_equal(volume_state_from_string("readyy"), -EINVAL);
        assert_null(filesystem_to_string(_FILESYSTEM_MAX));
        assert_null(key_source_to_string((KeySource) -1));
        assert_null(volume_state_to_string(_VOLUME_STATE_MAX));
}

static void test_sizes(void **state) {
        static const struct {
                Filesystem fs;
                uint64_t size, rounded; /* 0: refused */
                const char *text;
        } rows[] = {
                { FILESYSTEM_EXT4, 0, 0, "the size is missing, or 0" },
                { FILESYSTEM_EXT4, 1, 0, "size 1B is too small: ext4 needs at least 16M" },
                { FILESYSTEM_EXT4, 15 * MIB, 0, "size 15M is too small: ext4 needs at least 16M" },
                { FILESYSTEM_EXT4, 15 * MIB + 1, 16 * MIB, "" },
                { FILESYSTEM_EXT4, 16 * MIB, 16 * MIB, "" },
                { FILESYSTEM_EXT4, GIB + 1, GIB + MIB, "" },
                { FILESYSTEM_XFS, 299 * MIB, 0, "size 299M is too small: XFS needs at least 300M" },
                { FILESYSTEM_XFS, 300 * MIB, 300 * MIB, "" },
                { FILESYSTEM_NONE, 1, MIB, "" },
                { FILESYSTEM_NONE, 0, 0, "the size is missing, or 0" },
                { FILESYSTEM_EXT4, VOLUME_SIZE_MAX, VOLUME_SIZE_MAX, "" },
                { FILESYSTEM_EXT4, VOLUME_SIZE_MAX + 1, 0,
                  "size 1125899906842625B is too large: a volume has at most 1P" },
                { FILESYSTEM_NONE, UINT64_MAX, 0, "size 18446744073709551615B is too large: a volume has at most 1P" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                VolumeSpec spec = spec_make();
                Error err = {};

                spec.fs = rows[i].fs;
                spec.size = rows[i].size;
                int r = volume_spec_normalize(&spec, &err);
                assert_string_equal(err.text, rows[i].text);
                assert_int_equal(r, rows[i].rounded ? 0 : -EINVAL);
                if (r >= 0)
                        assert_true(spec.size == rows[i].rounded);
                else
                        assert_string_equal(err.field, "sizeBytes");
        }
}

typedef void (*Spoil)(VolumeSpec *spec);

static void no_name(VolumeSpec *spec) {
        *spec->name = 0;
}
static void bad_tenant(VolumeSpec *spec) {
        strcpy(spec->tenant, "..");
}
static void no_tenant(VolumeSpec *spec) {
        *spec->tenant = 0;
}
static void bad_pool(VolumeSpec *spec) {
        strcpy(spec->pool, "a/b");
}
static void bad_fs(VolumeSpec *spec) {
        spec->fs = _FILESYSTEM_MAX;
}
static void bad_key_source(VolumeSpec *spec) {
        spec->key_source = (KeySource) 77;
}
static void bad_uid(VolumeSpec *spec) {
        spec->uid = (uid_t) -1;
}
static void bad_gid(VolumeSpec *spec) {
        spec->gid = (gid_t) -1;
}
static void bad_mode(VolumeSpec *spec) {
        spec->mode = 010000;
}
static void bad_option(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->mkfs_options, "-d /etc"), 0);
}
static void option_without_filesystem(VolumeSpec *spec) {
        spec->fs = FILESYSTEM_NONE;
        assert_int_equal(strv_append(&spec->mkfs_options, "-m 1"), 0);
}
static void label_twice(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->labels, "b=1"), 0);
        assert_int_equal(strv_append(&spec->labels, "a=1"), 0);
        assert_int_equal(strv_append(&spec->labels, "b=2"), 0);
}
static void label_twice_alone(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->labels, "b=1"), 0);
        assert_int_equal(strv_append(&spec->labels, "b=1"), 0);
}
static void label_without_value(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->labels, "b"), 0);
}
static void label_with_bad_key(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->labels, "a b=1"), 0);
}
static void label_with_bad_value(VolumeSpec *spec) {
        assert_int_equal(strv_append(&spec->labels, "a=1\n2"), 0);
}
static void too_many_labels(VolumeSpec *spec) {
        for (int i = 0; i <= LABELS_MAX; i++) {
                _cleanup_free_ char *label = format_new("k%d=v", i);

                assert_int_equal(strv_append(&spec->labels, label), 0);
        }
}

static void test_refusals_name_the_field(void **state) {
        static const struct {
                Spoil spoil;
                const char *field, *text;
        } rows[] = {
                { no_name, "volume",
                  "volume name \"\" is not valid: 1 to 128 of A-Z a-z 0-9 _ . -, beginning with a letter or digit" },
                { bad_tenant, "volume",
                  "tenant name \"..\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter" },
                { no_tenant, "volume", "tenant name \"\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter" },
                { bad_pool, "volume", "pool name \"a/b\" is not valid: 1 to 32 of a-z 0-9 -, beginning with a letter" },
                { bad_fs, "filesystem", "the filesystem must be ext4, xfs or none" },
                { bad_key_source, "keySource", "the key source must be host or passphrase" },
                { bad_uid, "uid", "uid 4294967295 is reserved" },
                { bad_gid, "gid", "gid 4294967295 is reserved" },
                { bad_mode, "mode", "mode 010000 is not valid: at most 07777" },
                { bad_option, "mkfsOptions",
                  "mkfs option \"-d /etc\" is not one of those allowed for ext4: -b -i -I -N -m -O -J -E -L -T" },
                { option_without_filesystem, "mkfsOptions", "a volume without filesystem takes no mkfs options" },
                { label_twice, "labels", "label \"b\" is given twice" },
                { label_twice_alone, "labels", "label \"b\" is given twice" },
                { label_without_value, "labels", "label \"b\" is not of the form key=value" },
                { label_with_bad_key, "labels",
                  "label key \"a b\" is not valid: 1 to 128 of A-Z a-z 0-9 _ . / -, beginning with a letter or digit" },
                { label_with_bad_value, "labels",
                  "value of label \"a\" is not valid: at most 1024 bytes of UTF-8 without control characters" },
                { too_many_labels, "labels", "65 labels are too many: at most 64" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
                Error err = {};

                rows[i].spoil(&spec);
                assert_row(volume_spec_normalize(&spec, &err) == -EINVAL, rows[i].text);
                assert_string_equal(err.text, rows[i].text);
                assert_string_equal(err.field, rows[i].field);
                assert_int_equal(err.kind, ERROR_BAD_REQUEST);
        }
}

static void test_bounds_belong_to_what_is_allowed(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
        char value[LABEL_VALUE_MAX + 1] = "";

        memset(value, 'v', LABEL_VALUE_MAX);
        _cleanup_free_ char *label = format_new("a=%s", value);
        assert_int_equal(volume_spec_add_label(&spec, label, NULL), 0);
        spec.mode = 07777;
        spec.uid = spec.gid = 4294967294;
        assert_int_equal(volume_spec_normalize(&spec, NULL), 0);
}

static void test_labels_are_updated(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
        char *set[] = { (char *) "b=2", (char *) "c=3", NULL }, *remove[] = { (char *) "a", (char *) "none", NULL };
        char *want[] = { (char *) "b=2", (char *) "c=3", (char *) "d=4", NULL };
        VolumeUpdate update = { .labels = set, .remove_labels = remove, .has_mode = true, .mode = 0700 };

        assert_int_equal(volume_spec_add_label(&spec, "d=4", NULL), 0);
        assert_int_equal(volume_spec_add_label(&spec, "a=1", NULL), 0);
        assert_int_equal(volume_spec_add_label(&spec, "b=1", NULL), 0);
        assert_int_equal(volume_spec_update(&spec, &update, NULL), 0);
        assert_true(strv_equal(spec.labels, want));
        assert_int_equal(spec.mode, 0700);
        assert_int_equal(spec.uid, 0);
}

static void test_what_is_not_named_stays_protected(void **state) {
        VolumeSpec spec = spec_make();

        assert_int_equal(volume_spec_update(&spec, &(VolumeUpdate) { .has_protected = true, .protected = true }, NULL),
                         0);
        assert_true(spec.protected);
        assert_int_equal(volume_spec_update(&spec, &(VolumeUpdate) { .has_mode = true, .mode = 0700 }, NULL), 0);
        assert_true(spec.protected);
        assert_int_equal(volume_spec_update(&spec, &(VolumeUpdate) { .has_protected = true }, NULL), 0);
        assert_false(spec.protected);
}

static void test_label_is_set_or_removed(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
        char *set[] = { (char *) "a=1", NULL }, *remove[] = { (char *) "a", NULL }, *bad[] = { (char *) "a=1", NULL };
        Error err = {};

        assert_int_equal(volume_spec_update(&spec, &(VolumeUpdate) { .labels = set, .remove_labels = remove }, &err),
                         -EINVAL);
        assert_string_equal(err.text, "label \"a\" is given twice");
        assert_int_equal(volume_spec_update(&spec, &(VolumeUpdate) { .remove_labels = bad }, &err), -EINVAL);
        assert_string_equal(err.field, "removeLabels");
}

static void test_labels_are_sorted_by_key(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
        Error err = {};

        assert_int_equal(volume_spec_add_label(&spec, "b=2", &err), 0);
        assert_int_equal(volume_spec_add_label(&spec, "a-b=x", &err), 0);
        assert_int_equal(volume_spec_add_label(&spec, "a=", &err), 0);
        assert_int_equal(volume_spec_add_label(&spec, "b=3", &err), -EINVAL);
        assert_string_equal(err.text, "label \"b\" is given twice");
        assert_int_equal(volume_spec_add_label(&spec, "c", &err), -EINVAL);
        assert_int_equal(volume_spec_normalize(&spec, &err), 0);
        assert_int_equal(strv_length(spec.labels), 3);
        assert_string_equal(spec.labels[0], "a="); /* not "a-b=x", as comparing whole lines would have it */
        assert_string_equal(spec.labels[1], "a-b=x");
        assert_string_equal(spec.labels[2], "b=2");
}

static void test_add_label_keeps_the_bound(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make();
        Error err = {};

        for (int i = 0; i < LABELS_MAX; i++) {
                _cleanup_free_ char *label = format_new("k%d=v", i);

                assert_int_equal(volume_spec_add_label(&spec, label, &err), 0);
        }
        assert_int_equal(volume_spec_normalize(&spec, &err), 0);
        assert_int_equal(volume_spec_add_label(&spec, "one=more", &err), -EINVAL);
        assert_int_equal(strv_length(spec.labels), LABELS_MAX);
}

static void test_normalizing_twice_changes_nothing(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec spec = spec_make(), copy = {};
        char buf[200];

        spec.size++;
        label_twice(&spec);
        free(spec.labels[2]);
        spec.labels[2] = NULL;
        assert_int_equal(volume_spec_normalize(&spec, NULL), 0);
        assert_int_equal(volume_spec_copy(&spec, &copy), 0);
        assert_int_equal(volume_spec_normalize(&copy, NULL), 0);
        assert_null(volume_spec_difference(&spec, &copy, buf, sizeof(buf)));
}

static void test_copy_owns_its_strings(void **state) {
        VolumeSpec spec = spec_make();
        _cleanup_(volume_spec_done) VolumeSpec copy = {};

        assert_int_equal(strv_append(&spec.labels, "a=1"), 0);
        assert_int_equal(strv_append(&spec.mkfs_options, "-m 1"), 0);
        assert_int_equal(volume_spec_copy(&spec, &copy), 0);
        volume_spec_done(&spec);
        assert_string_equal(copy.labels[0], "a=1");
        assert_string_equal(copy.mkfs_options[0], "-m 1");
        assert_string_equal(copy.name, "db");
}

static void test_difference_names_both_values(void **state) {
        char *m1[] = { (char *) "-m 1", NULL }, *two[] = { (char *) "-m 1", (char *) "-b 4096", NULL };
        char *label[] = { (char *) "a=1", NULL };
        const struct {
                VolumeSpec want;
                const char *field, *text;
        } rows[] = {
                { { .size = 2 * GIB, .mode = 0755 }, "size", "1G, asked for 2G" },
                { { .size = GIB + MIB, .mode = 0755 }, "size", "1G, asked for 1025M" },
                { { .size = GIB, .mode = 0755, .fs = FILESYSTEM_XFS }, "filesystem", "ext4, asked for xfs" },
                { { .size = GIB, .mode = 0755, .key_source = KEY_SOURCE_HOST }, "key source", "none, asked for host" },
                { { .size = GIB, .mode = 0755, .uid = 1000 }, "uid", "0, asked for 1000" },
                { { .size = GIB, .mode = 0755, .gid = 50 }, "gid", "0, asked for 50" },
                { { .size = GIB, .mode = 01777 }, "mode", "0755, asked for 1777" },
                { { .size = GIB, .mode = 0755, .mkfs_options = m1 }, "mkfs options", "none, asked for \"-m 1\"" },
                { { .size = GIB, .mode = 0755, .mkfs_options = two },
                  "mkfs options",
                  "none, asked for \"-m 1\" \"-b 4096\"" },
                { { .size = GIB, .mode = 0755, .labels = label }, "labels", "none, asked for \"a=1\"" },
                { { .size = GIB, .mode = 0755, .protected = true }, "protection", "off, asked for on" },
                { { .size = GIB, .mode = 0755, .name = "other", .tenant = "other", .pool = "other" }, NULL, "" },
        };
        VolumeSpec have = spec_make();

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char buf[200] = "", cut[5];
                const char *field = volume_spec_difference(&have, &rows[i].want, buf, sizeof(buf));

                assert_true(streq_ptr(field, rows[i].field));
                assert_string_equal(buf, rows[i].text);
                (void) volume_spec_difference(&have, &rows[i].want, cut, sizeof(cut));
        }
}

static void test_difference_of_long_lists_is_cut(void **state) {
        _cleanup_(volume_spec_done) VolumeSpec have = spec_make(), want = spec_make();
        char buf[4096];

        too_many_labels(&have);
        assert_string_equal(volume_spec_difference(&have, &want, buf, sizeof(buf)), "labels");
        assert_true(strlen(buf) < 300);
        assert_non_null(strstr(buf, "asked for none"));
}

static void test_encryption_costs_the_user_nothing(void **state) {
        VolumeSpec spec = spec_make();

        assert_true(volume_spec_device_size(&spec) == GIB);
        spec.key_source = KEY_SOURCE_HOST;
        assert_true(volume_spec_device_size(&spec) == GIB + LUKS_HEADER_SIZE);
        spec.key_source = KEY_SOURCE_PASSPHRASE;
        assert_true(volume_spec_device_size(&spec) == GIB + LUKS_HEADER_SIZE);
}

static void test_done_can_run_twice(void **state) {
        Volume v = { .spec = spec_make(), .failure = strdup("why") };

        label_twice(&v.spec);
        volume_done(&v);
        volume_done(&v);
        assert_null(v.failure);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_refusals_name_the_field),
                cmocka_unit_test(test_bounds_belong_to_what_is_allowed),
                cmocka_unit_test(test_labels_are_updated),
                cmocka_unit_test(test_what_is_not_named_stays_protected),
                cmocka_unit_test(test_label_is_set_or_removed),
                cmocka_unit_test(test_labels_are_sorted_by_key),
                cmocka_unit_test(test_add_label_keeps_the_bound),
                cmocka_unit_test(test_normalizing_twice_changes_nothing),
                cmocka_unit_test(test_copy_owns_its_strings),
                cmocka_unit_test(test_difference_names_both_values),
                cmocka_unit_test(test_difference_of_long_lists_is_cut),
                cmocka_unit_test(test_encryption_costs_the_user_nothing),
                cmocka_unit_test(test_done_can_run_twice),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
