/* io.quarry.Event: what happened, and what happens. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_STRUCT_TYPE(
        Event,
        SD_VARLINK_FIELD_COMMENT("changed: something was, by a user or by quarryd itself. failed: that was tried. "
                                 "refused: it was not tried, since a right or a limit is against it. suppressed: so "
                                 "many more of one user failed or were refused. space: how full a pool or a limit is, "
                                 "and what is done about it. pool: one came, or is not as it should be. There may be "
                                 "more in future."),
        SD_VARLINK_DEFINE_FIELD(type, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Microseconds since 1970"),
        SD_VARLINK_DEFINE_FIELD(timeUsec, SD_VARLINK_INT, 0),
        SD_VARLINK_FIELD_COMMENT("One sentence for people"),
        SD_VARLINK_DEFINE_FIELD(message, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("What was asked for, as the verbs of the command are called"),
        SD_VARLINK_DEFINE_FIELD(verb, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What it was about, by the names of that time"),
        SD_VARLINK_DEFINE_FIELD(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(poolUuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(tenant, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(volume, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(volumeUuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of the volume, without its name"),
        SD_VARLINK_DEFINE_FIELD(snapshot, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(snapshotUuid, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Of a volume that is renamed"),
        SD_VARLINK_DEFINE_FIELD(newName, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("The snapshot that a volume was made of"),
        SD_VARLINK_DEFINE_FIELD(source, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("What an update was asked for, as the options of the command are called, with ids and "
                                 "bytes as numbers"),
        SD_VARLINK_DEFINE_FIELD(changes, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Size of the volume after it"),
        SD_VARLINK_DEFINE_FIELD(sizeBytes, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("Who asked for it: admin, member, other, or quarryd by itself, which has no uid and "
                                 "pid here"),
        SD_VARLINK_DEFINE_FIELD(callerRole, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(callerUid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(callerPid, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("ok, or the last part of the error's name; then with what its other members say"),
        SD_VARLINK_DEFINE_FIELD(result, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(errorNumber, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(error, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_DEFINE_FIELD(step, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("From the request to its end"),
        SD_VARLINK_DEFINE_FIELD(durationUsec, SD_VARLINK_INT, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("How many are not told one by one"),
        SD_VARLINK_DEFINE_FIELD(suppressed, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

#define FILTER_INPUT                                                                                                \
        SD_VARLINK_FIELD_COMMENT("Only of these, each [POOL:][TENANT/]NAME[@SNAPSHOT] or a UUID, whether there is " \
                                 "such a volume now or not. Of a volume also what is about its snapshots."),        \
                SD_VARLINK_DEFINE_INPUT(volumes, SD_VARLINK_STRING, SD_VARLINK_ARRAY | SD_VARLINK_NULLABLE),        \
                SD_VARLINK_FIELD_COMMENT("Only of this pool, and of this tenant"),                                  \
                SD_VARLINK_DEFINE_INPUT(pool, SD_VARLINK_STRING, SD_VARLINK_NULLABLE),                              \
                SD_VARLINK_DEFINE_INPUT(tenant, SD_VARLINK_STRING, SD_VARLINK_NULLABLE)

static SD_VARLINK_DEFINE_METHOD_FULL(
        Subscribe,
        SD_VARLINK_REQUIRES_MORE,
        FILTER_INPUT,
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(event, Event, SD_VARLINK_NULLABLE),
        SD_VARLINK_FIELD_COMMENT("So many events before this one are missing, since they were not read in time"),
        SD_VARLINK_DEFINE_OUTPUT(lost, SD_VARLINK_INT, SD_VARLINK_NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
        List,
        FILTER_INPUT,
        SD_VARLINK_FIELD_COMMENT("The oldest first"),
        SD_VARLINK_DEFINE_OUTPUT_BY_TYPE(events, Event, SD_VARLINK_ARRAY));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Event,
        API_EVENT,
        SD_VARLINK_INTERFACE_COMMENT("What happened to volumes, pools and tenants. Members of a tenant see what is "
                                     "about its volumes, administrators everything, others nothing."),
        SD_VARLINK_SYMBOL_COMMENT("Tells what happens from now on, until the connection is closed. The first reply has "
                                  "neither event nor lost: it says that it begins."),
        &vl_method_Subscribe,
        SD_VARLINK_SYMBOL_COMMENT("The last events of each tenant, and of what only administrators see, since quarryd "
                                  "was started. All of them are in the journal of the host."),
        &vl_method_List,
        &vl_type_Event,
        ERROR_KINDS(API_LIST_ERROR) NULL);
