#pragma once

/* What container engines ask of a volume driver, by the Docker volume plugin protocol: bodies of requests, and the
 * options of a new volume. Pure rules; who asks, and what of, is the front's. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/volume.h>

#include <systemd/sd-json.h>

#define MOUNT_ID_MAX 128u

/* Docker's are 64 hex digits; it names a file: 1 to MOUNT_ID_MAX of A-Z a-z 0-9 _ . -, beginning with a letter or
 * digit. */
bool mount_id_is_valid(const char *id);

typedef struct DockerRequest {
        sd_json_variant *json; /* has what follows */
        const char *name, *id; /* NULL: not given */
        sd_json_variant *options; /* NULL: none */
} DockerRequest;

void docker_request_done(DockerRequest *request);

/* An object, of which what is not known is passed over. ERROR_BAD_REQUEST. */
int docker_request_parse(const char *body, DockerRequest *ret, Error *err);
/* ERROR_BAD_REQUEST unless it has them, and both are valid. */
int docker_request_check_name(const DockerRequest *request, Error *err);
int docker_request_check_id(const DockerRequest *request, Error *err);

/* What `-o` says of a new volume. */
typedef struct DockerOptions {
        VolumeSpec spec; /* but its name, tenant, and what was not said of: */
        bool has_size, has_fs, has_uid, has_gid, has_mode, is_plain;
        const char *schedule; /* of its snapshots, borrowed; NULL: its pool's */
        const char *from;     /* NAME@SNAPSHOT, borrowed; NULL: it begins empty */
} DockerOptions;

#define DOCKER_OPTIONS_DEFAULT { .spec = VOLUME_SPEC_DEFAULT }

void docker_options_done(DockerOptions *options);

/* An object of strings, or NULL. ERROR_BAD_REQUEST for an option that is not known, which are told; for a value that
 * breaks its rule; and for what contradicts. */
int docker_options_parse(sd_json_variant *object, DockerOptions *ret, Error *err);
