#include <quarry/mount.h>

#include <quarry/text.h>

#include <sys/statvfs.h>

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

#define ATIME (MOUNT_NOATIME | MOUNT_STRICTATIME)

/* THE list: the word, what is set by it, and of what. Words of one thing contradict each other. */
static const struct {
        const char *word;
        unsigned set, of;
} words[] = {
        { "rw", 0, MOUNT_READ_ONLY },
        { "ro", MOUNT_READ_ONLY, MOUNT_READ_ONLY },
        { "exec", 0, MOUNT_NOEXEC },
        { "noexec", MOUNT_NOEXEC, MOUNT_NOEXEC },
        { "relatime", 0, ATIME },
        { "noatime", MOUNT_NOATIME, ATIME },
        { "strictatime", MOUNT_STRICTATIME, ATIME },
        { "diratime", 0, MOUNT_NODIRATIME },
        { "nodiratime", MOUNT_NODIRATIME, MOUNT_NODIRATIME },
        { "symfollow", 0, MOUNT_NOSYMFOLLOW },
        { "nosymfollow", MOUNT_NOSYMFOLLOW, MOUNT_NOSYMFOLLOW },
        { "nosuid", 0, MOUNT_SUID },
        { "suid", MOUNT_SUID, MOUNT_SUID },
        { "nodev", 0, MOUNT_DEV },
        { "dev", MOUNT_DEV, MOUNT_DEV },
};

const char *mount_option_word(size_t i) {
        return i < ELEMENTSOF(words) ? words[i].word : NULL;
}

static int unknown_option(const char *word, Error *err) {
        char known[256] = "", echo[TEXT_ECHO_MAX];

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                size_t n = strlen(known);

                buffer_format(known + n, sizeof(known) - n, "%s%s", n ? ", " : "", words[i].word);
        }
        return error_field(err, "options", "\"%s\" is no mount option that is known here: %s", text_echo(word, echo),
                           known);
}

int mount_spec_add_option(MountSpec *spec, const char *word, Error *err) {
        size_t i = 0;

        while (i < ELEMENTSOF(words) && !streq(words[i].word, word))
                i++;
        if (i == ELEMENTSOF(words))
                return unknown_option(word, err);
        if ((spec->said & words[i].of) && (spec->options & words[i].of) != words[i].set)
                for (size_t j = 0; j < ELEMENTSOF(words); j++)
                        if (words[j].of == words[i].of && words[j].set == (spec->options & words[i].of))
                                return error_field(err, "options", "mount options %s and %s contradict each other",
                                                   words[j].word, word);
        spec->options |= words[i].set;
        spec->said |= words[i].of;
        return 0;
}

int mount_spec_add_options(MountSpec *spec, const char *list, Error *err) {
        _cleanup_free_ char *copy = strdup(list);
        int r = 0;

        if (!copy)
                return error_oom(err);
        for (char *rest = copy, *word; r >= 0 && (word = strsep(&rest, ","));)
                r = mount_spec_add_option(spec, word, err);
        return r;
}

/* --- ids -------------------------------------------------------------------------------------------------- */

static int add_range(MountSpec *spec, IdRange range, Error *err) {
        if (spec->n_idmap == IDMAP_RANGES_MAX)
                return error_field(err, "idmap", "more than %u ranges of ids", IDMAP_RANGES_MAX);
        spec->idmap[spec->n_idmap++] = range;
        return 0;
}

int mount_spec_add_range(MountSpec *spec, const char *text, Error *err) {
        _cleanup_free_ char *copy = strdup(text);
        uint32_t numbers[3];
        char *rest = copy, echo[TEXT_ECHO_MAX];

        if (!copy)
                return error_oom(err);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
                const char *word = strsep(&rest, ":");
                uint64_t number;

                if (!word || number_parse(word, &number) < 0 || number > UINT32_MAX)
                        return error_field(err, "idmap", "\"%s\" is no range of ids: UID:GID:COUNT, three numbers",
                                           text_echo(text, echo));
                numbers[i] = (uint32_t) number;
        }
        if (rest)
                return error_field(err, "idmap", "\"%s\" is no range of ids: UID:GID:COUNT, three numbers",
                                   text_echo(text, echo));
        return add_range(spec, (IdRange) { numbers[0], numbers[1], numbers[2] }, err);
}

