#pragma once

#include <systemd/sd-varlink.h>

/* io.quarry.Pool */
int front_pool_bind(sd_varlink_server *server);
