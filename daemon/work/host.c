#include "work/host.h"

#include <systemd/sd-id128.h>

/* Our own, for sd_id128_get_machine_app_specific(3). */
#define HOST_APPLICATION SD_ID128_MAKE(5c, 1d, 0e, 7f, 3a, 54, 4b, 8e, 9d, 20, 66, a1, f0, 9b, 47, c2)

int host_identity(char buf[static UUID_TEXT_MAX], Error *err) {
        static const sd_id128_t application = HOST_APPLICATION;
        sd_id128_t id;
        int r;

        r = sd_id128_get_machine_app_specific(application, &id);
        if (r < 0)
                return error_errno(err, r, "cannot read the machine id");
        uuid_format(id, buf);
        return 0;
}
