#pragma once

/* Calls about one volume that may need its passphrase. */

#include "client.h"

/* call->key_fd is not used, and its parameters lack those about descriptors. The passphrase is what key_file holds; if
 * that is NULL it is asked for on the terminal once the daemon says that it needs one, and again when it was wrong. */
int unlock_call(const Call *call, const char *name, const char *key_file, sd_json_variant **ret, int *ret_fd,
                Error *err);
