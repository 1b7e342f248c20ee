#include "kernel/calendar.h"

#include "kernel/spawn.h"

#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_SECONDS 30
#define SECOND UINT64_C(1000000)
#define NEXT "Next elapse: "

/* "Thu 2026-11-26 16:00:00 UTC", or "never". */
static int parse_time(const char *s, uint64_t *ret) {
        struct tm tm = {};
        const char *end;
        time_t t;

        if (startswith(s, "never")) {
                *ret = 0;
                return 0;
        }
        end = strptime(s, "%a %Y-%m-%d %H:%M:%S", &tm);
        if (!end)
                return -EBADMSG;
        end += *end == '.' ? 1 + strspn(end + 1, "0123456789") : 0;
        if (!startswith(end, " UTC"))
                return -EBADMSG;
        t = timegm(&tm);
        if (t <= 0)
                return -EBADMSG;
        *ret = (uint64_t) t * SECOND;
        return 0;
}

int calendar_parse(const char *text, size_t n, uint64_t *ret) {
        size_t found = 0;

        for (const char *at = strstr(text, NEXT); at; at = strstr(at + 1, NEXT), found++)
                if (found == n || parse_time(at + strlen(NEXT), &ret[found]) < 0)
                        return -EBADMSG;
        return (int) found;
}

/* "--" and what is behind it: nothing that a user typed can be an option. */
static int command_new(char *const *expressions, uint64_t base_usec, char ***ret) {
        _cleanup_free_ char *base = format_new("--base-time=@%" PRIu64, base_usec / SECOND);
        _cleanup_strv_ char **argv = NULL;

        if (!base || strv_append(&argv, "systemd-analyze") < 0 || strv_append(&argv, "calendar") < 0 ||
            strv_append(&argv, base) < 0 || strv_append(&argv, "--") < 0)
                return -ENOMEM;
        for (; *expressions; expressions++)
                if (strv_append(&argv, *expressions) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(argv);
        return 0;
}

static int ask(char *const *expressions, uint64_t base_usec, uint64_t *ret, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        _cleanup_strv_ char **argv = NULL;
        size_t n = strv_length(expressions);
        int r;

        r = command_new(expressions, base_usec, &argv);
        if (r < 0)
                return error_oom(err);
        r = spawn_run(argv, TIMEOUT_SECONDS, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run systemd-analyze");
        if (r > 0) {
                text_clean(output.err);
                return error_field(err, "snapshotSchedule", "systemd does not understand \"%s\": %s", expressions[0],
                                   output.err);
        }
        r = calendar_parse(output.out, n, ret);
        return r == (int) n ? 0
                            : error_set(err, ERROR_FAILED, EBADMSG, "cannot understand what systemd-analyze says of %s",
                                        expressions[0]);
}

int calendar_next(char *const *expressions, uint64_t base_usec, uint64_t *ret, Error *err) {
        size_t n = strv_length(expressions);
        int r;

        r = ask(expressions, base_usec, ret, err);
        if (r != -EINVAL || n == 1)
                return r;
        for (size_t i = 0; i < n; i++) { /* which of them is it? */
                char *one[] = { expressions[i], NULL };

                r = ask(one, base_usec, &ret[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}
