#pragma once

/* A job: what the broker asks of a worker, as data. The worker parses it again with this code and
 * believes nothing else. There is no path in it but the devices and file of a new or imported pool. */

#include <quarry/base.h>
#include <quarry/error.h>
#include <quarry/finding.h>
#include <quarry/key.h>
#include <quarry/mount.h>
#include <quarry/pool.h>
#include <quarry/thin-report.h>
#include <quarry/volume.h>

typedef enum JobVerb {
        JOB_POOL_SCAN,      /* the pools of this host: result.pools */
        JOB_POOL_CREATE,    /* pool_spec, pool (uuid): result.pools[0] */
        JOB_POOL_OPEN,      /* activates: result.pools[0], result.devices */
        JOB_POOL_RECOVER,   /* the same for one whose catalog failed and is closed: that is mounted anew */
        JOB_POOL_REMOVE,    /* destroys; the broker has seen that no volume is left */
        JOB_POOL_IMPORT,    /* pool_spec.devices (may be empty): result.pools, then open */
        JOB_POOL_EXPORT,    /* closes, and gives up ownership */
        JOB_POOL_FORGET,    /* its disks are gone: closes what the kernel has of it, and takes it out of the list */
        JOB_POOL_EXTEND,    /* growth: result.pools[0] as it is then */
        JOB_POOL_CLOSE,     /* the host stops: unmounts, closes and deactivates what nobody uses */
        JOB_POOL_RELIEVE,   /* gives the pool the reserve: result.pools[0] */
        JOB_POOL_WATCH,     /* never ends: reports result.spaces, and result.devices, of the pool as they change */
        JOB_POOL_USAGE,     /* result.pools[0], result.devices with used bytes */
        JOB_POOL_CHECK,     /* its metadata: result.damage; changes nothing */
        JOB_POOL_REPAIR,    /* closes it, repairs its metadata: result.damage, result.kept; it is to be opened then */
        JOB_POOL_AUDIT,     /* what is wrong with it: result.findings, result.thin_ids; changes nothing */
        JOB_HOST_AUDIT,     /* what is wrong with the host; with fix, lock files without a pool go */
        JOB_HOST_CALENDAR,  /* calendar: result.elapses, when each of its expressions elapses next */
        JOB_VOLUME_CREATE,
        JOB_VOLUME_CLAIM,   /* sees that nobody uses it, and closes its devices; changes nothing on disk */
        JOB_VOLUME_REMOVE,  /* also undoes a create that was cut short: every step may find nothing */
        JOB_VOLUME_MOUNT,   /* opens, mounts: result.path, or a detached mount as descriptor */
        JOB_VOLUME_UMOUNT,  /* unmounts the standard mount point, closes if nobody else uses it */
        JOB_VOLUME_TRIM,    /* gives back what its filesystem does not use: result.freed */
        JOB_VOLUME_CHECK,   /* sees that nobody uses it, and that its filesystem is sound */
        JOB_VOLUME_LIMIT,   /* stopped: no more new space for its filesystem, or again (recovered, if need be) */
        JOB_VOLUME_USAGE,   /* result.pools[0], and result.devices with this one if it is open */
        JOB_VOLUME_RELEASE, /* closes the devices if nobody uses them */
        JOB_VOLUME_SWEEP,   /* the same, and its mount point: what is left of a volume that no catalog knows */
        JOB_VOLUME_SNAPSHOT, /* images: of all at one instant, their filesystems frozen meanwhile: result.devices has
                                what each takes */
        JOB_VOLUME_RETIRE,  /* removes it for everybody, and leaves its thin device for: */
        JOB_VOLUME_FREE,    /* from offset, for a moment: result.offset; behind the last the thin device is gone */
        JOB_VOLUME_CLONE,    /* it begins as a copy of source, with an identity of its own */
        JOB_VOLUME_ROLLBACK, /* sees that nobody uses it, and makes its spare thin device a copy of source */
        JOB_VOLUME_DROP_SPARE, /* its spare thin device goes */
        JOB_VOLUME_RENAME,  /* what is mounted under its old name moves to its name, and so does its link */
        JOB_VOLUME_GROW,    /* to its pending size, and its filesystem, whether somebody has it mounted or not */
        JOB_VOLUME_UNGROW,  /* from its pending size back to the one that it has, if its filesystem took none yet */
        JOB_VOLUME_SHRINK,  /* sees that nobody uses it, and makes its spare thin device a copy of it whose filesystem
                               fits into its pending size */
        JOB_VOLUME_OWN,     /* owner: of the folder in its filesystem that users see */
        JOB_VOLUME_KEYS,        /* result.keys: who opens it */
        JOB_VOLUME_KEY_ADD,     /* these, too: the host's key, or a passphrase, which came as second descriptor */
        JOB_VOLUME_KEY_REMOVE,  /* the host's, that of a slot, or the passphrase that came so */
        JOB_VOLUME_KEY_CHANGE,  /* a passphrase for the one that came so */
        JOB_VOLUME_KEY_WRAP,    /* anew by the present host key */
        JOB_VOLUME_SUSPEND,     /* takes its key from the kernel while it is mounted */
        JOB_VOLUME_UNLOCK,      /* gives it back; opens it, if it is closed */
        JOB_VOLUME_HEADER_BACKUP, /* hands over its LUKS2 header, in a sealed memfd */
        JOB_VOLUME_HEADER_RESTORE, /* sees that nobody uses it, and writes the one that came as second descriptor */
        JOB_HOST_KEY_LOOK,      /* result.host_keys, the present one first */
        JOB_HOST_KEY_ROTATE,    /* puts a new one in the place of key.id */
        JOB_HOST_KEY_RETIRE,    /* destroys the old one key.id, which no volume needs any more */
        JOB_HOST_KEY_DERIVE,    /* result.host_keys: key.id, or the present one, which is made if there is none; hands
                                   over what of it wraps keys of backup repositories, in a sealed memfd */
        JOB_VOLUME_REMOUNT, /* of a tmpfs volume: what is mounted of it gets its size */
        JOB_POOL_EXCLUSIVE, /* result.thins: of all that the pool has */
        JOB_POOL_UNION,     /* thin_ids: result.used, what these take of it together */
        JOB_VOLUME_DIFF,    /* source, volume: result.delta */
        JOB_VOLUME_DEVICE,  /* opens: a descriptor of its device, behind whose last holder it is closed */
        JOB_VOLUME_RECEIVE, /* makes it, a copy of source if there is one: a descriptor of its device, to write to */
        JOB_VOLUME_ACCEPT,  /* what was written is what the volume is said to be: result.keys as after a create */
        _JOB_VERB_MAX,
} JobVerb;

