#pragma once

/* A volume that is made with contents: the files of an archive, or the filesystem, or the bytes, of an image. */

#include "client.h"
#include "input.h"

/* call: io.quarry.Volume.Create with fill. The volume is there with all the files, or not at all. */
int create_filled(const Call *call, const char *reference, Input *source, sd_json_variant **ret, Error *err);

/* The size is that of the image, or the one that is given; then its filesystem grows. is_device: the volume has none,
 * and the bytes as they are. *ret: as from Create. */
typedef struct ImageRequest {
        const char *reference;
        uint64_t size; /* 0: not given */
        bool is_device;
        char *const *labels;
        bool protected;
} ImageRequest;

int create_imaged(const ImageRequest *request, Input *source, sd_json_variant **ret, Error *err);
