#pragma once

/* A job is a list of steps; a step is one concern. The runner in work/ asks each step whether things are
 * already as wanted (probe), else has it done (run), and when a later step fails has what was done undone in
 * reverse. Every step can be repeated: a worker may have died after any of its system calls. */

#include <quarry/config.h>
#include <quarry/job.h>

#include "kernel/luks.h"
#include "kernel/spawn.h"

/* In a volume's filesystem this folder is what users see: it begins as an empty directory, without lost+found. The root
 * around it has an extended attribute, by which an image of a volume is known as one. */
#define ROOT_FOLDER "data"
#define ROOT_MARK "trusted.quarry"

/* What the steps of one job share: the job, and what earlier steps found out. */
typedef struct StepContext {
        const Job *job;
        const Config *config;
        const char *host; /* tag by which this host owns pools */
        int key_fd; /* the passphrase given by the caller, or -EBADF; borrowed */
        int second_fd; /* another passphrase, a header, or whose ids a mount is to show; or -EBADF */
        JobResult *result;

        /* the volume */
        bool was_open; /* somebody opened the volume before this job */
        bool goes; /* the kernel was to close it behind its last user, and is so again behind this job */
        bool spare_is_used; /* the volume's name in the kernel stands for its spare thin device */
        bool thin_is_new; /* this very job made the thin device: only then may anything be formatted */
        dev_t thin; /* of the open thin device */
        dev_t device; /* what the filesystem is on: the crypt device, or the thin device */
        Luks *luks;
        int mount_fd; /* detached mount of the filesystem's root, or of what users see of it */

        /* the pool */
        PoolInfo pool;
        dev_t catalog_lv, metadata_lv, data_lv;
        dev_t spare_lv; /* for repaired metadata */
        struct LvmPool *lvm_pool;
        int hangup_fd; /* whoever asked is gone when it says so; borrowed */
        void (*on_report)(const JobResult *report, void *userdata); /* of a job that does not end */
        void *userdata;
        bool pool_is_open; /* it was active already: nothing was asked of LVM */
        bool file_is_new; /* this very job made the file of a file-backed pool */
        bool undo_failed; /* something is left: what leads to it has to stay, too */
} StepContext;

void step_context_done(StepContext *context);

typedef struct Step {
        const char *name; /* for progress and errors: what is being done */
        int (*probe)(StepContext *context, Error *err); /* 1: already as wanted; 0: to be run; may be NULL */
        int (*run)(StepContext *context, Error *err);
        int (*undo)(StepContext *context, Error *err); /* after a run that succeeded; NULL: nothing to undo.
                                                           A run that fails cleans up after itself. */
} Step;

/* thin.c: the thin device of a volume */
/* Whether more can be made in the pool. mkfs on a full one would wait a minute and then fail, and metadata that ran
 * full must be repaired offline: nothing that is made is to be what fills either. */
int thin_pool_has_room(StepContext *context, Error *err);
/* For removal: opens it unless the pool has no such thin device. Returns 1 when open, 0 when there is none. */
int thin_open_if_exists(StepContext *context, Error *err);
int thin_delete_new(StepContext *context, Error *err); /* the undo of making it */
extern const Step step_thin_create, step_thin_open, step_thin_keep, step_thin_close, step_thin_remove, step_thin_delete;
/* The volume's second one, if the job knows of one; it is never open. */
extern const Step step_spare_delete;
/* template.c: what a plain volume begins as */
extern const Step step_template_copy, step_template_identify, step_template_settle;
/* snapshot.c: images of volumes */
/* A thin device of this id that is a copy of another volume's, which may be in use. */
int snapshot_copy(StepContext *context, const Volume *from, uint32_t thin_id, Error *err);
extern const Step step_snapshot_prepare, step_snapshot;
/* copy.c: a volume that begins as a copy of a snapshot, or becomes one */
extern const Step step_copy, step_identify, step_spare_copy;
/* luks.c: its encryption */
/* Has the volume key in context->luks, from the passphrase that came with the job or the host's key; returns the
 * keyslot that was opened. */
