#pragma once

#include <systemd/sd-varlink.h>

/* io.quarry.Volume */
int front_volume_bind(sd_varlink_server *server);
