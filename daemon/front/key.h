#pragma once

/* io.quarry.Key */

#include <systemd/sd-varlink.h>

int front_key_bind(sd_varlink_server *server);
