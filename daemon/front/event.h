#pragma once

/* io.quarry.Event */

#include <systemd/sd-varlink.h>

int front_event_bind(sd_varlink_server *server);
