/* The host's key: which there are, a new one, and the end of an old one. */

#include "step/step.h"

#include "kernel/hostkey.h"

#include <quarry/backup-target.h>
#include <quarry/fd.h>
#include <quarry/text.h>

#include <string.h>

static int host_key_look_run(StepContext *c, Error *err) {
        return hostkey_list(c->config->key_command, &c->result->host_keys, &c->result->n_host_keys, err);
}

static int host_key_rotate_run(StepContext *c, Error *err) {
        return hostkey_rotate(c->config->key_command, c->job->key.id, err);
}

/* What a repository was opened with may be all that opens it. */
static int host_key_retire_run(StepContext *c, Error *err) {
        int r = backup_target_check_host_key(c->job->key.id, err);

        return r < 0 ? r : hostkey_retire(c->config->key_command, c->job->key.id, err);
}

static int hand_over(StepContext *c, const uint8_t *key, Error *err) {
        uint8_t derived[HOST_KEY_SIZE];
        int r;

        c->result->host_keys = calloc(1, sizeof(*c->result->host_keys));
        if (!c->result->host_keys)
                return error_oom(err);
        c->result->n_host_keys = 1;
        hostkey_id(key, c->result->host_keys[0].id);
        hostkey_derive(key, "quarry backup repository", derived);
        c->mount_fd = r = secret_seal(derived, sizeof(derived));
        explicit_bzero(derived, sizeof(derived));
        return r < 0 ? error_errno(err, r, "cannot hand over a key") : 0;
}

static int host_key_derive_run(StepContext *c, Error *err) {
        _cleanup_(hostkey_freep) uint8_t *key = NULL;
        char *const *command = c->config->key_command;
        int r;

        r = *c->job->key.id ? hostkey_find(command, c->job->key.id, &key, err)
                            : hostkey_load(command, !c->job->needs_old_key, &key, err);
        return r < 0 ? r : hand_over(c, key, err);
}

const Step step_host_key_look = { "looking at the host keys", NULL, host_key_look_run, NULL };
const Step step_host_key_rotate = { "making a new host key", NULL, host_key_rotate_run, NULL };
const Step step_host_key_retire = { "destroying the old host key", NULL, host_key_retire_run, NULL };
const Step step_host_key_derive = { "deriving a key from the host key", NULL, host_key_derive_run, NULL };
