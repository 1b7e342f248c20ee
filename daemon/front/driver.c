/* io.quarry.Driver: who holds a socket for container engines hands it over. */

#include "front/driver.h"

#include "broker/policy.h"
#include "front/call.h"
#include "front/docker.h"

#include <quarry/api.h>
#include <quarry/text.h>

#include <fcntl.h>
#include <sys/socket.h>

#define SOCKETS_MAX 8u

typedef struct ListenParameters {
        const char *tenant;
        int sockets[SOCKETS_MAX];
        size_t n_sockets;
} ListenParameters;

static int dispatch_sockets(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        ListenParameters *p = userdata;
        size_t n = sd_json_variant_elements(v);
        int r = n == 0 || n > SOCKETS_MAX ? -EINVAL : 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = call_dispatch_index(name, sd_json_variant_by_index(v, i), flags, &p->sockets[i]);
        p->n_sockets = n;
        return r;
}

static int socket_option(int fd, int option) {
        socklen_t size = sizeof(int);
        int value;

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

/* Accepting must never wait. */
static int socket_check(int fd, Error *err) {
        if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM ||
            socket_option(fd, SO_ACCEPTCONN) != 1)
                return error_field(err, "socketFileDescriptors", "that is no Unix socket on which somebody listens");
        return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? error_errno(err, errno, "cannot set up the socket") : 0;
}

static int listen_judge(Server *server, sd_varlink *link, const ListenParameters *p, Error *err) {
        _cleanup_(server_caller_done) Caller caller = {};
        int r;

        r = server_caller(server, link, &caller);
        if (r < 0)
                return error_errno(err, r, "cannot tell who asks");
        r = policy_may_administer_drivers(&caller, err);
        return r < 0 ? r : tenant_name_check(p->tenant, "tenant", err);
}

static int serve(Server *server, sd_varlink *link, const char *tenant, int index, Driver **driver, Error *err) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = call_take_fd(link, index, "socketFileDescriptors", &fd, err);
        if (r >= 0)
                r = socket_check(fd, err);
        return r < 0 ? r : driver_new(server, tenant, TAKE_FD(fd), driver, err);
}

static void on_gone(void *userdata) {
        driver_close(userdata);
}

/* It listens as long as the caller stays. The pools need not be there: those who connect wait for them, or need not. */
static int vl_method_listen(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
                            void *userdata) {
        static const sd_json_dispatch_field table[] = {
                { "tenant", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(ListenParameters, tenant),
                  SD_JSON_MANDATORY },
                { "socketFileDescriptors", SD_JSON_VARIANT_ARRAY, dispatch_sockets, 0, SD_JSON_MANDATORY },
                {},
        };
        ListenParameters p = {};
        Server *server = sd_varlink_server_get_userdata(sd_varlink_get_server(link));
        Driver *driver = NULL;
        Error err = {};
        int r;

        r = sd_varlink_dispatch(link, parameters, table, &p);
        if (r != 0)
                return r;
        r = listen_judge(server, link, &p, &err);
        for (size_t i = 0; i < p.n_sockets && r >= 0; i++)
                r = serve(server, link, p.tenant, p.sockets[i], &driver, &err);
        if (r < 0) {
                driver_close(driver);
                return call_error(link, API_DRIVER, &err);
        }
        r = server_on_gone(server, link, on_gone, driver);
        if (r < 0) {
                driver_close(driver);
                return r;
        }
        return sd_varlink_notify(link, NULL);
}

int front_driver_bind(sd_varlink_server *server) {
        int r;

        r = sd_varlink_server_add_interface(server, &vl_interface_io_quarry_Driver);
        return r < 0 ? r : sd_varlink_server_bind_method(server, API_DRIVER ".Listen", vl_method_listen);
}
