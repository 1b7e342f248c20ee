#pragma once

/* A volume on its way to another host: which snapshot both ends have, and how what is new since then comes there. */

#include "remote.h"

/* A snapshot that both ends have. Which it is tells the UUID of its contents, whatever it is called. */
typedef struct Meeting {
        sd_id128_t contents; /* null: there is none */
        char here[SNAPSHOT_NAME_MAX + 1], there[SNAPSHOT_NAME_MAX + 1];
} Meeting;

typedef struct Transit {
        Remote remote;
        sd_json_variant *volume; /* as it is here */
        char *source;            /* the reference by which it goes here, */
        char *target;            /* and the one there */
        sd_json_variant *there;  /* as it is there; NULL: nothing of that name is */
        Meeting base;
        bool settled; /* and the volume there is what that is */
        unsigned passes;
} Transit;

void transit_done(Transit *t);

/* Snapshots that this makes are called so, with eight hexadecimal digits behind. */
#define TRANSIT_PREFIX "migrate-"

/* "PREFIX1a2b3c4d": the number, or NULL. */
const char *transit_number(const char *name, const char *prefix);

/* What the volume is now. */
int transit_look_here(Transit *t, const char *name, Error *err);
/* Snapshots that were not made for this. */
int transit_has_others(const Transit *t, bool *ret, Error *err);
/* What is at the other end, and what both have. ERROR_VOLUME_EXISTS if that is another volume. */
int transit_look_there(Transit *t, Error *err);
/* *ret: bytes of the device that differ from what is there; UINT64_MAX: all, or not known, or the snapshot that both
 * have is somebody's own. */
int transit_left(const Transit *t, uint64_t *ret, Error *err);
/* Makes a snapshot, and has the volume there be what that is. A signal, or a failure, leaves both ends as they were, or
 * with a snapshot from which the next run goes on. */
int transit_pass(Transit *t, Error *err);
/* Removes the snapshots that were made for it, but for the one that both have, if keep. What cannot be removed is
 * said. */
void transit_tidy(Transit *t, bool keep);
void transit_tidy_there(Transit *t, bool keep);
