#pragma once

#include <systemd/sd-varlink.h>

/* io.quarry.Doctor */
int front_doctor_bind(sd_varlink_server *server);
