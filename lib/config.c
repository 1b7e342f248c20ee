#include <quarry/config.h>

#include <quarry/fd.h>
#include <quarry/text.h>
#include <quarry/volume.h>

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>

#define CONFIG_SIZE_MAX (1u << 20)
#define BLANKS " \t\r\f\v"

/* What libcryptsetup accepts for Argon2id. */
#define ARGON2_MEMORY_MIN (UINT64_C(32) << 10)
#define ARGON2_MEMORY_MAX (UINT64_C(4) << 30)
#define ARGON2_ITERATIONS_MIN 4u

/* A setter returns 0, -ENOMEM, or -EINVAL when the value breaks the rule of its row. */
typedef struct Setting {
        const char *section, *key;
        int (*set)(Config *config, const char *value);
        const char *rule;
} Setting;

static int set_default_pool(Config *config, const char *value) {
        if (!pool_name_is_valid(value))
                return -EINVAL;

        char *copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        free(config->default_pool);
        config->default_pool = copy;
        return 0;
}

static int set_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret) {
        uint64_t n;

        if (number_parse(value, &n) < 0 || n < min || n > max)
                return -EINVAL;
        *ret = n;
        return 0;
}

static int set_overprovision_max(Config *config, const char *value) {
        return set_number(value, 1, 1000000, &config->overprovision_max);
}

static int set_percent(const char *value, uint64_t min, unsigned *ret) {
        uint64_t n = 0;
        int r = set_number(value, min, 100, &n);

        if (r >= 0)
                *ret = (unsigned) n;
        return r;
}

static int set_auto_extend_threshold(Config *config, const char *value) {
        return set_percent(value, 50, &config->auto_extend_threshold);
}

static int set_auto_extend_step(Config *config, const char *value) {
        return set_percent(value, 1, &config->auto_extend_step);
}

static int set_used_limit_action(Config *config, const char *value) {
        if (!streq(value, "stop") && !streq(value, "refuse"))
                return -EINVAL;
        config->used_limit_stops = streq(value, "stop");
        return 0;
}

static int set_docker_size(Config *config, const char *value) {
        uint64_t n;

        if (size_parse(value, &n) < 0 || n < VOLUME_SIZE_MIN || n > VOLUME_SIZE_MAX)
                return -EINVAL;
        config->docker_size = n;
        return 0;
}

static int set_workers_max(Config *config, const char *value) {
        uint64_t n = 0;
        int r = set_number(value, 0, 256, &n);

        if (r >= 0)
                config->workers_max = (unsigned) n;
        return r;
}

static int set_argon2_memory(Config *config, const char *value) {
        uint64_t n;

        if (size_parse(value, &n) < 0 || n < ARGON2_MEMORY_MIN || n > ARGON2_MEMORY_MAX)
                return -EINVAL;
        config->argon2_memory = n;
        return 0;
}

static int set_argon2_memory_total(Config *config, const char *value) {
        uint64_t n;

        if (size_parse(value, &n) < 0 || n < ARGON2_MEMORY_MIN)
                return -EINVAL;
        config->argon2_memory_total = n;
        return 0;
}

static int set_argon2_iterations(Config *config, const char *value) {
        if (streq(value, "0"))
                config->argon2_iterations = 0;
        else
                return set_number(value, ARGON2_ITERATIONS_MIN, UINT32_MAX, &config->argon2_iterations);
        return 0;
}

/* Takes the next word off *s: blanks separate, double quotes keep together, a backslash within them takes the
 * next character as it is. Returns 1, 0 at the end, -EINVAL for an open quote. */
static int word_next(const char **s, char **ret) {
        const char *p = *s + strspn(*s, BLANKS);
        bool quoted = false;
        size_t n = 0;

        if (!*p)
                return 0;
        _cleanup_free_ char *word = malloc(strlen(p) + 1);
        if (!word)
                return -ENOMEM;

        for (; *p && (quoted || !strchr(BLANKS, *p)); p++)
                if (*p == '"')
                        quoted = !quoted;
                else {
                        if (quoted && *p == '\\' && p[1])
                                p++;
                        word[n++] = *p;
                }
        if (quoted)
                return -EINVAL;

        word[n] = 0;
        *s = p;
        *ret = TAKE_PTR(word);
        return 1;
}