/* The last id, 4294967295, means "none". */
static bool is_range(uint32_t first, uint32_t count) {
        return first > 0 && count > 0 && count <= UINT32_MAX - first;
}

static bool overlap(uint32_t a, uint32_t a_count, uint32_t b, uint32_t b_count) {
        return a < b ? b - a < a_count : a - b < b_count;
}

static int check_ranges(const MountSpec *spec, Error *err) {
        uint64_t total = 0;

        for (size_t i = 0; i < spec->n_idmap; i++) {
                const IdRange *a = &spec->idmap[i];

                if (!is_range(a->uid, a->count) || !is_range(a->gid, a->count))
                        return error_field(err, "idmap",
                                           "%u:%u:%u is no range of ids: UID, GID and COUNT are 1 or more, and no id "
                                           "of it is above 4294967294",
                                           a->uid, a->gid, a->count);
                for (size_t j = 0; j < i; j++) {
                        const IdRange *b = &spec->idmap[j];

                        if (overlap(a->uid, a->count, b->uid, b->count) || overlap(a->gid, a->count, b->gid, b->count))
                                return error_field(err, "idmap", "ranges %u:%u:%u and %u:%u:%u overlap", b->uid, b->gid,
                                                   b->count, a->uid, a->gid, a->count);
                }
                total += a->count;
        }
        if (total >= UINT32_MAX)
                return error_field(err, "idmap", "the ranges have more ids than there are");
        return 0;
}

/* Names are compared as they are; a number is a uid. */
static bool is_line_of(const char *line, size_t length, const char *name, uid_t uid) {
        char number[16];

        buffer_format(number, sizeof(number), "%u", uid);
        return (!isempty(name) && strlen(name) == length && strncmp(line, name, length) == 0) ||
               (strlen(number) == length && strncmp(line, number, length) == 0);
}

/* NAME:FIRST:COUNT; what is none is passed over. */
static bool line_parse(const char *line, const char *name, uid_t uid, uint64_t *ret_first, uint64_t *ret_count) {
        size_t end = strcspn(line, "\n"), owner = strcspn(line, ":\n");
        char first[24], count[24];
        size_t n;

        if (line[owner] != ':' || !is_line_of(line, owner, name, uid))
                return false;
        line += owner + 1;
        end -= owner + 1;
        n = strcspn(line, ":\n");
        return line[n] == ':' && buffer_format(first, sizeof(first), "%.*s", (int) n, line) &&
               buffer_format(count, sizeof(count), "%.*s", (int) (end - n - 1), line + n + 1) &&
               number_parse(first, ret_first) >= 0 && number_parse(count, ret_count) >= 0 && *ret_first <= UINT32_MAX &&
               *ret_count <= UINT32_MAX;
}

bool subid_has(const char *text, const char *name, uid_t uid, uint32_t first, uint32_t count) {
        uint64_t next = first, end = (uint64_t) first + count;
        bool found = count > 0;

        while (found && next < end) {
                found = false;
                for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                        uint64_t from, n;

                        if (line_parse(line, name, uid, &from, &n) && from <= next && from + n > next) {
                                next = from + n;
                                found = true;
                        }
                }
        }
        return found;
}

/* --- context ---------------------------------------------------------------------------------------------- */

