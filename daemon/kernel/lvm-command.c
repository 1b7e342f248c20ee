/* Running LVM: how its command lines are made, and what its messages mean. */

#include "kernel/lvm-command.h"

#include "kernel/spawn.h"

#include <quarry/text.h>

#define LVM_TIMEOUT 180u     /* seconds */
#define LVM_LOOK_TIMEOUT 45u /* for what only looks: a disk that does not answer must not keep all others */

/* Backups of metadata would pile up in /etc; nothing of the host watches our volumes. */
#define LVM_CONFIG \
        "backup { backup=0 archive=0 } devices { hints=\"none\" } activation { monitoring=0 } global { notify_dbus=0 }"

int lvm_command_add(char ***argv, const char *word) {
        return word ? strv_append(argv, word) : 0;
}

int lvm_command_new(const char *verb, char *const *devices, char ***ret, Error *err) {
        _cleanup_strv_ char **argv = NULL;

        /* With none named it would look at all. */
        if (!devices || !devices[0])
                return error_set(err, ERROR_FAILED, ENODEV, "no device for lvm %s to look at", verb);
        if (lvm_command_add(&argv, "lvm") < 0 || lvm_command_add(&argv, verb) < 0 ||
            lvm_command_add(&argv, "--config") < 0 || lvm_command_add(&argv, LVM_CONFIG) < 0)
                return error_oom(err);
        for (char *const *d = devices; *d; d++)
                if (lvm_command_add(&argv, "--devices") < 0 || lvm_command_add(&argv, *d) < 0)
                        return error_oom(err);
        *ret = TAKE_PTR(argv);
        return 0;
}

int lvm_command_extend(char ***argv, Error *err, const char *const *words) {
        for (; *words; words++)
                if (lvm_command_add(argv, *words) < 0)
                        return error_oom(err);
        return 0;
}

/* What LVM says on stderr as one line, without its warnings if there is more. */
static void message_format(char *text, char *buf, size_t size) {
        buf[0] = 0;
        for (char *p = text, *line; (line = strsep(&p, "\n"));) {
                size_t have = strlen(buf);

                line += strspn(line, " ");
                if (line[0] && !startswith(line, "WARNING:"))
                        buffer_format(buf + have, size - have, "%s%s", have ? " " : "", line);
        }
}

static int command_failed(char *const *argv, unsigned timeout, int status, SpawnOutput *output, Error *err) {
        char text[384];

        if (status == -ETIMEDOUT)
                return error_set(err, ERROR_FAILED, ETIMEDOUT, "lvm %s did not end within %u seconds", argv[1],
                                 timeout);
        if (status < 0)
                return error_errno(err, status, "cannot run lvm %s", argv[1]);
        message_format(output->err, text, sizeof(text));
        if (strstr(text, " in use") || strstr(text, " used by "))
                return error_set(err, ERROR_POOL_BUSY, EBUSY, "lvm %s: %s", argv[1], text);
        return error_set(err, ERROR_FAILED, EIO, "lvm %s failed: %s", argv[1], text[0] ? text : "it does not say why");
}

int lvm_command_run(char *const *argv, char **ret_text, Error *err) {
        unsigned timeout = ret_text ? LVM_LOOK_TIMEOUT : LVM_TIMEOUT;
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        int r;

        r = spawn_run(argv, timeout, &output);
        if (r != 0)
                return command_failed(argv, timeout, r, &output, err);
        if (ret_text)
                *ret_text = TAKE_PTR(output.out);
        return 0;
}

int lvm_report_read(char *const *devices, LvmReport *ret, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = lvm_command_new("pvs", devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err,
                                       WORDS("--reportformat", "json_std", "--units", "b", "--nosuffix", "--options",
                                             LVM_REPORT_FIELDS));
        if (r >= 0)
                r = lvm_command_run(argv, &text, err);
        if (r < 0)
                return r;
        r = lvm_report_parse(text, ret);
        return r < 0 ? error_errno(err, r, "cannot understand what lvm pvs reports") : 0;
}
