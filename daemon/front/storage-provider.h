#pragma once

#include <systemd/sd-varlink.h>

/* io.systemd.StorageProvider */
int front_storage_provider_bind(sd_varlink_server *server);
