#pragma once

/* The Docker volume plugin: what container engines ask by HTTP. Each of their sockets is a driver of one tenant's
 * volumes. */

#include "front/server.h"

/* Takes over the listening socket in every case. *driver is the one before, or NULL, and this one then. */
int driver_new(Server *server, const char *tenant, int fd, Driver **driver, Error *err);
/* This one, and those before it. */
void driver_close(Driver *driver);

/* The pools are there: what waited for them goes on. */
void drivers_look_again(Server *server);
