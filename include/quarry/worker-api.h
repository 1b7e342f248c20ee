#pragma once

/* The interface between broker and worker. One method, whose parameter is a job (job.h). */

#include <systemd/sd-varlink-idl.h>

#define WORKER_SOCKET "/run/quarry/worker"
#define WORKER_METHOD_RUN "io.quarry.Worker.Run"

extern const sd_varlink_interface vl_interface_io_quarry_Worker;