const char *job_verb_to_string(JobVerb verb); /* "pool_scan" ... */
int job_verb_from_string(const char *s);

/* An image that is to be made of a volume. */
typedef struct JobImage {
        Volume origin;
        sd_id128_t uuid; /* of the image */
        uint32_t thin_id;
        bool note;         /* what the volume holds then, so that it can be told whether it changed */
        sd_id128_t unless; /* no image if the volume holds what it did when that was noted; null: one in any case */
} JobImage;

#define JOB_IMAGES_MAX 64u

/* Which of the volume's uid, gid and mode its folder is to be given. */
typedef struct JobOwner {
        bool uid, gid, mode;
} JobOwner;

/* When calendar expressions elapse next. */
typedef struct JobCalendar {
        uint64_t base_usec; /* behind this: CLOCK_REALTIME, microseconds */
        char **expressions; /* as schedule_expression_is_valid() has them */
} JobCalendar;

#define JOB_EXPRESSIONS_MAX 64u
#define JOB_THIN_IDS_MAX 200000u

/* As whom the source of a bind volume is looked at. */
typedef struct JobMember {
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
} JobMember;

#define JOB_MEMBERS_MAX 512u /* users and groups of a tenant */

typedef struct Job {
        JobVerb verb;
        sd_id128_t pool;     /* uuid; null for JOB_POOL_SCAN and JOB_POOL_IMPORT */
        PoolSpec pool_spec;  /* JOB_POOL_CREATE, JOB_POOL_IMPORT */
        PoolGrowth growth;   /* JOB_POOL_EXTEND */
        Volume volume;       /* the volume verbs: uuid, thin_id, spec */
        Volume source;       /* what the volume is made from, or null: JOB_VOLUME_CREATE, a template;
                                JOB_VOLUME_CLONE, JOB_VOLUME_ROLLBACK, a snapshot;
                                JOB_VOLUME_DIFF: compared with */
        MountSpec mount;     /* JOB_VOLUME_MOUNT */
        bool stopped;        /* JOB_VOLUME_LIMIT, JOB_VOLUME_MOUNT: the filesystem is to get no new space */
        bool detached;       /* JOB_VOLUME_MOUNT: hand over a descriptor, attach nothing */
        bool lazy;           /* JOB_VOLUME_UMOUNT: who uses it keeps it, and it is closed behind the last of them;
                                JOB_VOLUME_CLAIM: does not wait for them, nor look who they are */
        bool if_unused;      /* JOB_VOLUME_UMOUNT: ERROR_VOLUME_BUSY if it is used, be it by who has a mount of it
                                elsewhere, and would not notice; JOB_VOLUME_CLAIM: a device that is only mounted,
                                and that nobody has open, is not used */
        bool repeated;       /* JOB_VOLUME_ROLLBACK, JOB_VOLUME_SHRINK: a worker died over it, so that the spare thin
                                device may be there: else it is not the volume's */
        bool fix;            /* JOB_HOST_AUDIT */
        bool read_only;      /* JOB_VOLUME_DEVICE: the descriptor cannot be written to, */
        bool as_stored;      /* and is that of what the pool has: of an encrypted volume the ciphertext */
        bool foreign;        /* JOB_VOLUME_ACCEPT: its filesystem is somebody else's: what lies at its root becomes
                                what users see, and it takes all of the device */
        bool needs_old_key;  /* JOB_VOLUME_CREATE, JOB_VOLUME_KEY_ADD: volumes are encrypted with the host key: if it
                                is missing, none is made in its place */
        JobOwner owner;      /* JOB_VOLUME_OWN */
        JobImage *images;    /* JOB_VOLUME_SNAPSHOT */
        size_t n_images;
        uint64_t offset;     /* JOB_VOLUME_FREE: bytes */
        bool total_only;     /* JOB_VOLUME_DIFF: without the ranges; */
        bool mapped;         /* what the volume, which is the source, too, has of its pool; */
        bool join;           /* no more than JOB_RANGES_MAX ranges: those that are near become one */
        JobCalendar calendar; /* JOB_HOST_CALENDAR */
        uint32_t *thin_ids;  /* JOB_POOL_UNION: those that are not there any more are passed over */
        size_t n_thin_ids;
        KeyChoice key;       /* JOB_VOLUME_KEY_ADD, JOB_VOLUME_KEY_REMOVE, JOB_HOST_KEY_ROTATE, JOB_HOST_KEY_RETIRE */
        bool for_members;    /* JOB_VOLUME_CREATE, JOB_VOLUME_MOUNT of a bind volume: one of them must be able to */
        JobMember *members;  /* reach its source, and to write there unless it is read-only */
        size_t n_members;
} Job;

