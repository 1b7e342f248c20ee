/* io.quarry.Worker: private, between broker and worker. */

#include <quarry/worker-api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_METHOD_FULL(
        Run,
        SD_VARLINK_SUPPORTS_MORE,
        SD_VARLINK_FIELD_COMMENT("See include/quarry/job.h; parsed and checked again by the worker"),
        SD_VARLINK_DEFINE_INPUT(job, SD_VARLINK_OBJECT, 0),
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor that holds the passphrase: a sealed memfd"),
        SD_VARLINK_DEFINE_INPUT(keyFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Another passphrase, a LUKS2 header, or the user namespace whose ids a mount shows"),
        SD_VARLINK_DEFINE_INPUT(secondFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The step that begins now, its number from 1, and how many there are"),
        SD_VARLINK_DEFINE_OUTPUT(step, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(position, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_OUTPUT(total, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("In the last reply; in every one of a job that does not end"),
        SD_VARLINK_DEFINE_OUTPUT(result, SD_VARLINK_OBJECT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Index of the passed descriptor of a detached mount, or of a LUKS2 header"),
        SD_VARLINK_DEFINE_OUTPUT(mountFileDescriptor, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Worker,
        "io.quarry.Worker",
        SD_VARLINK_SYMBOL_COMMENT("Runs one job to its end; a second one at the same time is refused."),
        &vl_method_Run,
        ERROR_KINDS(API_LIST_ERROR) NULL);
