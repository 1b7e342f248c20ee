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
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *indexes = NULL;
        const int fd = SD_LISTEN_FDS_START, other = SD_LISTEN_FDS_START + 1;
        int n = sd_listen_fds(false);
        Call call = {
                .method = API_DRIVER ".Listen", .on_part = on_part, .key_fd = &fd, .second_fd = n == 2 ? &other : NULL
        };
        Error err = {};

        if (n != 1 && n != 2) {
                error_set(&err, ERROR_BAD_REQUEST, 0, "no socket came from systemd: quarry-docker.service runs this");
                error_hint(&err, "systemctl enable --now quarry-docker.socket");
                return report_error("cannot serve container engines", NULL, &err);
        }
        for (int i = 0; i < n; i++)
                must(sd_json_variant_append_arrayb(&indexes, SD_JSON_BUILD_INTEGER(KEY_INDEX + i)));
        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("tenant", arguments[0] ?: DEFAULT_TENANT),
                            SD_JSON_BUILD_PAIR_VARIANT("socketFileDescriptors", indexes)));
        call.parameters = parameters;
        return client_call(&call, NULL, NULL, &err) < 0 ? report_error("cannot serve container engines", NULL, &err)
                                                        : EXIT_DONE;
}