int luks_unlock_volume(StepContext *context, Error *err);
int luks_header_open(StepContext *context, Error *err); /* in context->luks; without the key */
int luks_passphrase_read(int fd, const char *field, char **ret, size_t *ret_size, Error *err);
LuksKdf luks_passphrase_kdf(const StepContext *context);
/* Of the header in context->luks: whether the host's key opens it; what that wraps, bound to a UUID; and that wrapped
 * anew by the present one. */
bool luks_has_host_key(StepContext *context);
int luks_token_unwrap(StepContext *context, sd_id128_t bound_to, int *ret_slot, uint8_t **ret_passphrase, Error *err);
int luks_token_wrap(StepContext *context, sd_id128_t bound_to, const uint8_t *passphrase, int slot, Error *err);
extern const Step step_luks_format, step_luks_identify, step_luks_open, step_luks_close, step_luks_destroy;
/* key.c: who opens it */
extern const Step step_key_unlock, step_key_add, step_key_remove, step_key_change, step_key_wrap, step_key_look;
/* key-header.c: its header as a whole */
extern const Step step_header_backup, step_header_restore;
/* key-suspend.c: its key is taken from the kernel while it is mounted */
/* Whoever touches the filesystem of such a volume would wait for its key: ERROR_VOLUME_LOCKED. */
int suspended_check(const Volume *volume, Error *err);
bool suspended_is(sd_id128_t volume);
/* Nobody will give it its key again: whoever waits for it gets an error, and it can be unmounted. What was written
 * before is on the disk. */
int suspended_give_up(sd_id128_t volume);
extern const Step step_suspend, step_suspend_end;
/* host-key.c */
extern const Step step_host_key_look, step_host_key_rotate, step_host_key_retire, step_host_key_derive;
/* format.c: its filesystem, and the folder in it that users see */
extern const Step step_format, step_root;
/* idmap.c: by which ids a mount shows its files' owners */
extern const Step step_idmap;
/* mount.c */
/* Refuses (ERROR_VOLUME_BUSY) when something is mounted in the volume of this name, whose own mount is at target. */
int mount_check_below(const char *name, const char *target, Error *err);
/* Gives context->mount_fd, which nobody sees yet, the options and ids that the job wants. */
int mount_shape(StepContext *context, Error *err);
/* place.c: what is mounted at target; c->device is that of the volume then, but for a bind volume's. */
enum { PLACE_EMPTY, PLACE_OURS, PLACE_OTHERS };
int place_look(StepContext *context, const char *target, unsigned *ret_options, Error *err);
extern const Step step_mount, step_attach, step_unmount, step_mount_point_remove;
/* tmpfs.c: a volume in memory */
extern const Step step_tmpfs_try, step_tmpfs_mount, step_tmpfs_claim, step_tmpfs_own, step_tmpfs_remount,
        step_tmpfs_look;
/* bind.c: a volume that is a directory of the host */
extern const Step step_source_check, step_source_limit, step_source_unlimit, step_bind_mount, step_bind_claim,
        step_bind_look;
/* limit.c: a filesystem that gets no new space while its pool has none */
bool limit_is_set(sd_id128_t volume);
void limit_forget(sd_id128_t volume); /* its filesystem is mounted nowhere any more */
extern const Step step_limit, step_limit_mounted;
/* recover.c: a filesystem whose journal was aborted */
extern const Step step_recover;
/* free.c: the blocks of a removed volume */
extern const Step step_free, step_free_end;
/* trim.c: unused space goes back to the pool */
extern const Step step_trim;
/* grow.c: more space for a volume that may be in use */
extern const Step step_grow_key, step_grow_thin, step_grow_crypt, step_grow_fs, step_grow_crypt_close,
        step_grow_thin_close, step_ungrow_key, step_ungrow_check, step_ungrow_crypt, step_ungrow_thin;
