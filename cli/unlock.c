#include "unlock.h"

#include "must.h"
#include "secret.h"

#include <quarry/fd.h>
#include <quarry/text.h>

#define TRIES 3

static int call_with_key(const Call *call, int key_fd, sd_json_variant **ret, int *ret_fd, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = sd_json_variant_ref(call->parameters);
        Call copy = *call;

        if (key_fd >= 0)
                must(sd_json_variant_set_field_integer(&parameters, "keyFileDescriptor", KEY_INDEX));
        if (call->second_fd && *call->second_fd >= 0)
                must(sd_json_variant_set_field_integer(&parameters, call->second_field,
                                                       key_fd >= 0 ? KEY_INDEX + 1 : KEY_INDEX));
        copy.parameters = parameters;
        copy.key_fd = &key_fd;
        return client_call(&copy, ret, ret_fd, err);
}

int unlock_call(const Call *call, const char *name, const char *key_file, sd_json_variant **ret, int *ret_fd,
                Error *err) {
        _cleanup_close_ int key_fd = -EBADF;
        int r;

        if (key_file) {
                key_fd = secret_from_file(key_file, err);
                if (key_fd < 0)
                        return key_fd;
        }
        r = call_with_key(call, key_fd, ret, ret_fd, err);

        for (int try = 1; r < 0 && !key_file && try <= TRIES; try++) {
                if (err->kind != ERROR_KEY_REQUIRED && !(err->kind == ERROR_WRONG_KEY && try > 1))
                        return r;
                if (!isatty(STDIN_FILENO)) {
                        error_hint(err, "the same with --key-file FILE");
                        return r;
                }
                if (err->kind == ERROR_WRONG_KEY)
                        fputs("That passphrase does not open it.\n", stderr);

                _cleanup_free_ char *prompt = must_have(format_new("Passphrase for %s: ", name));
                _cleanup_close_ int typed = secret_from_terminal(prompt, false, err);
                r = typed < 0 ? typed : call_with_key(call, typed, ret, ret_fd, err);
        }
        return r;
}
