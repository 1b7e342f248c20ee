/* Which options of mkfs a user may give: those that cannot reach outside the filesystem that is being made. */

#include <quarry/volume.h>

#include <quarry/text.h>

#include <sys/stat.h>

#define DIGITS "0123456789"
#define WORD "abcdefghijklmnopqrstuvwxyz0123456789_"
#define LABEL WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-"

typedef struct Rule {
        char letter;
        bool (*accepts)(const struct Rule *rule, const char *value);
        const char *text; /* what a value must be, for messages */
        const char *keys; /* of values such as "key=4,other=1" */
        uint64_t min, max;
} Rule;

static bool number_is_in(const char *s, uint64_t min, uint64_t max) {
        uint64_t n;

        return number_parse(s, &n) >= 0 && n >= min && n <= max;
}

static bool accepts_number(const Rule *rule, const char *value) {
        return number_is_in(value, rule->min, rule->max);
}

static bool accepts_power_of_2(const Rule *rule, const char *value) {
        uint64_t n;

        return number_parse(value, &n) >= 0 && n >= rule->min && n <= rule->max && (n & (n - 1)) == 0;
}

static bool accepts_percent(const Rule *rule, const char *value) {
        size_t whole = strspn(value, DIGITS), part = value[whole] == '.' ? strspn(value + whole + 1, DIGITS) : 0;
        char number[4];

        if (whole == 0 || !buffer_format(number, sizeof(number), "%.*s", (int) whole, value))
                return false;
        if (value[whole] == '.' && (part == 0 || part > 6))
                return false;
        if (value[whole + (part > 0 ? part + 1 : 0)] != 0)
                return false;
        return number_is_in(number, 0, part > 0 && strspn(value + whole + 1, "0") < part ? rule->max - 1 : rule->max);
}

static bool accepts_label(const Rule *rule, const char *value) {
        size_t n = strlen(value);

        return n <= rule->max && strspn(value, LABEL) == n && !strchr("_.-", *value);
}

static bool accepts_word(const Rule *rule, const char *value) {
        return strspn(value, WORD) == strlen(value);
}

/* journal_dev makes no filesystem but a journal for one on another device. */
static bool feature_is_valid(const char *feature) {
        if (*feature == '^')
                feature++;
        return *feature && strspn(feature, WORD) == strlen(feature) && !streq(feature, "journal_dev");
}

/* Whether every part of a comma-separated list passes. */
static bool parts_pass(const Rule *rule, const char *value, bool (*passes)(const Rule *rule, const char *part)) {
        _cleanup_free_ char *copy = strdup(value);

        for (char *rest = copy, *part; (part = strsep(&rest, ","));)
                if (!passes(rule, part))
                        return false;
        return copy;
}

static bool passes_feature(const Rule *rule, const char *part) {
        return feature_is_valid(part);
}

static bool accepts_features(const Rule *rule, const char *value) {
        return parts_pass(rule, value, passes_feature);
}

/* Whether a list of words separated by blanks holds this one of n characters. */
static bool words_contain(const char *words, const char *word, size_t n) {
        for (size_t length; *words; words += length + (words[length] == ' ')) {
                length = strcspn(words, " ");
                if (length == n && memcmp(words, word, n) == 0)
                        return true;
        }
        return false;
}

/* "4096", "64k": a number with at most one unit of mkfs.xfs. */
static bool amount_is_valid(const char *s) {
        size_t n = strspn(s, DIGITS);

        return n > 0 && n <= 18 && (!s[n] || (strchr("bskmg", s[n]) && !s[n + 1]));
}

static bool passes_pair(const Rule *rule, const char *part) {
        const char *equals = strchr(part, '=');

        return equals && words_contain(rule->keys, part, (size_t) (equals - part)) && amount_is_valid(equals + 1);
}

static bool accepts_pairs(const Rule *rule, const char *value) {
        return parts_pass(rule, value, passes_pair);
}

static const Rule ext4_rules[] = {
        { 'b', accepts_power_of_2, "1024, 2048 or 4096", NULL, 1024, 4096 },
        { 'i', accepts_number, "1024 to 67108864 bytes for each inode", NULL, 1024, 67108864 },
        { 'I', accepts_power_of_2, "a power of 2, 128 to 4096", NULL, 128, 4096 },
        { 'N', accepts_number, "a number of inodes", NULL, 1, UINT32_MAX },
        { 'm', accepts_percent, "0 to 50 percent", NULL, 0, 50 },
        { 'O', accepts_features, "features separated by commas, without journal_dev" },
        { 'J', accepts_pairs, "KEY=NUMBER", "size" },
        { 'E', accepts_pairs, "KEY=NUMBER separated by commas",
          "stride stripe_width stripe-width resize lazy_itable_init lazy_journal_init num_backup_sb "
          "packed_meta_blocks" },
        { 'L', accepts_label, "at most 16 of A-Z a-z 0-9 _ . -, beginning with a letter or digit", NULL, 1, 16 },
        { 'T', accepts_word, "a usage type of mke2fs.conf" },
        {},
};

