#pragma once

/* io.quarry.Stream */

#include <systemd/sd-varlink.h>

int front_stream_bind(sd_varlink_server *server);
