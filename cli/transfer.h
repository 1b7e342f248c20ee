#pragma once

/* A volume, or a snapshot, that comes to be by what is written to its device: see io.quarry.Stream.Receive. */

#include "client.h"

#include <quarry/volume.h>

#include <systemd/sd-json.h>

/* The device, while it is written. */
typedef struct Target Target;

/* Bytes of the device. Fails once quarryd gave up, or the disk is full. */
int target_write(Target *target, uint64_t offset, const uint8_t *data, uint64_t size, Error *err);
/* What is zero already need not be said. */
int target_zero(Target *target, uint64_t offset, uint64_t size, Error *err);
/* What was written is on the disk, and is read from there. */
int target_forget(Target *target, Error *err);
int target_read(Target *target, uint64_t offset, uint8_t *buf, size_t size, Error *err);

/* Of a volume that is filled, for which nothing of the above is: a detached mount of it, and what says POLLERR when
 * quarryd gave up, which tells why by itself. */
int target_mount(const Target *target);
int target_end(const Target *target);

/* Writes all of it. Is called in a process of its own: it shows progress, but leaves nothing else behind. */
typedef int TargetWrite(Target *target, void *userdata, Error *err);

/* Of Receive, for a new volume of this name: size, filesystem, key source, owner and mode of spec; labels: NULL: none.
 * The caller's. */
sd_json_variant *transfer_parameters(const char *name, const VolumeSpec *spec, char **labels);

/* parameters: of Receive, with socketFileDescriptor 0. *ret: its reply, which says what there is now. Nothing is there
 * of what failed. */
int transfer_run(sd_json_variant *parameters, TargetWrite *write, void *userdata, sd_json_variant **ret, Error *err);

/* The same of a call of io.quarry.Volume.Create that has fill: what is written is files, and on the disk on return. */
int transfer_fill(const Call *call, TargetWrite *write, void *userdata, sd_json_variant **ret, Error *err);
