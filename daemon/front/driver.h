#pragma once

#include <systemd/sd-varlink.h>

int front_driver_bind(sd_varlink_server *server); /* io.quarry.Driver */