static const Rule xfs_rules[] = {
        { 'b', accepts_pairs, "KEY=NUMBER", "size" },
        { 'm', accepts_pairs, "KEY=NUMBER separated by commas", "crc finobt reflink rmapbt bigtime inobtcount" },
        { 'i', accepts_pairs, "KEY=NUMBER separated by commas", "size maxpct sparse nrext64" },
        { 'n', accepts_pairs, "KEY=NUMBER separated by commas", "size ftype" },
        { 'd', accepts_pairs, "KEY=NUMBER separated by commas", "agcount agsize su sw sunit swidth" },
        { 'l', accepts_pairs, "KEY=NUMBER separated by commas", "size su sunit lazy-count version" },
        { 's', accepts_pairs, "KEY=NUMBER", "size" },
        { 'L', accepts_label, "at most 12 of A-Z a-z 0-9 _ . -, beginning with a letter or digit", NULL, 1, 12 },
        {},
};

static int refuse_letter(const Rule *rules, Filesystem fs, const char *option, Error *err) {
        char allowed[64] = "", echo[TEXT_ECHO_MAX];

        for (size_t n = 0; rules->letter; rules++, n = strlen(allowed))
                (void) buffer_format(allowed + n, sizeof(allowed) - n, " -%c", rules->letter);
        return error_field(err, "mkfsOptions", "mkfs option \"%s\" is not one of those allowed for %s:%s",
                           text_echo(option, echo), filesystem_to_string(fs), allowed);
}

static int refuse_value(const Rule *rule, const char *option, Error *err) {
        char echo[TEXT_ECHO_MAX];

        return error_field(err, "mkfsOptions", "value of mkfs option \"%s\" is not valid: -%c takes %s%s%s",
                           text_echo(option, echo), rule->letter, rule->text, rule->keys ? ", with the keys " : "",
                           rule->keys ?: "");
}

/* "-m 1" or "-m1". */
static int option_parse(Filesystem fs, const char *option, char ***argv, Error *err) {
        const Rule *rules = fs == FILESYSTEM_XFS ? xfs_rules : ext4_rules, *rule = rules;

        if (*option == '-')
                while (rule->letter && rule->letter != option[1])
                        rule++;
        if (*option != '-' || !rule->letter)
                return refuse_letter(rules, fs, option, err);

        const char *value = option + 2 + (option[2] == ' ');
        if (!*value || !rule->accepts(rule, value))
                return refuse_value(rule, option, err);
        if (strv_append(argv, (char[]) { '-', rule->letter, 0 }) < 0 || strv_append(argv, value) < 0)
                return error_oom(err);
        return 0;
}

int mkfs_options_parse(Filesystem fs, char *const *options, char ***ret, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        size_t n = strv_length(options);

        if (n > 0 && fs == FILESYSTEM_NONE)
                return error_field(err, "mkfsOptions", "a volume without filesystem takes no mkfs options");
        if (n > MKFS_OPTIONS_MAX)
                return error_field(err, "mkfsOptions", "%zu mkfs options are too many: at most %d", n,
                                   MKFS_OPTIONS_MAX);

        for (size_t i = 0; i < n; i++) {
                int r = option_parse(fs, options[i], &argv, err);

                if (r < 0)
                        return r;
        }
        if (ret)
                *ret = TAKE_PTR(argv);
        return 0;
}

bool filesystem_tools_are_newer(Filesystem fs, uint64_t since_usec) {
        static const char *const ext4[] = { "/usr/sbin/mke2fs", "/etc/mke2fs.conf", "/proc/self/exe", NULL };
        static const char *const xfs[] = { "/usr/sbin/mkfs.xfs", "/proc/self/exe", NULL };
        struct stat st;

        for (const char *const *tool = fs == FILESYSTEM_XFS ? xfs : ext4; *tool; tool++)
                if (stat(*tool, &st) >= 0 &&
                    (uint64_t) st.st_ctim.tv_sec * 1000000 + (uint64_t) st.st_ctim.tv_nsec / 1000 > since_usec)
                        return true;
        return false;
}
