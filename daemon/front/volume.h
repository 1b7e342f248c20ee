#pragma once

#include <systemd/sd-varlink.h>

/* io.quarry.Volume */
int front_volume_bind(sd_varlink_server *server); /* and what is in the others */
int front_snapshot_bind(sd_varlink_server *server);
int front_change_bind(sd_varlink_server *server);
int front_mount_bind(sd_varlink_server *server);