/* check.c: whether its filesystem is sound */
int fsck_ext4(StepContext *context, Error *err); /* on context->device, mending what is safe to */
/* Up to this exit status all is well; more: ERROR_VOLUME_BROKEN with what it says. */
int fs_tool_run(char *const argv[], int most, SpawnOutput *output, const char *volume, Error *err);
extern const Step step_check;
/* shrink.c: less space for one that is not */
extern const Step step_spare_of_itself, step_spare_use, step_shrink_check, step_shrink_fs, step_spare_close;
/* rename.c: the volume's place in the host's folders */
extern const Step step_move_mount, step_move_link, step_old_point_remove;
/* own.c: who owns the folder that users see */
extern const Step step_own;
/* device.c: a volume without filesystem is used by its link; and whoever asks is given a device, open */
/* Has the kernel close the devices behind their last user, if that is what context->goes says. */
void device_let_go(StepContext *context);
extern const Step step_link, step_give;
/* Before its device is opened: what udev says of it. */
int device_describe(const StepContext *context);
/* Of one that is open, its device that users see: its link is there. */
void device_link(const StepContext *context, dev_t device);
/* accept.c: what somebody else wrote to a new volume */
extern const Step step_accept;
/* adopt.c: it is a filesystem of theirs, too */
extern const Step step_adopt;
/* Before its filesystem is mounted: nobody has the device who does not know of that. */
extern const Step step_unshared;
/* claim.c: nobody uses it */
extern const Step step_claim;

/* Refuses a pool of whose disks a copy is there: LVM would take one of the two without a word. */
int pool_check_copies(const PoolInfo *pool, Error *err);
/* pool-storage.c: devices, file, volume group, logical volumes */
extern const Step step_pool_place, step_pool_file, step_pool_vg, step_pool_volumes, step_pool_found, step_pool_find,
        step_pool_activate, step_pool_reactivate, step_pool_deactivate, step_pool_destroy, step_pool_own,
        step_pool_disown;
/* pool-grow.c: more space for a pool in use */
extern const Step step_grow_check, step_grow_file, step_grow_vg, step_grow_volumes, step_grow_target, step_relieve;
/* space-watch.c: how full a pool is, as it changes */
extern const Step step_space_watch;
/* pool-catalog.c: the filesystem of the catalog */
extern const Step step_catalog_format, step_catalog_mount, step_catalog_unmount;
/* pool-target.c: the thin-pool device */
extern const Step step_pool_format, step_pool_check, step_pool_target, step_pool_target_remove, step_pool_status,
        step_pool_release, step_pool_devices, step_thin_look;
/* pool-check.c: its metadata, sound or damaged */
/* What thin_check, given the option, says of the metadata: *ret stays as it is if that is sound. */
int metadata_damage(dev_t metadata, const char *option, char **ret, Error *err);
extern const Step step_metadata_check, step_metadata_mend, step_metadata_spare, step_metadata_repair,
        step_metadata_switch;
/* pool-close.c: its volumes, when the host stops; its logical volumes, when its disks are gone */
extern const Step step_pool_close_volumes, step_pool_close_parts;
/* audit-pool.c, audit-host.c: what is wrong, for result->findings */
struct DmPoolStatus;
const char *pool_trouble(const struct DmPoolStatus *status); /* what keeps it from taking changes, or NULL */
/* Gives back a snapshot of the metadata that one of us had who was killed: it keeps every block that was in use then.
 * Only for who has the lock of the maps: that says that nobody has one now. */
void pool_drop_snapshot(sd_id128_t pool, const char *name);
/* look() while the kernel holds a snapshot of the metadata, for tools that are given --metadata-snap. */
int pool_with_snapshot(StepContext *context, int (*look)(StepContext *context, Error *err), Error *err);
extern const Step step_audit_pool, step_audit_thin_ids, step_audit_kernel, step_audit_folders, step_audit_setup;
/* thin-report.c: what thin devices take, and where two differ */
extern const Step step_thin_usage, step_thin_union, step_thin_delta;
/* calendar.c: when calendar expressions elapse */
extern const Step step_calendar;
/* pool-list.c: which pools this host has */
extern const Step step_list_begin, step_list_doom, step_list_add, step_list_refresh, step_list_remove, step_list_scan,
        step_list_import;
