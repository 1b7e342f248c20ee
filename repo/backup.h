#pragma once

/* A backup: what a volume was at one moment, with all that a restore needs. One object each, the last that is written:
 * a backup is whole or absent. What was proven of it is another object, since nobody changes the first. */

#include "repository.h"

#include <quarry/volume.h>

#define BACKUP_ID_MAX 17 /* 16 hex digits */
#define BACKUP_HOST_MAX 65
#define BACKUP_DEVICE_MAX (UINT64_C(1) << 46) /* bytes: of more the description would be too large an object */

typedef struct Backup {
        char id[BACKUP_ID_MAX];
        uint64_t at_usec; /* when the image was made: CLOCK_REALTIME */
        char host[BACKUP_HOST_MAX];
        VolumeSpec spec;      /* pool, tenant, name, size, fs, key_source, uid, gid, mode, labels */
        sd_id128_t volume, snapshot; /* their UUIDs on that host */
        uint64_t device_size; /* bytes: of an encrypted volume with its header */
        char parent[BACKUP_ID_MAX]; /* the one on which it builds; empty: all of it was read */
        uint64_t read, stored;      /* bytes of the device, and that were new in the repository, as they lie there */
        char host_key[HOST_KEY_ID_MAX]; /* by which the volume's key is wrapped in it; empty: by none */
        char *rule;           /* of the schedule that asked for it, or NULL */
        ContentId *segments;  /* of each SEGMENT_SIZE bytes of the device, the names of its chunks */
        size_t n_segments;
} Backup;

typedef struct BackupProof {
        char backup[BACKUP_ID_MAX];
        uint64_t at_usec;
        bool sound;  /* it was restored, checked and compared */
        char *text;  /* what was seen, or what was wrong */
} BackupProof;

void backup_done(Backup *backup);
void backup_proof_done(BackupProof *proof);
bool backup_id_is_valid(const char *id);
size_t backup_count_segments(uint64_t device_size);

/* How many bytes chunk n has: the last may have less. */
size_t backup_chunk_size(const Backup *backup, uint64_t n);

/* How many bytes at the beginning are the LUKS2 header. Keys change in that of a snapshot, too, which otherwise never
 * changes: a rotation of the host key wraps all of them anew. */
uint64_t backup_header_size(const Backup *backup);

int backup_to_json(const Backup *backup, char **ret);              /* -ENOMEM */
int backup_from_json(const char *text, Backup *ret, Error *err);   /* ERROR_FAILED (EBADMSG) */
int backup_proof_from_json(const char *text, BackupProof *ret, Error *err);

/* Durable when it returns. */
int backup_put(Repository *r, const Backup *backup, Error *err);
/* Returns 0 if there is none, 1 if there is. */
int backup_get(Repository *r, const char *id, Backup *ret, Error *err);
/* The same, only whether it is. */
int backup_has(Repository *r, const char *id, Error *err);
int backup_remove(Repository *r, const Backup *backup, Error *err);

/* In the place of an earlier one. */
int backup_put_proof(Repository *r, const BackupProof *proof, Error *err);

typedef struct BackupList {
        Backup *list; /* the oldest first */
        size_t n;
        bool *doubted; /* of each: its last proof failed, or, if it has none, that of what it builds on */
        BackupProof *proofs;
        size_t n_proofs;
        size_t n_damaged; /* that cannot be read */
        Error damage;     /* of the first of them */
} BackupList;

int backup_list(Repository *r, BackupList *ret, Error *err);
void backup_list_done(BackupList *list);
/* NULL: none. */
const BackupProof *backup_list_proof(const BackupList *list, const char *id);

/* The names of the chunks of a segment: SEGMENT_CHUNKS, zeros behind the end of the device. */
int backup_get_segment(Repository *r, const Backup *backup, size_t n, ContentId ret[static SEGMENT_CHUNKS], Error *err);
