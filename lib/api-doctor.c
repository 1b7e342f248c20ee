/* io.quarry.Doctor: is all well? */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Finding,
        SD_VARLINK_FIELD_COMMENT("What kind it is: strayDevice, strayMapping, strayMount, strayMountPoint, "
                                 "strayDescription, strayLock, strayLoop: left over, belongs to nobody. "
                                 "foreignDevice: bears a name of ours. thinWithoutVolume, volumeWithoutThin: catalog "
                                 "and pool disagree. volumeBroken, removalUnfinished; poolEntry, poolUnavailable, "
                                 "poolSilent, poolNeedsCheck, poolFull, poolShrunk, catalogDamaged; hostKey, "
                                 "udevRules, unitDisabled: the set-up. There may be more in future."),
        SD_VARLINK_DEFINE_FIELD(kind, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Name or path of what it is about"),
        SD_VARLINK_DEFINE_FIELD(object, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("UUID of the volume or pool, where there is one"),
        SD_VARLINK_DEFINE_FIELD(uuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(poolUuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("One sentence for people"),
        SD_VARLINK_DEFINE_FIELD(message, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("What to do about it"),
        SD_VARLINK_DEFINE_FIELD(hint, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Whether the call repairs it when asked to, and whether it did"),
        SD_VARLINK_DEFINE_FIELD(fixable, SD_VARLINK_BOOL, 0),
        SD_VARLINK_DEFINE_FIELD(fixed, SD_VARLINK_BOOL, 0));

static SD_VARLINK_DEFINE_METHOD(
        Examine,
        SD_VARLINK_FIELD_COMMENT("Repair what is safe to repair: close what nobody uses and nobody owns, take away "
                                 "empty leftovers, go on with removals"),
        SD_VARLINK_DEFINE_INPUT(fix, SD_VARLINK_BOOL, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Empty: all is well"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(findings, Finding, SD_VARLINK_ARRAY),
        SD_VARLINK_FIELD_COMMENT("How many there are"),
        SD_VARLINK_DEFINE_OUTPUT(pools, SD_VARLINK_INT, 0),
        SD_VARLINK_DEFINE_OUTPUT(volumes, SD_VARLINK_INT, 0));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Doctor,
        API_DOCTOR,
        SD_VARLINK_INTERFACE_COMMENT("Looks at the whole host. For administrators: root and members of the group "
                                     "quarry-admin."),
        SD_VARLINK_SYMBOL_COMMENT("Compares catalogs, pools, kernel and set-up, and tells what does not fit. Answers "
                                  "after a minute even when a disk stalls."),
        &vl_method_Examine,
        &vl_type_Finding,
        ERROR_KINDS(API_LIST_ERROR) NULL);
