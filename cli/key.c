/* quarry key ... */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "secret.h"
#include "terminal.h"
#include "unlock.h"
#include "verbs.h"

#include <fcntl.h>
#include <quarry/fd.h>
#include <quarry/json.h>
#include <quarry/text.h>
#include <string.h>

#define HEADER_MAX (UINT64_C(4) << 20)

static const char *arg_key_file, *arg_new_key_file, *arg_removed_key_file, *arg_slot, *arg_to, *arg_from;
static bool arg_host, arg_suspend, arg_yes;

#define KEY_FILE_OPTION(help) { 0, "key-file", "FILE", help, option_string, &arg_key_file }
#define NEW_KEY_FILE_OPTION                                       \
        {                                                         \
                0,                                                \
                "new-key-file",                                   \
                "FILE",                                           \
                "The new passphrase, byte for byte; - for stdin", \
                option_string,                                    \
                &arg_new_key_file                                 \
        }
#define YES_OPTION { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes }

const Option key_rotate_options[] = { YES_OPTION, {} };
const Option key_lock_options[] = {
        { 0, "suspend", NULL, "Also while it is in use: who touches it waits", option_flag, &arg_suspend },
        {},
};
const Option key_unlock_options[] = { KEY_FILE_OPTION("Its passphrase, byte for byte; - for standard input"), {} };
const Option key_add_options[] = {
        { 0, "host", NULL, "Add the host key: it opens unattended then", option_flag, &arg_host },
        KEY_FILE_OPTION("A present passphrase, unless the host key opens it"),
        NEW_KEY_FILE_OPTION,
        {},
};
const Option key_remove_options[] = {
        { 0, "slot", "NUMBER", "Remove this keyslot, see quarry key status", option_string, &arg_slot },
        { 0, "host", NULL, "Remove the host key", option_flag, &arg_host },
        { 0, "removed-key-file", "FILE", "The passphrase that goes; - for standard input", option_string,
          &arg_removed_key_file },
        KEY_FILE_OPTION("A passphrase that stays, unless the host key does"),
        YES_OPTION,
        {},
};
const Option key_change_options[] = { KEY_FILE_OPTION("The passphrase that goes"), NEW_KEY_FILE_OPTION, {} };
const Option key_backup_options[] = {
        { 0, "to", "FILE", "Write it there, to a new file, instead of standard output", option_output, &arg_to },
        {},
};
const Option key_restore_options[] = {
        { 0, "from", "FILE", "The backup; - for standard input", option_string, &arg_from },
        YES_OPTION,
        {},
};

static bool is_wanted(const char *question) {
        return arg_yes || !terminal_can_ask() || terminal_confirm(question);
}

static int nothing_changed(void) {
        Error err = {};

        error_set(&err, ERROR_FAILED, ECANCELED, "nothing was changed");
        return report_error(NULL, NULL, &err);
}

/* --- status ----------------------------------------------------------------------------------------------- */

static int host_status(void) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        Call call = { .method = API_KEY ".Status" };
        Error err = {};

        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot look at the host key", NULL, &err);
        if (arg_json)
                return report_document(reply);
        describe_host_keys(reply);
        return EXIT_DONE;
}

