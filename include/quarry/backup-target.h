#pragma once

/* Where this host's backups go: a file of root's for each, BACKUP_FOLDER/NAME.json. */

#include <quarry/error.h>
#include <quarry/key.h>
#include <quarry/schedule.h>

#include <systemd/sd-id128.h>

#define BACKUP_FOLDER "/etc/quarry/backup"
#define BACKUP_TARGET_NAME_MAX 32

/* A volume of which backups are made by themselves. */
typedef struct BackupPlan {
        char *volume;      /* a reference */
        Schedule schedule; /* when, and how many are kept */
        bool prove;        /* each is restored, and compared */
        char *failure;     /* why the last one was not made, or NULL */
        uint64_t began_usec; /* of the last one, if it did not come to its end yet, else 0: CLOCK_REALTIME */
} BackupPlan;

typedef struct BackupTarget {
        char name[BACKUP_TARGET_NAME_MAX + 1];
        char *url;         /* see store_open() */
        char *credentials; /* where a secret is, see backup_secret_path(), or NULL: the service's, */
        char *key_file;    /* and the repository's passphrase */
        sd_id128_t repository;
        char host_key[HOST_KEY_ID_MAX]; /* by which it is opened here; "": by the passphrase */
        char **host_keys; /* by which the keys of volumes are wrapped in the backups that are there */
        BackupPlan *plans;
        size_t n_plans;
} BackupTarget;

void backup_target_done(BackupTarget *target);
void backup_plan_done(BackupPlan *plan);

/* As names of pools are. */
bool backup_target_name_is_valid(const char *name);

/* ERROR_NO_SUCH_VOLUME if there is none of that name. */
int backup_target_load(const char *name, BackupTarget *ret, Error *err);
int backup_target_save(const BackupTarget *target, Error *err);
int backup_target_remove(const char *name, Error *err);

/* Their names, sorted; to be freed by strv_free(). */
int backup_target_list(char ***ret, Error *err);

/* ERROR_FAILED (EBUSY) if one is opened by this host key, or has backups of volumes that need it. */
int backup_target_check_host_key(const char *id, Error *err);

/* "credential:NAME" is what systemd gives a service under that name (systemd.exec(5), LoadCredential=), or else a file
 * of the credential stores; anything else is a path already. Returns a path that is the caller's. */
#define BACKUP_CREDENTIAL "credential:"
int backup_secret_path(const char *secret, char **ret, Error *err);

/* The parser alone. */
int backup_target_parse(const char *name, const char *text, BackupTarget *ret, Error *err);
