#include <quarry/mountinfo.h>

#include <quarry/fd.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>

#define TEXT_MAX (64u << 20)

int mountinfo_read(char **ret) {
        return file_read(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, ret, NULL);
}

static bool is_octal(char c) {
        return c >= '0' && c <= '7';
}

/* The character that "\ooo" stands for; 0 if this is none. */
static char escape_decode(const char *s) {
        if (s[0] != '\\' || !is_octal(s[1]) || s[1] > '3' || !is_octal(s[2]) || !is_octal(s[3]))
                return 0;
        return (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
}

/* The kernel writes blanks and backslashes as \ooo. */
static char *unescape(char *s) {
        char *to = s;

        for (const char *from = s; *from;) {
                char c = escape_decode(from);

                *to++ = c ?: *from;
                from += c ? 4 : 1;
        }
        *to = 0;
        return s;
}

static int unsigned_parse(const char *s, unsigned *ret) {
        uint64_t n;
        int r = number_parse(s, &n);

        if (r < 0 || n > UINT_MAX)
                return -EINVAL;
        *ret = (unsigned) n;
        return 0;
}

static int device_parse(char *s, dev_t *ret) {
        unsigned major, minor;
        char *colon = strchr(s, ':');

        if (!colon)
                return -EINVAL;
        *colon = 0;
        if (unsigned_parse(s, &major) < 0 || unsigned_parse(colon + 1, &minor) < 0)
                return -EINVAL;
        *ret = makedev(major, minor);
        return 0;
}

/* 36 35 98:0 /root /target rw,noatime master:1 - ext4 /dev/vda rw: any number of fields before the "-". A
 * source may be empty, so one blank separates, not several. */
static int line_parse(char *line, MountEntry *ret) {
        const char *id = strsep(&line, " "), *parent = strsep(&line, " "), *field;
        char *device = strsep(&line, " "), *root = strsep(&line, " "), *target = strsep(&line, " ");
        const char *options = strsep(&line, " ");
        MountEntry entry;

        do
                field = strsep(&line, " ");
        while (field && !streq(field, "-"));

        char *fstype = strsep(&line, " "), *source = strsep(&line, " ");
        if (!field || !fstype || !source || !line)
                return -EINVAL;
        if (*root == 0 || *target != '/' || *options == 0 || *fstype == 0)
                return -EINVAL;
        if (unsigned_parse(id, &entry.id) < 0 || number_parse(parent, &(uint64_t) { 0 }) < 0 ||
            device_parse(device, &entry.device) < 0)
                return -EINVAL;

        entry.root = unescape(root);
        entry.target = unescape(target);
        entry.options = options;
        entry.fstype = unescape(fstype);
        entry.source = unescape(source);
        entry.super_options = line;
        *ret = entry;
        return 0;
}

int mountinfo_next(char **text, MountEntry *ret) {
        char *line = strsep(text, "\n");

        if (!line || (!*line && !*text))
                return 0; /* what follows the last line end is no line */
        int r = line_parse(line, ret);
        return r < 0 ? r : 1;
}

bool mount_options_contain(const char *options, const char *option) {
        size_t n = strlen(option);

        for (const char *p = options; *p; p += strcspn(p, ",")) {
                p += *p == ',';
                if (strncmp(p, option, n) == 0 && (p[n] == ',' || p[n] == 0))
                        return true;
        }
        return false;
}

/* The kernel puts it in quotes if it has a comma. */
bool mount_context(const char *super_options, char *buf, size_t size) {
        static const char key[] = "context=";
        const char *value = NULL, *end;

        for (const char *p = super_options; !value && *p; p += strcspn(p, ","), p += *p == ',')
                value = startswith(p, key);
        if (!value)
                return buffer_format(buf, size, "%s", "");
        value += *value == '"';
        end = value[-1] == '"' ? strchr(value, '"') : NULL;
        return buffer_format(buf, size, "%.*s", (int) (end ? (size_t) (end - value) : strcspn(value, ",")), value);
}
