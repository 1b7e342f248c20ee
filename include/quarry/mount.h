#pragma once

/* How a volume is to be mounted: options of the mount (never of the filesystem, which its mounts share), by which ids
 * it shows its files' owners, and a SELinux context. Broker, worker and CLI all judge by this code. */

#include <quarry/base.h>
#include <quarry/error.h>

#include <sys/types.h>

#include <systemd/sd-json.h>

/* What differs from a mount without any option, which is rw, nosuid, nodev, exec, relatime. */
enum {
        MOUNT_READ_ONLY = 1 << 0,
        MOUNT_NOEXEC = 1 << 1,
        MOUNT_NOATIME = 1 << 2,
        MOUNT_STRICTATIME = 1 << 3,
        MOUNT_NODIRATIME = 1 << 4,
        MOUNT_NOSYMFOLLOW = 1 << 5,
        MOUNT_SUID = 1 << 6, /* these two take who trusts the volume with the host: no worker sets them, but who */
        MOUNT_DEV = 1 << 7,  /* attaches a detached mount, by own rights */
};

#define IDMAP_RANGES_MAX 16u
#define MOUNT_CONTEXT_MAX 255u

/* So many ids of the host, from these on. */
typedef struct IdRange {
        uint32_t uid, gid, count;
} IdRange;

typedef struct MountSpec {
        unsigned options, said; /* MOUNT_*: which are set, and which were spoken of */
        /* The volume's ids from 0 on are shown as those of the first range, those behind them as those of the next. */
        IdRange idmap[IDMAP_RANGES_MAX];
        size_t n_idmap;
        bool userns; /* instead: as a user namespace has it, whose descriptor comes along */
        bool peer; /* instead: as that of a process has it, whose pidfd comes along; as they are if it is the host's */
        char context[MOUNT_CONTEXT_MAX + 1]; /* empty: none */
        /* On whose behalf: the ids that are shown must be theirs to give. An administrator's need not. */
        bool has_giver;
        uid_t giver_uid;
        gid_t giver_gid;
} MountSpec;

/* One word, such as "noexec". ERROR_BAD_REQUEST for one that is not known, or contradicts one that was added. */
int mount_spec_add_option(MountSpec *spec, const char *word, Error *err);
/* The same for a list with commas. */
int mount_spec_add_options(MountSpec *spec, const char *list, Error *err);
/* The words that are known, in order; NULL behind the last. */
const char *mount_option_word(size_t i);

/* UID:GID:COUNT */
int mount_spec_add_range(MountSpec *spec, const char *text, Error *err);
int mount_spec_set_context(MountSpec *spec, const char *context, Error *err);

static inline bool mount_spec_has_map(const MountSpec *spec) {
        return spec->userns || spec->n_idmap > 0;
}

/* Every rule that needs no knowledge of the host. detached: it is for whoever asks, not for the standard place. */
int mount_spec_validate(const MountSpec *spec, bool detached, Error *err);

int mount_spec_to_json(const MountSpec *spec, sd_json_variant **ret);
/* As a job has it: validated, and without suid and dev. Whoever holds the broker must not get a mount where a program
 * of a volume runs as root. */
int mount_spec_from_json(sd_json_variant *v, bool detached, MountSpec *ret, Error *err);
/* [{"uid", "gid", "count"}...], NULL for none: adds them. */
int mount_spec_ranges_from_json(sd_json_variant *v, MountSpec *spec, Error *err);

/* Of the flags that statvfs(3) gives. */
unsigned mount_options_of(unsigned long flags);

/* "rw,noexec": what differs, and whether it can be written. */
#define MOUNT_OPTIONS_TEXT_MAX 80
char *mount_options_format(unsigned options, char buf[static MOUNT_OPTIONS_TEXT_MAX]);

/* Whether subuid(5), given as text, lets a user give these ids away: all of them, perhaps by several lines. name may
 * be NULL. */
bool subid_has(const char *text, const char *name, uid_t uid, uint32_t first, uint32_t count);
