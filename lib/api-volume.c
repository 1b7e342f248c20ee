/* io.quarry.Volume: the life of volumes. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_ENUM_TYPE(
        StoppedBy,
        SD_VARLINK_DEFINE_ENUM_VALUE(pool),
        SD_VARLINK_DEFINE_ENUM_VALUE(tenant));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        Filesystem,
        SD_VARLINK_FIELD_COMMENT("ext4; the default"),
        SD_VARLINK_DEFINE_ENUM_VALUE(ext4),
        SD_VARLINK_FIELD_COMMENT("XFS; at least 300 MiB, cannot shrink"),
        SD_VARLINK_DEFINE_ENUM_VALUE(xfs),
        SD_VARLINK_FIELD_COMMENT("No filesystem: a block device"),
        SD_VARLINK_DEFINE_ENUM_VALUE(none));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        VolumeKind,
        SD_VARLINK_FIELD_COMMENT("On a device of its own in the pool; the default"),
        SD_VARLINK_DEFINE_ENUM_VALUE(block),
        SD_VARLINK_FIELD_COMMENT("A directory of the host, which is not touched when the volume is removed"),
        SD_VARLINK_DEFINE_ENUM_VALUE(bind),
        SD_VARLINK_FIELD_COMMENT("In memory: empty when it is mounted, and gone with its last mount"),
        SD_VARLINK_DEFINE_ENUM_VALUE(tmpfs));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        KeySource,
        SD_VARLINK_FIELD_COMMENT("Random passphrase, wrapped by the host key: opens unattended on this host"),
        SD_VARLINK_DEFINE_ENUM_VALUE(host),
        SD_VARLINK_FIELD_COMMENT("Passphrase given by the caller each time the volume is opened"),
        SD_VARLINK_DEFINE_ENUM_VALUE(passphrase));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        VolumeState,
        SD_VARLINK_FIELD_COMMENT("Being made; not usable yet"),
        SD_VARLINK_DEFINE_ENUM_VALUE(creating),
        SD_VARLINK_FIELD_COMMENT("Whole and usable"),
        SD_VARLINK_DEFINE_ENUM_VALUE(ready),
        SD_VARLINK_FIELD_COMMENT("Being removed"),
        SD_VARLINK_DEFINE_ENUM_VALUE(removing),
        SD_VARLINK_FIELD_COMMENT("Removed, and not listed: its space goes back to the pool"),
        SD_VARLINK_DEFINE_ENUM_VALUE(freeing),
        SD_VARLINK_FIELD_COMMENT("Something failed half way and could not be undone; see failure"),
        SD_VARLINK_DEFINE_ENUM_VALUE(broken));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        VolumeType,
        SD_VARLINK_FIELD_COMMENT("A volume"),
        SD_VARLINK_DEFINE_ENUM_VALUE(volume),
        SD_VARLINK_FIELD_COMMENT("A read-only image of a volume; its name is NAME@SNAPSHOT"),
        SD_VARLINK_DEFINE_ENUM_VALUE(snapshot));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        ListType,
        SD_VARLINK_DEFINE_ENUM_VALUE(volume),
        SD_VARLINK_DEFINE_ENUM_VALUE(snapshot),
        SD_VARLINK_FIELD_COMMENT("Both"),
        SD_VARLINK_DEFINE_ENUM_VALUE(all));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Encryption,
        SD_VARLINK_FIELD_COMMENT("Cipher in the kernel's notation"),
        SD_VARLINK_DEFINE_FIELD(cipher, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Size of the volume key in bits"),
        SD_VARLINK_DEFINE_FIELD(keyBits, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("Size of an encryption sector in bytes"),
        SD_VARLINK_DEFINE_FIELD(sectorSize, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(keySource, KeySource, 0),
        SD_VARLINK_FIELD_COMMENT("Nobody opens it until it is unlocked, see io.quarry.Key; a snapshot is locked as its "
                                 "volume is"),
        SD_VARLINK_DEFINE_FIELD(locked, SD_VARLINK_BOOL, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        MountPoint,
        SD_VARLINK_FIELD_COMMENT("Where the volume is mounted, in the host's mount namespace"),
        SD_VARLINK_DEFINE_FIELD(path, SD_VARLINK_STRING, 0),
        SD_VARLINK_DEFINE_FIELD(readOnly, SD_VARLINK_BOOL, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        ScheduleRule,
        SD_VARLINK_FIELD_COMMENT("When it elapses, see systemd.time(7); in UTC unless it names another zone"),
        SD_VARLINK_DEFINE_FIELD(expression, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("How many of its snapshots are kept, the newest ones"),
        SD_VARLINK_DEFINE_FIELD(keep, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("When it ran last, RFC 3339; missing: never. An unchanged volume gets no snapshot"),
        SD_VARLINK_DEFINE_FIELD(lastRunAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("When it runs next; missing: never, or not known yet"),
        SD_VARLINK_DEFINE_FIELD(nextRunAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Why the last run failed; missing: it did not"),
        SD_VARLINK_DEFINE_FIELD(failure, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Volume,
        SD_VARLINK_FIELD_COMMENT("As all members, missing if List was asked for others; else what is missing says why"),
        SD_VARLINK_DEFINE_FIELD(name, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(tenant, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Identity that survives renames; kernel names are made of it"),
        SD_VARLINK_DEFINE_FIELD(uuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(type, VolumeType, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(kind, VolumeKind, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a bind volume: the directory, and whether it is only ever mounted read-only"),
        SD_VARLINK_DEFINE_FIELD(source, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(readOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a tmpfs volume: how many files it may have, if that was said, and whether it "
                                 "stays out of swap"),
        SD_VARLINK_DEFINE_FIELD(inodes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(noswap, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a snapshot: whether it is kept from being removed and from expiring"),
        SD_VARLINK_DEFINE_FIELD(held, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume: whether it is kept from being removed"),
        SD_VARLINK_DEFINE_FIELD(protected, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume: how many snapshots it has"),
        SD_VARLINK_DEFINE_FIELD(snapshots, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(state, VolumeState, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Why the state is broken, or still removing"),
        SD_VARLINK_DEFINE_FIELD(failure, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("True in state removing while somebody uses it: it goes when its last user does"),
        SD_VARLINK_DEFINE_FIELD(waitsForUsers, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Size the user asked for, rounded up to whole MiB, in bytes"),
        SD_VARLINK_DEFINE_FIELD(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Space taken in the pool in bytes, as last seen; missing if never seen"),
        SD_VARLINK_DEFINE_FIELD(usedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How much of that no other volume or snapshot has: what its removal would free; "
                                 "missing if never seen"),
        SD_VARLINK_DEFINE_FIELD(exclusiveBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How long ago that was seen, in seconds: it is looked at when it is older than a "
                                 "minute, more seldom in a large pool"),
        SD_VARLINK_DEFINE_FIELD(exclusiveAgeSeconds, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(filesystem, Filesystem, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Missing if the volume is not encrypted"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(encryption, Encryption, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(labels, SD_VARLINK_STRING, SD_VARLINK_MAP | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Owner, group and mode that the root directory was given by Create or Update"),
        SD_VARLINK_DEFINE_FIELD(uid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(gid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Permission bits as a number, e.g. 493 for 0755"),
        SD_VARLINK_DEFINE_FIELD(mode, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Options that mkfs was given"),
        SD_VARLINK_DEFINE_FIELD(mkfsOptions, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("RFC 3339, UTC"),
        SD_VARLINK_DEFINE_FIELD(createdAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Whether its devices are open in the kernel"),
        SD_VARLINK_DEFINE_FIELD(open, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The standard mount point while mounted there"),
        SD_VARLINK_DEFINE_FIELD(mountPoint, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("True while its filesystem gets no new space"),
        SD_VARLINK_DEFINE_FIELD(stopped, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Then, why: its pool has none left, or its tenant uses more than it may"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(stoppedBy, StoppedBy, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Every mount of it, the standard one included"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(holds, MountPoint, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume: when snapshots are made of it, \"none\" if it is said that none are. "
                                 "Missing: by the schedule of its pool, if that has one"),
        SD_VARLINK_DEFINE_FIELD(snapshotSchedule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Its rules, be they its own or those of its pool; missing: none"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(scheduleRules, ScheduleRule, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume: when its newest snapshot was made, by whomever; RFC 3339"),
        SD_VARLINK_DEFINE_FIELD(lastSnapshotAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("When the first of its rules runs next"),
        SD_VARLINK_DEFINE_FIELD(nextSnapshotAt, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a snapshot: the rule that made it"),
        SD_VARLINK_DEFINE_FIELD(rule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Progress,
        SD_VARLINK_FIELD_COMMENT("The step that begins now"),
        SD_VARLINK_DEFINE_FIELD(step, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Its number, from 1, and how many there are"),
        SD_VARLINK_DEFINE_FIELD(position, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(total, SD_VARLINK_INT, 0));

#define VOLUME_INPUT                                                                         \
        SD_VARLINK_FIELD_COMMENT("Reference: [POOL:][TENANT/]NAME[@SNAPSHOT], or the UUID"), \
                SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0)
#define PROGRESS_OUTPUT                                                                              \
        SD_VARLINK_FIELD_COMMENT("Only in replies before the last, when the caller asked for more"), \
                SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(progress, Progress, SD_VARLINK_NULLABLE)
#define KEY_INPUT                                                                                             \
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor that holds the passphrase: a sealed memfd"), \
                SD_VARLINK_DEFINE_INPUT(keyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE)
#define DRY_RUN_INPUT                                                                                         \
        SD_VARLINK_FIELD_COMMENT("Only say whether what is known now speaks against it, and change nothing"), \
                SD_VARLINK_DEFINE_INPUT(dryRun, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE)

static SD_VARLINK_DEFINE_METHOD_FULL(
        Create,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of the new volume: [POOL:][TENANT/]NAME"),
        SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Default: block"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(kind, VolumeKind, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Bytes the user can fill; rounded up to whole MiB. Only a bind volume can do without"),
        SD_VARLINK_DEFINE_INPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a bind volume: an absolute path below AllowedRoots= of quarry.conf(5)"),
        SD_VARLINK_DEFINE_INPUT(source, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a bind volume: nothing can be written, wherever it is mounted"),
        SD_VARLINK_DEFINE_INPUT(readOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a tmpfs volume: how many files and directories it may have"),
        SD_VARLINK_DEFINE_INPUT(inodes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a tmpfs volume: it is not swapped out"),
        SD_VARLINK_DEFINE_INPUT(noswap, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Default: ext4"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(filesystem, Filesystem, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Where the key comes from; missing: not encrypted"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(keySource, KeySource, SD_VARLINK_NULLABLE),
        KEY_INPUT,
        SD_VARLINK_FIELD_COMMENT("\"key=value\", each key once"),
        SD_VARLINK_DEFINE_INPUT(labels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Owner of the root directory; default 0"),
        SD_VARLINK_DEFINE_INPUT(uid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Group of the root directory; default 0"),
        SD_VARLINK_DEFINE_INPUT(gid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Permission bits of the root directory as a number; default 493 (0755)"),
        SD_VARLINK_DEFINE_INPUT(mode, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Options for mkfs, such as \"-m 1\"; see quarry-volume(1) for the list"),
        SD_VARLINK_DEFINE_INPUT(mkfsOptions, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Nobody removes it until Update says otherwise"),
        SD_VARLINK_DEFINE_INPUT(protected, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Success if a volume of this name with these same options exists"),
        SD_VARLINK_DEFINE_INPUT(ifAbsent, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Called with more: the caller fills it, before it is there for anybody else. One "
                                 "reply brings the next two, and the last comes behind a byte that is written to the "
                                 "second. "
                                 "If that is closed before, nothing of the volume ever was"),
        SD_VARLINK_DEFINE_INPUT(fill, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("Index of the descriptor of a detached mount of the volume, and of that of a pipe. "
                                 "What was written is on the disk, and the first closed, before the byte is written"),
        SD_VARLINK_DEFINE_OUTPUT(mountFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(doneFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("True if it was there already"),
        SD_VARLINK_DEFINE_OUTPUT(existed, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        MissingPool,
        SD_VARLINK_DEFINE_FIELD(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("activating or unavailable"),
        SD_VARLINK_DEFINE_FIELD(state, SD_VARLINK_STRING, 0),
        SD_VARLINK_DEFINE_FIELD(failure, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How many of its volumes are in the list, as they were known before"),
        SD_VARLINK_DEFINE_FIELD(volumes, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        List,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Only volumes of this pool"),
        SD_VARLINK_DEFINE_INPUT(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Only volumes of this tenant"),
        SD_VARLINK_DEFINE_INPUT(tenant, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Default: volume"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(type, ListType, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Only these members of each volume, such as name and sizeBytes: a long list is that "
                                 "much faster. Missing or empty: all"),
        SD_VARLINK_DEFINE_INPUT(fields, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("In batches when the caller asked for more, else all; may be empty"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volumes, Volume, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("In the last reply: pools that are not active, so that their volumes are not in the "
                                 "list, or only as they were known before"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(missingPools, MissingPool, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
        Inspect, VOLUME_INPUT, SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Remove,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Do not refuse a volume that is in use: take it from its standard place, note that "
                                 "it is to go, and remove it behind its last user"),
        SD_VARLINK_DEFINE_INPUT(lazy, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Remove its snapshots before; a volume that has some is refused otherwise"),
        SD_VARLINK_DEFINE_INPUT(snapshots, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("With lazy: who uses it, one sentence for people; missing: it is removed"),
        SD_VARLINK_DEFINE_OUTPUT(users, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        IdRange,
        SD_VARLINK_FIELD_COMMENT("The first uid and gid of the host, 1 or more"),
        SD_VARLINK_DEFINE_FIELD(uid, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(gid, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("How many"),
        SD_VARLINK_DEFINE_FIELD(count, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Mount,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("The same as option ro"),
        SD_VARLINK_DEFINE_INPUT(readOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("rw ro, exec noexec, relatime noatime strictatime, diratime nodiratime, symfollow "
                                 "nosymfollow, nosuid suid, nodev dev: of each group one, the first is what is not "
                                 "said. suid and dev are for administrators and with detached only: the mount that is "
                                 "passed is nosuid and nodev nevertheless, and who attaches it changes that with "
                                 "mount_setattr(2)"),
        SD_VARLINK_DEFINE_INPUT(options, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("With detached: the ids from 0 on that files have in the volume are shown as those of "
                                 "the first range, those behind them as those of the next, all others as nobody's. "
                                 "At most 16, which do not overlap. For others than administrators: the caller's own "
                                 "uid and gid with count 1, or ids that subuid(5) and subgid(5) give to the caller"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(idmap, IdRange, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("With detached, instead of idmap: index of the passed descriptor of a user namespace, "
                                 "by whose map ids are shown. For others than administrators: one that the caller "
                                 "made. Not the host's"),
        SD_VARLINK_DEFINE_INPUT(userNamespaceFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("SELinux context of all files, one for all mounts of the volume. Refused by a kernel "
                                 "that runs without SELinux"),
        SD_VARLINK_DEFINE_INPUT(context, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Do not attach it anywhere: pass a detached mount, to be attached with move_mount(2)"),
        SD_VARLINK_DEFINE_INPUT(detached, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        KEY_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("Mount point; for a volume without filesystem its device"),
        SD_VARLINK_DEFINE_OUTPUT(path, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor of the detached mount"),
        SD_VARLINK_DEFINE_OUTPUT(mountFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(Check, SD_VARLINK_SUPPORTS_MORE, VOLUME_INPUT, PROGRESS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Trim,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("How much less of the pool the volume takes than before"),
        SD_VARLINK_DEFINE_OUTPUT(freedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Unmount,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Who uses it under this mount keeps it until they end; its devices go with the last"),
        SD_VARLINK_DEFINE_INPUT(lazy, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("Who keeps its devices open, one sentence for people; missing: they are closed"),
        SD_VARLINK_DEFINE_OUTPUT(users, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Snapshot,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("References of volumes of one pool, each with the name of its snapshot behind an @ or "
                                 "without"),
        SD_VARLINK_DEFINE_INPUT(volumes, SD_VARLINK_STRING, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("For those without; missing: made of the time in UTC, such as 20261126T153000Z"),
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("\"key=value\", each key once, beside those of the volumes, which they take over"),
        SD_VARLINK_DEFINE_INPUT(labels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(snapshots, Volume, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
        Hold, VOLUME_INPUT);

static SD_VARLINK_DEFINE_METHOD(
        Release, VOLUME_INPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Update,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("\"key=value\", each key once: set, or set anew"),
        SD_VARLINK_DEFINE_INPUT(labels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Keys of labels that are to go"),
        SD_VARLINK_DEFINE_INPUT(removeLabels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("New owner, group and permission bits of the root directory; what is missing stays. "
                                 "Not of snapshots"),
        SD_VARLINK_DEFINE_INPUT(uid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(gid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(mode, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Whether it is kept from being removed; its snapshots never are by that. If nothing "
                                 "else is to be changed, also of a broken volume. Not of snapshots, see Hold"),
        SD_VARLINK_DEFINE_INPUT(protected, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("When snapshots are made of it, and how many of each rule are kept, such as \"hourly "
                                 "keep 24, Mon..Fri *-*-* 08:00 keep 10\": at most 16 rules, each a calendar "
                                 "expression, see systemd.time(7), and 1 to 1000; \"none\": none, \"default\": as "
                                 "its tenant has it, or else its pool. Not of snapshots"),
        SD_VARLINK_DEFINE_INPUT(snapshotSchedule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        KEY_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Range,
        SD_VARLINK_DEFINE_FIELD(offsetBytes, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(lengthBytes, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Diff,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of a snapshot, or of a volume as it is now; null: nothing, so that the "
                                 "ranges are all that the other has of its pool"),
        SD_VARLINK_DEFINE_INPUT(from, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Another of the same volume, or of one that comes from it, in the same pool"),
        SD_VARLINK_DEFINE_INPUT(to, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Answer without the ranges"),
        SD_VARLINK_DEFINE_INPUT(totalOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of too many ranges those that are near each other become one, with what lies "
                                 "between them"),
        SD_VARLINK_DEFINE_INPUT(join, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("In order, whole chunks, none touches the next; missing with totalOnly. More than "
                                 "200000 are refused without join. Offsets are those of the thin device, in bytes, "
                                 "the header of an encrypted volume included"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(ranges, Range, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Bytes in all ranges, and how many ranges there are"),
        SD_VARLINK_DEFINE_OUTPUT(totalBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(rangeCount, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of the pool: what differs in one byte differs in a chunk"),
        SD_VARLINK_DEFINE_OUTPUT(chunkSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Where the contents begin: behind the header of an encrypted volume, else 0"),
        SD_VARLINK_DEFINE_OUTPUT(dataOffsetBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Sizes of the two thin devices; what only one of them has is a range"),
        SD_VARLINK_DEFINE_OUTPUT(fromSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(toSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("One of the two is no snapshot: it was compared as its map was, without what had not "
                                 "yet been written to the pool, and may have changed since"),
        SD_VARLINK_DEFINE_OUTPUT(live, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Clone,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of the snapshot: [POOL:][TENANT/]NAME@SNAPSHOT, or the UUID"),
        SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Reference of the new volume: [POOL:][TENANT/]NAME. It is in the snapshot's pool"),
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("\"key=value\", each key once; those of the snapshot are not taken over"),
        SD_VARLINK_DEFINE_INPUT(labels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        KEY_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Rollback,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of the snapshot: [POOL:][TENANT/]NAME@SNAPSHOT, or the UUID"),
        SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Keep nothing of what the volume is now"),
        SD_VARLINK_DEFINE_INPUT(discardCurrent, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("With discardCurrent: only if what the volume is now is what one of these snapshots "
                                 "of it is; else NotSupported, with ESTALE"),
        SD_VARLINK_DEFINE_INPUT(known, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        DRY_RUN_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What the volume was; missing: that is discarded"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(snapshot, Volume, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Rename,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Its new name, without pool and tenant, which stay"),
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0),
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Resize,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Bytes the user can fill, rounded up to whole MiB; exactly one of the three is given"),
        SD_VARLINK_DEFINE_INPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How much more, or less, than it has when it is this call's turn"),
        SD_VARLINK_DEFINE_INPUT(addBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(subtractBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        DRY_RUN_INPUT,
        KEY_INPUT,
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(volume, Volume, SD_VARLINK_NULLABLE));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Volume,
        API_VOLUME,
        SD_VARLINK_INTERFACE_COMMENT("Volumes of the storage host: create, list, mount, remove. "
                                     "A client that goes away does not cancel what it asked for."),
        SD_VARLINK_SYMBOL_COMMENT("Creates a volume and answers when it is durable. The same call repeated while "
                                  "it runs joins the running one."),
        &vl_method_Create,
        SD_VARLINK_SYMBOL_COMMENT("Lists the volumes that the caller may see."),
        &vl_method_List,
        SD_VARLINK_SYMBOL_COMMENT("Shows one volume, with its used space as of now."),
        &vl_method_Inspect,
        SD_VARLINK_SYMBOL_COMMENT("Removes a volume; refused while anybody uses it, unless lazy, and while it is "
                                  "protected. The keyslots of an encrypted one are destroyed first."),
        &vl_method_Remove,
        SD_VARLINK_SYMBOL_COMMENT("Opens a volume and mounts it at its standard place, /run/quarry/mnt/"
                                  "TENANT/NAME, nosuid and nodev. Mounted already with the same options: answers "
                                  "where."),
        &vl_method_Mount,
        SD_VARLINK_SYMBOL_COMMENT("Takes away the standard mount, and closes the devices unless somebody else "
                                  "uses them."),
        &vl_method_Unmount,
        SD_VARLINK_SYMBOL_COMMENT("Gives back to the pool what the volume's filesystem does not use. It may be "
                                  "mounted; one that is not is opened for it, unless it needs a passphrase."),
        &vl_method_Trim,
        SD_VARLINK_SYMBOL_COMMENT("Looks whether the filesystem of a volume that nobody uses is sound, by its own "
                                  "tools; what is wrong is not mended. One that is closed is opened for it, unless "
                                  "it needs a passphrase."),
        &vl_method_Check,
        SD_VARLINK_SYMBOL_COMMENT("Makes snapshots of volumes at one instant; all or none. The volumes may be in use: "
                                  "their filesystems are frozen for the moment it takes, so that each is whole."),
        &vl_method_Snapshot,
        SD_VARLINK_SYMBOL_COMMENT("Keeps a snapshot from being removed and from expiring."),
        &vl_method_Hold,
        SD_VARLINK_SYMBOL_COMMENT("Undoes Hold."),
        &vl_method_Release,
        SD_VARLINK_SYMBOL_COMMENT("Changes labels of a volume or snapshot, whether a volume is protected, or who owns "
                                  "its root directory; it may be mounted, and one that is not is opened for that."),
        &vl_method_Update,
        SD_VARLINK_SYMBOL_COMMENT("Tells where two images of a volume differ, by the pool's maps and without reading "
                                  "them: what was written, even with the same contents, differs."),
        &vl_method_Diff,
        SD_VARLINK_SYMBOL_COMMENT("Makes a volume of a snapshot: it holds the same, has UUIDs of its own, and does not "
                                  "need the snapshot any more. One with a passphrase has the same, and needs it."),
        &vl_method_Clone,
        SD_VARLINK_SYMBOL_COMMENT("Lets a volume be what it was when the snapshot was made; refused while anybody uses "
                                  "it. What it is now becomes a snapshot, unless it is to be discarded."),
        &vl_method_Rollback,
        SD_VARLINK_SYMBOL_COMMENT("Gives a volume another name. It may be mounted: its standard mount, those of its "
                                  "snapshots, and its device link move; files that are open stay so, and other mounts "
                                  "are not touched."),
        &vl_method_Rename,
        SD_VARLINK_SYMBOL_COMMENT("Gives a volume another size. It may be in use while it grows; only ext4 can shrink, "
                                  "and only while nobody uses it. One whose key is a passphrase needs it, also while "
                                  "it is open."),
        &vl_method_Resize,
        &vl_type_VolumeType,
        &vl_type_VolumeKind,
        &vl_type_ListType,
        SD_VARLINK_SYMBOL_COMMENT("What mkfs makes"),
        &vl_type_Filesystem,
        &vl_type_KeySource,
        &vl_type_VolumeState,
        &vl_type_StoppedBy,
        &vl_type_MissingPool,
        &vl_type_Encryption,
        SD_VARLINK_SYMBOL_COMMENT("Somewhere that the volume is mounted"),
        &vl_type_MountPoint,
        SD_VARLINK_SYMBOL_COMMENT("Ids of the host by which a mount shows those of the volume"),
        &vl_type_IdRange,
        &vl_type_Range,
        &vl_type_ScheduleRule,
        &vl_type_Volume,
        &vl_type_Progress,
        ERROR_KINDS(API_LIST_ERROR) NULL);