int verb_key_status(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot look at the keys of" };

        if (!arguments[0])
                return host_status();
        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL, *row = NULL;
                Error err = {};

                must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", *name)));
                Call call = { .method = API_KEY ".Inspect", .parameters = parameters };
                if (client_call(&call, &reply, NULL, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                row = sd_json_variant_ref(sd_json_variant_by_key(reply, "keys"));
                must(sd_json_variant_set_field_string(&row, "volume", *name));
                report_add(&report, row);
                if (arg_json)
                        continue;
                if (name != arguments)
                        putchar('\n');
                describe_volume_keys(*name, row);
        }
        return report_finish(&report, "volumes");
}

/* --- rotate ----------------------------------------------------------------------------------------------- */

/* What is left is no failure of this command alone, and the old key is there for it: but it is not done. */
static int rotate_report(sd_json_variant *reply) {
        sd_json_variant *missing = sd_json_variant_by_key(reply, "missingPools"),
                        *failure = sd_json_variant_by_key(reply, "failure");
        uint64_t left = json_unsigned(reply, "left");
        size_t n_missing = sd_json_variant_elements(missing);

        if (arg_json)
                (void) report_document(reply);
        else
                printf("%s: wrapped the keys of %llu volumes\n", json_string(reply, "id"),
                       (unsigned long long) json_unsigned(reply, "wrapped"));
        if (left > 0 && !arg_json)
                fprintf(stderr, "quarry: %llu volumes still need an older key, which is kept for them%s%s\n",
                        (unsigned long long) left, failure ? ": " : "", failure ? sd_json_variant_string(failure) : "");
        else if (failure && !arg_json)
                fprintf(stderr, "quarry: an older key is kept: %s\n", sd_json_variant_string(failure));
        for (size_t i = 0; i < n_missing && !arg_json; i++)
                fprintf(stderr, "quarry: pool %s is not active: the older key is kept until its volumes were seen\n",
                        sd_json_variant_string(sd_json_variant_by_index(missing, i)));
        return left > 0 || n_missing > 0 ? EXIT_FAILED : EXIT_DONE;
}

int verb_key_rotate(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
        Call call = { .method = API_KEY ".Rotate", .what = "rotating the host key" };
        Error err = {};

        if (!is_wanted("Make a new host key, and destroy the old one once no volume here needs it? Pools that were\n"
                       "exported, and backups of headers, go on needing the old one: keep a copy for them."))
                return nothing_changed();
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot rotate the host key", NULL, &err);
        return rotate_report(reply);
}

/* --- lock and unlock -------------------------------------------------------------------------------------- */

int verb_key_lock(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot lock" };

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
                Error err = {};

                must(sd_json_buildo(
                                &parameters,
                                SD_JSON_BUILD_PAIR_STRING("volume", *name),
                                SD_JSON_BUILD_PAIR_CONDITION(arg_suspend, "suspend", SD_JSON_BUILD_BOOLEAN(true))));
                Call call = { .method = API_KEY ".Lock", .parameters = parameters };
                if (client_call(&call, NULL, NULL, &err) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, "locked");
}

int verb_key_unlock(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot unlock" };

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
                Error err = {};

                must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", *name)));
                Call call = { .method = API_KEY ".Unlock", .parameters = parameters };
                if (unlock_call(&call, *name, arg_key_file, NULL, NULL, &err) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, "unlocked");
}

/* --- add, remove, change ---------------------------------------------------------------------------------- */

/* file: of this option; NULL: it is asked for. */
static int secret_get(const char *option, const char *file, const char *name, const char *prompt, bool confirm,
                      Error *err) {
        _cleanup_free_ char *text = must_have(format_new("%s %s: ", prompt, name));
        int r;

        if (file)
                return secret_from_file_of(option, file, err);
        r = secret_from_terminal(text, confirm, err);
        if (r < 0 && err->kind == ERROR_BAD_REQUEST && *err->hint)
                error_hint(err, "%s FILE, or %s - for standard input", option, option);
        return r;
}

static int keys_report(sd_json_variant *reply) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;

        if (!arg_json)
                return EXIT_DONE;
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("keys", sd_json_variant_by_key(reply, "keys"))));
        return report_document(document);
}

/* Both cannot come from standard input. */
static int check_files(const char *other, const char *option, Error *err) {
        if (arg_key_file && other && streq(arg_key_file, "-") && streq(other, "-"))
                return error_field(err, option, "--key-file and %s cannot both be standard input", option);
        return 0;
}

int verb_key_add(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_close_ int second = -EBADF;
        Error err = {};
        int r = 0;

        if (arg_host && arg_new_key_file)
                r = error_field(&err, "--host", "--host: either the host key is added, or a passphrase");
        if (r >= 0)
                r = check_files(arg_new_key_file, "--new-key-file", &err);
        if (r >= 0 && !arg_host)
                r = second = secret_get("--new-key-file", arg_new_key_file, arguments[0], "New passphrase for", true,
                                        &err);
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_CONDITION(arg_host, "host", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_KEY ".Add",
                      .parameters = parameters,
                      .second_fd = &second,
                      .second_field = "newKeyFileDescriptor" };
        if (r >= 0)
                r = unlock_call(&call, arguments[0], arg_key_file, &reply, NULL, &err);
        return r < 0 ? report_error("cannot add a key to", arguments[0], &err) : keys_report(reply);
}

static int slot_parse(uint64_t *ret, Error *err) {
        if (number_parse(arg_slot, ret) < 0 || *ret >= 32)
                return error_field(err, "--slot", "--slot: a keyslot is a number from 0 to 31");
        return 0;
}

int verb_key_remove(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_free_ char *question = must_have(format_new("Remove a key of %s for good?", arguments[0]));
        _cleanup_close_ int second = -EBADF;
        uint64_t slot = 0;
        Error err = {};
        int r = 0;

        if (arg_host + !!arg_slot + !!arg_removed_key_file > 1)
                r = error_field(&err, "--slot", "one of --slot, --host and --removed-key-file is enough");
        if (r >= 0 && arg_slot)
                r = slot_parse(&slot, &err);
        if (r >= 0)
                r = check_files(arg_removed_key_file, "--removed-key-file", &err);
        if (r >= 0 && !is_wanted(question))
                return nothing_changed();
        if (r >= 0 && !arg_host && !arg_slot)
                r = second = secret_get("--removed-key-file", arg_removed_key_file, arguments[0],
                                        "Passphrase to be removed from", false, &err);
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_CONDITION(arg_host, "host", SD_JSON_BUILD_BOOLEAN(true)),
                            SD_JSON_BUILD_PAIR_CONDITION(!!arg_slot, "slot", SD_JSON_BUILD_UNSIGNED(slot))));
        Call call = { .method = API_KEY ".Remove",
                      .parameters = parameters,
                      .second_fd = &second,
                      .second_field = "removedKeyFileDescriptor" };
        if (r >= 0)
                r = unlock_call(&call, arguments[0], arg_key_file, &reply, NULL, &err);
        return r < 0 ? report_error("cannot remove the key from", arguments[0], &err) : keys_report(reply);
}

