/* io.systemd.StorageProvider, as systemd 261 and newer ask for it: names, types and errors are theirs. */

#include <quarry/api.h>

static SD_VARLINK_DEFINE_ENUM_TYPE(
        VolumeType,
        SD_VARLINK_FIELD_COMMENT("A block device"),
        SD_VARLINK_DEFINE_ENUM_VALUE(blk),
        SD_VARLINK_FIELD_COMMENT("A regular file; no volume of Quarry is one"),
        SD_VARLINK_DEFINE_ENUM_VALUE(reg),
        SD_VARLINK_FIELD_COMMENT("A directory"),
        SD_VARLINK_DEFINE_ENUM_VALUE(dir));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        CreateMode,
        SD_VARLINK_FIELD_COMMENT("One that is missing is made"),
        SD_VARLINK_DEFINE_ENUM_VALUE(any),
        SD_VARLINK_FIELD_COMMENT("It is made, and must not be there"),
        SD_VARLINK_DEFINE_ENUM_VALUE(new),
        SD_VARLINK_FIELD_COMMENT("It must be there"),
        SD_VARLINK_DEFINE_ENUM_VALUE(open));

static SD_VARLINK_DEFINE_METHOD(
        Acquire,
        SD_VARLINK_FIELD_COMMENT("Reference of a volume or snapshot: [POOL:][TENANT/]NAME[@SNAPSHOT]"),
        SD_VARLINK_DEFINE_INPUT(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Missing: any; with readOnly it is open"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(createMode, CreateMode, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Like what a volume is made, see ListTemplates; missing: raw if a device is asked "
                                 "for, else ext4"),
        SD_VARLINK_DEFINE_INPUT(template, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Missing: to be written to if that can be"),
        SD_VARLINK_DEFINE_INPUT(readOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Missing: a device of a volume without filesystem, and else a directory"),
        SD_VARLINK_DEFINE_INPUT_BY_TYPE(requestAs, VolumeType, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume that is made; every one needs a size"),
        SD_VARLINK_DEFINE_INPUT(createSizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Has no meaning here: nobody is asked, credentials of the peer decide"),
        SD_VARLINK_DEFINE_INPUT(allowInteractiveAuthentication, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor: an open device, or a detached mount"),
        SD_VARLINK_DEFINE_OUTPUT(fileDescriptorIndex, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(type, VolumeType, 0),
        SD_VARLINK_DEFINE_OUTPUT(readOnly, SD_VARLINK_BOOL, 0),
        SD_VARLINK_FIELD_COMMENT("Of a directory: the first of 65536 ids, with which its owner and what is in it are "
                                 "stored"),
        SD_VARLINK_DEFINE_OUTPUT(baseUID, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(baseGID, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        ListVolumes,
        SD_VARLINK_REQUIRES_MORE,
        SD_VARLINK_FIELD_COMMENT("A glob; snapshots are listed if it has an @"),
        SD_VARLINK_DEFINE_INPUT(matchName, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("[TENANT/]NAME[@SNAPSHOT]"),
        SD_VARLINK_DEFINE_OUTPUT(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("For members of one tenant: without it"),
        SD_VARLINK_DEFINE_OUTPUT(aliases, SD_VARLINK_STRING, SD_VARLINK_NULLABLE | SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("As which it is had by who does not say"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(type, VolumeType, 0),
        SD_VARLINK_DEFINE_OUTPUT(readOnly, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What it takes of its pool, as last seen"),
        SD_VARLINK_DEFINE_OUTPUT(usedBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
        ListTemplates,
        SD_VARLINK_REQUIRES_MORE,
        SD_VARLINK_FIELD_COMMENT("A glob"),
        SD_VARLINK_DEFINE_INPUT(matchName, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Filesystem, or raw for none; -encrypted: with a key that the host's key wraps"),
        SD_VARLINK_DEFINE_OUTPUT(name, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("As ListVolumes has it of what is made so"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(type, VolumeType, 0));

static SD_VARLINK_DEFINE_ERROR(NoSuchVolume);
static SD_VARLINK_DEFINE_ERROR(VolumeExists);
static SD_VARLINK_DEFINE_ERROR(NoSuchTemplate);
static SD_VARLINK_DEFINE_ERROR(TypeNotSupported);
static SD_VARLINK_DEFINE_ERROR(WrongType);
static SD_VARLINK_DEFINE_ERROR(CreateNotSupported);
static SD_VARLINK_DEFINE_ERROR(CreateSizeRequired);
static SD_VARLINK_DEFINE_ERROR(ReadOnlyVolume);
static SD_VARLINK_DEFINE_ERROR(BadTemplate);

SD_VARLINK_DEFINE_INTERFACE(
        io_systemd_StorageProvider,
        API_STORAGE_PROVIDER,
        SD_VARLINK_INTERFACE_COMMENT("Quarry's volumes for systemd's clients of storage. What has no error here is "
                                     "answered with io.systemd.System, which says more in its member message."),
        &vl_type_VolumeType,
        &vl_type_CreateMode,
        SD_VARLINK_SYMBOL_COMMENT("Hands over a volume."),
        &vl_method_Acquire,
        SD_VARLINK_SYMBOL_COMMENT("Lists the volumes that the caller may have, one with each reply. None: "
                                  "NoSuchVolume."),
        &vl_method_ListVolumes,
        SD_VARLINK_SYMBOL_COMMENT("Lists like what volumes can be made, one with each reply. None: NoSuchTemplate."),
        &vl_method_ListTemplates,
        &vl_error_NoSuchVolume,
        &vl_error_VolumeExists,
        &vl_error_NoSuchTemplate,
        SD_VARLINK_SYMBOL_COMMENT("No volume is a regular file."),
        &vl_error_TypeNotSupported,
        SD_VARLINK_SYMBOL_COMMENT("A volume without filesystem is no directory, and one that is not in a pool has no "
                                  "device."),
        &vl_error_WrongType,
        &vl_error_CreateNotSupported,
        &vl_error_CreateSizeRequired,
        SD_VARLINK_SYMBOL_COMMENT("It can only be read: it is a snapshot, or a read-only bind volume."),
        &vl_error_ReadOnlyVolume,
        SD_VARLINK_SYMBOL_COMMENT("What is made by it is no directory."),
        &vl_error_BadTemplate);