static int words_split(const char *value, char ***ret) {
        _cleanup_strv_ char **words = NULL;

        for (;;) {
                _cleanup_free_ char *word = NULL;
                int r = word_next(&value, &word);

                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                if (strv_append(&words, word) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(words);
        return 0;
}

static int set_allowed_roots(Config *config, const char *value) {
        _cleanup_strv_ char **roots = NULL;
        int r = words_split(value, &roots);

        if (r < 0)
                return r;
        for (char **root = roots; root && *root; root++)
                if (!path_is_plain(*root))
                        return -EINVAL;
        strv_free(config->allowed_roots);
        config->allowed_roots = TAKE_PTR(roots);
        return 0;
}

static int set_key_command(Config *config, const char *value) {
        _cleanup_strv_ char **argv = NULL;
        int r = words_split(value, &argv);

        if (r < 0)
                return r;
        if (argv && !path_is_plain(argv[0]))
                return -EINVAL;

        strv_free(config->key_command);
        config->key_command = TAKE_PTR(argv);
        return 0;
}

static const Setting settings[] = {
        { "Pool", "Default", set_default_pool, "1 to 32 of a-z 0-9 -, beginning with a letter" },
        { "Pool", "MaxOverprovision", set_overprovision_max, "a whole number, 1 to 1000000" },
        { "Pool", "AutoExtendThreshold", set_auto_extend_threshold, "a whole number, 50 to 100" },
        { "Pool", "AutoExtendStep", set_auto_extend_step, "a whole number, 1 to 100" },
        { "Tenants", "UsedLimitAction", set_used_limit_action, "stop or refuse" },
        { "Bind", "AllowedRoots", set_allowed_roots,
          "absolute paths of directories, without a \"/\" at their end, in double quotes if need be" },
        { "Docker", "DefaultSize", set_docker_size, "a size, 1M to 1P" },
        { "Jobs", "Workers", set_workers_max, "a whole number, 0 to 256" },
        { "Encryption", "KeyCommand", set_key_command, "an absolute path and arguments, in double quotes if need be" },
        { "Encryption", "Argon2Memory", set_argon2_memory, "a size, 32K to 4G" },
        { "Encryption", "Argon2MemoryTotal", set_argon2_memory_total, "a size, at least 32K" },
        { "Encryption", "Argon2Iterations", set_argon2_iterations, "0 (measured) or a whole number, at least 4" },
};

/* Where the parser is, for messages. */
typedef struct Position {
        const char *name;
        unsigned line;
        const char *section; /* NULL before the first one */
} Position;

/* The words that would have been right: the keys of a section, or the sections. */
static void known_list(const char *section, char *buf, size_t size) {
        const char *last = "";
        size_t n = 0;

        *buf = 0;
        for (size_t i = 0; i < ELEMENTSOF(settings); i++) {
                const char *word = section ? settings[i].key : settings[i].section;

                if (streq(word, last) || (section && !streq(settings[i].section, section)))
                        continue;
                (void) buffer_format(buf + n, size - n, "%s%s%s", n > 0 ? ", " : "", word, section ? "=" : "");
                n = strlen(buf);
                last = word;
        }
}

static int refuse(const Position *at, Error *err, const char *what, const char *echoed, const char *section) {
        char known[200], echo[TEXT_ECHO_MAX];

        known_list(section, known, sizeof(known));
        return error_set(err, ERROR_FAILED, EINVAL, "%s:%u: %s \"%s\"; known are %s", at->name, at->line, what,
                         text_echo(echoed, echo), known);
}

static int section_enter(Position *at, char *line, Error *err) {
        size_t n = strlen(line);

        line[n - 1] = 0;
        for (size_t i = 0; i < ELEMENTSOF(settings); i++)
                if (streq(settings[i].section, line + 1)) {
                        at->section = settings[i].section;
                        return 0;
                }
        return refuse(at, err, "unknown section", line + 1, NULL);
}

static int setting_apply(Config *config, const Position *at, const char *key, const char *value, Error *err) {
        char echo[TEXT_ECHO_MAX];

        for (size_t i = 0; i < ELEMENTSOF(settings); i++) {
                const Setting *s = &settings[i];

                if (!streq(s->section, at->section) || !streq(s->key, key))
                        continue;

                int r = s->set(config, value);
                if (r == -ENOMEM)
                        return error_oom(err);
                if (r < 0)
                        return error_set(err, ERROR_FAILED, EINVAL, "%s:%u: \"%s\" is not valid for %s=: %s", at->name,
                                         at->line, text_echo(value, echo), key, s->rule);
                return 0;
        }
        return refuse(at, err, "unknown key", key, at->section);
}

/* Without the blanks around. */
static char *strip(char *s) {
        s += strspn(s, BLANKS);
        for (size_t n = strlen(s); n > 0 && strchr(BLANKS, s[n - 1]); n--)
                s[n - 1] = 0;
        return s;
}

static int line_apply(Config *config, Position *at, char *line, Error *err) {
        line = strip(line);
        if (!*line || *line == '#' || *line == ';')
                return 0;
        if (*line == '[' && line[strlen(line) - 1] == ']')
                return section_enter(at, line, err);

        char *value = strchr(line, '=');
        if (!value)
                return refuse(at, err, "neither a section nor Key=value:", line, at->section);
        if (!at->section)
                return refuse(at, err, "no section before", line, NULL);

        *value++ = 0;
        return setting_apply(config, at, strip(line), strip(value), err);
}

int config_parse(Config *config, const char *name, const char *text, Error *err) {
        _cleanup_free_ char *copy = strdup(text);
        Position at = { .name = name };

        if (!copy)
                return error_oom(err);

        for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
                at.line++;
                int r = line_apply(config, &at, line, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int config_set_defaults(Config *config) {
        Config defaults = {
                .default_pool = strdup(DEFAULT_POOL),
                .overprovision_max = 1000,
                .auto_extend_threshold = 80,
                .auto_extend_step = 20,
                .used_limit_stops = true,
                .docker_size = 10 * GIB,
                .argon2_memory = UINT64_C(256) << 20,
                .argon2_memory_total = UINT64_C(1) << 30,
        };

        if (!defaults.default_pool)
                return -ENOMEM;
        *config = defaults;
        return 0;
}

void config_done(Config *config) {
        free(config->default_pool);
        config->default_pool = NULL;
        config->key_command = strv_free(config->key_command);
        config->allowed_roots = strv_free(config->allowed_roots);
}

static int file_apply(Config *config, const char *path, Error *err) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        int r = file_read(AT_FDCWD, path, CONFIG_SIZE_MAX, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_errno(err, r, "cannot read %s", path);
        if (strlen(text) != size)
                return error_set(err, ERROR_FAILED, EINVAL, "%s holds a NUL byte", path);
        return config_parse(config, path, text, err);
}

static int is_drop_in(const struct dirent *entry) {
        return fnmatch("?*.conf", entry->d_name, FNM_PERIOD) == 0;
}

/* Not alphasort(), whose order depends on the locale. */
static int name_compare(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int drop_ins_apply(Config *config, const char *path, Error *err) {
        _cleanup_free_ char *folder = format_new("%s.d", path);
        struct dirent **entries = NULL;
        int r = 0;

        if (!folder)
                return error_oom(err);
        int n = RET_NERRNO(scandir(folder, &entries, is_drop_in, name_compare));
        if (n == -ENOENT)
                return 0;
        if (n < 0)
                return error_errno(err, n, "cannot read %s", folder);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *file = format_new("%s/%s", folder, entries[i]->d_name);

                if (r >= 0)
                        r = file ? file_apply(config, file, err) : error_oom(err);
                free(entries[i]);
        }
        free(entries);
        return r;
}

/* Rules between settings, which may come from different files. */
static int config_check(const Config *config, const char *path, Error *err) {
        char one[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX];

        if (config->argon2_memory <= config->argon2_memory_total)
                return 0;
        return error_set(err, ERROR_FAILED, EINVAL, "%s: Argon2Memory=%s does not fit into Argon2MemoryTotal=%s", path,
                         size_format_exact(config->argon2_memory, one),
                         size_format_exact(config->argon2_memory_total, all));
}

int config_load(const char *path, Config *ret, Error *err) {
        _cleanup_(config_done) Config config = {};

        if (config_set_defaults(&config) < 0)
                return error_oom(err);

        int r = file_apply(&config, path, err);
        if (r >= 0)
                r = drop_ins_apply(&config, path, err);
        if (r >= 0)
                r = config_check(&config, path, err);
        if (r < 0)
                return r;

        *ret = config;
        config = (Config) {};
        return 0;
}
