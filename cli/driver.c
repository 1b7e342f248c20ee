/* quarry driver */

#include "client.h"
#include "must.h"
#include "report.h"
#include "verbs.h"

#include <quarry/text.h>
#include <quarry/volume.h>
#include <systemd/sd-daemon.h>

static void on_part(sd_json_variant *parameters) {
        (void) sd_notify(false, "READY=1");
}

/* The socket is served for as long as this runs. */
int verb_driver(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        const int fd = SD_LISTEN_FDS_START;
        Call call = { .method = API_DRIVER ".Listen", .on_part = on_part, .key_fd = &fd };
        Error err = {};

        if (sd_listen_fds(false) != 1) {
                error_set(&err, ERROR_BAD_REQUEST, 0, "no socket came from systemd: quarry-docker.service runs this");
                error_hint(&err, "systemctl enable --now quarry-docker.socket");
                return report_error("cannot serve container engines", NULL, &err);
        }
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("tenant", arguments[0] ?: DEFAULT_TENANT),
                            SD_JSON_BUILD_PAIR_INTEGER("socketFileDescriptor", KEY_INDEX)));
        call.parameters = parameters;
        return client_call(&call, NULL, NULL, &err) < 0 ? report_error("cannot serve container engines", NULL, &err)
                                                        : EXIT_DONE;
}
