#pragma once

#include <quarry/config.h>

/* Serves the one connection that systemd handed over, until the peer hangs up. peer: the only uid, besides
 * root, whose jobs are run. */
int serve_connection(int fd, uid_t peer, const Config *config, Error *err);
