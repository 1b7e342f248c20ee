/* io.quarry.Stream: the contents of volumes, as they go from one pool to another. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_METHOD_FULL(
        Send,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of a snapshot: [POOL:][TENANT/]NAME@SNAPSHOT, or the UUID"),
        SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Index of the descriptor that comes along, to be read: the thin device, of an "
                                 "encrypted volume header and ciphertext. The snapshot is in use as long as "
                                 "somebody has it"),
        SD_VARLINK_DEFINE_OUTPUT(deviceFileDescriptor, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Receive,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("Reference of the new volume: [POOL:][TENANT/]NAME; or, of a new snapshot, "
                                 "NAME@SNAPSHOT, which begins as a copy of base"),
        SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Another snapshot of the same volume. Then what follows beside size and labels is "
                                 "that volume's, and not said"),
        SD_VARLINK_DEFINE_INPUT(base, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What was written, as io.quarry.Volume.Create has it: bytes without the header of an "
                                 "encrypted volume; ext4, xfs, none; host, passphrase, or null"),
        SD_VARLINK_DEFINE_INPUT(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(filesystem, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(keySource, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(uid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(gid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(mode, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("\"key=value\", each key once"),
        SD_VARLINK_DEFINE_INPUT(labels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The filesystem is not quarry's, nor encrypted: what lies at its root is what users "
                                 "see, with its owner and mode; and it grows to the size that is said"),
        SD_VARLINK_DEFINE_INPUT(foreign, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a new volume: the name of a snapshot that is made of it before anybody can use "
                                 "it, and its labels"),
        SD_VARLINK_DEFINE_INPUT(snapshot, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_INPUT(snapshotLabels, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor of a connected Unix stream socket. The thin device "
                                 "comes through it, once, to be written to; a byte back, behind the last descriptor "
                                 "of the device that was closed, says that all is there. If the socket ends before "
                                 "that, nothing of it ever was"),
        SD_VARLINK_DEFINE_INPUT(socketFileDescriptor, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("Of what there is now"),
        SD_VARLINK_DEFINE_OUTPUT(uuid, SD_VARLINK_STRING, 0));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Stream,
        API_STREAM,
        SD_VARLINK_INTERFACE_COMMENT("Hands out the devices of snapshots, and takes contents for new volumes. Devices "
                                     "with a filesystem, and all that is received, are for administrators: root and "
                                     "members of the group quarry-admin."),
        SD_VARLINK_SYMBOL_COMMENT("The device of a snapshot. Which of it is worth reading io.quarry.Volume.Diff tells, "
                                  "with join."),
        &vl_method_Send,
        SD_VARLINK_SYMBOL_COMMENT("A new volume, or a snapshot of one that is there, as the caller writes it."),
        &vl_method_Receive,
        ERROR_KINDS(API_LIST_ERROR) NULL);
