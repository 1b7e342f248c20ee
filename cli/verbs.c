/* Which words are verbs of quarry, and what help says about them. */

#include "verbs.h"
#include "must.h"
#include "volume.h"

#include <limits.h>

#define ANY UINT_MAX

static const Option no_options[] = { {} };

const Verb verbs[] = {
        { "create", "NAME --size SIZE [OPTION]...", "Make a volume, formatted and ready to be mounted",
          "NAME is [POOL:][TENANT/]NAME: a letter or digit, then letters, digits, _ . or -\n"
          "It is printed when the volume is durable. The volume's root directory is empty,\n"
          "so that containers can copy an image's files into it; unless it is made --from\n"
          "an archive of tar's, or a raw image of ext4 or XFS.\n"
          "A passphrase is asked for on the terminal, or is what --key-file holds, byte for\n"
          "byte as with cryptsetup: a newline at the end of the file belongs to it.\n",
          "  quarry create db --size 10G\n"
          "  quarry create vault --size 2G --encrypt --label app=vault\n"
          "  quarry create www --size 50G --fs xfs --uid www-data --mode 0750\n"
          "  quarry create copy --size 10G --from files.tar.zst\n",
          create_options, false, 1, 1, verb_create, "volume" },
        { "ls", "[OPTION]...", "List volumes and snapshots", NULL,
          "  quarry ls\n"
          "  quarry ls --type snapshot -o name,used,created --sort -created\n"
          "  quarry ls -o name,used,labels --sort -used --filter label=app=db\n"
          "  quarry ls --filter 'unused,size>10G,created<7d' -o +created\n"
          "  quarry ls --json | jq -r '.volumes[].name'\n",
          ls_options, true, 0, 0, verb_ls, "volume", volume_columns },
        { "inspect", "NAME[@SNAPSHOT]...", "Show everything about volumes and snapshots", NULL,
          "  quarry inspect db\n"
          "  quarry inspect db www --json\n",
          no_options, false, 1, ANY, verb_inspect, "volume" },
        { "exists", "NAME[@SNAPSHOT]", "Tell by the exit code whether a volume is there: 0 yes, 3 no", NULL,
          "  quarry exists db || quarry create db --size 10G\n", no_options, false, 1, 1, verb_exists, "volume" },
        { "mount", "NAME[@SNAPSHOT] [TARGET] [OPTION]...", "Mount a volume, and print where",
          "Without TARGET it is mounted at /run/quarry/mnt/TENANT/NAME. With TARGET, an\n"
          "existing directory, it is attached there by your own rights, which takes root.\n"
          "Options: rw ro, exec noexec, relatime noatime strictatime, diratime nodiratime,\n"
          "symfollow nosymfollow, nosuid suid, nodev dev; the first of each if none is\n"
          "said. suid and dev are for administrators. They and other ids need a TARGET.\n"
          "--idmap, for a rootless container: id 0 of the volume is shown as UID, 1 as\n"
          "UID + 1 and so on; given again, it goes on behind. What is shown must be yours.\n"
          "A volume without filesystem is opened, and its device is printed.\n"
          "A passphrase is asked for on the terminal when one is needed.\n",
          "  cd \"$(quarry mount db)\"\n"
          "  quarry mount db /srv/db -o ro,noexec\n"
          "  quarry mount db /srv/db --idmap 1000:1000:1 --idmap 100000:100000:65536\n"
          "  podman unshare sh -c 'quarry mount acme/db ~/db --userns $$'\n"
          "  pass show vault | tr -d '\\n' | quarry mount vault --key-file -\n",
          mount_options, false, 1, 2, verb_mount, "mount" },
        { "umount", "NAME[@SNAPSHOT]|TARGET...", "Take mounts of volumes away",
          "NAME: the mount at the standard place. TARGET: a path that begins with / or .\n"
          "and was given to quarry mount. A volume that nobody uses any more is closed.\n",
          "  quarry umount db\n"
          "  quarry umount --lazy /srv/db\n",
          umount_options, false, 1, ANY, verb_umount, "mount" },
        { "rm", "NAME[@SNAPSHOT]... [OPTION]...", "Remove volumes and everything in them",
          "Asks first on a terminal. A volume that is in use is refused; with --lazy it is\n"
          "removed behind its last user, also if the daemon is restarted meanwhile.\n"
          "One that has snapshots is refused unless they are removed with it; one that is\n"
          "protected always is. The keys of an encrypted volume are destroyed first.\n",
          "  quarry rm db\n"
          "  quarry rm db@monday\n"
          "  quarry rm --snapshots db\n"
          "  quarry rm --dry-run db www\n",
          rm_options, false, 1, ANY, verb_rm, "volume" },
        { "prune", "[--filter FILTER]... [OPTION]...", "Remove volumes that nobody holds",
          "Shows which they are and what they take, and asks on a terminal. Those that are\n"
          "protected stay, those that have snapshots unless --snapshots is given, and what\n"
          "somebody begins to use before it is its turn: that is said, and is no failure.\n"
          "What is broken is left alone.\n"
          "Filters are those of quarry ls; all that is said must match.\n",
          "  quarry prune --dry-run\n"
          "  quarry prune --filter 'tenant=ci,label=temporary,created>7d'\n"
          "  quarry prune --yes --filter 'name=test-*,label!=keep'\n",
          prune_options, false, 0, 0, verb_prune, "volume", volume_columns },
        { "check", "NAME...", "Look whether the filesystems of volumes are sound",
          "Nobody may use them meanwhile. It is e2fsck or xfs_repair that looks, behind a\n"
          "replay of the journal, and nothing is mended. Prints each that is sound.\n",
          "  quarry umount db && quarry check db\n", no_options, false, 1, ANY, verb_check, "volume" },
        { "trim", "NAME... | --all", "Give back to the pool what volumes no longer use",
          "Volumes may be in use meanwhile. Prints each, and how much less of the pool it\n"
          "takes than before.\n",
          "  quarry trim db\n"
          "  quarry trim --all\n",
          trim_options, false, 0, ANY, verb_trim, "volume" },
        { "snapshot", "NAME[@NEW]... [--name NEW]", "Make read-only images of volumes as they are now",
          "Volumes may be in use: their filesystems are frozen for the moment it takes, so\n"
          "that each image is whole. Those of several volumes are of one instant, all or\n"
          "none. Without a name the snapshot is called by the time, in UTC. Prints each.\n",
          "  quarry snapshot db\n"
          "  quarry snapshot db@before-upgrade\n"
          "  quarry snapshot db www uploads --name nightly\n"
          "  cd \"$(quarry mount -o ro db@before-upgrade)\"\n",
          snapshot_options, false, 1, ANY, verb_snapshot, "snapshot" },
        { "hold", "NAME@SNAPSHOT...", "Keep snapshots from being removed and from expiring", NULL,
          "  quarry hold db@before-upgrade\n", no_options, false, 1, ANY, verb_hold, "snapshot" },
        { "release", "NAME@SNAPSHOT...", "Let held snapshots be removed again", NULL,
          "  quarry release db@before-upgrade\n", no_options, false, 1, ANY, verb_release, "snapshot" },
        { "export", "NAME[@SNAPSHOT] [OPTION]...", "Write the files of a volume as a tar archive",
          "To standard output, unless --to is given: with owners, permissions, ACLs,\n"
          "extended attributes and holes, as any tar reads them. The volume may be in use:\n"
          "what is read is a snapshot that lasts as long as this. A bind or tmpfs volume is\n"
          "read as it is.\n",
          "  quarry export db | tar --list\n"
          "  quarry export db | zstd >db.tar.zst\n"
          "  quarry export db@nightly --to /media/db.tar\n",
          export_options, false, 1, 1, verb_export, "volume" },
        { "send", "NAME@SNAPSHOT [OPTION]...", "Write a snapshot as a stream, for another pool or host",
          "To standard output, unless --to is given; of an encrypted volume header and\n"
          "ciphertext. Only what there is of it in the pool is read, or with --since only\n"
          "what differs. The stream is Ceph's rbd diff, version 2, in zstd frames.\n",
          "  quarry send db@monday | ssh host quarry receive db\n"
          "  quarry send db@tuesday --since db@monday >db.tuesday\n"
          "  quarry send db@monday --to /media/db.monday\n"
          "  quarry send db@monday --to /media/db.img --format raw\n",
          send_options, false, 1, 1, verb_send, "volume" },
        { "receive", "NAME [OPTION]...", "Make a volume of a stream, or bring it up to date",
          "From standard input, unless --from is given. All of a snapshot becomes a new\n"
          "volume with that snapshot. What differs from an earlier one becomes another\n"
          "snapshot of the volume that has that, and the volume is as it is then: it must\n"
          "not be in use, nor have changed. Half a stream becomes nothing.\n",
          "  quarry receive db <db.monday\n"
          "  quarry receive db --from /media/db.tuesday\n",
          receive_options, false, 1, 1, verb_receive, "volume" },
        { "migrate", "NAME --to URL [OPTION]...", "Move a volume to another host, while it is in use",
          "URL is ssh://[USER@]HOST[:PORT][/[POOL:][TENANT/]NAME]; without a name it is\n"
          "called there as here. It is sent while it is used, then what was written\n"
          "meanwhile, until that is little. Then nobody may use it: who does is told, and\n"
          "the same command goes on from there; or COMMAND ends them, for a short while.\n"
          "Here it is kept under another name, which is said, unless --remove is given.\n",
          "  quarry migrate db --to ssh://b\n"
          "  quarry migrate db --to ssh://root@b/fast:db --stop 'systemctl stop app'\n",
          migrate_options, false, 1, 1, verb_migrate, "volume" },
        { "update", "NAME[@SNAPSHOT] [OPTION]...", "Change labels, protection, owner, schedule, also in use",
          "What is not named stays as it is. A label goes with --label KEY- . Owner, group\n"
          "and permissions are those of the root directory; a snapshot has labels only.\n"
          "What is protected is removed by no rm and no prune; its snapshots are.\n"
          "A schedule is a list of rules: a calendar expression as systemd has them, in\n"
          "UTC, and how many of its snapshots are kept. none: no snapshots; default: as the\n"
          "tenant or else the pool has it. An unchanged volume gets none; missed ones are\n"
          "made up for by one.\n",
          "  quarry update db --label app=db --label old-\n"
          "  quarry update www --uid www-data --mode 0750\n"
          "  quarry update db --protect\n"
          "  quarry update db --snapshot-schedule 'hourly keep 24, daily keep 7'\n"
          "  quarry update db --snapshot-schedule 'Mon..Fri *-*-* 08:00 keep 10'\n",
          update_options, false, 1, 1, verb_update, "volume" },
        { "rename", "NAME NEW", "Give a volume another name, also while it is used",
          "NEW is the name alone: tenant and pool stay. The mount at the standard place\n"
          "moves, and those of its snapshots; files that are open stay so. Mounts at other\n"
          "places are not touched. Prints the new name.\n",
          "  quarry rename db db-old\n", no_options, false, 2, 2, verb_rename, "volume" },
        { "resize", "NAME SIZE|+SIZE|-SIZE [OPTION]...", "Give a volume another size",
          "A volume may be in use while it grows, and so does its filesystem. Only ext4 can\n"
          "shrink, while nobody uses it: on a copy that is checked before and behind, and\n"
          "takes its place then. Asks first on a terminal. Prints the new size.\n",
          "  quarry resize db 20G\n"
          "  quarry resize db +5G\n"
          "  quarry resize db -2G\n",
          resize_options, false, 2, 2, verb_resize, "volume" },
        { "diff", "FROM TO [--ranges | --total]", "Tell where two images of a volume differ",
          "FROM and TO are two snapshots of a volume, or a snapshot and the volume as it is\n"
          "now. By the pool's maps, in whole chunks of the pool: what was written differs,\n"
          "even if the same. Offsets are those of the volume's device in the pool, of an\n"
          "encrypted volume with its header, whose length --json tells.\n",
          "  quarry diff db@monday db@tuesday\n"
          "  quarry diff --ranges db@monday db\n"
          "  quarry diff --json db@monday db@tuesday | jq '.ranges[]'\n",
          diff_options, false, 2, 2, verb_diff, "snapshot" },
        { "clone", "NAME@SNAPSHOT NEW [OPTION]...", "Make a volume of a snapshot",
          "It holds the same, can be written, has UUIDs of its own, and can be mounted\n"
          "beside its origin. The snapshot may be removed then. Labels are not taken over.\n",
          "  quarry clone db@nightly db-test\n"
          "  quarry clone db@nightly team/db-test --label purpose=test\n",
          clone_options, false, 2, 2, verb_clone, "snapshot" },
        { "rollback", "NAME@SNAPSHOT [OPTION]...", "Let a volume be what it was when a snapshot was made",
          "Nobody may use it meanwhile. What it is now is kept as a snapshot, which is\n"
          "printed, unless it is to be discarded; snapshots made since then stay, too.\n",
          "  quarry umount db && quarry rollback db@before-upgrade\n"
          "  quarry rollback --yes --discard-current db@before-upgrade\n",
          rollback_options, false, 1, 1, verb_rollback, "snapshot" },
        { "pool create", "NAME (DEVICE... | --vg VG | --file PATH) [OPTION]...",
          "Make a pool that volumes are taken from",
          "Nothing is ever wiped: a device that is in use or bears a signature is refused.\n"
          "The pool that is used when none is named is called default.\n",
          "  quarry pool create default /dev/nvme1n1\n"
          "  quarry pool create default --vg vg0 --size 500G\n"
          "  quarry pool create try --file /var/lib/quarry-try.img --size 10G\n",
          pool_create_options, false, 1, ANY, verb_pool_create, "pool" },
        { "pool ls", "[OPTION]...", "List pools", NULL,
          "  quarry pool ls\n"
          "  quarry pool ls -o +origin,devices\n",
          no_options, true, 0, 0, verb_pool_ls, "pool", pool_columns },
        { "pool inspect", "NAME...", "Show everything about pools", NULL, "  quarry pool inspect default\n", no_options,
          false, 1, ANY, verb_pool_inspect, "pool" },
        { "pool extend", "NAME (DEVICE... | --size SIZE)", "Give a pool more space while it is in use",
          "DEVICE...: added to a pool of whole devices; nothing is ever wiped, as with pool\n"
          "create. --size: how much a pool in a volume group or a file is to have then.\n"
          "The same command can be given again after a failure.\n",
          "  quarry pool extend default /dev/nvme2n1\n"
          "  quarry pool extend default --size 800G\n",
          pool_extend_options, false, 1, ANY, verb_pool_extend, "pool" },
        { "pool check", "NAME [--repair]", "Look whether a pool's metadata is sound, or repair it",
          "Volumes may be in use while it is checked; --repair needs the pool for itself.\n"
          "The repaired metadata is written to free space of the volume group, and the\n"
          "damaged one is kept. The exit code is 0 if the metadata is sound now, else 1.\n"
          "Takes an administrator.\n",
          "  quarry pool check default\n"
          "  quarry pool check default --repair\n",
          pool_check_options, false, 1, 1, verb_pool_check, "pool" },
        { "pool update", "NAME --snapshot-schedule RULES", "Change how a pool treats its volumes",
          "The schedule is for volumes that have none of their own; see quarry help update.\n",
          "  quarry pool update default --snapshot-schedule 'daily keep 7, weekly keep 4'\n"
          "  quarry pool update default --snapshot-schedule none\n",
          pool_update_options, false, 1, 1, verb_pool_update, "pool" },
        { "pool rm", "NAME... [OPTION]...", "Destroy pools that hold no volumes",
          "Asks first on a terminal.\n"
          "--forget: the pool is unavailable, and its disks are gone for good. Nothing is\n"
          "destroyed; it and its volumes are no longer listed.\n",
          "  quarry pool rm try\n"
          "  quarry pool rm broken --forget\n",
          pool_rm_options, false, 1, ANY, verb_pool_rm, "pool" },
        { "pool import", "[DEVICE...]", "Take over pools from disks of another host",
          "Looks at every block device if none is named. Prints the names of the pools that\n"
          "are new on this host.\n",
          "  quarry pool import\n"
          "  quarry pool import /dev/sdc\n",
          no_options, false, 0, ANY, verb_pool_import, "pool" },
        { "pool export", "NAME", "Give a pool up, so that its disks can move to another host", NULL,
          "  quarry pool export archive\n", no_options, false, 1, 1, verb_pool_export, "pool" },
        { "tenant create", "NAME [OPTION]...", "Make a tenant, who owns volumes and has limits",
          "Its members work with its volumes, TENANT/NAME, without being administrators: a\n"
          "member of one tenant need not name it. To others its volumes do not exist.\n"
          "Tenant default is root's, and always there.\n",
          "  quarry tenant create acme --user alice --group acme-ops --max-size 200G\n"
          "  quarry tenant create web --max-volumes 20 --snapshot-schedule 'daily keep 7'\n"
          "  quarry tenant create ci --group ci --if-absent\n",
          tenant_create_options, false, 1, 1, verb_tenant_create, "tenant" },
        { "tenant ls", "[OPTION]...", "List tenants, with what they have of what they may have", NULL,
          "  quarry tenant ls\n"
          "  quarry tenant ls -o name,size,max-size --sort -size\n",
          no_options, true, 0, 0, verb_tenant_ls, "tenant", tenant_columns },
        { "tenant inspect", "NAME... [--pool POOL]", "Show everything about tenants", NULL,
          "  quarry tenant inspect acme\n", tenant_inspect_options, false, 1, ANY, verb_tenant_inspect, "tenant" },
        { "tenant update", "NAME [OPTION]...", "Change a tenant's members, limits and schedule",
          "What is not named stays. A limit below what there is already is refused.\n",
          "  quarry tenant update acme --user bob --remove-user alice\n"
          "  quarry tenant update acme --max-size 500G --max-used 200G --max-volumes none\n",
          tenant_update_options, false, 1, 1, verb_tenant_update, "tenant" },
        { "tenant rm", "NAME... [OPTION]...", "Remove tenants that own nothing", NULL, "  quarry tenant rm acme\n",
          tenant_rm_options, false, 1, ANY, verb_tenant_rm, "tenant" },
        { "key status", "[NAME]...", "Show which keys open a volume, or what is with the host key",
          "Without NAME: where the host key comes from, and how many volumes need it or an\n"
          "older one; takes an administrator.\n",
          "  quarry key status\n"
          "  quarry key status vault\n",
          no_options, false, 0, ANY, verb_key_status, "key" },
        { "key rotate", "[--yes]", "Make a new host key, and have all keys wrapped by it",
          "Each volume opens with the old or the new one at any moment, also when it is cut\n"
          "short: it goes on by itself, or with the same command. The old one is destroyed\n"
          "when no volume of this host needs it; exported pools and backups of headers may.\n"
          "Takes an administrator.\n",
          "  quarry key rotate\n", key_rotate_options, false, 0, 0, verb_key_rotate, "key" },
        { "key lock", "NAME... [--suspend]", "Take the key of a volume from the kernel",
          "It stays locked, also over a restart. One that is in use is refused, unless\n"
          "--suspend: whoever reads or writes then waits until it is unlocked.\n",
          "  quarry key lock vault\n"
          "  quarry key lock --suspend vault\n",
          key_lock_options, false, 1, ANY, verb_key_lock, "key" },
        { "key unlock", "NAME... [--key-file FILE]", "Let a volume be opened again",
          "A passphrase is asked for on the terminal when one is needed; the next mount\n"
          "does not ask for it again.\n",
          "  quarry key unlock vault\n", key_unlock_options, false, 1, ANY, verb_key_unlock, "key" },
        { "key add", "NAME [OPTION]...", "Add a passphrase or the host key to a volume",
          "A present passphrase is asked for unless the host key opens it.\n",
          "  quarry key add vault\n"
          "  quarry key add vault --host\n",
          key_add_options, false, 1, 1, verb_key_add, "key" },
        { "key remove", "NAME [OPTION]...", "Remove a passphrase or the host key from a volume",
          "One that stays must be shown to open it: the host key, or a passphrase.\n"
          "Snapshots and backups of the header made before keep what is removed.\n",
          "  quarry key remove vault\n"
          "  quarry key remove vault --slot 2\n"
          "  quarry key remove vault --host\n",
          key_remove_options, false, 1, 1, verb_key_remove, "key" },
        { "key change", "NAME [OPTION]...", "Change a passphrase of a volume", NULL,
          "  quarry key change vault\n"
          "  quarry key change vault --key-file old --new-key-file new\n",
          key_change_options, false, 1, 1, verb_key_change, "key" },
        { "key backup", "NAME --to FILE", "Write the LUKS2 header of a volume to a file",
          "As cryptsetup luksHeaderBackup does. Passphrases that are removed later open the\n"
          "volume with it: keep it as safe as those.\n",
          "  quarry key backup vault --to /media/safe/vault.luks\n"
          "  quarry key backup vault | age -r KEY >vault.luks.age\n",
          key_backup_options, false, 1, 1, verb_key_backup, "key" },
        { "key restore", "NAME --from FILE [--yes]", "Write a LUKS2 header back to its volume",
          "Nobody may use the volume meanwhile. Its keys are those that it had then.\n",
          "  quarry key restore vault --from /media/safe/vault.luks\n", key_restore_options, false, 1, 1,
          verb_key_restore, "key" },
        { "backup target", "add NAME URL | ls | rm NAME [OPTION]...", "Say where backups go",
          "URL is file:///DIRECTORY or s3://BUCKET[/PREFIX]?endpoint=URL[&region=REGION].\n"
          "What lies there is encrypted. The host key opens it, or the passphrase that\n"
          "--key-file or the terminal gives, or both. With --existing a repository that is\n"
          "there is opened: on a new host, all that is needed for a restore. rm forgets the\n"
          "target, and leaves what lies there.\n",
          "  quarry backup target add disk file:///media/backup\n"
          "  quarry backup target add cloud 's3://bucket?endpoint=https://s3.example.net' \\\n"
          "      --credentials /etc/quarry/s3 --key host --key-file /media/safe/passphrase\n"
          "  quarry backup target add old file:///media/backup --existing --key passphrase\n",
          backup_target_options, true, 1, 3, verb_backup_target, "backup", backup_target_columns },
        { "backup run", "NAME... [OPTION]...", "Back volumes up",
          "They may be in use: what is read is a snapshot, which stays until the next\n"
          "backup, so that only what changed since is read then. Prints each backup's ID.\n"
          "With --schedule nothing is done now: the rules are those of snapshots, and each\n"
          "keeps so many of its backups. With --prove each is restored and compared.\n",
          "  quarry backup run db www\n"
          "  quarry backup run db --to cloud --prove\n"
          "  quarry backup run db www --schedule 'daily keep 7, weekly keep 4' --prove\n",
          backup_run_options, false, 0, ANY, verb_backup_run, "backup" },
        { "backup ls", "[NAME]... [OPTION]...", "List backups, and when each was proven", NULL,
          "  quarry backup ls\n"
          "  quarry backup ls db --from cloud -o id,time,proven\n",
          backup_ls_options, true, 0, ANY, verb_backup_ls, "backup", backup_columns },
        { "backup restore", "ID|NAME[@TIME] NEW [OPTION]...", "Make a volume of a backup",
          "NAME: the last of this volume, with @TIME the last up to then: a day and perhaps\n"
          "a time, in UTC, or how long ago it is. Half a restore becomes nothing.\n",
          "  quarry backup restore db db-restored\n"
          "  quarry backup restore db@2026-11-27 db-yesterday\n",
          backup_restore_options, false, 2, 2, verb_backup_restore, "backup" },
        { "backup verify", "[ID|NAME[@TIME]]... [OPTION]...", "Look whether backups can be restored",
          "All of them, if none is named: whether everything that they need is there. With\n"
          "--deep the last of each volume is restored into a temporary volume, every block\n"
          "compared, its filesystem checked, and what was seen recorded as the proof.\n",
          "  quarry backup verify\n"
          "  quarry backup verify --deep db\n",
          backup_verify_options, false, 0, ANY, verb_backup_verify, "backup" },
        { "backup prune", "[NAME]... [OPTION]...", "Remove old backups, and what only they needed",
          "--keep: so many of the last hours, days, weeks, months or years that have one,\n"
          "of each volume; the last that was proven always stays. Asks on a terminal.\n",
          "  quarry backup prune --keep '7 daily, 4 weekly, 12 monthly' --dry-run\n", backup_prune_options, false, 0,
          ANY, verb_backup_prune, "backup" },
        { "status", "[OPTION]...", "Show in one screen whether all is well, and what to do if not",
          "Pools with their space, volumes that are not as they should be, and schedules\n"
          "that failed. The exit code is 0 if all is well, else 1.\n",
          "  quarry status\n"
          "  quarry status --json | jq .problems\n",
          no_options, false, 0, 0, verb_status, "status" },
        { "df", "[NAME]... [OPTION]...", "Show how full pools, tenants and volumes are",
          "Volumes are sorted by what they take, and the first ten shown, unless some are\n"
          "named. How full a filesystem is only its mount tells: what has been deleted in\n"
          "it counts as used here until it is trimmed.\n",
          "  quarry df\n"
          "  quarry df db www\n"
          "  quarry df --all --sort -snapshots-used\n",
          df_options, true, 0, ANY, verb_df, "status", df_columns },
        { "doctor", "[OPTION]...", "Look whether all is well, and repair what is safe to repair",
          "Compares the catalogs with the pools, the kernel and the set-up of the host, and\n"
          "says what does not fit and what to do about it. The exit code is 0 if nothing is\n"
          "found, or everything that was found is repaired, else 1. Takes an administrator.\n",
          "  quarry doctor\n"
          "  quarry doctor --fix\n",
          doctor_options, false, 0, 0, verb_doctor, "status" },
        { "log", "[NAME[@SNAPSHOT]]... [OPTION]...", "Show what happened: who did what, when, and how it ended",
          "The oldest first, times in UTC. Who may read the system journal is shown all\n"
          "that it has, also of volumes that are gone; others the last events since quarryd\n"
          "was started. Of a volume also what is about its snapshots.\n"
          "TIME is a day and perhaps a time, in UTC, or how long ago it is: 90s, 2h, 7d.\n",
          "  quarry log db\n"
          "  quarry log --since 2h\n"
          "  quarry log --tenant acme --since 2026-11-01 --until '2026-11-02 06:00'\n"
          "  quarry log -n 20 --json | jq -r '.events[] | select(.result != \"ok\").message'\n",
          log_options, false, 0, ANY, verb_log, "log" },
        { "events", "[NAME[@SNAPSHOT]]... [OPTION]...", "Show what happens, as it happens, until it is interrupted",
          "A line for each event, as quarry log has them. With --json each is an object in\n"
          "a line; {\"lost\":N} stands for so many that were not read in time.\n",
          "  quarry events\n"
          "  quarry events db www\n"
          "  quarry events --json | jq --unbuffered -r 'select(.type == \"failed\").error'\n",
          events_options, false, 0, ANY, verb_events, "log" },
        { "driver", "[TENANT]", "Serve container engines on a socket that systemd hands over",
          "What quarry-docker.service runs, and quarry-docker@TENANT.service: the socket is\n"
          "served by quarryd for as long as this lasts. Takes an administrator.\n",
          "  systemctl enable --now quarry-docker@acme.socket\n"
          "  systemd-socket-activate -l /run/docker/plugins/quarry.sock quarry driver\n",
          no_options, false, 0, 1, verb_driver, "docker" },
        { "help", "[VERB]...", "Show what a verb does, and its options", NULL, "  quarry help pool create\n",
          no_options, false, 0, 2, verb_help },
        { "complete", "-- WORD...", "Print what the last word can be: for shells",
          "WORD...: what is typed behind quarry; the last one may be empty. Each line is a\n"
          "word, and behind a tab what it means. What ends in / = or , is not yet whole.\n",
          "  quarry complete -- rm we\n"
          "  quarry complete -- ls --sort ''\n",
          no_options, false, 0, ANY, verb_complete },
        {},
};