/* user:role:type, perhaps with a level behind, which may have colons and commas. */
int mount_spec_set_context(MountSpec *spec, const char *context, Error *err) {
        static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
        const char *rest = context;
        char echo[TEXT_ECHO_MAX];
        bool is_valid = strlen(context) <= MOUNT_CONTEXT_MAX;

        for (int part = 0; is_valid && part < 3; part++) {
                size_t n = strspn(rest, name);

                is_valid = n > 0 && (part < 2 ? rest[n] == ':' : rest[n] == ':' || rest[n] == 0);
                rest += n + (part < 2 || rest[n] == ':');
        }
        if (is_valid && rest[-1] == ':')
                for (is_valid = *rest != 0; is_valid && *rest; rest++)
                        is_valid = strchr(name, *rest) || *rest == ':' || *rest == ',';
        if (!is_valid)
                return error_field(err, "context",
                                   "\"%s\" is no SELinux context: USER:ROLE:TYPE or USER:ROLE:TYPE:LEVEL, of letters, "
                                   "digits, _ . -",
                                   text_echo(context, echo));
        buffer_format(spec->context, sizeof(spec->context), "%s", context);
        return 0;
}

/* --- the whole -------------------------------------------------------------------------------------------- */

int mount_spec_validate(const MountSpec *spec, bool detached, Error *err) {
        int r;

        r = check_ranges(spec, err);
        if (r < 0)
                return r;
        if (spec->userns + spec->peer + (spec->n_idmap > 0) > 1)
                return error_field(err, "idmap",
                                   "ranges of ids and a user namespace: only one of them says who is who");
        if (mount_spec_has_map(spec) && !detached)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "other ids need a target: the standard place shows everybody those that the volume "
                                 "has");
        if ((spec->options & (MOUNT_SUID | MOUNT_DEV)) && !detached)
                return error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP,
                                 "options suid and dev need a target: the standard place is nosuid and nodev for "
                                 "everybody");
        return 0;
}

unsigned mount_options_of(unsigned long flags) {
        return (flags & ST_RDONLY ? MOUNT_READ_ONLY : 0) | (flags & ST_NOEXEC ? MOUNT_NOEXEC : 0) |
               (flags & ST_NOATIME    ? MOUNT_NOATIME
                : flags & ST_RELATIME ? 0
                                      : MOUNT_STRICTATIME) |
               (flags & ST_NODIRATIME ? MOUNT_NODIRATIME : 0) | (flags & ST_NOSYMFOLLOW ? MOUNT_NOSYMFOLLOW : 0) |
               (flags & ST_NOSUID ? 0 : MOUNT_SUID) | (flags & ST_NODEV ? 0 : MOUNT_DEV);
}

char *mount_options_format(unsigned options, char buf[static MOUNT_OPTIONS_TEXT_MAX]) {
        buffer_format(buf, MOUNT_OPTIONS_TEXT_MAX, "%s", options & MOUNT_READ_ONLY ? "ro" : "rw");
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                size_t n = strlen(buf);

                if ((options & words[i].set & ~(unsigned) MOUNT_READ_ONLY) == 0)
                        continue;
                buffer_format(buf + n, MOUNT_OPTIONS_TEXT_MAX - n, ",%s", words[i].word);
        }
        return buf;
}

/* --- JSON ------------------------------------------------------------------------------------------------- */

