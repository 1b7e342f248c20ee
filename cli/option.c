#include "option.h"

#include "must.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <quarry/text.h>
#include <stdio.h>

/* The field of the error is the option as typed, so that a program can tell which one it was. */
static int option_refuse(const Option *option, Error *err, const char *value, const char *rule) {
        char name[sizeof(err->field)], echo[TEXT_ECHO_MAX];

        buffer_format(name, sizeof(name), "--%s", option->name);
        return error_field(err, name, "%s: \"%s\" %s", name, text_echo(value, echo), rule);
}

int option_flag(const Option *option, const char *value, Error *err) {
        *(bool *) option->target = true;
        return 0;
}

int option_switch(const Option *option, const char *value, Error *err) {
        OptionNumber *number = option->target;
        bool on = !startswith(option->name, "no-");
        const char *name = option->name + (on ? 0 : strlen("no-"));

        if (number->set && number->value != on) {
                char field[sizeof(err->field)];

                buffer_format(field, sizeof(field), "--%s", option->name);
                return error_field(err, field, "--%s and --no-%s exclude each other", name, name);
        }
        *number = (OptionNumber) { .set = true, .value = on };
        return 0;
}

int option_string(const Option *option, const char *value, Error *err) {
        if (isempty(value))
                return option_refuse(option, err, value, "is empty");
        *(const char **) option->target = value;
        return 0;
}

int option_output(const Option *option, const char *value, Error *err) {
        if (option_string(option, value, err) < 0)
                return error_code(err);
        if (streq(value, "-"))
                *(const char **) option->target = NULL;
        return 0;
}

int output_make(const char *path, Error *err) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);

        if (fd >= 0)
                return fd;
        if (errno != EEXIST)
                return error_errno(err, errno, "cannot make %s", path);
        error_set(err, ERROR_VOLUME_EXISTS, EEXIST, "%s is there already", path);
        error_hint(err, "nothing is written over: another name, or remove that file");
        return error_code(err);
}

int option_list(const Option *option, const char *value, Error *err) {
        return must(strv_append(option->target, value));
}

int option_label(const Option *option, const char *value, Error *err) {
        if (!strchr(value, '=') || *value == '=')
                return option_refuse(option, err, value, "is not a label: write KEY=VALUE");
        return option_list(option, value, err);
}

int option_size(const Option *option, const char *value, Error *err) {
        uint64_t size = 0;

        int r = size_parse(value, &size);
        if (r == -ERANGE)
                return option_refuse(option, err, value,
                                     *value == '-' ? "is negative: a size is at least 1 byte"
                                                   : "is too large for a size");
        if (r < 0)
                return option_refuse(option, err, value,
                                     "is not a size: write a number with K, M, G, T or P, such as 512M or 10G");
        if (size == 0)
                return option_refuse(option, err, value, "is nothing: a size is at least 1 byte");

        *(uint64_t *) option->target = size;
        return 0;
}

int option_mode(const Option *option, const char *value, Error *err) {
        OptionNumber *number = option->target;

        if (mode_parse(value, &number->value) < 0)
                return option_refuse(option, err, value, "is not a mode: write octal permissions, such as 0750");
        number->set = true;
        return 0;
}

/* -1 means "none" to the kernel. */
static bool id_parse(const char *value, uint32_t *ret) {
        uint64_t number = 0;

        if (number_parse(value, &number) < 0 || number >= UINT32_MAX)
                return false;
        *ret = (uint32_t) number;
        return true;
}

int option_user(const Option *option, const char *value, Error *err) {
        OptionNumber *number = option->target;

        if (!id_parse(value, &number->value)) {
                const struct passwd *user = getpwnam(value);

                if (!user)
                        return option_refuse(option, err, value, "is neither a user's name nor a number");
                number->value = user->pw_uid;
        }
        number->set = true;
        return 0;
}

int option_group(const Option *option, const char *value, Error *err) {
        OptionNumber *number = option->target;

        if (!id_parse(value, &number->value)) {
                const struct group *group = getgrnam(value);

                if (!group)
                        return option_refuse(option, err, value, "is neither a group's name nor a number");
                number->value = group->gr_gid;
        }
        number->set = true;
        return 0;
}

/* By its long name if letter is 0. */
static const Option *option_find(const Option *const *tables, const char *name, size_t length, char letter) {
        for (; *tables; tables++)
                for (const Option *o = *tables; o->name; o++) {
                        if (letter && o->letter == letter)
                                return o;
                        if (!letter && strlen(o->name) == length && strncmp(o->name, name, length) == 0)
                                return o;
                }
        return NULL;
}

/* Takes one option off *argv: "--name", "--name=value", "--name value", "-l", "-lvalue", "-l value". */
static int option_take(const Option *const *tables, char ***argv, Error *err) {
        const char *word = **argv, *value = NULL;
        bool is_long = word[1] == '-';
        const char *name = word + (is_long ? 2 : 1);
        size_t length = is_long ? strcspn(name, "=") : 1;
        char letter = is_long ? 0 : *name, echo[TEXT_ECHO_MAX];
        const Option *option = option_find(tables, name, length, letter);

        if (!option)
                return error_field(err, word, "there is no option %s", text_echo(word, echo));
        if (name[length])
                value = name + length + (is_long ? 1 : 0);

        if (!option->argument && value)
                return error_field(err, word, "--%s takes no value", option->name);
        if (option->argument && !value)
                value = *++*argv;
        if (option->argument && !value)
                return error_field(err, word, "%s needs a value: %s", word, option->argument);

        ++*argv;
        return option->parse(option, value, err);
}

int option_parse(const Option *const *tables, char **argv, char ***ret, Error *err) {
        _cleanup_free_ char **left = must_have(calloc(strv_length(argv) + 1, sizeof(char *)));
        size_t n = 0;

        while (*argv) {
                if (streq(*argv, "--")) {
                        while (*++argv)
                                left[n++] = *argv;
                } else if ((*argv)[0] == '-' && (*argv)[1] &&
                           !strchr("0123456789.", (*argv)[1])) { /* -5G is a number */
                        int r = option_take(tables, &argv, err);
                        if (r < 0)
                                return r;
                } else
                        left[n++] = *argv++;
        }

        *ret = TAKE_PTR(left);
        return 0;
}

static int option_width(const Option *option) {
        return (int) strlen(option->name) + (option->argument ? 1 + (int) strlen(option->argument) : 0);
}

static void option_print_row(const Option *o, int width) {
        printf("  %c%c%c --%s%s%s%*s  %s\n", o->letter ? '-' : ' ', o->letter ?: ' ', o->letter ? ',' : ' ', o->name,
               o->argument ? " " : "", o->argument ?: "", width - option_width(o), "", o->help);
}

void option_print(const Option *const *tables) {
        int width = 0;

        for (const Option *const *t = tables; *t; t++)
                for (const Option *o = *t; o->name; o++)
                        if (option_width(o) > width)
                                width = option_width(o);
        for (const Option *const *t = tables; *t; t++)
                for (const Option *o = *t; o->name; o++)
                        option_print_row(o, width);
}
