#pragma once

/* What the table of verbs, in verbs.c, is made of. A verb gets its arguments without options, NULL-terminated
 * and counted by the table's limits, and returns the exit code. */

#include "complete.h"
#include "option.h"
#include "table.h"

/* verbs.c: ends with words NULL */
extern const Verb verbs[];

/* quarry.c */
int verb_help(char **arguments);
int verb_complete(char **arguments);

/* create.c */
int verb_create(char **arguments);
extern const Option create_options[];

/* volume.c, see volume.h too */
int verb_ls(char **arguments);
int verb_inspect(char **arguments);
int verb_exists(char **arguments);
int verb_rm(char **arguments);
extern const Option ls_options[], rm_options[];

/* prune.c */
int verb_prune(char **arguments);
extern const Option prune_options[];

/* mount.c */
int verb_mount(char **arguments);
int verb_umount(char **arguments);
extern const Option mount_options[], umount_options[];

/* snapshot.c */
int verb_snapshot(char **arguments);
int verb_hold(char **arguments);
int verb_release(char **arguments);
extern const Option snapshot_options[];

/* export.c */
int verb_export(char **arguments);
extern const Option export_options[];

/* send.c, receive.c */
int verb_send(char **arguments);
int verb_receive(char **arguments);
extern const Option send_options[], receive_options[];

/* migrate.c */
int verb_migrate(char **arguments);
extern const Option migrate_options[];

/* change.c */
int verb_update(char **arguments);
int verb_rename(char **arguments);
int verb_resize(char **arguments);
extern const Option update_options[], resize_options[];

/* clone.c */
int verb_clone(char **arguments);
int verb_rollback(char **arguments);
extern const Option clone_options[], rollback_options[];

/* doctor.c */
int verb_doctor(char **arguments);
extern const Option doctor_options[];

/* status.c */
int verb_status(char **arguments);

/* df.c */
int verb_df(char **arguments);
extern const Option df_options[];
extern const Column df_columns[];

/* events.c */
int verb_events(char **arguments);
extern const Option events_options[];

/* log.c */
int verb_log(char **arguments);
extern const Option log_options[];

/* driver.c */
int verb_driver(char **arguments);

/* check.c */
int verb_check(char **arguments);

/* backup-*.c */
int verb_backup_target(char **arguments);
int verb_backup_run(char **arguments);
int verb_backup_ls(char **arguments);
int verb_backup_restore(char **arguments);
int verb_backup_verify(char **arguments);
int verb_backup_prune(char **arguments);
extern const Option backup_target_options[], backup_run_options[], backup_ls_options[], backup_restore_options[],
        backup_verify_options[], backup_prune_options[];
extern const Column backup_columns[], backup_target_columns[];

/* trim.c */
int verb_trim(char **arguments);
extern const Option trim_options[];

/* diff.c */
int verb_diff(char **arguments);
extern const Option diff_options[];

/* pool.c */
int verb_pool_create(char **arguments);
int verb_pool_ls(char **arguments);
int verb_pool_inspect(char **arguments);
int verb_pool_rm(char **arguments);
int verb_pool_import(char **arguments);
int verb_pool_extend(char **arguments);
int verb_pool_check(char **arguments);
int verb_pool_update(char **arguments);
int verb_pool_export(char **arguments);
extern const Option pool_create_options[], pool_extend_options[], pool_check_options[], pool_update_options[],
        pool_rm_options[];
extern const Column pool_columns[];

/* key.c */
int verb_key_status(char **arguments);
int verb_key_rotate(char **arguments);
int verb_key_lock(char **arguments);
int verb_key_unlock(char **arguments);
int verb_key_add(char **arguments);
int verb_key_remove(char **arguments);
int verb_key_change(char **arguments);
int verb_key_backup(char **arguments);
int verb_key_restore(char **arguments);
extern const Option key_rotate_options[], key_lock_options[], key_unlock_options[], key_add_options[],
        key_remove_options[], key_change_options[], key_backup_options[], key_restore_options[];

/* tenant.c */
int verb_tenant_create(char **arguments);
int verb_tenant_ls(char **arguments);
int verb_tenant_inspect(char **arguments);
int verb_tenant_update(char **arguments);
int verb_tenant_rm(char **arguments);
extern const Option tenant_create_options[], tenant_inspect_options[], tenant_update_options[], tenant_rm_options[];
extern const Column tenant_columns[];