int verb_key_change(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_close_ int key = -EBADF, second = -EBADF;
        Error err = {};
        int r;

        r = check_files(arg_new_key_file, "--new-key-file", &err);
        if (r >= 0)
                r = key = secret_get("--key-file", arg_key_file, arguments[0], "Present passphrase for", false, &err);
        if (r >= 0)
                r = second = secret_get("--new-key-file", arg_new_key_file, arguments[0], "New passphrase for", true,
                                        &err);
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_INTEGER("keyFileDescriptor", KEY_INDEX),
                            SD_JSON_BUILD_PAIR_INTEGER("newKeyFileDescriptor", KEY_INDEX + 1)));
        Call call = { .method = API_KEY ".Change", .parameters = parameters, .key_fd = &key, .second_fd = &second };
        if (r >= 0)
                r = client_call(&call, &reply, NULL, &err);
        return r < 0 ? report_error("cannot change the passphrase of", arguments[0], &err) : keys_report(reply);
}

/* --- the header ------------------------------------------------------------------------------------------- */

static int header_out(int memory, int fd) {
        char block[65536];
        ssize_t n;
        off_t at = 0;
        int r = 0;

        while (r >= 0 && (n = pread(memory, block, sizeof(block), at)) != 0) {
                r = n < 0 ? -errno : write_all(fd, block, (size_t) n);
                at += n;
        }
        return r;
}

static int header_write(int memory, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!arg_to)
                r = header_out(memory, STDOUT_FILENO);
        else {
                fd = output_make(arg_to, err);
                if (fd < 0)
                        return fd;
                r = header_out(memory, fd);
                if (r >= 0)
                        r = RET_NERRNO(fsync(fd));
                if (r < 0)
                        (void) unlink(arg_to);
        }
        return r < 0 ? error_errno(err, r, "cannot write %s", arg_to ?: "standard output") : 0;
}

int verb_key_backup(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *document = NULL;
        _cleanup_close_ int memory = -EBADF;
        Error err = {};
        int r;

        if (!arg_to && (arg_json || isatty(STDOUT_FILENO))) {
                error_field(&err, "--to", "--to: a header is no text: name a file for it");
                return report_error("cannot back up the header of", arguments[0], &err);
        }
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0])));
        Call call = { .method = API_KEY ".Backup", .parameters = parameters };
        r = client_call(&call, NULL, &memory, &err);
        if (r >= 0 && memory < 0)
                r = error_set(&err, ERROR_FAILED, EPROTO, "the daemon handed no header over");
        if (r >= 0)
                r = header_write(memory, &err);
        if (r < 0)
                return report_error("cannot back up the header of", arguments[0], &err);
        if (!arg_json)
                return EXIT_DONE;
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_STRING("file", arg_to)));
        return report_document(document);
}

static int header_read(Error *err) {
        const char *path = streq(arg_from, "-") ? "/dev/stdin" : arg_from;
        _cleanup_free_ char *header = NULL;
        size_t size = 0;

        int r = file_read(AT_FDCWD, path, HEADER_MAX, &header, &size);
        if (r == -EFBIG || (r >= 0 && size == 0))
                return error_field(err, "--from", "--from: %s is no backup of a header: it has %s", arg_from,
                                   r < 0 ? "more than 4 MiB" : "no bytes");
        if (r < 0)
                return error_field(err, "--from", "--from: cannot read %s: %s", arg_from, strerror(-r));

        int sealed = secret_seal(header, size);
        return sealed < 0 ? error_errno(err, sealed, "cannot put the header into sealed memory") : sealed;
}

int verb_key_restore(char **arguments) {
        _cleanup_free_ char *question = must_have(format_new(
                "Let the header of %s be what it was in the backup? Keys that were added since then are lost, and\n"
                "those that were removed open it again.",
                arguments[0]));
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        _cleanup_close_ int header = -EBADF;
        Error err = {};
        int r;

        if (!arg_from) {
                error_field(&err, "--from", "--from: the file with the backup is needed");
                return report_error("cannot restore the header of", arguments[0], &err);
        }
        if (!is_wanted(question))
                return nothing_changed();
        r = header = header_read(&err);
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("volume", arguments[0]),
                            SD_JSON_BUILD_PAIR_INTEGER("headerFileDescriptor", KEY_INDEX)));
        Call call = { .method = API_KEY ".Restore", .parameters = parameters, .key_fd = &header };
        if (r >= 0)
                r = client_call(&call, &reply, NULL, &err);
        return r < 0 ? report_error("cannot restore the header of", arguments[0], &err) : keys_report(reply);
}