void job_members_done(Job *job);
/* -ENOMEM */
int job_add_member(Job *job, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups);

/* Ranges in one result: an answer must fit into a message. */
#define JOB_RANGES_MAX 200000u

void job_done(Job *job);
int job_to_json(const Job *job, sd_json_variant **ret);
/* Every rule of pool_spec_validate() and volume_spec_normalize() is checked again. */
int job_from_json(sd_json_variant *v, Job *ret, Error *err);

/* A device of ours that the kernel has. */
typedef struct JobDevice {
        sd_id128_t uuid; /* of the volume */
        uint64_t used;   /* bytes mapped, shared ones included */
        bool stopped;    /* its filesystem gets no new space */
        sd_id128_t content; /* JOB_VOLUME_SNAPSHOT: of an image: names what the volume held; null: not noted */
        bool unchanged;     /* the same: no image was made, since the volume holds what it did */
} JobDevice;

/* How full a pool is, as the kernel says. */
typedef struct JobSpace {
        sd_id128_t uuid;
        uint64_t data_size, data_used, metadata_size, metadata_used; /* bytes */
        uint64_t dirty;   /* bytes that are yet to be written back to its filesystems */
        bool full;        /* writes wait for space, or fail */
        bool relieved;    /* it has the reserve */
        bool read_only;   /* its metadata could not be written: volumes can be read, and get no new space */
        bool failed;      /* nor read: nothing else is known of it */
} JobSpace;

typedef struct JobResult {
        PoolInfo *pools;
        size_t n_pools;
        JobDevice *devices;
        size_t n_devices;
        JobSpace *spaces;
        size_t n_spaces;
        char *path;      /* where it is mounted, or the device of a volume without filesystem */
        char *source_id; /* JOB_VOLUME_CREATE of a bind volume, see VolumeSpec */
        bool open;       /* after a volume verb: its devices are (still) open */
        uint64_t used;   /* bytes mapped by the volume; JOB_POOL_UNION: by all of them, what they share once */
        uint64_t offset; /* JOB_VOLUME_FREE: up to where its space is given back, bytes */
        uint64_t freed;  /* bytes fewer than before JOB_VOLUME_TRIM */
        FindingList findings;
        uint32_t *thin_ids; /* JOB_POOL_AUDIT: of the pool's metadata */
        size_t n_thin_ids;
        bool thin_ids_are_known;
        char *damage;    /* what is wrong with a pool's metadata, or was; NULL: nothing */
        char *kept;      /* JOB_POOL_REPAIR: VG/LV of the old metadata; NULL: nothing was repaired */
        uint64_t *elapses; /* JOB_HOST_CALENDAR: CLOCK_REALTIME, microseconds; 0: never */
        size_t n_elapses;
        uid_t uid;       /* JOB_VOLUME_ACCEPT of a foreign one: of the folder that users see */
        gid_t gid;
        mode_t mode;
        char *users;     /* JOB_VOLUME_UMOUNT: who keeps it open, for people; NULL if nobody does */
        ThinUsage *thins; /* JOB_POOL_EXCLUSIVE */
        size_t n_thins;
        ThinDelta delta; /* JOB_VOLUME_DIFF */
        VolumeKeys keys; /* after a change of them, whole; else host_key alone, if the volume got its key wrapped */
        HostKey *host_keys;
        size_t n_host_keys;
} JobResult;

void job_result_done(JobResult *result);
int job_result_to_json(const JobResult *result, sd_json_variant **ret);
int job_result_from_json(sd_json_variant *v, JobResult *ret); /* -EINVAL, -ENOMEM */