static int options_to_json(const MountSpec *spec, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r;

        r = sd_json_variant_new_array(&list, NULL, 0);
        for (size_t i = 0; i < ELEMENTSOF(words) && r >= 0; i++)
                if ((spec->said & words[i].of) && (spec->options & words[i].of) == words[i].set)
                        r = sd_json_variant_append_arrayb(&list, SD_JSON_BUILD_STRING(words[i].word));
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

static int ranges_to_json(const MountSpec *spec, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r = 0;

        for (size_t i = 0; i < spec->n_idmap && r >= 0; i++)
                r = sd_json_variant_append_arraybo(
                                &list,
                                SD_JSON_BUILD_PAIR_UNSIGNED("uid", spec->idmap[i].uid),
                                SD_JSON_BUILD_PAIR_UNSIGNED("gid", spec->idmap[i].gid),
                                SD_JSON_BUILD_PAIR_UNSIGNED("count", spec->idmap[i].count));
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

int mount_spec_to_json(const MountSpec *spec, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *options = NULL, *ranges = NULL;
        int r;

        r = options_to_json(spec, &options);
        if (r >= 0)
                r = ranges_to_json(spec, &ranges);
        if (r < 0)
                return r;
        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_VARIANT("options", options),
                        SD_JSON_BUILD_PAIR_CONDITION(!!ranges, "idmap", SD_JSON_BUILD_VARIANT(ranges)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->userns, "userNamespace", SD_JSON_BUILD_BOOLEAN(spec->userns)),
                        SD_JSON_BUILD_PAIR_CONDITION(spec->peer, "peer", SD_JSON_BUILD_BOOLEAN(spec->peer)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !isempty(spec->context), "context", SD_JSON_BUILD_STRING(spec->context)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->has_giver, "giverUid", SD_JSON_BUILD_UNSIGNED(spec->giver_uid)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        spec->has_giver, "giverGid", SD_JSON_BUILD_UNSIGNED(spec->giver_gid)));
}

#define NUMBER32 SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32

int mount_spec_ranges_from_json(sd_json_variant *v, MountSpec *spec, Error *err) {
        static const sd_json_dispatch_field table[] = {
                { "uid", NUMBER32, offsetof(IdRange, uid), SD_JSON_MANDATORY },
                { "gid", NUMBER32, offsetof(IdRange, gid), SD_JSON_MANDATORY },
                { "count", NUMBER32, offsetof(IdRange, count), SD_JSON_MANDATORY },
                {},
        };
        int r = 0;

        for (size_t i = 0; v && i < sd_json_variant_elements(v) && r >= 0; i++) {
                IdRange range = {};

                if (sd_json_dispatch_full(sd_json_variant_by_index(v, i), table, NULL, 0, &range, NULL) < 0)
                        return error_field(err, "idmap", "range %zu of ids is malformed: uid, gid and count, 32 bits",
                                           i);
                r = add_range(spec, range, err);
        }
        return r;
}

int mount_spec_from_json(sd_json_variant *v, bool detached, MountSpec *ret, Error *err) {
        typedef struct Parsed {
                sd_json_variant *options, *ranges;
                const char *context;
                uint64_t uid, gid;
                bool userns, peer;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "options", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, options),
                  SD_JSON_MANDATORY },
                { "idmap", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, ranges), 0 },
                { "userNamespace", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, userns), 0 },
                { "peer", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, peer), 0 },
                { "context", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, context), 0 },
                { "giverUid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, uid), 0 },
                { "giverGid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, gid), 0 },
                {},
        };
        Parsed p = { .uid = UINT64_MAX, .gid = UINT64_MAX };
        MountSpec spec = {};
        int r = 0;

        if (sd_json_dispatch_full(v, table, NULL, 0, &p, NULL) < 0)
                return error_field(err, "mount", "how to mount it is malformed");
        if ((p.uid == UINT64_MAX) != (p.gid == UINT64_MAX) || (p.uid != UINT64_MAX && (p.uid | p.gid) >> 32))
                return error_field(err, "mount", "who gives ids is a uid and a gid, 32 bits each");
        spec.userns = p.userns;
        spec.peer = p.peer;
        spec.has_giver = p.uid != UINT64_MAX;
        spec.giver_uid = spec.has_giver ? (uid_t) p.uid : 0;
        spec.giver_gid = spec.has_giver ? (gid_t) p.gid : 0;
        for (size_t i = 0; i < sd_json_variant_elements(p.options) && r >= 0; i++) {
                sd_json_variant *word = sd_json_variant_by_index(p.options, i);

                r = mount_spec_add_option(&spec, sd_json_variant_is_string(word) ? sd_json_variant_string(word) : "",
                                          err);
        }
        if (r >= 0)
                r = mount_spec_ranges_from_json(p.ranges, &spec, err);
        if (r >= 0 && p.context)
                r = mount_spec_set_context(&spec, p.context, err);
        if (r >= 0)
                r = mount_spec_validate(&spec, detached, err);
        if (r >= 0 && (spec.options & (MOUNT_SUID | MOUNT_DEV)))
                r = error_field(err, "mount", "options suid and dev are set by who attaches the mount");
        if (r >= 0)
                *ret = spec;
        return r;
}
