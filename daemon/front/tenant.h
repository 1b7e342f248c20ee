#pragma once

#include <systemd/sd-varlink.h>

/* io.quarry.Tenant */
int front_tenant_bind(sd_varlink_server *server);
