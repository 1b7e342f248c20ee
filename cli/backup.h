#pragma once

/* What the verbs of quarry backup share: the repository of a target, opened and locked, and the images of volumes that
 * its backups are made of. */

#include "repo/backup.h"
#include "repo/crew.h"
#include "repo/lock.h"

#include <quarry/backup-target.h>

#include <systemd/sd-json.h>

typedef struct BackupSession {
        BackupTarget target;
        Repository *repository;
        RepositoryLock *lock;
} BackupSession;

/* That the target has backups of volumes which this host key opens: it is not destroyed then. Before they are there. */
int backup_target_note_host_key(BackupSession *session, const char *id, Error *err);
/* The same for all that are left, and no others; the session is alone. */
int backup_target_review_host_keys(BackupSession *session, const BackupList *left, Error *err);

/* NULL: the only one that there is. */
int backup_target_choose(const char *name, BackupTarget *ret, Error *err);

/* The same, to be changed: nobody else does as long as *ret_turn is open. */
int backup_target_begin(const char *name, int *ret_turn, BackupTarget *ret, Error *err);

/* name: as above. what: "quarry backup run", for whoever is kept out. */
int backup_session_open(const char *name, RepositoryUse use, const char *what, BackupSession *ret, Error *err);
/* To look at what is listed, which keeps nobody out, and is kept out by nobody: there is no lock. */
int backup_session_look(const char *name, BackupSession *ret, Error *err);
void backup_session_done(BackupSession *session);

/* Of a new repository, or one that is there (make: false), which is a target from now on. What opens it: the host key,
 * a passphrase, or both; key_file: where that is read now, "-": standard input, NULL: the terminal. */
int backup_session_add(BackupTarget *target, bool make, bool by_host, bool by_passphrase, const char *key_file,
                       Error *err);

/* --- images ------------------------------------------------------------------------------------------------ */

/* The snapshots that a volume has for backups are called "backup-ID". The first label says for which repository one was
 * made; the second is there once its backup is whole, and the third says when that was proven. */
#define BACKUP_SNAPSHOT_PREFIX "backup-"
#define BACKUP_LABEL "quarry.backup"
#define BACKUP_PROVEN_LABEL "quarry.backup.proven" /* the second in which it was, or this: */
#define BACKUP_DAMAGED "damaged"

/* An array of all snapshots of the volume that quarryd describes. */
int backup_images_list(sd_json_variant *volume, sd_json_variant **ret, Error *err);
/* Of one of them. False if it is none of backups. */
bool backup_image_id(sd_json_variant *snapshot, char ret[static BACKUP_ID_MAX]);
/* Whether it was made for this repository. */
bool backup_image_is_of(sd_json_variant *snapshot, sd_id128_t repository);
/* One of these, with the repository as value; to be freed. */
char *backup_label(const char *key, sd_id128_t repository);
/* key: of such a label; snapshot: its UUID or name. */
int backup_image_label(const char *snapshot, const char *key, sd_id128_t repository, Error *err);
/* Whether a proof found the backup that was made of it damaged. */
bool backup_image_is_damaged(sd_json_variant *snapshot);
int backup_image_label_proven(const char *snapshot, const BackupProof *proof, Error *err);
int backup_volume_remove(const char *name, Error *err);

/* --- backups ----------------------------------------------------------------------------------------------- */

void backup_id_make(char ret[static BACKUP_ID_MAX]);
void backup_host(char buf[static BACKUP_HOST_MAX]); /* what this host is called in backups */
bool backup_is_of_here(const Backup *backup); /* of this host */
bool backup_is_same_volume(const Backup *a, const Backup *b);
/* The one of this volume that was proven last: it is known to be worth something. NULL: none. */
const Backup *backup_last_proven(const BackupList *list, const Backup *of);
/* Whether the last of this volume is doubted. Then any other may have what is damaged, and all of them stay; else those
 * that are doubted take nobody's place where only so many are kept, and go. */
bool backup_all_doubted(const BackupList *list, const Backup *of);
/* ID, VOLUME, or VOLUME@TIME: the last one up to then: of this host, if it has any, else of
 * the only other. ERROR_NO_SUCH_VOLUME. */
int backup_find(const BackupList *list, const char *what, const Backup **ret, Error *err);
/* "TENANT/NAME", or NAME alone of the default tenant; to be freed. */
char *backup_reference(const Backup *backup);
#define BACKUP_TIME_MAX 32
/* As the daemon says times, and as backup_find() takes them: 2026-11-28T05:27:01Z. */
const char *backup_time_format(uint64_t usec, char buf[static BACKUP_TIME_MAX]);
/* volumes: [POOL:][TENANT/]NAME each; none: whether b is of any. */
bool backup_is_of_one(const Backup *b, char *const *volumes);
/* Fails for the first of the volumes that none of the backups is of. */
int backup_check_named(const BackupList *list, const char *volume, Error *err);

/* "3 days ago"; to be freed. */
char *backup_ago(uint64_t usec);

/* The object that lists and documents show. */
sd_json_variant *backup_describe(const Backup *backup, const BackupProof *proof);

/* Keeps others on this host from doing the same: "volume-UUID-REPOSITORY". Waits for them if wait; else -EAGAIN.
 * Returns a descriptor. */
int backup_turn_take(const char *what, bool wait, Error *err);
/* For a turn that nobody will want any more. */
void backup_turn_forget(const char *what);

/* What becomes of each chunk, in their order: begin() returns 1 if the threads have work with the piece, whose number,
 * id and size are set; done() is called behind that. */
typedef struct ChunkPass {
        int (*begin)(Piece *p, void *userdata, Error *err);
        void (*work)(const Repository *r, Piece *p); /* as of crew_new() */
        CrewDone done;
        void *userdata;
} ChunkPass;

/* what: for the progress. */
int backup_each_chunk(BackupSession *session, const Backup *b, const char *what, const ChunkPass *pass, Error *err);

/* --- restoring --------------------------------------------------------------------------------------------- */

/* labels: of the volume; NULL: none. check: what is written is read again, and compared. */
int backup_write_volume(BackupSession *session, const Backup *backup, const char *name, char **labels, bool check,
                        sd_json_variant **ret, Error *err);

/* Restores it into a volume that lasts as long as this, has its filesystem checked, compares, and records what was
 * seen. ret: what that was. Its failure is that of the proof, or, with ret->text NULL, of trying. */
int backup_prove(BackupSession *session, const Backup *backup, BackupProof *ret, Error *err);

/* Records that it is damaged, and what was seen. ERROR_NO_SUCH_VOLUME: it was removed meanwhile. */
int backup_record_damage(BackupSession *session, const Backup *backup, const Error *failure, Error *err);

/* --- the end of old ones ----------------------------------------------------------------------------------- */

/* Removes what no backup needs; the session is alone. *ret_n: objects. */
int backup_sweep(BackupSession *session, size_t *ret_n, Error *err);
