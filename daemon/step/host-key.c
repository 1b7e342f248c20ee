/* The host's key: which there are, a new one, and the end of an old one. */

#include "step/step.h"

#include "kernel/hostkey.h"

static int host_key_look_run(StepContext *c, Error *err) {
        return hostkey_list(c->config->key_command, &c->result->host_keys, &c->result->n_host_keys, err);
}

static int host_key_rotate_run(StepContext *c, Error *err) {
        return hostkey_rotate(c->config->key_command, c->job->key.id, err);
}

static int host_key_retire_run(StepContext *c, Error *err) {
        return hostkey_retire(c->config->key_command, c->job->key.id, err);
}

const Step step_host_key_look = { "looking at the host keys", NULL, host_key_look_run, NULL };
const Step step_host_key_rotate = { "making a new host key", NULL, host_key_rotate_run, NULL };
const Step step_host_key_retire = { "destroying the old host key", NULL, host_key_retire_run, NULL };
