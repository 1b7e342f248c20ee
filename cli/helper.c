#include "helper.h"

#include "must.h"
#include "report.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <quarry/clock.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#define STATE_FOLDER "/var/lib/quarry"

/* Exit status of mount(8). */
enum {
        STATUS_DONE = 0,
        STATUS_USAGE = 1, /* or permissions */
        STATUS_FAILED = 32,
};

/* --- options -------------------------------------------------------------------------------------------- */

/* Said to somebody else, or what is so anyway. */
static bool is_for_others(const char *word) {
        static const char *const words[] = {
                "defaults", "auto",  "noauto",  "nofail", "_netdev", "user",  "nouser", "users",
                "nousers",  "owner", "noowner", "group",  "nogroup", "async", "loud",   "silent",
        };
        static const char *const starts[] = { "x-", "X-", "comment=", "user=", "helper=", "uhelper=" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (streq(word, words[i]))
                        return true;
        for (size_t i = 0; i < ELEMENTSOF(starts); i++)
                if (startswith(word, starts[i]))
                        return true;
        return false;
}

static bool is_known(const char *word) {
        size_t i = 0;

        while (mount_option_word(i) && !streq(mount_option_word(i), word))
                i++;
        return mount_option_word(i);
}

/* Cuts the first word off: at a comma, but for those between quotation marks, which a SELinux context with commas has
 * around it, and which go. */
static char *word_cut(char **rest) {
        char *word = *rest, *to = word;
        bool quoted = false;

        for (char *from = word;; from++) {
                if (*from == '"') {
                        quoted = !quoted;
                        continue;
                }
                if (*from && (*from != ',' || quoted)) {
                        *to++ = *from;
                        continue;
                }
                *rest = *from ? from + 1 : NULL;
                *to = 0;
                return word;
        }
}

static int take_option(const char *word, bool sloppy, Attachment *how, bool *remount, Error *err) {
        const char *value;
        int r;

        if (!*word || is_for_others(word))
                return 0;
        if (streq(word, "remount")) {
                *remount = true;
                return 0;
        }
        value = startswith(word, "idmap=");
        if (value)
                return mount_spec_add_range(&how->spec, value, err);
        value = startswith(word, "context=");
        if (value)
                return mount_spec_set_context(&how->spec, value, err);
        value = startswith(word, "key-file=");
        if (value) {
                how->key_file = value;
                return *value == '/' ? 0 : error_field(err, "options", "key-file= is followed by a path from the root");
        }
        r = !sloppy || is_known(word) ? mount_spec_add_option(&how->spec, word, err) : 0;
        if (r < 0)
                error_hint(err, "man " HELPER_NAME);
        return r;
}

int helper_take_options(char *list, bool sloppy, Attachment *how, bool *remount, Error *err) {
        int r = 0;

        for (char *rest = list; r >= 0 && rest;)
                r = take_option(word_cut(&rest), sloppy, how, remount, err);
        return r;
}

/* --- arguments ------------------------------------------------------------------------------------------ */

const char *helper_reference(const char *spec, const char *folder) {
        const char *rest = *spec == '/' ? startswith(spec, folder) : NULL;

        if (!rest)
                return spec;
        return *rest == '/' ? rest + 1 : streq(folder, "/") && *rest ? rest : spec;
}

typedef struct Arguments {
        const char *name, *target;
        char *options; /* that `how` points to, or NULL */
        Attachment how;
        bool sloppy, fake, verbose, remount;
} Arguments;

static void arguments_done(Arguments *a) {
        free(a->options);
}

static int usage(Error *err) {
        error_field(err, FIELD_ARGUMENTS, "a name and a directory are needed");
        error_hint(err, "mount -t quarry [-o OPTION,...] NAME TARGET");
        return error_code(err);
}

/* Several lists are one. */
static void options_add(Arguments *a, const char *list) {
        char *joined = must_have(a->options ? format_new("%s,%s", a->options, list) : strdup(list));

        free(a->options);
        a->options = joined;
}

static int take_flag(int flag, const char *value, Arguments *a, Error *err) {
        switch (flag) {
        case 's':
                a->sloppy = true;
                return 0;
        case 'f':
                a->fake = true;
                return 0;
        case 'v':
                a->verbose = true;
                return 0;
        case 'n': /* there is no mtab */
        case 't': /* of types there is one */
                return 0;
        case 'o':
                options_add(a, value);
                return 0;
        case 'N':
                error_set(err, ERROR_NOT_SUPPORTED, EOPNOTSUPP, "a volume is mounted in the caller's mount namespace");
                error_hint(err, "nsenter --mount=NAMESPACE quarry mount NAME TARGET");
                return error_code(err);
        default:
                return usage(err);
        }
}

static int arguments_parse(int argc, char **argv, Arguments *a, Error *err) {
        char folder[PATH_MAX] = "";
        int flag, r = 0;

        opterr = 0;
        while (r >= 0 && (flag = getopt(argc, argv, "sfnvo:t:N:")) != -1)
                r = take_flag(flag, optarg, a, err);
        if (r < 0)
                return r;
        if (argc - optind != 2) {
                (void) usage(err);
                return -EINVAL;
        }
        a->target = argv[optind + 1];
        if (!getcwd(folder, sizeof(folder)))
                return error_errno(err, errno, "cannot tell the current folder");
        a->name = helper_reference(argv[optind], folder);
        if (*a->name == '/')
                return error_field(err, "volume",
                                   "%s is a path: there is one that is called as the volume; write TENANT/NAME, as in "
                                   "default/db",
                                   a->name);
        return a->options ? helper_take_options(a->options, a->sloppy, &a->how, &a->remount, err) : 0;
}

/* --- mounting ------------------------------------------------------------------------------------------- */

/* At boot the daemon would wait for this mount, and this mount for the daemon; later it would find no pool any more. So
 * it is wherever links and ".." lead. */
static bool target_hides_state(const char *target) {
        _cleanup_close_ int fd = RET_NERRNO(open(target, O_PATH | O_CLOEXEC)); /* as target_open() of attach.c */
        char place[PATH_MAX], number[64];
        ssize_t n = -1;

        buffer_format(number, sizeof(number), "/proc/self/fd/%d", fd);
        if (fd >= 0)
                n = readlink(number, place, sizeof(place) - 1);
        if (n < 0) /* it is said later what is wrong with it */
                return false;
        place[n] = 0;
        return streq(place, "/") || streq(place, STATE_FOLDER) ||
               (startswith(STATE_FOLDER, place) && STATE_FOLDER[n] == '/');
}

/* What the daemon does not wait for itself: a pool that a worker is busy with, since its metadata take long to be
 * checked. */
static int mount_patiently(const Arguments *a, char **ret_path, Error *err) {
        int r;

        while ((r = attach_volume(a->name, a->target, &a->how, ret_path, err)) < 0 &&
               err->kind == ERROR_POOL_UNAVAILABLE && clock_host_is_booting()) {
                *err = (Error) {};
                sleep(1);
        }
        return r;
}

static int helper_mount(const Arguments *a, Error *err) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (target_hides_state(a->target))
                return error_field(err, "target", STATE_FOLDER " would be hidden behind %s: quarryd needs it",
                                   a->target);
        if (a->fake)
                return attach_check(a->name, a->target, &a->how, err);
        r = a->remount ? attach_again(a->name, a->target, &a->how, err) : mount_patiently(a, &path, err);
        if (r < 0 && err->kind == ERROR_KEY_REQUIRED && !a->how.key_file)
                error_hint(err, "with option key-file=FILE it is opened unattended");
        return r;
}

static int status_of(int exit_code) {
        return exit_code == EXIT_USAGE || exit_code == EXIT_DENIED ? STATUS_USAGE : STATUS_FAILED;
}

int helper_run(int argc, char **argv) {
        _cleanup_(arguments_done) Arguments a = {};
        Error err = {};
        int r;

        r = arguments_parse(argc, argv, &a, &err);
        if (r < 0)
                return status_of(report_error(a.name ? "cannot mount" : HELPER_NAME, a.name, &err));
        if (helper_mount(&a, &err) < 0)
                return status_of(report_error(a.remount ? "cannot remount" : "cannot mount", a.name, &err));
        if (a.verbose)
                printf(HELPER_NAME ": %s %smounted on %s.\n", a.name,
                       a.fake      ? "can be "
                       : a.remount ? "re"
                                   : "",
                       a.target);
        return STATUS_DONE;
}
