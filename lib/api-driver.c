/* io.quarry.Driver: sockets of container engines. */

#include <quarry/api.h>

#include "api-errors.h"

static SD_VARLINK_DEFINE_METHOD_FULL(
        Listen,
        SD_VARLINK_REQUIRES_MORE,
        SD_VARLINK_FIELD_COMMENT("Whose volumes are seen there"),
        SD_VARLINK_DEFINE_INPUT(tenant, SD_VARLINK_STRING, 0),
        SD_VARLINK_FIELD_COMMENT("Indexes of file descriptors, among those passed along, of Unix stream sockets that "
                                 "listen: one to eight"),
        SD_VARLINK_DEFINE_INPUT(socketFileDescriptors, SD_VARLINK_INT, SD_VARLINK_ARRAY));

ERROR_KINDS(API_DEFINE_ERROR)

SD_VARLINK_DEFINE_INTERFACE(
        io_quarry_Driver,
        API_DRIVER,
        SD_VARLINK_INTERFACE_COMMENT("Serves the Docker volume plugin protocol on sockets that others hold. For "
                                     "administrators: root and members of the group quarry-admin."),
        SD_VARLINK_SYMBOL_COMMENT("Serves sockets from the first, empty reply on until the caller closes the "
                                  "connection. Who may connect is the socket's matter; of those who do, administrators "
                                  "and the members of the tenant are served."),
        &vl_method_Listen,
        ERROR_KINDS(API_LIST_ERROR) NULL);
