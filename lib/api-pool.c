/* io.quarry.Pool: where volumes are carved out of. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_ENUM_TYPE(
        PoolState,
        SD_VARLINK_FIELD_COMMENT("Being brought up, for example after boot"),
        SD_VARLINK_DEFINE_ENUM_VALUE(activating),
        SD_VARLINK_DEFINE_ENUM_VALUE(active),
        SD_VARLINK_FIELD_COMMENT("Known, but it could not be brought up; see failure"),
        SD_VARLINK_DEFINE_ENUM_VALUE(unavailable),
        SD_VARLINK_FIELD_COMMENT("Active, but what lies beneath fails: it takes no changes; see failure"),
        SD_VARLINK_DEFINE_ENUM_VALUE(degraded));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        PoolOrigin,
        SD_VARLINK_FIELD_COMMENT("Whole block devices, in a volume group of its own"),
        SD_VARLINK_DEFINE_ENUM_VALUE(devices),
        SD_VARLINK_FIELD_COMMENT("A share of an existing volume group"),
        SD_VARLINK_DEFINE_ENUM_VALUE(vg),
        SD_VARLINK_FIELD_COMMENT("A file on another filesystem, for trying things out"),
        SD_VARLINK_DEFINE_ENUM_VALUE(file));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        Space,
        SD_VARLINK_DEFINE_ENUM_VALUE(ok),
        SD_VARLINK_FIELD_COMMENT("Little is left: no volumes are made"),
        SD_VARLINK_DEFINE_ENUM_VALUE(low),
        SD_VARLINK_FIELD_COMMENT("So little that filesystems get no new space, the largest growers or all"),
        SD_VARLINK_DEFINE_ENUM_VALUE(stopped),
        SD_VARLINK_FIELD_COMMENT("Nothing is left: what needs new space waits, and fails after a minute"),
        SD_VARLINK_DEFINE_ENUM_VALUE(full));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Pool,
        SD_VARLINK_DEFINE_FIELD(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_DEFINE_FIELD(uuid, SD_VARLINK_STRING, 0),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(state, PoolState, 0),
        SD_VARLINK_FIELD_COMMENT("Why it is unavailable or degraded, or what failed while it is activated again"),
        SD_VARLINK_DEFINE_FIELD(failure, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The command that may mend that, if there is one"),
        SD_VARLINK_DEFINE_FIELD(advice, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(origin, PoolOrigin, 0),
        SD_VARLINK_FIELD_COMMENT("Physical volumes beneath"),
        SD_VARLINK_DEFINE_FIELD(devices, SD_VARLINK_STRING, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("LVM volume group"),
        SD_VARLINK_DEFINE_FIELD(volumeGroup, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The file beneath, if the origin is a file"),
        SD_VARLINK_DEFINE_FIELD(file, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Missing, like the numbers that follow: not known, since the pool was not active yet"),
        SD_VARLINK_DEFINE_FIELD(chunkSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Space for the contents of volumes"),
        SD_VARLINK_DEFINE_FIELD(dataSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(dataUsedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How it stands with the space for contents"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(space, Space, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Seconds until it is full if it fills as within the last day"),
        SD_VARLINK_DEFINE_FIELD(fullInSeconds, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What its volume group has free for it; missing: LVM was not asked yet"),
        SD_VARLINK_DEFINE_FIELD(roomBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Space for the maps of volumes"),
        SD_VARLINK_DEFINE_FIELD(metadataSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(metadataUsedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("At most so many of the used bytes are of removed volumes, and are being given back"),
        SD_VARLINK_DEFINE_FIELD(freeingBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Sum of the sizes of its volumes, and the most that may be promised"),
        SD_VARLINK_DEFINE_FIELD(provisionedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(provisionedMaxBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How many volumes it holds"),
        SD_VARLINK_DEFINE_FIELD(volumes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("When snapshots are made of its volumes that have no schedule of their own"),
        SD_VARLINK_DEFINE_FIELD(snapshotSchedule, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Progress,
        SD_VARLINK_FIELD_COMMENT("The step that begins now"),
        SD_VARLINK_DEFINE_FIELD(step, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Its number, from 1, and how many there are"),
        SD_VARLINK_DEFINE_FIELD(position, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(total, SD_VARLINK_INT, 0));

#define PROGRESS_OUTPUT                                                                              \
        SD_VARLINK_FIELD_COMMENT("Only in replies before the last, when the caller asked for more"), \
                SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(progress, Progress, SD_VARLINK_NULLABLE)
#define POOL_INPUT SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0)

static SD_VARLINK_DEFINE_METHOD_FULL(
        Create,
        SD_VARLINK_SUPPORTS_MORE,
        POOL_INPUT,
        SD_VARLINK_FIELD_COMMENT("Absolute paths of block devices that are wholly given to the pool; they must bear "
                                 "no signature. Give exactly one of devices, volumeGroup, file."),
        SD_VARLINK_DEFINE_INPUT(devices, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Volume group to take free space from"),
        SD_VARLINK_DEFINE_INPUT(volumeGroup, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Absolute path of a file to be made"),
        SD_VARLINK_DEFINE_INPUT(file, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("With volumeGroup or file: how much to take"),
        SD_VARLINK_DEFINE_INPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Default: enough for every chunk twice, at least 64 MiB"),
        SD_VARLINK_DEFINE_INPUT(metadataSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Unit of allocation, a multiple of 64 KiB; default 64 KiB"),
        SD_VARLINK_DEFINE_INPUT(chunkSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pool, Pool, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Extend,
        SD_VARLINK_SUPPORTS_MORE,
        POOL_INPUT,
        SD_VARLINK_FIELD_COMMENT("For a pool of whole devices: block devices to be added, by the rules of Create. Give "
                                 "exactly one of devices, sizeBytes."),
        SD_VARLINK_DEFINE_INPUT(devices, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("For a pool in a volume group or a file: how much it is to have then, counted as in "
                                 "Create; not less than it has"),
        SD_VARLINK_DEFINE_INPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pool, Pool, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Check,
        SD_VARLINK_SUPPORTS_MORE,
        POOL_INPUT,
        SD_VARLINK_FIELD_COMMENT("Repair damaged metadata too. Refused while a volume of the pool is in use. The "
                                 "repaired metadata is written beside the damaged one, which is kept; if that "
                                 "cannot be done nothing is changed."),
        SD_VARLINK_DEFINE_INPUT(repair, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("Whether the metadata is sound now"),
        SD_VARLINK_DEFINE_OUTPUT(sound, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What was found to be wrong with it; missing: nothing"),
        SD_VARLINK_DEFINE_OUTPUT(damage, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("VG/LV: the logical volume that keeps the damaged metadata; missing: nothing was "
                                 "repaired"),
        SD_VARLINK_DEFINE_OUTPUT(keptMetadata, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD(List, SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pools, Pool, SD_VARLINK_ARRAY));

static SD_VARLINK_DEFINE_METHOD(Inspect, POOL_INPUT, SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pool, Pool, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Remove,
        SD_VARLINK_SUPPORTS_MORE,
        POOL_INPUT,
        SD_VARLINK_FIELD_COMMENT("The pool is unavailable, and its disks are gone for good: take it and its volumes "
                                 "out of the list. Nothing on its disks is changed; should they come back, so does the "
                                 "pool."),
        SD_VARLINK_DEFINE_INPUT(forget, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Import,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Where to look; missing: every block device. A regular file is attached as a loop "
                                 "device."),
        SD_VARLINK_DEFINE_INPUT(devices, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("The pools that are new on this host now"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pools, Pool, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(Export, SD_VARLINK_SUPPORTS_MORE, POOL_INPUT, PROGRESS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Update,
        SD_VARLINK_SUPPORTS_MORE,
        POOL_INPUT,
        SD_VARLINK_FIELD_COMMENT("For volumes that have none of their own, such as \"hourly keep 24, daily keep 7\"; "
                                 "\"none\": no snapshots. See Update of io.quarry.Volume."),
        SD_VARLINK_DEFINE_INPUT(snapshotSchedule, SD_VARLINK_STRING, 0),
        PROGRESS_OUTPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(pool, Pool, SD_VARLINK_NULLABLE));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Pool,
        API_POOL,
        SD_VARLINK_INTERFACE_COMMENT("Pools of the storage host. Changing them takes an administrator: root or a "
                                     "member of the group quarry-admin."),
        SD_VARLINK_SYMBOL_COMMENT("Makes a pool. Nothing is ever wiped: a device that is in use or bears a "
                                  "signature is refused."),
        &vl_method_Create,
        SD_VARLINK_SYMBOL_COMMENT("Lists the pools known to this host."),
        &vl_method_List,
        SD_VARLINK_SYMBOL_COMMENT("Shows one pool, with its use as of now."),
        &vl_method_Inspect,
        SD_VARLINK_SYMBOL_COMMENT("Gives a pool more space while its volumes are in use. Repeated after a failure it "
                                  "goes on where that one ended."),
        &vl_method_Extend,
        SD_VARLINK_SYMBOL_COMMENT("Looks whether the metadata of a pool is sound, which tells where the contents of "
                                  "its volumes lie. Volumes may be in use meanwhile, unless it is to be repaired."),
        &vl_method_Check,
        SD_VARLINK_SYMBOL_COMMENT("Destroys a pool; refused while it holds volumes."),
        &vl_method_Remove,
        SD_VARLINK_SYMBOL_COMMENT("Takes over pools from disks that came from another host or were exported."),
        &vl_method_Import,
        SD_VARLINK_SYMBOL_COMMENT("Closes a pool and gives it up, so that its disks can be moved to another host."),
        &vl_method_Export,
        SD_VARLINK_SYMBOL_COMMENT("Changes how a pool treats its volumes."),
        &vl_method_Update,
        &vl_type_PoolState,
        &vl_type_PoolOrigin,
        &vl_type_Space,
        &vl_type_Pool,
        &vl_type_Progress,
        ERROR_KINDS(API_LIST_ERROR) NULL);
