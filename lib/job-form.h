#pragma once

#include <quarry/job.h>

/* What belongs to a verb's job; everything else is refused. */
enum {
        WITH_POOL = 1 << 0,    /* the uuid */
        WITH_SPEC = 1 << 1,    /* pool_spec, whole */
        WITH_DEVICES = 1 << 2, /* pool_spec, of which only the devices */
        WITH_VOLUME = 1 << 3,
        WITH_MOUNT = 1 << 4, /* mount, detached */
        WITH_GROWTH = 1 << 5,
        WITH_LAZY = 1 << 6,
        WITH_FIX = 1 << 7,
        WITH_STOPPED = 1 << 8,
        WITH_IMAGES = 1 << 9,
        WITH_OFFSET = 1 << 10,
        WITH_SOURCE = 1 << 11,
        MAY_HAVE_SOURCE = 1 << 12, /* or none */
        WITH_SPARE = 1 << 13,      /* the volume has one */
        WITH_OWNER = 1 << 14,
        WITH_RANGES = 1 << 15,     /* total_only, mapped, join */
        WITH_CALENDAR = 1 << 16,
        WITH_PENDING = 1 << 17,    /* the volume has a pending size, */
        WITH_OLD_NAME = 1 << 18,   /* or an old name */
        WITH_OLD_KEY = 1 << 19,    /* needs_old_key */
        WITH_REPEATED = 1 << 20,   /* repeated */
        WITH_THIN_IDS = 1 << 21,
        WITH_KEY = 1 << 22,        /* key */
        ANY_KIND = 1 << 23,        /* of volume, else only KIND_BLOCK */
        MAY_HAVE_MEMBERS = 1 << 24,
        WITH_UNUSED = 1 << 25,     /* if_unused */
        WITH_DEVICE = 1 << 26,     /* read_only, as_stored */
        WITH_FOREIGN = 1 << 27,    /* foreign */
};

typedef struct JobForm {
        const char *word;
        unsigned parts;
} JobForm;

/* THE table of verbs. */
extern const JobForm job_forms[_JOB_VERB_MAX];

/* -ENOMEM; from_json: -EINVAL. */
int thin_ids_to_json(const uint32_t *ids, size_t n, sd_json_variant **ret);
int thin_ids_from_json(sd_json_variant *list, uint32_t **ret, size_t *ret_n);

/* job-members.c */
int job_members_to_json(const Job *job, sd_json_variant **ret);
int job_members_from_json(sd_json_variant *v, Job *job, Error *err);
