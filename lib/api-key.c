/* io.quarry.Key: who opens encrypted volumes, and the host's key. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_ENUM_TYPE(
        HostKeySource,
        SD_VARLINK_FIELD_COMMENT("The systemd credential quarry.host-key"),
        SD_VARLINK_DEFINE_ENUM_VALUE(credential),
        SD_VARLINK_FIELD_COMMENT("KeyCommand="),
        SD_VARLINK_DEFINE_ENUM_VALUE(command),
        SD_VARLINK_FIELD_COMMENT("/var/lib/quarry/host-key"),
        SD_VARLINK_DEFINE_ENUM_VALUE(file),
        SD_VARLINK_FIELD_COMMENT("An older one, kept by Rotate until no volume needs it"),
        SD_VARLINK_DEFINE_ENUM_VALUE(kept),
        SD_VARLINK_FIELD_COMMENT("An older one: the systemd credential quarry.old-host-key"),
        SD_VARLINK_DEFINE_ENUM_VALUE(old_credential));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        HostKey,
        SD_VARLINK_FIELD_COMMENT("Tells it from others, and nothing about it"),
        SD_VARLINK_DEFINE_FIELD(id, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Missing: this host has not got it"),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(source, HostKeySource, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("By it new volumes have their keys wrapped"),
        SD_VARLINK_DEFINE_FIELD(current, SD_VARLINK_BOOL, 0),
        SD_VARLINK_FIELD_COMMENT("Volumes and snapshots that need it"),
        SD_VARLINK_DEFINE_FIELD(volumes, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_ENUM_TYPE(
        KeyslotKind,
        SD_VARLINK_FIELD_COMMENT("Opened by what the host key wraps"),
        SD_VARLINK_DEFINE_ENUM_VALUE(host),
        SD_VARLINK_DEFINE_ENUM_VALUE(passphrase),
        SD_VARLINK_FIELD_COMMENT("Opened as somebody else's token says, such as systemd-cryptenroll's"),
        SD_VARLINK_DEFINE_ENUM_VALUE(foreign));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Keyslot,
        SD_VARLINK_FIELD_COMMENT("As cryptsetup luksDump counts them"),
        SD_VARLINK_DEFINE_FIELD(number, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(kind, KeyslotKind, 0),
        SD_VARLINK_DEFINE_FIELD(kdf, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Type of the foreign token"),
        SD_VARLINK_DEFINE_FIELD(token, SD_VARLINK_STRING, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        VolumeKeys,
        SD_VARLINK_DEFINE_FIELD_BY_TYPE(keyslots, Keyslot, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("For so many more there is room"),
        SD_VARLINK_DEFINE_FIELD(room, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("Id of the host key by which its key is wrapped; missing: none opens it"),
        SD_VARLINK_DEFINE_FIELD(hostKey, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Its key is in the kernel now"),
        SD_VARLINK_DEFINE_FIELD(inKernel, SD_VARLINK_BOOL, 0),
        SD_VARLINK_FIELD_COMMENT("It is in use without its key: who touches it waits"),
        SD_VARLINK_DEFINE_FIELD(suspended, SD_VARLINK_BOOL, 0),
        SD_VARLINK_FIELD_COMMENT("Nobody opens it until it is unlocked"),
        SD_VARLINK_DEFINE_FIELD(locked, SD_VARLINK_BOOL, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Progress,
        SD_VARLINK_DEFINE_FIELD(step, SD_VARLINK_STRING, 0),
        SD_VARLINK_DEFINE_FIELD(position, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_FIELD(total, SD_VARLINK_INT, 0));

#define VOLUME_INPUT                                                                                                 \
        SD_VARLINK_FIELD_COMMENT("Reference of a volume or snapshot: [POOL:][TENANT/]NAME[@SNAPSHOT], or the UUID"), \
                SD_VARLINK_DEFINE_INPUT(volume, SD_VARLINK_STRING, 0)
#define KEY_INPUT(comment)                 \
        SD_VARLINK_FIELD_COMMENT(comment), \
                SD_VARLINK_DEFINE_INPUT(keyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE)
#define PROGRESS_OUTPUT                                                                         \
        SD_VARLINK_FIELD_COMMENT("In replies before the last one, if the call asked for more"), \
                SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(progress, Progress, SD_VARLINK_NULLABLE)
#define KEYS_OUTPUT SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(keys, VolumeKeys, SD_VARLINK_NULLABLE)

static SD_VARLINK_DEFINE_METHOD(
        Status,
        SD_VARLINK_FIELD_COMMENT("The present one first; those that volumes need and this host has not got last"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(keys, HostKey, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("Volumes and snapshots of which nobody has looked yet which key they need"),
        SD_VARLINK_DEFINE_OUTPUT(unknown, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("Volumes are getting their keys wrapped anew now"),
        SD_VARLINK_DEFINE_OUTPUT(rotating, SD_VARLINK_BOOL, 0),
        SD_VARLINK_FIELD_COMMENT("Pools that are not active: what their volumes need may not be known"),
        SD_VARLINK_DEFINE_OUTPUT(missingPools, SD_VARLINK_STRING, SD_VARLINK_ARRAY));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Rotate,
        SD_VARLINK_SUPPORTS_MORE,
        PROGRESS_OUTPUT,
        SD_VARLINK_FIELD_COMMENT("Of the host key that volumes have their keys wrapped by now"),
        SD_VARLINK_DEFINE_OUTPUT(id, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How many were wrapped anew"),
        SD_VARLINK_DEFINE_OUTPUT(wrapped, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How many still need an older one, which is kept for them"),
        SD_VARLINK_DEFINE_OUTPUT(left, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Why the first of these could not be wrapped anew"),
        SD_VARLINK_DEFINE_OUTPUT(failure, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("As of Status"),
        SD_VARLINK_DEFINE_OUTPUT(missingPools, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
        Derive,
        SD_VARLINK_FIELD_COMMENT("Of which host key; null: of the present one, which is made if there is none"),
        SD_VARLINK_DEFINE_INPUT(id, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of which it is"),
        SD_VARLINK_DEFINE_OUTPUT(id, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Index of the descriptor that comes along: a sealed memfd with 32 bytes"),
        SD_VARLINK_DEFINE_OUTPUT(keyFileDescriptor, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD(Inspect, VOLUME_INPUT, KEYS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Lock,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Also while it is in use: who reads or writes then waits until it is unlocked"),
        SD_VARLINK_DEFINE_INPUT(suspend, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Unlock,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        KEY_INPUT("Index of the passed descriptor that holds its passphrase: a sealed memfd; missing: the host key"),
        PROGRESS_OUTPUT,
        KEYS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Add,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("The host key is added"),
        SD_VARLINK_DEFINE_INPUT(host, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        KEY_INPUT("A present passphrase, in a sealed memfd; missing: the host key opens it"),
        SD_VARLINK_FIELD_COMMENT("The passphrase that is added, the same way; one that opens it already is fine"),
        SD_VARLINK_DEFINE_INPUT(newKeyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        KEYS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Remove,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("What is removed: this keyslot,"),
        SD_VARLINK_DEFINE_INPUT(slot, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("that of the host key,"),
        SD_VARLINK_DEFINE_INPUT(host, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("or that of this passphrase, in a sealed memfd. One of the three is given"),
        SD_VARLINK_DEFINE_INPUT(removedKeyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        KEY_INPUT("A passphrase that stays, in a sealed memfd; missing: the host key opens it, and stays"),
        PROGRESS_OUTPUT,
        KEYS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD_FULL(
        Change,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        KEY_INPUT("The passphrase that goes, in a sealed memfd"),
        SD_VARLINK_FIELD_COMMENT("The one that comes in its place, the same way"),
        SD_VARLINK_DEFINE_INPUT(newKeyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        KEYS_OUTPUT);

static SD_VARLINK_DEFINE_METHOD(
        Backup,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor: a sealed memfd"),
        SD_VARLINK_DEFINE_OUTPUT(headerFileDescriptor, SD_VARLINK_INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
        Restore,
        SD_VARLINK_SUPPORTS_MORE,
        VOLUME_INPUT,
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor: a sealed memfd with what Backup gave"),
        SD_VARLINK_DEFINE_INPUT(headerFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        PROGRESS_OUTPUT,
        KEYS_OUTPUT);

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Key,
        API_KEY,
        SD_VARLINK_INTERFACE_COMMENT("Keys of encrypted volumes. Secrets travel in sealed memfds only. Status, Rotate, "
                                     "Derive, which are about the host key, are for administrators."),
        SD_VARLINK_SYMBOL_COMMENT("Tells where the host key comes from, and how many volumes need it or an older one."),
        &vl_method_Status,
        SD_VARLINK_SYMBOL_COMMENT("Makes a new host key, has the key of every volume and snapshot wrapped by it, and "
                                  "then destroys the old one; or goes on with that. At any moment each volume opens "
                                  "with one of the two. Refused where quarry cannot write the host key, unless another "
                                  "was put in its place there and the old one is given, too."),
        &vl_method_Rotate,
        SD_VARLINK_SYMBOL_COMMENT("Hands over what of a host key wraps the keys of backup repositories, and nothing "
                                  "else. A repository says which host key it is."),
        &vl_method_Derive,
        SD_VARLINK_SYMBOL_COMMENT("Shows the keyslots of a volume, and whether its key is in the kernel."),
        &vl_method_Inspect,
        SD_VARLINK_SYMBOL_COMMENT("Takes the key of a volume from the kernel; it stays so, also behind a restart, "
                                  "until it is unlocked. Refused while anybody uses it, unless suspend."),
        &vl_method_Lock,
        SD_VARLINK_SYMBOL_COMMENT("Lets a volume be opened again, and gives the kernel its key: who waited for it goes "
                                  "on. A mount behind it needs no passphrase."),
        &vl_method_Unlock,
        SD_VARLINK_SYMBOL_COMMENT("Adds a passphrase or the host key."),
        &vl_method_Add,
        SD_VARLINK_SYMBOL_COMMENT("Removes a passphrase or the host key; refused unless another is shown to open it."),
        &vl_method_Remove,
        SD_VARLINK_SYMBOL_COMMENT("Puts a passphrase in the place of another."),
        &vl_method_Change,
        SD_VARLINK_SYMBOL_COMMENT("Hands over the LUKS2 header, as cryptsetup luksHeaderBackup writes it."),
        &vl_method_Backup,
        SD_VARLINK_SYMBOL_COMMENT("Writes a LUKS2 header that Backup gave. It must be of this volume, which nobody may "
                                  "use meanwhile; its keys are those that it had then."),
        &vl_method_Restore,
        &vl_type_HostKeySource,
        &vl_type_HostKey,
        &vl_type_KeyslotKind,
        &vl_type_Keyslot,
        &vl_type_VolumeKeys,
        &vl_type_Progress,
        ERROR_KINDS(API_LIST_ERROR) NULL);
