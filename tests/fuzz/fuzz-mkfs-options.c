/* Options for mkfs: the first byte chooses the filesystem, then one option a line. */

#include "fuzz.h"

#include <quarry/volume.h>

/* The keys of mke2fs and mkfs.xfs that name other devices, host files or other places on the disk. */
static const char *const never[] = {
        "device", "location", "offset", "root_owner", "logdev", "rtdev", "name", "file", "internal", "uuid", "options",
};

static void assert_harmless(const char *option, const char *value) {
        assert(option[0] == '-' && option[1] && !option[2]);
        assert(*value && *value != '-' && text_is_printable(value) && !strpbrk(value, " /\\'\"$;"));

        for (const char *part = value; *part; part += strcspn(part, ","), part += *part == ',') {
                const char *word = part + (*part == '^');
                size_t n = strcspn(word, ",=");

                /* a label may be called that */
                assert(option[1] != 'O' || n != strlen("journal_dev") || strncmp(word, "journal_dev", n) != 0);
                for (size_t i = 0; word[n] == '=' && i < ELEMENTSOF(never); i++)
                        assert(n != strlen(never[i]) || strncmp(word, never[i], n) != 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;

        Filesystem fs = (Filesystem) (data[0] % _FILESYSTEM_MAX);
        _cleanup_free_ char *text = input_string(data + 1, size - 1);
        _cleanup_strv_ char **options = NULL, **argv = NULL, **joined = NULL, **again = NULL;
        Error err = {};

        for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
                assert(strv_append(&options, line) == 0);
        if (mkfs_options_parse(fs, options, &argv, &err) < 0) {
                assert_sentence(&err);
                assert(!argv);
                return 0;
        }

        assert(fs != FILESYSTEM_NONE && strv_length(argv) == 2 * strv_length(options));
        for (size_t i = 0; argv[i]; i += 2) {
                _cleanup_free_ char *option = format_new("%s %s", argv[i], argv[i + 1]);

                assert_harmless(argv[i], argv[i + 1]);
                assert(strv_append(&joined, option) == 0);
        }
        assert(mkfs_options_parse(fs, joined, &again, NULL) == 0 && strv_equal(argv, again));
        return 0;
}
